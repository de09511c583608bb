//! Postgres as a sink, and as what tools and tests ask.
//!
//! Rows go in by `COPY … (FORMAT binary)`, which is the form they already have. In this step each flush is a transaction of
//! its own and a crash can repeat or lose the rows around it; publishing exactly once comes with checkpoints.
//!
//! Tests: beside the code for URLs and names, and `e2e/tests/postgres_sink.rs` against a real server.

mod client;
mod connect;
mod copy;
mod error;
mod settings;
mod table;
mod table_name;
mod writer;

pub use client::{Client, ColumnHead, Table};
pub use error::{DriverWords, Error};
pub use settings::{Settings, SettingsError, SslMode};
pub use table::check;
pub use table_name::{TableName, TableNameError};
pub use writer::Writer;
