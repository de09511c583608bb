//! Whole clusters as real processes, with real Kafka and real Postgres, some of which are really killed.
//!
//! One program for all, because linking forty costs more than running them, and because they mostly wait: several run side by side.
//! `cargo test … --test clusters silence` runs those of one file.
#![allow(clippy::unwrap_used, reason = "a test")]

mod aggregation;
mod audit;
mod backfill;
mod bad_input;
mod checkpoints_in_s3;
mod damaged_checkpoints;
mod dashboards;
mod explain;
mod flink;
mod full_disk;
mod graceful_stop;
mod kill_points;
mod late_replay;
mod logs;
mod million_events;
mod nexmark;
mod open_sessions_table;
mod outlets;
mod poison;
mod postgres_away;
mod process_events;
mod recovery;
mod rescale;
mod session_limits;
mod side_tables;
mod silence;
mod source_changes;
mod sweep;
mod telemetry;
mod top;
mod watching;
mod web_traffic;
