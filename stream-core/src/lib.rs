//! The rules of streaming as plain values and plain functions.
//!
//! Nothing here waits, talks or tells the time: no async runtime, no clock, no thread, no socket, no file. Time comes in
//! as an argument, decisions leave as values, and the edges (`jobmanager`, `taskmanager`, `connectors`) carry them out.
//! `make check` fails if this crate's dependency tree gains anything that could break that promise.
//!
//! The modules are ordered: each knows only those above it.
//!
//! | module | holds |
//! |---|---|
//! | [`ids`], [`time`], [`secret`] | newtypes, so that no bare number or text crosses a function |
//! | [`log_line`] | what a process says about a job |
//! | [`key_group`] | key → key group → subtask, by a fixed hash |
//! | [`origin`], [`event_batch`], [`row`], [`table`] | what travels: keyed events in columns with where they come from, rows ready for `COPY`, and for which table |
//! | [`watermark`] | event time's progress: per split, per input, never backwards |
//! | [`snapshot`] | keyed state as it is stored |
//! | [`timers`], [`session`] | the session windows of every key: add, merge, fire, late |
//! | [`tumbling`] | the tumbling windows of all keys: count, fire, late |
//! | [`collector`], [`operator`] | what a job's code sees: batches in, routed batches out |
//! | [`pipeline`], [`plan`] | the job's graph as data, and its expansion over slots |
//! | [`barrier`], [`checkpoint`] | the cut through the stream; what a checkpoint holds, and when it is complete |
//! | [`source_splits`], [`epochs`] | the bookkeeping of a source subtask, and of the committer |
//! | [`slot`], [`job`] | the control plane's state machines: `on(now, event) -> effects` |

pub mod barrier;
pub mod checkpoint;
pub mod collector;
pub mod epochs;
pub mod event_batch;
pub mod ids;
pub mod job;
pub mod key_group;
pub mod log_line;
pub mod operator;
pub mod origin;
pub mod outlet;
pub mod pipeline;
pub mod plan;
pub mod random;
pub mod row;
pub mod secret;
pub mod session;
pub mod slot;
pub mod snapshot;
pub mod source_splits;
pub mod table;
pub mod time;
pub mod timers;
pub mod tumbling;
pub mod watermark;
pub mod watermark_alignment;
