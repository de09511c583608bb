//! `top`: a cluster and one of its jobs on one screen.
//!
//! A [`Look`] is what the jobmanager answered at one moment. [`State`] is made of looks and keys, and [`frame::draw`] makes a
//! frame of it: plain values and plain functions, so that every size and every state is tested without a terminal
//! or a cluster. `commands::top` looks, waits and draws.

mod cells;
mod figures;
pub(crate) mod frame;
mod heights;
mod state;
mod symbols;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use state::{Look, Next, State};
pub(crate) use symbols::Symbols;
