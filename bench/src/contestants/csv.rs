//! Ours, from a file to CSV, as a user runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use e2e::programs;

use crate::contestant::{Contestant, Ready, Run};
use crate::data::{Data, Shape};
use crate::reference;
use crate::stage::Stage;
use crate::usage;

/// `jobctl run` on a file.
pub(crate) struct Csv {
    name: String,
    what: String,
    shape: Shape,
    how: How,
}

/// How it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// One, with so many subtasks, of one file: one subtask reads it all.
    Parallelism(u16),
    /// One with two subtasks of two files, so that both read.
    TwoFiles,
    /// Two side by side, each with one subtask and all of the events: what two cores could do at most.
    TwoCopies,
}

impl Csv {
    pub(crate) fn new(shape: Shape, how: How) -> Csv {
        let (name, what) = match how {
            How::Parallelism(1) => ("csv-p1".to_owned(), "ours, file to CSV, parallelism 1".to_owned()),
            How::Parallelism(count) => (
                format!("csv-p{count}-one-file"),
                format!("ours, one file to CSV, parallelism {count}: one subtask reads it all"),
            ),
            How::TwoFiles => {
                ("csv-p2".to_owned(), "ours, the same events in two files to CSV, parallelism 2: both read".to_owned())
            }
            How::TwoCopies => ("csv-two-copies".to_owned(), "ours, two of parallelism 1 side by side".to_owned()),
        };
        Csv { name: format!("{}/{name}", shape.name()), what, shape, how }
    }

    fn commands(&self, data: &Data, dir: &Path) -> Result<Vec<Command>> {
        let (copies, parallelism) = match self.how {
            How::Parallelism(count) => (1, count),
            How::TwoFiles => (1, 2),
            How::TwoCopies => (2, 1),
        };
        let source = match self.how {
            How::TwoFiles => data.halves()?.map(|half| half.display().to_string()).join(","),
            How::Parallelism(_) | How::TwoCopies => data.events.display().to_string(),
        };
        let source = format!("file:{source}");
        let command = |copy: usize| {
            let sink = format!("csv:{}", dir.join(result(copy)).display());
            let parallelism = parallelism.to_string();
            let args = ["run", "sessionize", "--gap", "5m", "--parallelism", &parallelism, "--source", &source];
            programs::command("jobctl", &[&args[..], &["--sink", &sink]].concat(), &[])
        };
        (0..copies).map(command).collect::<Result<_>>()
    }
}

fn result(copy: usize) -> String {
    format!("sessions-{copy}.csv")
}

impl Contestant for Csv {
    fn name(&self) -> &str {
        &self.name
    }

    fn what(&self) -> &str {
        &self.what
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready> {
        programs::path("jobctl")?;
        let data = stage.data(self.shape)?;
        if self.how == How::TwoFiles {
            data.halves()?;
        }
        Ok(Ready::Yes)
    }

    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run> {
        let (data, dir) = (stage.data(self.shape)?, stage.clean_dir(&self.name)?);
        let mut commands = self.commands(&data, &dir)?;
        let mut has_row = || has_content(&dir);
        let usage = usage::measure(&mut commands, &stage.log(&self.name), &stage.interrupted, &mut has_row)?;
        for copy in 0..commands.len() {
            let file = dir.join(result(copy));
            let files = Some((file.as_path(), data.sessions.as_path()));
            reference::check(reference::of_csv(&file)?, data.expected, files)?;
        }
        Ok(Run {
            count: data.count * commands.len() as u64,
            wall_s: usage.wall_s,
            cpu_s: usage.cpu_s,
            peak_bytes: Some(usage.peak_bytes),
            first_row_s: usage.first_row_s,
        })
    }
}

/// Whether anything was written into the folder, hidden files too: rows appear there before the file has its name.
fn has_content(dir: &Path) -> bool {
    /// More than the names of the columns.
    const HEAD_BYTES: u64 = 100;
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).any(|file| file.is_file() && file.len() > HEAD_BYTES)
}
