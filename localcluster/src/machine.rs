//! What figures were measured on: they mean nothing without it.

use std::path::Path;
use std::process::Command;

use crate::program;

/// The processor and how many of it.
#[must_use]
pub fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{count} × {}", model.trim_start_matches([' ', '\t', ':']))
}

/// The commit of the source, if git is here to tell.
#[must_use]
pub fn commit(project: &Path) -> String {
    let said = program::run(Command::new("git").arg("-C").arg(project).args(["describe", "--always", "--dirty"]));
    said.map_or_else(|_| "unknown".to_owned(), |said| said.trim().to_owned())
}
