//! Bytes on the wires of taskmanagers that have a network each, and what comes of a wire that takes less.

use anyhow::{Context, Result, ensure};
use e2e::interrupted::Interrupted;
use e2e::networks::{Networks, Traffic, Wire};

use crate::args::Args;
use crate::model::{Line, remote_share};
use crate::subject::{Kind, Layout, Subject, TASKMANAGERS};

/// Of the run that is slowed down.
pub(crate) const LIMITED: Layout = Layout::new(2, 4);
/// Of those whose bytes are counted.
const COUNTED: [Layout; 3] = [Layout::new(1, 4), LIMITED, Layout::new(4, 4)];
/// The exchange's wires, in the order of the namespaces.
type Sent = Vec<u64>;

/// What went over wires. Headers down to Ethernet's and TCP's acknowledgements count.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    /// From Kafka and Postgres, in bytes.
    pub(crate) received: Line,
    /// To them.
    pub(crate) sent: Line,
    /// Between taskmanagers, of each event that goes to another: with rows on their way to the sink. By the number of taskmanagers.
    pub(crate) exchange: Vec<(u8, f64)>,
    pub(crate) limited: Limited,
}

/// A run whose exchange has too little bandwidth.
#[derive(Clone, Debug)]
pub(crate) enum Limited {
    /// Events a second.
    Measured { predicted: f64, measured: f64 },
    /// Why it was not run.
    Skipped(String),
}

/// What one run had on its wires.
#[derive(Clone, Debug)]
struct OfRun {
    out: Traffic,
    exchange: Sent,
    sessions: u64,
    wall_s: f64,
}

/// Everything, or why there is nothing.
pub(crate) async fn measure(args: &Args, interrupted: &Interrupted) -> Result<Bytes> {
    Networks::available().map_err(anyhow::Error::msg)?;
    eprintln!("taskmanagers with a network each");
    let mut subject = Subject::start_with(args, interrupted, true)?;
    let events = args.events.get() as f64;
    let (mut exchange, mut ends) = (Vec::new(), Vec::new());
    for layout in COUNTED {
        let taskmanagers = layout.taskmanagers;
        let run = of_run(&mut subject, Kind::Web, layout).await?;
        let all: u64 = run.exchange.iter().sum();
        if taskmanagers == 1 {
            ensure!(all < 100_000, "{all} bytes between taskmanagers, of which there is one");
            let other = of_run(&mut subject, Kind::HighCardinality, layout).await?;
            ends = [run, other].map(|run| (run.sessions as f64 / events, run.out)).to_vec();
        } else {
            exchange.push((taskmanagers, all as f64 / (events * remote_share(taskmanagers.into()))));
        }
    }
    let line = |of: fn(&Traffic) -> u64| {
        let points: Vec<(f64, f64)> = ends.iter().map(|(share, out)| (*share, of(out) as f64 / events)).collect();
        Line::through(&points)
    };
    let (received, sent) = (line(|out| out.received)?, line(|out| out.sent)?);
    let limited = match limited(&mut subject, args).await {
        Err(error) if !interrupted.is_so() => Limited::Skipped(format!("{error:#}")),
        limited => limited?,
    };
    Ok(Bytes { received, sent, exchange, limited })
}

/// The same job in two taskmanagers, without a limit and with one: what it predicts is of what went over the busier wire.
async fn limited(subject: &mut Subject<'_>, args: &Args) -> Result<Limited> {
    let beginning = of_run(subject, Kind::Nothing, LIMITED).await?;
    let free = of_run(subject, Kind::Web, LIMITED).await?;
    let networks = subject.cluster.networks.as_ref().context("it was started with them")?;
    networks.limit(Wire::Exchange, args.limit.get())?;
    let slow = of_run(subject, Kind::Web, LIMITED).await?;
    let events = args.events.get() as f64;
    let busier = free.exchange.iter().max().copied().unwrap_or(0);
    let predicted = 1e6 / 8.0 * f64::from(args.limit.get()) / (busier as f64 / events);
    let per_s = |run: &OfRun| events / (run.wall_s - beginning.wall_s).max(0.001);
    ensure!(
        1.5 * predicted < per_s(&free),
        "at {} Mbit/s the wire takes {predicted:.0} events a second, and without a limit there are but {:.0}: choose a lower --limit",
        args.limit,
        per_s(&free)
    );
    Ok(Limited::Measured { predicted, measured: per_s(&slow) })
}

async fn of_run(subject: &mut Subject<'_>, kind: Kind, layout: Layout) -> Result<OfRun> {
    eprintln!("on wires: {}, {layout}", kind.name());
    let before = counters(subject)?;
    let run = subject.run(kind, layout).await?;
    let after = counters(subject)?;
    let mut out = Traffic::default();
    let mut exchange = Sent::new();
    for (before, after) in before.iter().zip(&after) {
        out.sent += after[0].sent - before[0].sent;
        out.received += after[0].received - before[0].received;
        exchange.push(after[1].sent - before[1].sent);
    }
    Ok(OfRun { out, exchange, sessions: run.sessions, wall_s: run.wall_s })
}

fn counters(subject: &Subject<'_>) -> Result<Vec<[Traffic; 2]>> {
    let networks = subject.cluster.networks.as_ref().context("it was started with them")?;
    let of = |number| Ok([networks.traffic(Wire::Out, number)?, networks.traffic(Wire::Exchange, number)?]);
    (1..=TASKMANAGERS).map(of).collect()
}
