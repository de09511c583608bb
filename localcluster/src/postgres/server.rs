//! One server: its data folder, and how it is started.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Installation, PASSWORD, USER};
use crate::process::{Launch, StopSignal};
use crate::user::{self, User};

/// What the data must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the machine, as in production.
    Crash,
    /// What a killed process leaves behind, but not what a machine does that loses power: no `fsync`.
    None,
}

/// A server's data folder and address. Nothing runs yet: [`Server::launch`] says how.
#[derive(Debug, Clone)]
pub struct Server {
    installation: Installation,
    home: PathBuf,
    port: u16,
    durability: Durability,
    run_as: Option<User>,
}

impl Server {
    /// A server that keeps its data in `wanted` (or where [`super::place`] moves it) and will listen on `port` of
    /// 127.0.0.1. Makes the data folder if it is not there; an existing one is used as it is.
    ///
    /// # Errors
    /// If there is no account to run as, a folder cannot be made, or `initdb` fails.
    pub fn prepare(
        installation: Installation,
        wanted: &Path,
        port: u16,
        durability: Durability,
    ) -> Result<Server, Error> {
        let run_as = user::unprivileged()?;
        let home = super::place(wanted, run_as.as_ref());
        let server = Server { installation, home, port, durability, run_as };
        if !server.data().join("PG_VERSION").exists() {
            server.init()?;
        }
        Ok(server)
    }

    /// The folder that holds the data folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// How the server is started; `log` gets what it says.
    #[must_use]
    pub fn launch(&self, log: &Path) -> Launch {
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            "unix_socket_directories=".to_owned(),
            "max_connections=100".to_owned(),
        ];
        if self.durability == Durability::None {
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        let settings = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        let mut launch = Launch::new(self.installation.postgres(), log).args(["-D"]).args([self.data()]).args(settings);
        launch.current_dir = Some(self.home.clone());
        launch.run_as = self.run_as.clone();
        launch.stop_signal = StopSignal::Interrupt;
        launch
    }

    /// Whether the server whose postmaster is `pid` accepts connections.
    ///
    /// Line 8 of `postmaster.pid` says so; it is what `pg_ctl --wait` reads.
    #[must_use]
    pub fn is_ready(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else { return false };
        let mut lines = text.lines().map(str::trim);
        lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
    }

    /// The server's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn init(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.home).map_err(file("make", &self.home))?;
        if let Some(user) = &self.run_as {
            chown(&self.home, Some(user.uid), Some(user.gid)).map_err(file("give away", &self.home))?;
        }
        let password = self.home.join("password");
        fs::write(&password, PASSWORD).map_err(file("write", &password))?;
        fs::set_permissions(&password, PermissionsExt::from_mode(0o644))
            .map_err(file("open to postgres", &password))?;
        let mut initdb = Command::new(self.installation.initdb());
        initdb
            .arg("--pgdata")
            .arg(self.data())
            .args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"])
            .arg("--pwfile")
            .arg(&password)
            .arg("--no-sync")
            .current_dir(&self.home);
        if let Some(user) = &self.run_as {
            initdb.uid(user.uid).gid(user.gid);
        }
        let done = crate::program::run(&mut initdb);
        let _ = fs::remove_file(&password);
        done.map(drop).map_err(|source| Error::InitDb { data: self.data(), source })
    }
}

fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| Error::File { action, path: path.to_owned(), source }
}
