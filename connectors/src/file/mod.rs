//! JSON-lines files and standard input as a source; CSV files, JSON-lines files and standard output as sinks.
//!
//! A file is one split, read from its beginning to its end; where to start (`--from`) is Kafka's notion and has no meaning
//! here. A sink's file has its final name only once it is whole.
//!
//! Not here: what a line means. Tests: beside the code, and `tests/files.rs` through the ports.

mod csv;
mod error;
mod input;
mod json_lines;
mod lines;
mod pipe;
mod reader;
mod row_text;
mod sink;
mod splits;
mod whole_file;

pub use error::Error;
pub use reader::Reader;
pub use sink::{Format, create, stdout};
pub use splits::{splits, stdin_split};
pub use whole_file::check_writable;
