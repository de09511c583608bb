//! What telemetry must bear: a collector that takes connections and answers nothing, and events that would make a series each.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{Job, counter};
use e2e::traffic::{BEGIN_MS, Event, PARTITIONS, Traffic, time_text};
use localcluster::deadline::{Deadline, pause};
use localcluster::ports;
use tokio::task::block_in_place;

use super::{LIMIT, export_to, scrape};

/// As many visitors of as many hosts.
const DISTINCT: i64 = 100_000;
/// Events of which a job's rate is told.
const EVENTS: u64 = 600_000;
/// How often each way is measured; the best counts, for the machine is busy with other tests.
const TRIES: usize = 2;

/// Takes connections until the test ends, and neither reads from nor writes to them.
struct SilentCollector {
    port: u16,
}

impl SilentCollector {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        // It ends with the process: nobody could wake it from `accept`.
        std::thread::Builder::new().name("silent collector".to_owned()).spawn(move || {
            let _taken: Vec<TcpStream> = listener.incoming().map_while(Result::ok).collect();
        })?;
        Ok(SilentCollector { port })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_that_never_answers_costs_one_warning_and_a_count_and_no_rate() -> Result<()> {
    let collector = SilentCollector::start()?;
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "slow").await?;
    let mut traffic = Traffic::new(11);
    block_in_place(|| feed::produce(&bootstrap, "slow", &mut traffic, EVENTS))?;
    let job = Job { name: "slow".to_owned(), postgres_url: cluster.create_database("slow").await? };

