//! What the end-to-end tests share: real clusters of real processes, and the reading of expected answers.
//!
//! The tests start the built programs of this workspace (`target/release`), as users do; `make test` builds them first.

pub mod audit;
pub mod broker;
pub mod cluster;
pub mod collector;
pub mod expected;
pub mod feed;
pub mod flink;
pub mod form;
pub mod hits;
pub mod interrupted;
pub mod job;
pub mod location_api;
pub mod member;
pub mod networks;
pub mod nexmark_rows;
pub mod object_server;
pub mod open_sessions;
pub mod oracle;
pub mod page;
pub mod plot;
pub mod programs;
pub mod proxy;
pub mod random;
pub mod recovery_time;
pub mod running;
pub mod sink;
pub mod small_disk;
pub mod subject;
pub mod telemetry_tools;
pub mod tmux;
pub mod traffic;
pub mod usage;
pub mod verdict;
pub mod visitors;
