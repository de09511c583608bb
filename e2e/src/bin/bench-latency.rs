//! `make bench-latency`: how long after a session is over its row is in Postgres, while the job has half the load that it can take.
//!
//! Events carry the time at which they are produced. So a session is over, for whoever looks at the topic, at its last event's time
//! plus the gap plus the watermark's delay: that is the closing instant. Each row holds its last event (`--last-event`), and Postgres
//! tells when the row was committed (`track_commit_timestamp`): nothing here is the product's own word. What lies between is the way of
//! the next event through Kafka, the wait for the next checkpoint, the checkpoint, and the commit with `fsync`.
//!
//! The whole load comes from this machine too: broker, producer, cluster and database share its cores.

use std::num::NonZeroU64;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use connectors::kafka::{Admin, ClientSettings};
use e2e::broker::Broker;
use e2e::cluster::{Cluster, Shape};
use e2e::{feed, programs};
use localcluster::deadline::{Deadline, pause};
use localcluster::machine;
use serde_json::Value;
use stream_runtime::clock::{Clock, SystemClock};
use stream_runtime::duration;

const GAP: Duration = Duration::from_secs(5);
/// Live traffic is up to 5 seconds out of order.
const DELAY: Duration = Duration::from_secs(6);
/// The first sessions are over by then, and what the start brings with it.
const WARM_UP: Duration = Duration::from_secs(20);
/// Events go on behind the last session that counts, so that it is closed as all others.
const COOL_DOWN: Duration = Duration::from_secs(2);
/// Events of a visitor in a gap, in thousandths, that make one event in five the first of a session.
const EVENTS_PER_GAP_MILLI: u64 = 1609;
const PARALLELISM: &str = "2";
/// For how long the topic is filled, to see how much the job takes.
const CAPACITY_TIME: Duration = Duration::from_secs(20);
/// More than any machine produces.
const WITHOUT_LIMIT: u64 = 100_000_000;

/// Measures the latency of results.
#[derive(Debug, Parser)]
#[command(name = "bench-latency", max_term_width = 110)]
struct Args {
    /// Times between two checkpoints, one for each row
    #[arg(long, value_name = "DURATION,…", value_delimiter = ',', default_values = ["10s", "1s", "200ms"],
          value_parser = duration::parse)]
    intervals: Vec<Duration>,

    /// For how long sessions that end are counted, for each row
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    time: Duration,

    /// Events a second [default: half of what the job takes from a topic that is filled without a limit]
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU64>,

    /// Another seed gives other visitors
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args) -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { has_durable_postgres: true, ..Shape::TWO_BY_TWO })?;
    let broker = if matches!(cluster.broker, Broker::Apache(_)) { "Apache Kafka" } else { "devbroker" };
    println!("{}, commit {}, {broker}, seed {}", machine::machine(), machine::commit(Path::new(".")), args.seed);
    cluster.sql().await?.execute("ALTER SYSTEM SET track_commit_timestamp = on").await?;
    cluster.postgres.restart()?;
    let rate = match args.rate {
        Some(rate) => rate.get(),
        None => {
            let most = capacity(&cluster, args).await?;
            println!("from a topic that is filled without a limit the job takes {most} events/s; fed is half of it");
            (most / 2).max(1)
        }
    };
    println!("{rate} events/s, parallelism {PARALLELISM}, one session for every five events");
    println!(
        "{:>10} {:>12} {:>10} {:>10} {:>10} {:>10}",
        "interval", "sessions", "p50 ms", "p99 ms", "least ms", "most ms"
    );
    for &interval in &args.intervals {
        let Latency { sessions, p50, p99, least, most } = latency(&cluster, args, rate, interval).await?;
        println!("{:>10} {sessions:>12} {p50:>10} {p99:>10} {least:>10} {most:>10}", duration::show(interval));
    }
    Ok(())
}

/// How many events a second the job takes while the topic is filled as fast as this machine can.
async fn capacity(cluster: &Cluster, args: &Args) -> Result<u64> {
    const TOPIC: &str = "capacity";
    feed::create_topic(&cluster.broker.bootstrap_servers(), TOPIC).await?;
    submit(cluster, TOPIC, Duration::from_secs(10))?;
    let mut producer =
        produce(cluster, args, TOPIC, Rate { events: WITHOUT_LIMIT, sessions_for: 500_000 }, CAPACITY_TIME)?;
    let clock = Deadline::after(Duration::MAX);
    pause(CAPACITY_TIME);
    let read = described(cluster, TOPIC)?["records_in"].as_u64().context("no count of events")?;
    let took = clock.elapsed();
    producer.end()?;
    cluster.jobctl(&["cancel", TOPIC])?.ok()?;
    delete_topic(cluster, TOPIC).await?;
    Ok((read as f64 / took.as_secs_f64()) as u64)
}

/// A minute of events is gigabytes.
async fn delete_topic(cluster: &Cluster, topic: &str) -> Result<()> {
    Admin::new(&ClientSettings::new(&cluster.broker.bootstrap_servers())?)?.delete_topic(topic).await?;
    Ok(())
}

