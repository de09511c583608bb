//! `make bench-telemetry`: what telemetry costs an event, pairwise against none.
//!
//! The same events in the same topic, read by the same job, by processes that export everything by OTLP and by processes that export
//! nothing. Each round measures off, on and off again, in turning order: what a machine does meanwhile meets them all, and how far the two
//! offs are apart is what this benchmark cannot see. CPU time is what the system charged to jobmanager and taskmanager, user and system.

use std::fmt::Write as _;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::collector::Collector;
use e2e::member::Member;
use e2e::programs;
use e2e::telemetry_tools::TelemetryTools;
use localcluster::machine;
use localcluster::table::{Align, Table};

const TOPIC: &str = "bench_telemetry";
/// What telemetry may cost, as a share of an event's CPU time without it.
const MOST: f64 = 0.02;

/// Measures what telemetry costs an event.
#[derive(Debug, Parser)]
#[command(
    name = "bench-telemetry",
    max_term_width = 110,
    after_help = "Exit codes: 0 measured, and on costs less than 2 % in the median; 1 it costs more, or could not be measured; 2 usage."
)]
struct Args {
    /// Events in the topic
    #[arg(long, value_name = "N", default_value = "2000000")]
    events: NonZeroU64,

    /// Jobs of one measurement, each of which reads them all: a few seconds of work see more than one export
    #[arg(long, value_name = "N", default_value = "5")]
    jobs: NonZeroU32,

    /// Rounds of off, on, off
    #[arg(long, value_name = "N", default_value = "6")]
    rounds: NonZeroU32,

    /// Visitors of the events
    #[arg(long, value_name = "N", default_value = "100000")]
    ips: NonZeroU32,

    /// Between two exports of all metrics, in milliseconds
    #[arg(long, value_name = "MS", default_value = "10000")]
    export_interval: NonZeroU32,

    /// One record of so many is followed on its way
    #[arg(long, value_name = "N", default_value = "10000")]
    trace_sample: NonZeroU32,

    /// Another seed makes other events
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What a process is told of telemetry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    On,
    OffAgain,
}

impl Mode {
    const ALL: [(Mode, &str); 3] = [(Mode::Off, "off"), (Mode::On, "on"), (Mode::OffAgain, "off again")];
}

