//! Postgres as a sink, and as what tools and tests ask.
//!
//! Rows go in by `COPY … (FORMAT binary)`, which is the form they already have. An epoch's rows and the move of the ledger
//! become visible by one commit (`docs/design/0002-exactly-once.md`); what else is in the table is nobody's business.
//!
//! Tests: beside the code for URLs and names, and `e2e/tests/services/postgres_sink.rs` against a real server.

mod audit;
mod client;
mod connect;
mod copy;
mod error;
mod fence;
mod late_replay;
mod ledger;
mod nul;
mod publisher;
mod rights;
mod session;
mod settings;
mod table;
mod table_name;
mod tables;
mod upsert;

pub use audit::{Audit, LedgerEntry, Look, Replayed};
pub use client::{Client, ColumnHead, Table};
pub use error::{DriverWords, Error};
pub use fence::fence;
pub use late_replay::{LateReplay, Place, Session, Span};
pub use publisher::PostgresPublisher;
pub use settings::{Settings, SettingsError, SslMode};
pub use table::{check, check_result, definition};
pub use table_name::{TableName, TableNameError};
