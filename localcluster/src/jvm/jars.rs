//! A program's jars, fetched by Maven once and kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Unavailable, file};
use crate::program;

/// Which jars make up a program.
#[derive(Debug, Clone, Copy)]
pub struct JarSet {
    /// For messages.
    pub name: &'static str,
    /// Its version, which [`JarSet::pom`] names too.
    pub version: &'static str,
    /// Its folder in the cache, before `-VERSION`.
    pub folder: &'static str,
    /// What is to be fetched, for messages: `43 MB`.
    pub size: &'static str,
    /// A project whose dependencies at run time are the jars.
    pub pom: &'static str,
}

/// A folder with everything on a program's class path.
#[derive(Debug, Clone)]
pub struct Jars {
    home: PathBuf,
}

impl JarSet {
    /// Whether the jars are in `cache`, or could be fetched into it.
    ///
    /// # Errors
    /// If neither.
    pub fn find_or_fetchable(&self, cache: &Path) -> Result<(), Unavailable> {
        match self.in_cache(cache) {
            Some(_) => Ok(()),
            None => program::on_path("mvn").map(drop).ok_or(Unavailable::NoMaven(self.name)),
        }
    }

    /// The jars in `cache`, fetched first if they are not there.
    ///
    /// # Errors
    /// If there is no Maven, or it fails.
    pub fn find_or_fetch(&self, cache: &Path) -> Result<Jars, Error> {
        if let Some(kept) = self.in_cache(cache) {
            return Ok(kept);
        }
        let JarSet { name, version, folder, size, pom } = *self;
        let maven = program::on_path("mvn").ok_or(Unavailable::NoMaven(name))?;
        fs::create_dir_all(cache).map_err(file("make", cache))?;
        // Maven's own repository is not safe for two at once: they copy each other's half-written jars.
        let lock = cache.join(".maven.lock");
        let held = fs::File::create(&lock).map_err(file("make", &lock))?;
        held.lock().map_err(file("lock", &lock))?;
        if let Some(kept) = self.in_cache(cache) {
            return Ok(kept);
        }
        eprintln!("{name} {version}: fetching its jars ({size}, once) into {}", cache.display());
        // The folder gets its name only once it is whole: we may be interrupted.
        let partial = cache.join(format!(".{folder}-{version}-{}", std::process::id()));
        fs::create_dir_all(&partial).map_err(file("make", &partial))?;
        let project = partial.join("pom.xml");
        fs::write(&project, pom).map_err(file("write", &project))?;
        let fetched = program::run(
            Command::new(maven)
                .args(["--quiet", "--batch-mode", "--file"])
                .arg(&project)
                .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
                .arg(format!("-DoutputDirectory={}", partial.join("lib").display())),
        );
        let home = self.home(cache);
        let renamed = match fetched {
            Ok(_) => fs::rename(&partial, &home).map_err(file("name", &home)),
            Err(source) => Err(Error::Maven { name, version, source }),
        };
        if renamed.is_err() {
            let _ = fs::remove_dir_all(&partial);
        }
        renamed.map(|()| Jars { home })
    }

    fn in_cache(&self, cache: &Path) -> Option<Jars> {
        let home = self.home(cache);
        home.join("lib").exists().then_some(Jars { home })
    }

    fn home(&self, cache: &Path) -> PathBuf {
        cache.join(format!("{}-{}", self.folder, self.version))
    }
}

impl Jars {
    /// The class path with all of them.
    #[must_use]
    pub fn class_path(&self) -> String {
        format!("{}/lib/*", self.home.display())
    }

    /// What a `java` command needs to find the jars, and to log as the file `log4j` says.
    #[must_use]
    pub fn java_args(&self, log4j: &Path) -> Vec<String> {
        vec![format!("-Dlog4j2.configurationFile=file:{}", log4j.display()), "-cp".to_owned(), self.class_path()]
    }
}