/// Microseconds of CPU for each event, in the order of [`Mode::ALL`].
type Round = [f64; 3];

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome =
        tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(measure(&args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args) -> Result<()> {
    let shape = Shape { taskmanagers: 1, slots: 1, broker: Choice::Devbroker, ..Shape::TWO_BY_TWO };
    let mut cluster = Cluster::start_with(shape)?;
    // One of the two takes what is exported.
    let tools = TelemetryTools::start(cluster.dir(), 0)?;
    let ours = if tools.is_none() { Some(Collector::start().await?) } else { None };
    let port = tools.as_ref().map(|tools| tools.http_port).or(ours.as_ref().map(|ours| ours.port));
    let endpoint = format!("http://127.0.0.1:{}", port.context("a collector")?);
    load(args, &cluster)?;
    let mut rounds = Vec::new();
    for number in 0..args.rounds.get() as usize {
        let mut round = Round::default();
        for place in 0..Mode::ALL.len() {
            let place = (place + number) % Mode::ALL.len();
            let (mode, name) = Mode::ALL[place];
            round[place] = run(args, &mut cluster, mode, &endpoint)?;
            eprintln!("round {}: {name} {:.4} µs", number + 1, round[place]);
        }
        rounds.push(round);
    }
    println!("{}", report(args, &rounds, tools.is_some()));
    let cost = median(&ratios(&rounds)) - 1.0;
    ensure!(
        cost < MOST,
        "telemetry costs {:.2} % of an event, which is to be less than {:.0} %",
        100.0 * cost,
        100.0 * MOST
    );
    Ok(())
}

fn load(args: &Args, cluster: &Cluster) -> Result<()> {
    let file = cluster.dir().join("events.jsonl");
    let path = file.to_str().context("a path that is text")?;
    let [events, seed, ips] = [args.events.to_string(), args.seed.to_string(), args.ips.to_string()];
    programs::run(
        "localcluster",
        &["generate", "--events", &events, "--seed", &seed, "--ips", &ips, "--out", path],
        &[],
    )?
    .ok()?;
    cluster.load(TOPIC, 3, &file)?;
    Ok(std::fs::remove_file(&file)?)
}

/// Microseconds of CPU for each event, in processes of their own.
fn run(args: &Args, cluster: &mut Cluster, mode: Mode, endpoint: &str) -> Result<f64> {
    let [interval, sample] = [args.export_interval.to_string(), args.trace_sample.to_string()];
    let on = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_METRIC_EXPORT_INTERVAL", interval.as_str()),
        ("GAPWISE_TRACE_SAMPLE", sample.as_str()),
    ];
    let env: Vec<(&str, &str)> = match mode {
        Mode::On => on.into(),
        Mode::Off | Mode::OffAgain => {
            on.iter().map(|&(name, _)| (name, "")).filter(|(name, _)| name.starts_with("OTEL")).collect()
        }
    };
    // The taskmanager first: its jobmanager is to see it leave.
    cluster.taskmanagers[0].stop();
    cluster.jobmanager.restart_with(&env)?;
    cluster.taskmanagers[0].restart_with(&env)?;
    cluster.wait_for_taskmanagers()?;
    let spent = |cluster: &Cluster| {
        let members: [&Member; 2] = [&cluster.jobmanager, &cluster.taskmanagers[0]];
        members
            .into_iter()
            .map(Member::cpu_time)
            .sum::<Option<Duration>>()
            .context("a process has died; its log says why")
    };
    let before = spent(cluster)?;
    let sink = cluster.dir().join("sessions.csv");
    for _ in 0..args.jobs.get() {
        let csv = format!("csv:{}", sink.display());
        let job = ["submit", "sessionize", "--gap", "5m", "--until", "latest", "--wait", "--sink", &csv];
        cluster.jobctl_with(&[&job[..], &["--checkpoint-interval", "1s"]].concat(), &[("KAFKA_TOPIC", TOPIC)])?.ok()?;
        std::fs::remove_file(&sink)?;
    }
    let took = spent(cluster)?.saturating_sub(before);
    Ok(1e6 * took.as_secs_f64() / (args.events.get() * u64::from(args.jobs.get())) as f64)
}

/// On against the mean of the two offs of its round.
fn ratios(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().map(|[off, on, again]| on / f64::midpoint(*off, *again)).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(low, high)
}

fn report(args: &Args, rounds: &[Round], is_real: bool) -> String {
    let columns =
        [("TELEMETRY", Align::Left), ("MEDIAN", Align::Right), ("LEAST", Align::Right), ("MOST", Align::Right)];
    let mut table = Table::new(&columns);
    let mut row = |name: &str, values: &[f64], unit: &str| {
        let shown = |value: f64| format!("{value:.4}{unit}");
        let (least, most) =
            values.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), &value| (least.min(value), most.max(value)));
        table.row([name.to_owned(), shown(median(values)), shown(least), shown(most)]);
    };
    for (place, (_, name)) in Mode::ALL.into_iter().enumerate() {
        row(name, &rounds.iter().map(|round| round[place]).collect::<Vec<_>>(), " µs");
    }
    row("on / off", &ratios(rounds), "");
    row("off again / off", &rounds.iter().map(|[off, _, again]| again / off).collect::<Vec<_>>(), "");
    let mut text = table.render();
    let Args { events, jobs, rounds: count, ips, export_interval, trace_sample, seed } = args;
    let collector = if is_real { "a real collector" } else { "a collector of the test's own" };
    write!(
        text,
        "\nµs of CPU of jobmanager and taskmanager for each event, from Kafka to CSV at parallelism 1, a checkpoint each second, {jobs} times \
         {events} events\na measurement; on is metrics each {export_interval} ms, traces with one record of {trace_sample}, and logs, by HTTP into \
         {collector}.\n\nmachine: {}\ncommit:  {}\nseed:    {seed}\n\
         command: make bench-telemetry ARGS='--events {events} --jobs {jobs} --rounds {count} --ips {ips} --export-interval {export_interval} \
         --trace-sample {trace_sample} --seed {seed}'",
        machine::machine(),
        machine::commit(Path::new(".")),
    )
    .expect("writing to a text cannot fail");
    text
}
