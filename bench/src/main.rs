//! `make bench`: the product beside the bare limits of the machine and beside others that do the same work.
//!
//! | module | holds |
//! |---|---|
//! | [`contestant`] | what takes part: a name, a way to prepare it, a run that is checked; **a new workload is one of these and a line in [`contestants::all`]** |
//! | [`stage`] | what they share: data, Kafka and Postgres, folders, the progress bar |
//! | [`data`], [`reference`](mod@reference) | the events, made once, and the right answer, by a naive batch |
//! | [`usage`] | what a process took: time, CPU time, memory |
//! | [`limits`] | the programs that do a part of the work and nothing else |
//! | [`report`], [`goals`], [`docs`] | what was measured, for people, for programs and for the documentation |
//!
//! Everything that is measured is a process of its own, the bare limits too: this program again, with a hidden command. So all
//! are charged by the system in the same way, start-up included.

mod args;
mod contestant;
mod contestants;
mod data;
mod docs;
mod goals;
mod limits;
mod reference;
mod report;
mod stage;
mod turns;
mod usage;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use args::{Args, Form};
use report::Report;
use stage::Stage;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if let Some(limit) = &args.limit {
        return limit.run();
    }
    let mut contestants = contestants::all();
    if args.list {
        for contestant in &contestants {
            let when_asked = if contestant.is_default() { "" } else { "  (when asked for)" };
            println!("{:32} {}{when_asked}", contestant.name(), contestant.what());
        }
        return Ok(());
    }
    let report = match &args.from {
        Some(file) => Report::read(file)?,
        None => {
            contestants.retain(|one| if args.only.is_empty() { one.is_default() } else { args.names(one.name()) });
            anyhow::ensure!(!contestants.is_empty(), "nothing is called `{}`; see --list", args.only.join("`, `"));
            let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
            let mut stage = Stage::new(args, runtime)?;
            let report = turns::take(&mut stage, &mut contestants)?;
            report.write(&args.dir.join("report.json"))?;
            report
        }
    };
    match args.output {
        Form::Text => print!("{}", report.to_text()),
        Form::Json => println!("{}", report.to_json()?),
    }
    if args.docs {
        docs::write(&report)?;
    }
    Ok(())
}
