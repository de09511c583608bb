//! The real sources, sinks and look-ups: one module and one cargo feature for each outside system.
//!
//! [`RealConnectors`] is what the processes are given as their [`Connectors`]; it looks at the scheme of a URI and hands
//! over to [`kafka`], [`postgres`] or [`mod@file`], or makes bids of a benchmark itself ([`mod@nexmark`]); for look-ups to [`geo`]. [`RealStores`] likewise opens where checkpoints are kept. Only this crate
//! names a client library, and that of a Flink cluster is [`flink`], on which a job can be submitted too. What a job does with the records, and when an epoch is published, is decided elsewhere.
//!
//! Tests: beside the code and in `tests/` for everything that needs no server, in `e2e/tests` against real ones.

mod dispatch;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "flink")]
pub mod flink;
#[cfg(feature = "geo")]
pub mod geo;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "file")]
mod ledger;
#[cfg(feature = "nexmark")]
pub mod nexmark;
#[cfg_attr(not(any(feature = "file", feature = "kafka")), allow(unused, reason = "nothing else is an outlet"))]
mod outlets;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "file", feature = "kafka", feature = "postgres"))]
mod rows;
pub mod store;
pub mod uri;

pub use dispatch::RealConnectors;
pub use store::RealStores;
#[cfg(doc)]
use stream_runtime::connector::Connectors;
