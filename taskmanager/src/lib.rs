//! The data plane: a taskmanager's slots, the subtasks in them, and the exchange between subtasks.
//!
//! [`start`] runs a taskmanager: it joins a jobmanager, runs what that deploys, and sends data to and takes data from
//! the other taskmanagers. A deployment becomes an `attempt`: a `subtask` on a plain thread for each task, joined by the
//! channels of the `exchange`. tokio serves the network and control only; the two meet at queues bounded in bytes.
//!
//! It knows jobs only through `stream_core::pipeline::JobDefinition`, and sources and sinks only through
//! `stream_runtime::connector::Connectors`. Not here yet: checkpoints (barriers are carried, nothing acts on them), and
//! going on without a jobmanager (tasks are canceled when it is lost).
//!
//! Tested beside the code, where subtasks are stepped without threads, and in `tests/`, where taskmanagers run jobs over
//! real connections.

mod attempt;
mod counters;
mod deployment;
mod exchange;
mod grpc;
mod options;
mod refusal;
mod report;
mod service;
mod slot;
mod subtask;

pub use options::{Options, default_id};
pub use service::{Error, start};
