//! A whole jobmanager over real gRPC; the tests play its taskmanagers, its sources and sinks.
#![allow(clippy::unwrap_used)]

mod connectors;
mod jobmanager;
mod leaving;
mod stores;
mod taskmanager;

mod adoption;
mod discovery;
mod life;
mod logs;
mod recovery;
mod registration;
mod requests;
mod shutdown;
mod submission;
mod sweeping;
mod views;
