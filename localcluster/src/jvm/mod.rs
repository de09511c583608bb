//! Programs for the JVM from their jars: the machine's [`Java`], and [`Jars`] that Maven fetches once and the cache keeps.

mod jars;
mod java;

use std::path::{Path, PathBuf};

pub use jars::{JarSet, Jars};
pub use java::{Java, MINIMUM_JAVA};

/// What log4j 2 is to write of such a program: warnings and errors only, one line each, to standard output.
pub const LOG4J: &str = "\
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c)%n%throwable
";

/// What the machine lacks to run such a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No `java`.
    #[error(
        "{0} needs java {MINIMUM_JAVA} or newer, and there is no `java`; install one (`apt-get install default-jre-headless`)"
    )]
    NoJava(&'static str),
    /// A `java` that is too old.
    #[error(
        "{name} needs java {MINIMUM_JAVA} or newer, and `java` is version {found}; install a newer one or set JAVA_HOME"
    )]
    OldJava {
        /// The program.
        name: &'static str,
        /// The major version of `java`.
        found: u32,
    },
    /// The jars are not in the cache, and nothing can fetch them.
    #[error("the jars of {0} are fetched by maven once, and there is no `mvn`; install it (`apt-get install maven`)")]
    NoMaven(&'static str),
}

/// Why there are no jars.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Maven failed.
    #[error("maven could not fetch the jars of {name} {version}; check the network, then try again")]
    Maven {
        /// The program.
        name: &'static str,
        /// Its version.
        version: &'static str,
        /// What Maven said.
        source: crate::program::Error,
    },
    /// A file or folder that we need cannot be made.
    #[error("cannot {action} `{}`", .path.display())]
    File {
        /// In the infinitive.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Whether a program can be started here: Java is there, and its jars are in the cache or Maven can fetch them.
///
/// # Errors
/// What is missing, and what to install.
pub fn available(jars: &JarSet) -> Result<(), Unavailable> {
    Java::find(jars.name)?;
    jars.find_or_fetchable(&crate::cache::dir())
}

/// For a file that cannot be made.
pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
