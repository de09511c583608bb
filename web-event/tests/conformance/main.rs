//! Every case of `json_cases.jsonl` and `timestamp_cases.jsonl`: recorded outputs of Flink against ours.
//!
//! The folder is the one that the environment variable `CONFORMANCE_DIR` names (from the repository's root, if relative), or
//! else `conformance/` of the repository. One line is printed for each file, and one for each failure. A file that the folder
//! lacks is said to be absent. The test fails if a case failed, or if none was run although the folder holds nothing for
//! other tests either. What differs on purpose is in `exceptions`, and is counted apart.

mod exceptions;
mod json_cases;
mod timestamp_cases;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use exceptions::Exception;
use serde_json::Value;

/// How the cases of one file went.
#[derive(Default)]
struct Tally {
    cases: usize,
    /// A case expects something under each option or pattern.
    expectations_run: usize,
    failures: Vec<String>,
    out_of_scope: BTreeMap<Exception, usize>,
}

/// Runs one case.
type Run = fn(&Value, &mut Tally) -> anyhow::Result<()>;

const FILES: [(&str, Run); 2] =
    [("json_cases.jsonl", json_cases::run), ("timestamp_cases.jsonl", timestamp_cases::run)];

fn main() -> ExitCode {
    let folder = folder();
    let mut run = 0;
    let mut failed = 0;
    for (file, run_case) in FILES {
        match run_file(&folder.join(file), run_case) {
            Ok(Some(tally)) => {
                run += tally.expectations_run;
                failed += tally.failures.len();
                tally.failures.iter().for_each(|failure| println!("{file}: FAILED {failure}"));
                println!("{file}: {}", tally.summary());
            }
            Ok(None) => println!("{file}: absent from {}", folder.display()),
            Err(error) => {
                failed += 1;
                println!("{file}: FAILED {error:#}");
            }
        }
    }
    let found_nothing = run == 0 && !has_other_cases(&folder);
    if found_nothing {
        println!("no case was run: point CONFORMANCE_DIR at a folder with {} or {}", FILES[0].0, FILES[1].0);
    }
    if found_nothing || failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // An absolute path replaces the root.
    root.join(std::env::var_os("CONFORMANCE_DIR").unwrap_or("conformance".into()))
}

/// Whether the folder holds cases, but only such as the tests of other crates run.
fn has_other_cases(folder: &Path) -> bool {
    let is_other = |name: &str| name.ends_with("_cases.jsonl") && FILES.iter().all(|(ours, _)| *ours != name);
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_str().is_some_and(is_other))
        && FILES.iter().all(|(ours, _)| !folder.join(ours).exists())
}

/// None if there is no such file.
fn run_file(path: &Path, run_case: Run) -> anyhow::Result<Option<Tally>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let mut tally = Tally::default();
    for (number, line) in text.lines().enumerate() {
        let of_line = || format!("in line {} of `{}`", number + 1, path.display());
        let case = serde_json::from_str(line).with_context(of_line)?;
        tally.cases += 1;
        run_case(&case, &mut tally).with_context(of_line)?;
    }
    Ok(Some(tally))
}

impl Tally {
    /// Counts one expectation, and notes it if it was not met.
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: &T, actual: &T) {
        self.expectations_run += 1;
        if expected != actual {
            self.failures.push(format!("{what}: expected {expected:?}, got {actual:?}"));
        }
    }

    fn leave_out(&mut self, exception: Exception) {
        *self.out_of_scope.entry(exception).or_default() += 1;
    }

    fn summary(&self) -> String {
        let mut summary =
            format!("{} cases, {} expectations run, {} failed", self.cases, self.expectations_run, self.failures.len());
        let left_out: usize = self.out_of_scope.values().sum();
        if left_out > 0 {
            let by_name: Vec<String> =
                self.out_of_scope.iter().map(|(exception, count)| format!("{exception:?} {count}")).collect();
            summary += &format!(
                ", {left_out} out of scope ({}: see web-event/tests/conformance/exceptions.rs)",
                by_name.join(", ")
            );
        }
        summary
    }
}
