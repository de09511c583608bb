//! Records of web events as every job takes them in: read, or bad and kept as dead letters.
//!
//! | module | holds |
//! |---|---|
//! | [`intake`] | a record → its text fields and its event time |
//! | [`dead_letters`] | what becomes of a record that cannot be read |
//! | [`side_table`] | where a table beside the result stands, and how its rows name their job and their record |
//!
//! What is read is what Flink reads (`web_event`). What cannot be read is *bad*: counted, and otherwise skipped, where Flink
//! would fail the job or take another time for its own (`docs/differences-from-flink.md`), unless the job is told to keep it
//! or to fail.
//!
//! Deliberately absent: what a job makes of an event, and which fields it wants. Pure, as the jobs are.

pub mod dead_letters;
pub mod intake;
pub mod side_table;

pub use dead_letters::{DeadLetters, OnBadRecord};
pub use intake::Intake;
