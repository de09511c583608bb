//! `make bench-lookups`: whether process_events is as fast as its service of locations is slow, or as its cache is warm.
//!
//! The same events for each latency, through a job in one process and a service on this machine: first one of each ip, which
//! all are calls; then, once they are answered, many of the same ips, of which none is. The first take `ips × latency / 16`
//! seconds at the least, for a subtask has so many calls in flight at once; the others must not know of the latency at all.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::process::{Child, ChildStdin, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use connectors::geo::calls::Limits;
use e2e::location_api::{KEY, LocationApi, Manners};
use e2e::programs;
use e2e::random::Random;
use localcluster::deadline::Deadline;
use localcluster::machine;
use localcluster::table::{Align, Table};

/// For each step of a run.
const PATIENCE: Duration = Duration::from_secs(300);
/// With a latency, known ips may not be worked off at less than this share of the rate without one.
const LEAST_SHARE: f64 = 0.5;

/// Measures process_events against a service of locations that takes its time.
#[derive(Debug, Parser)]
#[command(
    name = "bench-lookups",
    max_term_width = 110,
    after_help = "Exit codes: 0 measured, and no slower by what the service takes; 1 slower, or not to be measured; 2 usage."
)]
struct Args {
    /// Latencies of the service in milliseconds, one for each run; the first is what the others are compared with
    #[arg(long, value_name = "MS,…", value_delimiter = ',', default_values = ["0", "50", "200"])]
    latencies: Vec<u64>,

    /// Different ips
    #[arg(long, value_name = "N", default_value = "1000")]
    ips: NonZeroU32,

    /// Events of ips that are known
    #[arg(long, value_name = "N", default_value = "500000")]
    events: NonZeroU64,

    /// How often those are handed over, one time behind the other
    #[arg(long, value_name = "N", default_value = "10")]
    rounds: NonZeroU32,

    /// Another seed draws other ips for the events
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What a run showed.
struct Measured {
    latency: Duration,
    calls: u64,
    /// Until every ip was known.
    cold: Duration,
    /// From then on, until the last row was out.
    warm: Duration,
}

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    let ips = args.ips.get();
    let cold: String = (0..ips).map(|number| event(&ip(number))).collect();
    let mut random = Random::new(args.seed);
    let drawn = (0..args.events.get()).map(|_| u32::try_from(random.below(ips.into())).unwrap_or_default());
    let warm: String = drawn.map(|number| event(&ip(number))).collect();
    let mut runs = Vec::new();
    for &latency in &args.latencies {
        let latency = Duration::from_millis(latency);
        let run = Run::start(latency)?.measure(args, &cold, &warm).with_context(|| format!("latency {latency:?}"))?;
        runs.push(run);
    }
    println!("{}", report(args, &runs));
    judge(args, &runs)
}

/// An address that somebody outside could know.
fn ip(number: u32) -> String {
    let [_, a, b, c] = number.to_be_bytes();
    format!("8.{a}.{b}.{c}")
}

fn event(ip: &str) -> String {
    format!(
        "{{\"ip\":\"{ip}\",\"event_time\":\"2025-01-14T17:01:12.232Z\",\"referrer\":\"https://t.co/1\",\
         \"host\":\"www.example.com\",\"url\":\"/lessons?id=7\",\"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64)\"}}\n"
    )
}

/// A job that reads what it is handed and whose rows are counted, and its service.
struct Run {
    latency: Duration,
    api: LocationApi,
    job: Child,
    /// `None` once it has all of them.
    events: Option<ChildStdin>,
    rows: Arc<AtomicU64>,
    counting: JoinHandle<()>,
}

