//! A file system of a few MiB, to be filled.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What takes the room. The product looks at no name that begins with a full stop.
const BALLAST: &str = ".ballast";
/// The least that memory is given out in; what is left after it holds nothing.
const PAGE: [u8; 4 << 10] = [0; 4 << 10];

/// A mounted tmpfs; unmounted when dropped, whoever still uses it.
#[derive(Debug)]
pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Why nothing can be mounted here, if so. Root always can, or the machine is not fit for this test.
    ///
    /// # Errors
    /// With the reason.
    pub fn available() -> Result<(), &'static str> {
        match localcluster::user::is_root() {
            true => Ok(()),
            false => Err("only root mounts a file system"),
        }
    }

    /// Mounts one at `place`, which is made.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn mount(place: &Path, mib: u32) -> Result<SmallDisk> {
        fs::create_dir_all(place)?;
        let mut mount = Command::new("mount");
        let said = mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(place).output()?;
        ensure!(said.status.success(), "no tmpfs at `{}`: {}", place.display(), String::from_utf8_lossy(&said.stderr));
        Ok(SmallDisk { place: place.to_owned() })
    }

    /// Takes all the room that there is now; others may free some later.
    ///
    /// # Errors
    /// If anything else than the room is missing.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.place.join(BALLAST))?;
        loop {
            match ballast.write_all(&PAGE) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("the ballast"),
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// If it was not taken.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.place.join(BALLAST))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test has left behind must not keep the mount.
        let said = Command::new("umount").arg("--lazy").arg(&self.place).status();
        if !said.is_ok_and(|status| status.success()) {
            eprintln!("`{}` is still mounted", self.place.display());
        }
    }
}
