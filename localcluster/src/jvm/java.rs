//! The machine's Java.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Unavailable;
use crate::program;

/// The oldest Java that Kafka 4 runs on; Flink 2 would run on an older one.
pub const MINIMUM_JAVA: u32 = 17;

/// A Java that is new enough.
#[derive(Debug, Clone)]
pub struct Java {
    program: PathBuf,
}

impl Java {
    /// `$JAVA_HOME/bin/java`, else the one on the `PATH`; `name` is the program that needs it, for messages.
    ///
    /// # Errors
    /// If there is none, or only an older one.
    pub fn find(name: &'static str) -> Result<Java, Unavailable> {
        let at_home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
        let program = at_home
            .filter(|java| program::is_executable(java))
            .or_else(|| program::on_path("java"))
            .ok_or(Unavailable::NoJava(name))?;
        let said = program::run(Command::new(&program).arg("-version")).map_err(|_| Unavailable::NoJava(name))?;
        match major_version(&said) {
            Some(found) if found >= MINIMUM_JAVA => Ok(Java { program }),
            Some(found) => Err(Unavailable::OldJava { name, found }),
            None => Err(Unavailable::NoJava(name)),
        }
    }

    /// The program `java`.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The program `keytool`, which every Java brings along.
    #[must_use]
    pub fn keytool(&self) -> PathBuf {
        self.beside("keytool")
    }

    /// The program `javac`, if this Java is one for developers.
    #[must_use]
    pub fn javac(&self) -> Option<PathBuf> {
        Some(self.beside("javac")).filter(|javac| program::is_executable(javac))
    }

    /// Beside the real `java`, behind the links.
    fn beside(&self, name: &str) -> PathBuf {
        let real = self.program.canonicalize().unwrap_or_else(|_| self.program.clone());
        real.with_file_name(name)
    }
}

/// `openjdk version "17.0.15" 2025-04-15` is 17; `java version "1.8.0_402"` is 8.
fn major_version(said: &str) -> Option<u32> {
    let quoted = said.split('"').nth(1)?;
    let mut numbers = quoted.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_java_are_read_in_both_styles() {
        assert_eq!(major_version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(major_version("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(major_version("java version \"1.8.0_402\""), Some(8));
        assert_eq!(major_version("openjdk version \"21-ea\""), Some(21));
        assert_eq!(major_version("no such thing"), None);
    }
}
