//! What the end-to-end tests share: real clusters of real processes, and the reading of expected answers.
//!
//! The tests start the built programs of this workspace (`target/release`), as users do; `make test` builds them first.

pub mod broker;
pub mod cluster;
pub mod expected;
pub mod programs;
