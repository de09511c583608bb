//! How a benchmark that has bounds ends.

use std::process::ExitCode;

use anyhow::Result;

/// Measures, on a runtime of its own; what is not as it should be is told, a line each, and makes the exit code 1, as a failure does.
pub fn exit(measured: impl Future<Output = Result<Vec<String>>>) -> ExitCode {
    let measured = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(measured));
    let complaints = measured.unwrap_or_else(|error| vec![format!("{error:#}")]);
    complaints.iter().for_each(|complaint| eprintln!("error: {complaint}"));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