/// What a row of the table shows, in milliseconds.
struct Latency {
    sessions: u64,
    p50: i64,
    p99: i64,
    least: i64,
    most: i64,
}

async fn latency(cluster: &Cluster, args: &Args, rate: u64, interval: Duration) -> Result<Latency> {
    let name = format!("latency_{}", interval.as_millis());
    feed::create_topic(&cluster.broker.bootstrap_servers(), &name).await?;
    submit(cluster, &name, interval)?;
    let clock = SystemClock::new();
    let from = clock.now().saturating_add(WARM_UP);
    let to = from.saturating_add(args.time);
    let time = WARM_UP + args.time + COOL_DOWN;
    let mut producer = produce(cluster, args, &name, Rate { events: rate, sessions_for: rate }, time)?;
    // Over when the producer is, which has an end of its own.
    pause(time);
    producer.end()?;
    // Publishes what was closed; sessions that are open now would have been closed behind `to`.
    cluster.jobctl(&["stop", &name])?.ok()?;
    ended(cluster, &name)?;
    delete_topic(cluster, &name).await?;
    read(cluster, &name, from.0, to.0).await
}

fn submit(cluster: &Cluster, name: &str, interval: Duration) -> Result<()> {
    let (gap, delay, interval) = (duration::show(GAP), duration::show(DELAY), duration::show(interval));
    let line = ["submit", "sessionize", "--name", name, "--table", name, "--parallelism", PARALLELISM];
    let times = ["--gap", &gap, "--watermark-delay", &delay, "--checkpoint-interval", &interval, "--last-event"];
    cluster.jobctl_with(&[line.as_slice(), &times].concat(), &[("KAFKA_TOPIC", name)])?.ok().map(drop)
}

/// A process that is killed when dropped.
struct Producer(Child);

impl Producer {
    fn end(&mut self) -> Result<()> {
        let status = self.0.wait()?;
        ensure!(status.success(), "the producer failed: {status}");
        Ok(())
    }
}

/// Events a second.
struct Rate {
    events: u64,
    /// The rate at which one event in five begins a session.
    sessions_for: u64,
}

impl Drop for Producer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn produce(cluster: &Cluster, args: &Args, topic: &str, rate: Rate, time: Duration) -> Result<Producer> {
    let visitors = u128::from(rate.sessions_for) * GAP.as_millis() / u128::from(EVENTS_PER_GAP_MILLI);
    let (rate, visitors, seed) = (rate.events.to_string(), visitors.max(1).to_string(), args.seed.to_string());
    let (time, kafka) = (duration::show(time), cluster.broker.bootstrap_servers());
    let dir = cluster.dir().to_str().context("a path that is text")?;
    let line = ["--project", dir, "traffic", "--topic", topic, "--rate", &rate, "--ips", &visitors];
    let line = [line.as_slice(), &["--duration", &time, "--seed", &seed]].concat();
    let mut command = programs::command("localcluster", &line, &[("KAFKA_URL", &kafka)])?;
    Ok(Producer(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
}

fn described(cluster: &Cluster, name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&cluster.jobctl(&["describe", name, "--output", "json"])?.ok()?)?)
}

fn ended(cluster: &Cluster, name: &str) -> Result<()> {
    let is_finished = || anyhow::Ok((described(cluster, name)?["state"] == "finished").then_some(()));
    Deadline::after(Duration::from_secs(60)).wait_for(is_finished)?.context("the job did not end")
}

/// The rows of sessions that were over from one instant to another, in milliseconds since 1970.
async fn read(cluster: &Cluster, table: &str, from_ms: i64, to_ms: i64) -> Result<Latency> {
    let behind_ms = (GAP + DELAY).as_millis();
    let sql = format!(
        "WITH rows AS (
             SELECT extract(epoch FROM last_event AT TIME ZONE 'UTC') * 1000 + {behind_ms} AS closed,
                    extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 AS committed
             FROM {table}),
         counted AS (SELECT committed - closed AS took FROM rows WHERE closed >= {from_ms} AND closed < {to_ms})
         SELECT count(*)::text, round(percentile_disc(0.5) WITHIN GROUP (ORDER BY took))::text,
                round(percentile_disc(0.99) WITHIN GROUP (ORDER BY took))::text, round(min(took))::text, round(max(took))::text
         FROM counted"
    );
    let answer = cluster.sql().await?.query_text(&sql).await?;
    let row = answer.rows.first().context("no answer")?;
    let number = |column: usize| {
        let text = row.get(column).and_then(Option::as_deref).context("no session was over in time")?;
        text.parse::<i64>().with_context(|| format!("`{text}` is no number"))
    };
    Ok(Latency {
        sessions: u64::try_from(number(0)?)?,
        p50: number(1)?,
        p99: number(2)?,
        least: number(3)?,
        most: number(4)?,
    })
}
