//! `make bench-checkpoints`: the pause, size and duration of checkpoints of a job that holds many open sessions, and what they cost an event.

mod args;
mod costs;
mod docs;
mod overhead;
mod report;
mod run;

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
    for sessions in &args.sessions {
        runs.push(run::measure(args, sessions.get(), &interrupted).await?);
    }
    let report = Report { args, runs, machine: machine::machine(), commit: machine::commit(Path::new(".")) };
    match args.output {
        Form::Text => print!("{}", report.to_text()),
        Form::Json => println!("{}", report.to_json()),
    }
    if args.docs {
        docs::write(&report)?;
    }
    Ok(report.complaints())
}
