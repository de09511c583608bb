//! `make bench-recovery`: from the kill of a taskmanager to the first epoch that is newly published, with millions of open sessions and
//! at full load.

mod args;
mod report;
mod run;
mod timeline;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use e2e::form::Form;
use e2e::interrupted::Interrupted;
use e2e::verdict;
use localcluster::machine;

use args::Args;
use report::Report;

fn main() -> ExitCode {
    verdict::exit(measure(&Args::parse()))
}

/// What is not as it should be.
async fn measure(args: &Args) -> Result<Vec<String>> {
    let interrupted = Interrupted::listen();
    let mut runs = Vec::new();
    for &interval in &args.intervals {
        runs.push(run::measure(args, interval, &interrupted).await?);
    }
    let report = Report { args, runs, machine: machine::machine(), commit: machine::commit(Path::new(".")) };
    match args.output {
        Form::Text => print!("{}", report.to_text()),
        Form::Json => println!("{}", report.to_json()),
    }
    Ok(report.complaints())
}
