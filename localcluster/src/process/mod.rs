//! Processes: starting one detached, knowing it again by its pid file, stopping it for certain.
//!
//! Not here: what the processes are for. A [`Launch`] says how one is started and stopped; [`Identity`] names a running
//! one so that a recycled pid is never mistaken for it; [`OwnedChild`] ties one to a value in a test.

mod cpu_time;
mod identity;
mod launch;
mod owned;

pub use cpu_time::{cpu_time_of, cpu_time_of_children};
pub use identity::Identity;
pub(crate) use launch::STOP_LIMIT;
pub use launch::{Launch, SpawnError, StopSignal};
pub use owned::OwnedChild;
