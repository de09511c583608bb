//! What the processes share while running: the ports to the outside, the clock, settings, shutdown, logs.
//!
//! A port is a small trait that `connectors` implements for real systems and tests implement in memory. Nothing here
//! names a client library.

pub mod clock;
pub mod connector;
pub mod duration;
pub mod fail_point;
mod hostname;
pub mod jobs;
pub mod logging;
pub mod lookup;
pub mod memory;
pub mod recent_logs;
pub mod retry;
pub mod shutdown;
pub mod store;
pub mod stored;

pub use hostname::hostname;

/// What `--version` of every binary says after its name.
pub const VERSION: &str = concat!("(Gapwise) ", env!("CARGO_PKG_VERSION"));
