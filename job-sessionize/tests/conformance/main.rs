//! Every case of `session_cases.jsonl`, `partition_cases.jsonl` and `web/`: recorded outputs of Flink against ours.
//!
//! The folder is the one that the environment variable `CONFORMANCE_DIR` names, or else `conformance/` of the repository.
//! One line is printed for each file, and one for each failure. A file that the folder lacks is said to be absent; if no case
//! at all was run, or any failed, the test fails. Nothing differs here: every case must pass.

mod job;
mod partition_cases;
mod row;
mod session_cases;
mod web;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// How the cases of one file went.
#[derive(Default)]
pub(crate) struct Tally {
    cases: usize,
    failures: Vec<String>,
}

/// Runs one case.
type Run = fn(&Value) -> anyhow::Result<()>;

const FILES: [(&str, Run); 2] =
    [("session_cases.jsonl", session_cases::run), ("partition_cases.jsonl", partition_cases::run)];

fn main() -> ExitCode {
    let folder = folder();
    let mut total = Tally::default();
    for (file, run_case) in FILES {
        total.report(file, &folder, run_file(&folder.join(file), run_case));
    }
    match web::files(&folder.join("web")) {
        Ok(files) if files.is_empty() => println!("web/*.jsonl.gz: absent from {}", folder.display()),
        Ok(files) => {
            for events in files {
                let name = events.file_name().unwrap_or_default().to_string_lossy().into_owned();
                total.report(&format!("web/{name}"), &folder, web::run(&events).map(Some));
            }
        }
        Err(error) => total.report("web/", &folder, Err(error)),
    }
    if total.cases == 0 {
        println!("no case was run: point CONFORMANCE_DIR at a folder with {}, {} or web/", FILES[0].0, FILES[1].0);
    }
    if total.cases == 0 || !total.failures.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn folder() -> PathBuf {
    match std::env::var_os("CONFORMANCE_DIR") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance"),
    }
}

/// None if there is no such file.
fn run_file(path: &Path, run_case: Run) -> anyhow::Result<Option<Tally>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let mut tally = Tally::default();
    for (number, line) in text.lines().enumerate() {
        let case: Value = serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        let Some(name) = case["name"].as_str() else { bail!("line {}: no `name`", number + 1) };
        tally.case(name, run_case(&case));
    }
    Ok(Some(tally))
}

impl Tally {
    /// Counts one case, and notes it if it did not pass.
    pub(crate) fn case(&mut self, name: &str, result: anyhow::Result<()>) {
        self.cases += 1;
        self.failures.extend(result.err().map(|error| format!("{name}: {error:#}")));
    }

    fn report(&mut self, file: &str, folder: &Path, result: anyhow::Result<Option<Tally>>) {
        match result {
            Ok(Some(tally)) => {
                tally.failures.iter().for_each(|failure| println!("{file}: FAILED {failure}"));
                println!("{file}: {} cases run, {} failed", tally.cases, tally.failures.len());
                self.cases += tally.cases;
                self.failures.extend(tally.failures);
            }
            Ok(None) => println!("{file}: absent from {}", folder.display()),
            Err(error) => self.failures.push({
                println!("{file}: FAILED {error:#}");
                format!("{error:#}")
            }),
        }
    }
}