    let (mut without, mut with, mut scraped) = (Duration::MAX, Duration::MAX, Vec::new());
    for number in 1..=TRIES {
        restart_all(&mut cluster, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")])?;
        without = without.min(block_in_place(|| read_all(&cluster, &job, &format!("without-{number}")))?);
        scraped = export_to(&mut cluster, collector.port)?;
        with = with.min(block_in_place(|| read_all(&cluster, &job, &format!("with-{number}")))?);
    }
    eprintln!("{EVENTS} events took {without:?} without a collector, {with:?} with one that never answers");
    // Twice as long would be a job that waits; the second is for what a busy machine does to a short run.
    ensure!(
        with < 2 * without + Duration::from_secs(1),
        "{EVENTS} events took {with:?}, and {without:?} without a collector"
    );

    let is_dropped = |port: u16| {
        let text = scrape(port).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("gapwise_telemetry_dropped_total{")).any(|line| {
            line.rsplit_once(' ').is_some_and(|(_, count)| count.parse::<f64>().is_ok_and(|count| count > 0.0))
        })
    };
    let are_counted =
        block_in_place(|| Deadline::after(LIMIT).wait_until(|| scraped.iter().all(|&port| is_dropped(port))));
    ensure!(are_counted, "nothing was counted: {}", scrape(scraped[0])?);
    let warnings = |log: &str| {
        log.lines()
            .filter(|line| line.contains("WARN") && line.contains("telemetry"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for name in ["jobmanager", "taskmanager-1", "taskmanager-2"] {
        let said = warnings(&cluster.log(name)?);
        // One of each process, and there were as many as tries.
        ensure!((1..=TRIES).contains(&said.len()), "{name} said it {} times: {said:#?}", said.len());
        ensure!(said.iter().all(|line| line.contains(&format!("http://127.0.0.1:{}", collector.port))), "{said:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_and_hosts_of_any_number_make_no_series() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let ports = [ports::free()?, ports::free()?, ports::free()?];
    restart_scraped(&mut cluster, &ports)?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "strangers").await?;
    let job = Job { name: "strangers".to_owned(), postgres_url: cluster.create_database("strangers").await? };
    job.submit(&cluster, 2, &["--idle-timeout", "1s", "--close-when-idle"])?;
    let series = || {
        let mut all = BTreeSet::new();
        for port in ports {
            let text = scrape(port)?;
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            all.extend(lines.filter_map(|line| Some(format!("{port} {}", line.rsplit_once(' ')?.0))));
        }
        anyhow::Ok(all)
    };

    block_in_place(|| feed::produce_records(&bootstrap, "strangers", &visitors(0..300)))?;
    wait_until_fired(&cluster, &job, 300)?;
    let before = block_in_place(|| stable(series))?;
    block_in_place(|| feed::produce_records(&bootstrap, "strangers", &visitors(300..DISTINCT)))?;
    wait_until_fired(&cluster, &job, DISTINCT)?;
    let after = block_in_place(|| stable(series))?;

    ensure!(before.len() > 100 && before.iter().any(|one| one.contains("strangers")), "{before:#?}");
    let new: Vec<_> = after.difference(&before).collect();
    ensure!(new.is_empty(), "{} series before, and as new ones: {new:#?}", before.len());
    ensure!(!after.iter().any(|one| one.contains("host-")), "a host is a label: {after:#?}");
    eprintln!("{} series before {DISTINCT} visitors and hosts, {} behind them", before.len(), after.len());
    Ok(())
}

/// One event each, of one ip and one host each, one behind the other.
fn visitors(numbers: std::ops::Range<i64>) -> Vec<Event> {
    let event = |number: i64| {
        let (a, b, c) = (number >> 16 & 0xff, number >> 8 & 0xff, number & 0xff);
        let time = time_text(BEGIN_MS + 10 * number);
        let json = format!(r#"{{"ip":"10.{a}.{b}.{c}","host":"host-{number}.example","event_time":"{time}"}}"#);
        let partition = i32::try_from(number % i64::from(PARTITIONS)).expect("less than the partitions");
        Event { partition, at_ms: 0, json }
    };
    numbers.map(event).collect()
}

/// Waits until this many events were read and accounted for, late ones among them, and their checkpoint was published.
fn wait_until_fired(cluster: &Cluster, job: &Job, events: i64) -> Result<()> {
    let events = events.unsigned_abs();
    job.wait_until(cluster, |described| {
        let read = counter(described, "window", "records_in").unwrap_or(0);
        let open = counter(described, "window", "open_windows").unwrap_or(u64::MAX);
        read >= events && open == 0
    })
    .map(drop)
}

/// What is there twice in turn: histograms come with their first value.
fn stable(series: impl Fn() -> Result<BTreeSet<String>>) -> Result<BTreeSet<String>> {
    let mut last = BTreeSet::new();
    let found = Deadline::after(LIMIT).wait_for(|| {
        pause(Duration::from_secs(3));
        let now = series()?;
        let is_same = now == std::mem::replace(&mut last, now.clone());
        anyhow::Ok(is_same.then_some(now))
    })?;
    found.with_context(|| format!("new series come again and again: {last:#?}"))
}

/// How long a job takes to read the whole topic.
fn read_all(cluster: &Cluster, job: &Job, name: &str) -> Result<Duration> {
    let clock = Deadline::after(LIMIT);
    let csv = format!("csv:{}", cluster.dir().join(format!("{name}.csv")).display());
    let args = ["submit", "sessionize", "--name", name, "--gap", "10s", "--until", "latest", "--wait", "--sink", &csv];
    let env = [("KAFKA_TOPIC", job.name.as_str())];
    cluster.jobctl_with(&args, &env)?.ok()?;
    Ok(clock.elapsed())
}

fn restart_all(cluster: &mut Cluster, env: &[(&str, &str)]) -> Result<()> {
    cluster.jobmanager.restart_with(env)?;
    for taskmanager in &mut cluster.taskmanagers {
        taskmanager.restart_with(env)?;
    }
    cluster.wait_for_taskmanagers()
}

fn restart_scraped(cluster: &mut Cluster, ports: &[u16; 3]) -> Result<()> {
    let off = [("OTEL_EXPORTER_OTLP_ENDPOINT", "")];
    let address = |port: u16| format!("127.0.0.1:{port}");
    cluster.jobmanager.restart_with(&[off[0], ("GAPWISE_METRICS_ADDRESS", &address(ports[0]))])?;
    for (taskmanager, &port) in cluster.taskmanagers.iter_mut().zip(&ports[1..]) {
        taskmanager.restart_with(&[off[0], ("GAPWISE_METRICS_ADDRESS", &address(port))])?;
    }
    cluster.wait_for_taskmanagers()
}
