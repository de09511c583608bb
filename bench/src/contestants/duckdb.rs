//! DuckDB: the whole file as a batch, with all cores.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use e2e::cluster::repository_file;
use localcluster::program;

use crate::contestant::{Contestant, Ready, Run};
use crate::data::Shape;
use crate::reference;
use crate::stage::Stage;
use crate::usage;

/// From PyPI, into an environment in the bench's folder.
const VERSION: &str = "2.0.0";

pub(crate) struct Duckdb {
    name: String,
    shape: Shape,
}

impl Duckdb {
    pub(crate) fn new(shape: Shape) -> Duckdb {
        Duckdb { name: format!("{}/duckdb", shape.name()), shape }
    }
}

impl Contestant for Duckdb {
    fn name(&self) -> &str {
        &self.name
    }

    fn what(&self) -> &str {
        "DuckDB, file to CSV, a batch with window functions, all cores"
    }

    fn is_default(&self) -> bool {
        self.shape == Shape::Web
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready> {
        stage.data(self.shape)?;
        Ok(match install(stage) {
            Ok(()) => Ready::Yes,
            Err(error) => Ready::No(format!("{error:#}")),
        })
    }

    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run> {
        let (data, dir) = (stage.data(self.shape)?, stage.clean_dir(&self.name)?);
        let file = dir.join("sessions.csv");
        let mut python = Command::new(python(stage));
        python.arg(repository_file("bench/duckdb/sessions.py")?).arg(&data.events).arg(&file);
        let log = stage.log(&self.name);
        let usage = usage::measure(&mut [python], &log, &stage.interrupted, &mut || false)?;
        reference::check(reference::of_csv(&file)?, data.expected, Some((&file, &data.sessions)))?;
        Ok(Run {
            count: data.count,
            wall_s: usage.wall_s,
            cpu_s: usage.cpu_s,
            peak_bytes: Some(usage.peak_bytes),
            first_row_s: None,
        })
    }
}

fn python(stage: &Stage<'_>) -> PathBuf {
    stage.dir.join("duckdb/bin/python")
}

fn install(stage: &mut Stage<'_>) -> Result<()> {
    let wanted = format!("duckdb=={VERSION}");
    let version = || program::run(Command::new(python(stage)).args(["-c", "import duckdb; print(duckdb.__version__)"]));
    if version().is_ok_and(|found| found.trim() == VERSION) {
        stage.versions.insert("duckdb".to_owned(), VERSION.to_owned());
        return Ok(());
    }
    let python3 = program::on_path("python3").context("there is no `python3`")?;
    stage.bar.say("fetching DuckDB from PyPI, once");
    program::run(Command::new(python3).args(["-m", "venv"]).arg(stage.dir.join("duckdb")))?;
    program::run(Command::new(python(stage)).args(["-m", "pip", "install", "--quiet", &wanted]))?;
    stage.versions.insert("duckdb".to_owned(), version()?.trim().to_owned());
    Ok(())
}
