//! `make bench-scaling`: what each stage costs an event, and what that says of more machines than are here, checked where it can be.
//!
//! The same job at the same parallelism runs in 1, 2 and 4 taskmanagers: then none, half and three quarters of the events go over a socket. What
//! that costs is predicted from the runs in one taskmanager and from a channel measured alone, and compared with what the system charged
//! (`model.rs`). It is to run on a machine that has nothing else to do: the size of batches follows from how fast events are read.

mod args;
mod docs;
mod exchange;
mod least_squares;
mod model;
mod report;
mod run;
mod stages;
mod subject;
mod wire;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use e2e::form::Form;
use e2e::interrupted::Interrupted;
use e2e::verdict;
use localcluster::machine;

use args::{Alone, Args};
use report::Report;
use subject::Subject;

/// As the product's own programs have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    match args.alone {
        Some(Alone::Exchange) => verdict::exit(std::future::ready(exchange::print().map(|()| Vec::new()))),
        None => verdict::exit(measure(&args)),
    }
}

/// What is not as it should be.
async fn measure(args: &Args) -> Result<Vec<String>> {
    let interrupted = Interrupted::listen();
    eprintln!("the exchange alone");
    let exchange = exchange::measure()?;
    let mut subject = Subject::start(args, &interrupted)?;
    let limits = subject.limits()?;
    let series = subject.runs().await?;
    drop(subject);
    let wire = wire::measure(args, &interrupted).await;
    interrupted.check()?;
    let (machine, commit) = (machine::machine(), machine::commit(Path::new(".")));
    let report = Report::new(args, limits, exchange, series, wire, machine, commit)?;
    match args.output {
        Form::Text => print!("{}", report.to_text()),
        Form::Json => println!("{:#}", report.to_json()),
    }
    if args.docs {
        docs::write(&report)?;
    }
    Ok(report.complaints())
}
