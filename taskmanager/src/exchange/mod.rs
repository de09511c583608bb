//! How subtasks hand data on to each other: by pointer within a process, over gRPC between processes.
//!
//! Every pair of an upstream and a downstream subtask is joined by one channel, bounded in bytes. A downstream subtask has
//! one [`gate`] with a channel for each upstream subtask; an upstream subtask has [`outputs`] with a sender for each
//! downstream one. A local sender puts messages into the gate itself; a remote one ([`remote`]) spends the credit that
//! the gate at the other end granted, and a gRPC stream ([`grpc`]) carries what was paid for. So the bytes in flight
//! between two subtasks never exceed the gate's bound, wherever the two run, and a slow subtask slows down its upstream
//! only. The [`directory`] is where arriving streams find their gate.
//!
//! Nothing here looks into events or rows, and nothing aligns barriers: a gate can hold a channel back, and its subtask
//! says when. Tested beside the code, and over real connections in `tests/`.

pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod gate;
pub(crate) mod grpc;
pub mod measuring;
pub(crate) mod message;
pub(crate) mod outputs;
pub(crate) mod remote;
