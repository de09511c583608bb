//! The record both jobs read: one web event, as JSON in one Kafka message.
//!
//! [`json`] turns the bytes of a message into the few text fields a job asked for, and [`event_time`] turns the text of
//! `event_time` into milliseconds. Both do what Flink 2.2 SQL does with the table
//! `… VARCHAR … WITH ('format' = 'json')` and `TO_TIMESTAMP(event_time, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''')`, down to
//! the odd cases, because a user who moves a job here must not see other rows.
//!
//! Deliberately absent: I/O, clocks, threads, typed columns, and what becomes of a message that cannot be read. That is
//! the caller's to decide; here it is an error.
//!
//! Tested against recorded outputs of Flink (`tests/conformance`), against `serde_json` and by mutation of valid records
//! (`tests/properties.rs`), and by examples beside the code.

pub mod event_time;
pub mod json;
