//! Real Apache Kafka from its jars: the reference our own broker is compared with, and `make up KAFKA=apache`.
//!
//! No tarball: Maven copies the jars once into the cache ([`jvm::Jars`]); a KRaft node (broker and controller in one JVM)
//! is then `java -cp 'lib/*' kafka.Kafka server.properties`. Main classes, jars and log4j set-up were checked with
//! 4.1.1 on Java 17: 4.5 s to start, 350 MB resident with a heap of 256 MB.
//!
//! [`available`] says why a machine cannot have it, so that a test can say which part it skipped.

mod certificate;
mod jars;
mod node;
mod properties;
mod throwaway;

pub use jars::VERSION;
pub use node::Node;
pub use properties::Listeners;
pub use throwaway::{ApacheKafka, Options, SaslSsl};

use std::path::PathBuf;

use crate::jvm::{self, Unavailable};

/// The user of the SASL_SSL listener.
pub const SASL_USER: &str = "web";
/// The user's password.
pub const SASL_PASSWORD: &str = "secret";

/// Why there is no Apache Kafka.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Java or the jars are missing, or a file cannot be made.
    #[error(transparent)]
    Jvm(#[from] jvm::Error),
    /// A folder could not be formatted, or a certificate not be made.
    #[error("apache kafka's {step} failed")]
    Prepare {
        /// What was tried.
        step: &'static str,
        /// What it said.
        source: crate::program::Error,
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
    jvm::available(&jars::JARS)
}
