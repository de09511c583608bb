//! Synthetic web traffic: the same bytes for the same seed, on every machine.
//!
//! [`WebEvents`] writes one event at a time; [`generate`] makes a file of them in one of several [`Shape`]s, by default one
//! where about every fifth event begins a session of its own (gap 5 minutes); [`Live`] produces them as if they happened now. No crate for randomness: their algorithms may change.

mod file;
mod live;
mod random;
mod web_event;

pub use file::{Error, Plan, Shape, generate, generate_with};
pub use live::Live;
pub use web_event::WebEvents;
