//! The data plane: a taskmanager's slots, the subtasks in them, and the exchange between subtasks.
//!
//! [`start`] runs a taskmanager: it joins a jobmanager, runs what that deploys, and sends data to and takes data from
//! the other taskmanagers. A deployment becomes an `attempt`: a `subtask` on a plain thread for each task, joined by the
//! channels of the `exchange`. tokio serves the network and control only; the two meet at queues bounded in bytes.
//!
//! Exactly once rests on what each kind of subtask does with a barrier: a source tells its positions, an operator copies its
//! state while it goes on, the committer seals the rows that came before it and publishes them once the checkpoint is
//! complete. What they store, `snapshotting` writes in the background. Which checkpoint is triggered, complete or aborted
//! is the jobmanager's business; without one the tasks go on, and take no checkpoints.
//!
//! It knows jobs only through `stream_core::pipeline::JobDefinition`, sources and sinks only through
//! `stream_runtime::connector::Connectors`, and checkpoint stores only through `stream_runtime::store::Stores`.
//!
//! Tested beside the code, where subtasks are stepped without threads, and in `tests/`, where taskmanagers run jobs over
//! real connections.

mod attempt;
mod counters;
mod deployment;
mod exchange;
mod grpc;
pub mod metrics;
mod observed;
mod options;
#[cfg(feature = "connectors")]
pub mod process;
mod recorders;
mod refusal;
mod report;
mod service;
mod slot;
mod snapshotting;
mod subtask;

#[doc(hidden)]
pub use exchange::measuring;
pub use options::{Options, default_id};
pub use service::{Error, Parts, start};
