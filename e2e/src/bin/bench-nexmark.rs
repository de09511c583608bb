//! `make bench-nexmark`: what a bid of Nexmark's query 11 costs in CPU time, every run checked against the naive answer.
//!
//! Counted are bids, of which the job makes its result, and not the persons and auctions between them, which are numbered but not
//! made (crate `nexmark`). The figures that others publish count all events, 8 % of which their query filters out at once; so the
//! last column has those, too. Time is all that the process was charged, from its start on: the making of the bids, which is about a
//! third of it, and the writing of the result.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use e2e::cluster::readable_dir;
use e2e::nexmark_rows::compare;
use e2e::programs;
use localcluster::machine;
use localcluster::process::cpu_time_of_children;
use nexmark::Plan;
use nexmark::q11::{Session, sessions};

/// Bids for each CPU-second that the project aims at.
const AIM: f64 = 1e6;

/// Measures query 11 from generated bids to a CSV file.
#[derive(Debug, Parser)]
#[command(name = "bench-nexmark", max_term_width = 110)]
struct Args {
    /// Events, of which 46 in 50 are bids
    #[arg(long, value_name = "N", default_value = "10000000")]
    events: u64,

    /// Events in a second of event time, one number for each row: with 10,000 sessions end all the time; with 10,000,000, the rate of
    /// the published figures, nearly all are open until the end
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["10000", "10000000"])]
    rates: Vec<u64>,

    /// Subtasks of source and window
    #[arg(long, value_name = "N", default_value = "1")]
    parallelism: u32,

    /// Runs of each; their median is shown, with the least and the most
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Another seed gives other bids
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("below the aim of {AIM:.0} bids for each CPU-second");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the aim is reached.
fn measure(args: &Args) -> Result<bool> {
    let Args { events, parallelism, runs, seed, .. } = args;
    println!("{}, commit {}, seed {seed}", machine::machine(), machine::commit(Path::new(".")));
    println!("{events} events, parallelism {parallelism}, {runs} runs, each checked against the naive answer");
    println!(
        "{:>10} {:>10} {:>10} {:>24} {:>14} {:>16}",
        "rate", "bids", "sessions", "CPU µs a bid (min–max)", "bids/CPU-s", "all events/CPU-s"
    );
    let dir = readable_dir()?;
    let mut is_reached = true;
    for &rate in &args.rates {
        let plan = Plan::new(args.events, rate, (2 * args.parallelism).max(4), args.seed)?;
        let expected = sessions(&plan);
        let bids: u64 = expected.iter().map(|session| session.bids).sum();
        ensure!(bids > 0, "no bids among {events} events");
        let mut seconds = Vec::new();
        for _ in 0..args.runs {
            seconds.push(run(args, rate, plan.splits(), dir.path(), &expected)?);
        }
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let (least, most) = (seconds[0], seconds[seconds.len() - 1]);
        let us = |seconds: f64| seconds * 1e6 / bids as f64;
        let spread = format!("{:.3} ({:.3}–{:.3})", us(median), us(least), us(most));
        let (a_second, all_a_second) = (bids as f64 / median, args.events as f64 / median);
        println!("{rate:>10} {bids:>10} {:>10} {spread:>24} {a_second:>14.0} {all_a_second:>16.0}", expected.len());
        is_reached &= a_second >= AIM;
    }
    Ok(is_reached)
}

/// The CPU time of one run, in seconds.
fn run(args: &Args, rate: u64, splits: u32, dir: &Path, expected: &[Session]) -> Result<f64> {
    let file = dir.join("sessions.csv");
    let source = format!("nexmark:events={},rate={rate},splits={splits},seed={}", args.events, args.seed);
    let (sink, parallelism) = (format!("csv:{}", file.display()), args.parallelism.to_string());
    let line = ["run", "nexmark-q11", "--source", &source, "--sink", &sink, "--parallelism", &parallelism];
    let charged = || cpu_time_of_children().context("`/proc/self/stat` tells no CPU time");
    let before = charged()?;
    programs::run("jobctl", &line, &[])?.ok()?;
    let took = (charged()? - before).as_secs_f64();
    compare(&file, expected)?;
    std::fs::remove_file(&file)?;
    Ok(took)
}