impl Run {
    fn start(latency: Duration) -> Result<Run> {
        let api = LocationApi::start(0)?;
        api.behave(Manners { latency, ..Manners::default() });
        let url = api.url();
        // What a service allows, and how long a caller waits, is not what is measured.
        let args =
            ["run", "process_events", "--source", "stdin:", "--sink", "stdout:", "--checkpoint-interval", "100ms"];
        let asks = ["--geo-url", &url, "--geo-rate", "1000000", "--geo-deadline", "1h", "--geo-timeout", "1m"];
        let mut command = programs::command("jobctl", &[&args[..], &asks].concat(), &[("IP_CODING_KEY", KEY)])?;
        let mut job = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let events = job.stdin.take();
        let mut out = job.stdout.take().context("a pipe")?;
        let rows = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&rows);
        let counting = std::thread::Builder::new().name("rows".to_owned()).spawn(move || {
            let mut buffer = vec![0; 256 << 10];
            // The job's end closes the pipe; how it ended is seen there.
            while let Ok(read @ 1..) = out.read(&mut buffer) {
                let lines = buffer[..read].iter().filter(|&&byte| byte == b'\n').count();
                counted.fetch_add(lines as u64, Ordering::Relaxed);
            }
        })?;
        Ok(Run { latency, api, job, events, rows, counting })
    }

    fn measure(mut self, args: &Args, cold: &str, warm: &str) -> Result<Measured> {
        let ips = u64::from(args.ips.get());
        // Nobody is asked about an address of a private network: the row says that the job runs. The other is the header.
        self.hand_over(&event("10.0.0.1"), 1, 2)?;
        let cold = self.hand_over(cold, 1, 2 + ips)?;
        let calls = self.api.calls();
        let warm = self.hand_over(warm, args.rounds.get(), 2 + ips + known(args))?;
        ensure!(self.api.calls() == calls, "an ip that is known was asked about again");
        self.events = None;
        let ended = self.job.wait()?;
        ensure!(ended.success(), "the job ended with {ended}");
        // Its panic was printed.
        let _ = self.counting.join();
        Ok(Measured { latency: self.latency, calls, cold, warm })
    }

    /// Hands events over, so often; how long it takes until so many lines are out.
    fn hand_over(&mut self, events: &str, times: u32, lines: u64) -> Result<Duration> {
        let clock = Deadline::after(PATIENCE);
        let pipe = self.events.as_mut().context("the job has all events")?;
        for _ in 0..times {
            pipe.write_all(events.as_bytes()).context("the job takes no more events")?;
        }
        let are_out = clock.wait_for(|| {
            let ended = self.job.try_wait()?;
            ensure!(ended.is_none(), "the job ended before its events did");
            Ok((self.rows.load(Ordering::Relaxed) >= lines).then_some(()))
        })?;
        are_out
            .with_context(|| format!("{} of {lines} lines after {PATIENCE:?}", self.rows.load(Ordering::Relaxed)))?;
        Ok(clock.elapsed())
    }
}

/// The least time that so many calls take.
fn least(calls: u64, latency: Duration) -> Duration {
    latency.mul_f64(calls as f64 / Limits::default().connections as f64)
}

/// Events of ips that are known.
fn known(args: &Args) -> u64 {
    args.events.get() * u64::from(args.rounds.get())
}

fn a_second(args: &Args, run: &Measured) -> f64 {
    known(args) as f64 / run.warm.as_secs_f64()
}

fn report(args: &Args, runs: &[Measured]) -> String {
    let mut table = Table::new(&[
        ("LATENCY", Align::Right),
        ("CALLS", Align::Right),
        ("COLD", Align::Right),
        ("AT LEAST", Align::Right),
        ("WARM", Align::Right),
        ("EVENTS/S", Align::Right),
        ("TOTAL", Align::Right),
    ]);
    for run in runs {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        table.row([
            format!("{} ms", run.latency.as_millis()),
            run.calls.to_string(),
            seconds(run.cold),
            seconds(least(run.calls, run.latency)),
            seconds(run.warm),
            format!("{:.0}", a_second(args, run)),
            seconds(run.cold + run.warm),
        ]);
    }
    let mut text = table.render();
    let latencies: Vec<String> = args.latencies.iter().map(ToString::to_string).collect();
    let Args { ips, events, rounds, seed, .. } = args;
    write!(
        text,
        "\nCOLD is one event of each ip, AT LEAST what their calls take, {} at once. WARM is {} events of the same ips.\n\n\
         machine: {}\ncommit:  {}\nseed:    {seed}\n\
         command: make bench-lookups ARGS='--latencies {} --ips {ips} --events {events} --rounds {rounds} --seed {seed}'",
        Limits::default().connections,
        known(args),
        machine::machine(),
        machine::commit(Path::new(".")),
        latencies.join(","),
    )
    .expect("writing to a text cannot fail");
    text
}

/// That no latency is felt but by what is asked.
fn judge(args: &Args, runs: &[Measured]) -> Result<()> {
    for run in runs {
        let (calls, ips) = (run.calls, args.ips);
        ensure!(calls == u64::from(ips.get()), "{calls} calls for {ips} ips, at {:?}", run.latency);
    }
    let Some(first) = runs.first() else { return Ok(()) };
    for run in &runs[1..] {
        let (slow, fast) = (a_second(args, run), a_second(args, first));
        let (latency, first) = (run.latency, first.latency);
        ensure!(
            slow >= fast * LEAST_SHARE,
            "known ips are slowed down by the service: {slow:.0} events a second at {latency:?}, {fast:.0} at {first:?}"
        );
    }
    Ok(())
}
