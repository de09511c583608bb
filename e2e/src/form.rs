//! How a benchmark's report is shown.

use clap::ValueEnum;

/// How a report is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Tables for people.
    #[default]
    Text,
    /// For programs.
    Json,
}
