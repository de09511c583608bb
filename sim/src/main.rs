//! Runs seeds until the time is over; says nothing of those that are green.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sim::Wiring;
use sim::faults::{Fault, Faults};

/// A seeded simulation of a whole job.
#[derive(Parser)]
struct Args {
    /// Run this seed only, and show the end of its trace.
    #[arg(long)]
    seed: Option<u64>,
    /// Begin with this seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// End before this seed.
    #[arg(long)]
    until: Option<u64>,
    /// End after so many seconds of CPU time's wall clock.
    #[arg(long, default_value_t = 75)]
    seconds: u64,
}

#[allow(clippy::disallowed_methods, reason = "how long it may run is asked outside the simulation")]
fn main() -> ExitCode {
    let args = Args::parse();
    let started = std::time::Instant::now();
    let seeds = match args.seed {
        Some(seed) => seed..seed.saturating_add(1),
        None => args.first..args.until.unwrap_or(u64::MAX),
    };
    let (mut faults, mut count) = (Faults::default(), 0_u64);
    for seed in seeds {
        if args.seed.is_none() && started.elapsed() >= Duration::from_secs(args.seconds) {
            break;
        }
        let wiring = if seed.is_multiple_of(2) { Wiring::WHOLE } else { Wiring::WITH_OPEN_TABLE };
        let outcome = sim::run(seed, wiring);
        if args.seed.is_some() || outcome.violation.is_some() {
            outcome.trace.tail().for_each(|line| println!("{line}"));
        }
        if let Some((invariant, what)) = outcome.violation {
            println!("seed {seed}, step {}: {invariant}: {what}", outcome.trace.steps());
            println!("again: sim --seed {seed}");
            return ExitCode::FAILURE;
        }
        faults.add_all(&outcome.faults);
        count += 1;
    }
    if args.seed.is_none() {
        let counts: Vec<String> =
            Fault::ALL.iter().map(|&fault| format!("{fault:?} {}", faults.count(fault))).collect();
        println!("{count} seeds green in {} s; {}", started.elapsed().as_secs(), counts.join(", "));
    }
    ExitCode::SUCCESS
}
