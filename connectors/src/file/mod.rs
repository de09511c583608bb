//! JSON-lines files and standard input as a source; CSV files, JSON-lines files and standard output as sinks.
//!
//! A file is one split, read from its beginning to its end; where to start (`--from`) is Kafka's notion and has no meaning
//! here. A sink's file has its final name only once it is whole; until then its text and its ledger are hidden files beside it, and
//! those of side tables, which are there once they have a row.
//!
//! Not here: what a line means. Tests: beside the code, and `tests/files.rs` through the ports.

mod csv;
mod direct;
mod error;
mod input;
mod json_lines;
mod ledger;
mod lines;
mod outlet;
mod pipe;
mod place;
mod publisher;
mod reader;
mod row_text;
mod splits;
mod table_text;
mod text;

pub use direct::stdout;
pub use error::Error;
pub use ledger::{fence, fence_without_ledger};
pub(crate) use outlet::FileOutlet;
pub use outlet::check_outlet;
pub use place::{check_stdout, check_writable};
pub use publisher::open_publisher;
pub use reader::Reader;
pub use splits::{splits, stdin_split};
pub use text::Format;
