//! A whole jobmanager over real gRPC; the tests play its taskmanagers, its sources and sinks.
#![allow(clippy::unwrap_used)]

mod connectors;
mod jobmanager;
mod taskmanager;

mod discovery;
mod life;
mod registration;
mod shutdown;
mod submission;
mod views;
