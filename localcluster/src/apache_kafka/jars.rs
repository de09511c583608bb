//! Kafka's jars, fetched by Maven once and kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Java, Unavailable, file};
use crate::program;

/// The version of Apache Kafka that is used.
pub const VERSION: &str = "4.1.1";

/// Kafka logs through SLF4J 1.7 and brings no backend of its own with its jars: log4j 2 by this binding.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>gapwise</groupId>
  <artifactId>apache-kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>4.1.1</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.2</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-core</artifactId>
      <version>2.25.2</version>
    </dependency>
  </dependencies>
</project>
"#;

/// A folder with everything on Kafka's class path.
#[derive(Debug, Clone)]
pub struct Jars {
    home: PathBuf,
}

impl Jars {
    /// Whether the jars are in `cache`, or could be fetched into it.
    ///
    /// # Errors
    /// If neither.
    pub fn find_or_fetchable(cache: &Path) -> Result<(), Unavailable> {
        match Jars::in_cache(cache) {
            Some(_) => Ok(()),
            None => program::on_path("mvn").map(drop).ok_or(Unavailable::NoMaven),
        }
    }

    /// The jars in `cache`, fetched first if they are not there (43 MB).
    ///
    /// # Errors
    /// If there is no Maven, or it fails.
    pub fn find_or_fetch(cache: &Path) -> Result<Jars, Error> {
        if let Some(kept) = Jars::in_cache(cache) {
            return Ok(kept);
        }
        let maven = program::on_path("mvn").ok_or(Unavailable::NoMaven)?;
        fs::create_dir_all(cache).map_err(file("make", cache))?;
        // Maven's own repository is not safe for two at once: they copy each other's half-written jars.
        let lock = cache.join(format!(".kafka-{VERSION}.lock"));
        let held = fs::File::create(&lock).map_err(file("make", &lock))?;
        held.lock().map_err(file("lock", &lock))?;
        if let Some(kept) = Jars::in_cache(cache) {
            return Ok(kept);
        }
        eprintln!("apache kafka {VERSION}: fetching its jars (43 MB, once) into {}", cache.display());
        // The folder gets its name only once it is whole: we may be interrupted.
        let partial = cache.join(format!(".kafka-{VERSION}-{}", std::process::id()));
        fs::create_dir_all(&partial).map_err(file("make", &partial))?;
        let pom = partial.join("pom.xml");
        fs::write(&pom, POM).map_err(file("write", &pom))?;
        let fetched = program::run(
            Command::new(maven)
                .args(["--quiet", "--batch-mode", "--file"])
                .arg(&pom)
                .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
                .arg(format!("-DoutputDirectory={}", partial.join("lib").display())),
        );
        let renamed = fetched.map(|_| fs::rename(&partial, home(cache)));
        if !matches!(renamed, Ok(Ok(()))) {
            let _ = fs::remove_dir_all(&partial);
        }
        renamed.map(drop).map_err(Error::Maven)?;
        Jars::in_cache(cache).ok_or_else(|| Error::File {
            action: "find kafka's jars in",
            path: home(cache),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// A `java` command with the jars on its class path and logs of warnings only, to standard output.
    #[must_use]
    pub fn java_args(&self, log4j: &Path) -> Vec<String> {
        vec![
            format!("-Dlog4j2.configurationFile=file:{}", log4j.display()),
            "-cp".to_owned(),
            format!("{}/lib/*", self.home.display()),
        ]
    }

    /// Runs the main class `class` to its end.
    pub(super) fn run(&self, java: &Java, log4j: &Path, class: &str, args: &[&str]) -> Result<String, program::Error> {
        program::run(
            Command::new(java.program())
                .args(["-XX:TieredStopAtLevel=1"])
                .args(self.java_args(log4j))
                .arg(class)
                .args(args),
        )
    }

    fn in_cache(cache: &Path) -> Option<Jars> {
        let home = home(cache);
        home.join("lib").join(format!("kafka_2.13-{VERSION}.jar")).exists().then_some(Jars { home })
    }
}

fn home(cache: &Path) -> PathBuf {
    cache.join(format!("kafka-{VERSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_names_the_version_that_is_looked_for() {
        assert!(POM.contains(&format!("<version>{VERSION}</version>")));
    }
}
