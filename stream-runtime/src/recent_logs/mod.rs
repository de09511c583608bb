//! What a process logged of late about each job, for whoever asks from outside: `jobctl logs`.
//!
//! A [`RecentLogsLayer`] keeps what passes the process's own filter and belongs to a job: whose event, or a span around it,
//! has a field `job_id`. Taskmanagers hand what they keep to the jobmanager, which so has the last words of those that are
//! gone. Memory is bounded in bytes for each job and in jobs; what is dropped is counted, and the count is told.

mod layer;
mod ring;

pub use layer::RecentLogsLayer;
pub use ring::{Lines, RecentLogs};
