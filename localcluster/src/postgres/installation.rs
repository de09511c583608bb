//! Where `initdb` and `postgres` are: on the `PATH`, where Debian hides them, or in our cache.

use std::path::{Path, PathBuf};

use super::{Download, Error};
use crate::program;

/// Debian keeps each major version in a folder of its own and none of them on the `PATH`.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A folder that holds the programs `initdb` and `postgres`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    bin: PathBuf,
}

impl Installation {
    /// The installation of this machine: the `PATH`'s, else the newest under `/usr/lib/postgresql`.
    #[must_use]
    pub fn on_this_machine() -> Option<Installation> {
        let on_path = program::on_path("initdb").and_then(|initdb| Installation::beside(&initdb));
        on_path.or_else(|| newest_in(Path::new(DEBIAN)))
    }

    /// The installation of this machine, else one downloaded into `cache` (once; later calls find it there).
    ///
    /// # Errors
    /// If there is none and it cannot be downloaded or unpacked.
    pub fn find_or_download(cache: &Path) -> Result<Installation, Error> {
        match Installation::on_this_machine() {
            Some(found) => Ok(found),
            None => Download::from_env(cache).installation(),
        }
    }

    /// The installation in `bin`, if both programs are there.
    #[must_use]
    pub fn in_folder(bin: &Path) -> Option<Installation> {
        let complete = ["initdb", "postgres"].iter().all(|name| program::is_executable(&bin.join(name)));
        complete.then(|| Installation { bin: bin.to_owned() })
    }

    /// The program that makes a data folder.
    #[must_use]
    pub fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }

    /// The server.
    #[must_use]
    pub fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }

    /// A link on the `PATH` may stand alone: look where it leads.
    fn beside(initdb: &Path) -> Option<Installation> {
        Installation::in_folder(initdb.canonicalize().ok()?.parent()?)
    }
}

fn newest_in(versions: &Path) -> Option<Installation> {
    let mut found: Vec<(u32, Installation)> = versions
        .read_dir()
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, Installation::in_folder(&entry.path().join("bin"))?))
        })
        .collect();
    found.sort_by_key(|(major, _)| *major);
    found.pop().map(|(_, installation)| installation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn install(bin: &Path) {
        std::fs::create_dir_all(bin).unwrap();
        for name in ["initdb", "postgres"] {
            std::fs::write(bin.join(name), "").unwrap();
            std::fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let dir = tempfile::tempdir().unwrap();
        install(&dir.path().join("9/bin"));
        install(&dir.path().join("15/bin"));
        std::fs::create_dir_all(dir.path().join("17/bin")).unwrap();
        assert_eq!(newest_in(dir.path()).unwrap().bin, dir.path().join("15/bin"));
    }

    #[test]
    fn a_link_on_the_path_leads_to_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        install(&dir.join("real/bin"));
        std::os::unix::fs::symlink(dir.join("real/bin/initdb"), dir.join("initdb")).unwrap();
        assert_eq!(Installation::beside(&dir.join("initdb")).unwrap().bin, dir.join("real/bin"));
    }
}
