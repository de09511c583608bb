//! The data plane: a taskmanager's slots, the subtasks in them, and the exchange between subtasks.
#![allow(dead_code)]
mod counters;
mod exchange;
mod subtask;
