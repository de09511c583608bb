//! The cluster as a whole: [`up`] starts what is missing, [`down`] stops what was started, [`status`] and [`logs`] look.
//!
//! What is started, in which order and with which command line, stands in one place: `component.rs`.
//! What belongs to the user (a Kafka at `KAFKA_URL`, a Postgres at `POSTGRES_URL`) is used and never touched.

mod component;
mod down;
mod logs;
mod status;
mod up;

pub use down::{Stopped, clean, down};
pub use logs::{follow, logs};
pub use status::{State, Status, status};
pub use up::{Up, up};

use std::path::PathBuf;

/// Why a cluster is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] crate::state_dir::Error),
    /// A program of ours is missing.
    #[error("`{}` is not built; run `cargo build --release --workspace`", .0.display())]
    NotBuilt(PathBuf),
    /// Somebody else has the port.
    #[error("port {port} is taken, so {name} cannot listen there; give it another: `{variable}={free} make up`")]
    PortTaken {
        /// The component.
        name: String,
        /// The port.
        port: u16,
        /// The variable that chooses it.
        variable: &'static str,
        /// A port that is free.
        free: u16,
    },
    /// Postgres cannot be prepared.
    #[error(transparent)]
    Postgres(#[from] crate::postgres::Error),
    /// Apache Kafka cannot be prepared.
    #[error(transparent)]
    ApacheKafka(#[from] crate::apache_kafka::Error),
    /// Prometheus or Grafana cannot be prepared.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::Error),
    /// A process cannot be started.
    #[error("{name} could not be started")]
    Spawn {
        /// The component.
        name: String,
        /// Why.
        source: crate::process::SpawnError,
    },
    /// A process ended while we waited for it.
    #[error("{name} ended while starting ({status}); the last lines of `{}`:\n{last_words}", .log.display())]
    Died {
        /// The component.
        name: String,
        /// Its exit status.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        last_words: String,
    },
    /// A process runs and does not become ready.
    #[error("{name} is not ready after {limit_s} s; the last lines of `{}`:\n{last_words}", .log.display())]
    NotReady {
        /// The component.
        name: String,
        /// How long we waited, in seconds.
        limit_s: u64,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        last_words: String,
    },
    /// There is no such log.
    #[error("there is no log of `{name}`; there are logs of: {known}")]
    NoLog {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A log cannot be read or shown.
    #[error("the log `{}` cannot be shown", .path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
