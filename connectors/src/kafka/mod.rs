//! Kafka as a source, as an outlet of side tables, and what tools and tests need of it: topics, offsets, producing.
//!
//! Splits are partitions, which the jobmanager hands out: consumer groups are not used to spread them, and a group of the
//! user's is only told, after each checkpoint, how far was read.
//! Everything that blocks says so; the reader belongs on a thread of its own.
//!
//! `unsafe` is confined to `batch_queue`. Tests: beside the code for settings and words;
//! the end-to-end tests use it against Apache Kafka, over TLS too.

mod admin;
mod batch_queue;
mod commit;
mod connection;
mod consumer;
mod discover;
mod error;
mod failure;
mod held;
mod lookup;
pub(crate) mod outlet;
mod partition;
mod producer;
mod reader;
mod settings;

pub use admin::Admin;
pub use commit::commit;
pub use discover::discover;
pub use error::{ClientWords, Error};
pub use lookup::{Lookup, Offsets};
pub use producer::{Deliveries, Producer};
pub use reader::Reader;
pub use settings::{
    ALLOWED_SETTINGS, ClientSettings, HAS_TLS, MAY_COME_LATER, ON_DATA_LOSS, OnDataLoss, SettingsError, TopicSettings,
};
