//! The wire: three gRPC services, and the conversions between their messages and `stream-core`'s types.
//!
//! * [`v1::job_manager_server`]: clients ↔ jobmanager.
//! * [`v1::cluster_server`]: taskmanagers ↔ jobmanager.
//! * [`v1::data_exchange_server`]: taskmanager ↔ taskmanager.
//!
//! Only the managers' `grpc.rs` files and the command line speak these types; everything behind them speaks
//! `stream-core`'s. What arrives is checked here, once: a conversion from the wire is a `TryFrom`.

mod checkpoint;
mod convert;
pub mod limits;
mod log_line;

pub use checkpoint::{nonce_bytes, read_nonce};
pub use convert::{InvalidMessage, required};

/// The generated messages and services.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    reason = "generated; the .proto files are the documentation"
)]
pub mod v1 {
    tonic::include_proto!("gapwise.v1");
}

/// The version that both sides of every connection must share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
