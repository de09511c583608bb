//! What an event costs: the job from a generated file to a CSV file, in CPU time.
//!
//! CPU time and not a clock's: the machine may be busy with other things. It is what the system charged to the child
//! process, user and system together, in ticks of 10 ms; so the file must be large enough for a second of work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;
use crate::traffic::{self, Plan};

/// A benchmark that could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The events could not be written.
    #[error(transparent)]
    Generate(#[from] traffic::Error),
    /// The folder for events and sessions cannot be made, or the sessions not be read.
    #[error("cannot use `{}`", .path.display())]
    File {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The job failed.
    #[error("the job failed")]
    Job(#[from] program::Error),
    /// The system does not tell CPU times.
    #[error("`/proc/self/stat` does not tell the CPU time of child processes")]
    NoCpuTime,
}

/// One run of the job over all events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// CPU time of the job's process, in seconds.
    pub cpu_s: f64,
    /// Sessions it wrote.
    pub sessions: usize,
}

/// Events in a file, to be sessionized any number of times. The folder is removed when the value is dropped.
#[derive(Debug)]
pub struct Bench {
    dir: PathBuf,
    /// Size of the file of events.
    pub bytes: u64,
}

impl Bench {
    /// Writes the events into the folder `dir`, which is made.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn prepare(dir: &Path, plan: &Plan) -> Result<Bench, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::File { path: dir.to_owned(), source })?;
        let mut bench = Bench { dir: dir.to_owned(), bytes: 0 };
        bench.bytes = traffic::generate(plan, &bench.events())?;
        Ok(bench)
    }

    /// Runs `jobctl` once over the events.
    ///
    /// # Errors
    /// If the job fails or its cost cannot be told.
    pub fn run(&self, jobctl: &Path, parallelism: u16) -> Result<Run, Error> {
        let before = children_cpu_s()?;
        program::run(
            Command::new(jobctl)
                .args(["run", "sessionize", "--gap", "5m", "--parallelism", &parallelism.to_string()])
                .arg("--source")
                .arg(format!("file:{}", self.events().display()))
                .arg("--sink")
                .arg(format!("csv:{}", self.sessions().display())),
        )?;
        let cpu_s = children_cpu_s()? - before;
        let path = self.sessions();
        let rows = fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
        Ok(Run { cpu_s, sessions: rows.lines().count().saturating_sub(1) })
    }

    fn events(&self) -> PathBuf {
        self.dir.join("events.jsonl")
    }

    fn sessions(&self) -> PathBuf {
        self.dir.join("sessions.csv")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// User and system time of all child processes that have ended, in seconds.
///
/// # Errors
/// If the system does not tell.
pub fn children_cpu_s() -> Result<f64, Error> {
    let ticks =
        fs::read_to_string("/proc/self/stat").ok().and_then(|stat| children_ticks(&stat)).ok_or(Error::NoCpuTime)?;
    #[expect(clippy::cast_precision_loss, reason = "ticks of a benchmark are far below 2^52")]
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 16 and 17, counted from behind the name, which may hold anything.
fn children_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(13);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_children_are_the_16th_and_17th_field() {
        let stat = "42 (a b) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 700 80 20 0 1 0 987654 1000 200";
        assert_eq!(children_ticks(stat), Some(780));
        assert_eq!(children_ticks("42"), None);
    }
}
