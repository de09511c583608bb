//! The connectors, each against the real system, without a cluster: Kafka, Postgres, the stores of checkpoints, a service of locations.
#![allow(clippy::unwrap_used, reason = "a test")]

mod kafka_data_loss;
mod kafka_memory;
mod kafka_over_tls;
mod kafka_records;
mod kafka_source;
mod location_service;
mod postgres_rights;
mod postgres_sink;
mod postgres_upsert;
mod store_contract;
