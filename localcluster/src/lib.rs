//! A cluster on this machine, without Docker: Kafka, Postgres, a jobmanager and taskmanagers as plain processes.
//!
//! Two users: the binary `localcluster`, which is what `make up`, `down`, `status`, `demo` and the rest call; and the
//! tests of other crates, which start a throw-away [`postgres::Postgres`], [`apache_kafka::ApacheKafka`] or
//! [`devbroker_process::Devbroker`] on a free port and lose it when the value is dropped.
//!
//! Deliberately absent: anything that a cluster of many machines needs (restarts, placement, upgrades). A process that
//! dies stays dead until the next `up`, so that its log can be read. Linux only: processes are known by `/proc`.
//!
//! Everything here blocks on purpose (it starts processes and waits for them); only talking to Kafka and Postgres is
//! async, because their clients are. Tests: beside the code for what is a rule (layouts, parsing, pid files), and in
//! `tests/` for what needs real processes.

pub mod analysis;
pub mod apache_kafka;
pub mod cache;
pub mod cluster;
pub mod database;
pub mod deadline;
pub mod demo;
pub mod devbroker_process;
pub mod env_file;
pub mod jvm;
pub mod kafka_probe;
pub mod load;
pub mod machine;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod program;
pub mod psql;
pub mod sessions;
pub mod settings;
pub mod state_dir;
pub mod table;
pub mod telemetry;
pub mod topic;
pub mod traffic;
pub mod user;
