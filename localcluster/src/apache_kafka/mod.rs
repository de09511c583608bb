//! Real Apache Kafka from its jars: the reference our own broker is compared with, and `make up KAFKA=apache`.
//!
//! No tarball: Maven copies the jars once into the cache ([`Jars`]); a KRaft node (broker and controller in one JVM)
//! is then `java -cp 'lib/*' kafka.Kafka server.properties`. Main classes, jars and log4j set-up were checked with
//! 4.1.1 on Java 17: 4.5 s to start, 350 MB resident with a heap of 256 MB.
//!
//! [`available`] says why a machine cannot have it, so that a test can say which part it skipped.

mod certificate;
mod jars;
mod java;
mod node;
mod properties;
mod throwaway;

pub use jars::{Jars, VERSION};
pub use java::{Java, MINIMUM_JAVA};
pub use node::Node;
pub use properties::Listeners;
pub use throwaway::{ApacheKafka, Options, SaslSsl};

use std::path::PathBuf;

/// The user of the SASL_SSL listener.
pub const SASL_USER: &str = "web";
/// The user's password.
pub const SASL_PASSWORD: &str = "secret";

/// What the machine lacks to run Apache Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No `java`.
    #[error(
        "apache kafka needs java {MINIMUM_JAVA} or newer, and there is no `java`; install one (`apt-get install openjdk-{MINIMUM_JAVA}-jre-headless`)"
    )]
    NoJava,
    /// A `java` that is too old.
    #[error(
        "apache kafka needs java {MINIMUM_JAVA} or newer, and `java` is version {found}; install a newer one or set JAVA_HOME"
    )]
    OldJava {
        /// Its major version.
        found: u32,
    },
    /// The jars are not in the cache, and nothing can fetch them.
    #[error(
        "apache kafka's jars are fetched by maven once, and there is no `mvn`; install it (`apt-get install maven`)"
    )]
    NoMaven,
}

/// Why there is no Apache Kafka.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Maven failed.
    #[error("maven could not fetch the jars of apache kafka {VERSION}; check the network, then try again")]
    Maven(#[source] crate::program::Error),
    /// A folder could not be formatted, or a certificate not be made.
    #[error("apache kafka's {step} failed")]
    Prepare {
        /// What was tried.
        step: &'static str,
        /// What it said.
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
    /// The machine has no free port.
    #[error("no free port for apache kafka")]
    NoPort(#[source] std::io::Error),
    /// The JVM cannot be started.
    #[error("apache kafka could not be started")]
    Spawn(#[from] crate::process::SpawnError),
    /// It ended, or does not answer.
    #[error("apache kafka is not ready; the last lines of `{}`:\n{last_words}", .log.display())]
    NotReady {
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        last_words: String,
    },
}

/// Whether Apache Kafka can be started here: Java is there, and its jars are in the cache or Maven can fetch them.
///
/// # Errors
/// What is missing, and what to install.
pub fn available() -> Result<(), Unavailable> {
    Java::find()?;
    Jars::find_or_fetchable(&crate::cache::dir())
}

fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
