//! What a cluster tells of itself: to a collector, the jobmanager by gRPC and the taskmanagers by HTTP, and to Prometheus.

mod hostile;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape, repository_file};
use e2e::collector::{Collector, Span};
use e2e::feed;
use e2e::job::Job;
use e2e::member::Member;
use e2e::programs;
use e2e::running::{Load, Running};
use e2e::telemetry_tools::{self, TelemetryTools};
use e2e::traffic::Event;
use localcluster::deadline::Deadline;
use localcluster::ports;
use tokio::task::block_in_place;

const LIMIT: Duration = Duration::from_secs(60);
const JOBMANAGER: &str = "gapwise-jobmanager";
const TASKMANAGER: &str = "gapwise-taskmanager";

/// A metric as `docs/metrics.md` has it.
#[derive(Debug)]
struct Documented {
    name: String,
    in_prometheus: String,
    kind: String,
    unit: String,
    attributes: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_tells_a_collector_and_prometheus_all_that_is_documented() -> Result<()> {
    let collector = Collector::start().await?;
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let scraped = export_to(&mut cluster, collector.port)?;
    let running = Running::begin_with_few_rights(&cluster, "telemetry", Load::of(2)).await?;
    let before = running.ledger()?;
    // A recovery is told of as well.
    let victim = running.job.a_taskmanager_of(&cluster, "window")?;
    cluster.taskmanagers[victim].kill();
    restart(&mut cluster.taskmanagers[victim], "http/protobuf", collector.port, scraped[victim])?;
    running.wait_for_a_new_attempt_to_publish(&before)?;

    let documented = documented()?;
    arrive(&collector, &documented)?;
    let text = scrape(scraped[victim])?;
    for metric in documented
        .iter()
        .filter(|metric| metric.name.starts_with("gapwise.task.") || metric.name.starts_with("process."))
    {
        ensure!(text.contains(&metric.in_prometheus), "no `{}` at /metrics:\n{text}", metric.in_prometheus);
    }
    ensure!(text.contains("job_name=\"telemetry\""), "{text}");
    checkpoints_are_traces(&collector, &running.id)?;
    start_is_a_trace(&collector, &running.id)?;
    recovery_is_a_trace(&collector)?;
    logs_have_fields(&collector, &running.id)?;
    ensure!(!collector.was_told("few-rights"), "the password left the house");
    running.end(&cluster).await?;
    Ok(())
}

/// A record that brings a trace along is followed to the commit that shows its session, within that trace.
#[tokio::test(flavor = "multi_thread")]
async fn record_is_followed_from_kafka_to_its_commit() -> Result<()> {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const WRITER: &str = "b7ad6b7169203331";
    let collector = Collector::start().await?;
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    export_to(&mut cluster, collector.port)?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "followed").await?;
    let job = Job { name: "followed".to_owned(), postgres_url: cluster.create_database("followed").await? };
    job.submit(&cluster, 2, &["--idle-timeout", "1s", "--close-when-idle"])?;
    job.wait_until(&cluster, |job| job["state"] == "running")?;

    let json = r#"{"ip":"1.1.1.1","host":"a.io","event_time":"2025-01-14T00:00:00.000Z"}"#.to_owned();
    let event = Event { partition: 0, at_ms: 0, json };
    feed::produce_with_header(&bootstrap, "followed", &event, "traceparent", &format!("00-{TRACE}-{WRITER}-01"))?;

    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let of_trace = || collector.spans().into_iter().filter(|span| hex(&span.trace) == TRACE).collect::<Vec<_>>();
    let has_come =
        block_in_place(|| Deadline::after(LIMIT).wait_until(|| of_trace().iter().any(|span| span.name == "commit")));
    let spans = of_trace();
    ensure!(has_come, "the record's commit was not told: {spans:#?}");
    let mut parent = WRITER.to_owned();
    for name in ["read", "window", "commit"] {
        let span = spans.iter().find(|span| span.name == name).with_context(|| format!("no `{name}` in {spans:#?}"))?;
        ensure!(hex(&span.parent) == parent, "`{name}` is no child of the span before it: {spans:#?}");
        parent = hex(&span.id);
    }
    let commit = spans.iter().find(|span| span.name == "commit").context("a commit")?;
    let checkpoints = || collector.spans().into_iter().filter(|span| span.name == "checkpoint").collect::<Vec<_>>();
    let is_linked = || checkpoints().iter().any(|checkpoint| commit.links.contains(&checkpoint.trace));
    ensure!(block_in_place(|| Deadline::after(LIMIT).wait_until(is_linked)), "no checkpoint is linked: {commit:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_that_is_away_costs_one_warning_and_a_count() -> Result<()> {
    let nobody = ports::free()?;
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let scraped = export_to(&mut cluster, nobody)?;
    let running = Running::begin(&cluster, "no_collector", Load::of(2)).await?;
    let has_dropped = |signal: &str| {
        let text = scrape(scraped[0]).unwrap_or_default();
        let wanted = format!("gapwise_telemetry_dropped_total{{signal=\"{signal}\"}} ");
        text.lines()
            .filter_map(|line| line.strip_prefix(&wanted))
            .any(|count| count.parse::<f64>().is_ok_and(|count| count > 2.0))
    };
    for signal in ["metrics", "traces", "logs"] {
        let is_counted = block_in_place(|| Deadline::after(LIMIT).wait_until(|| has_dropped(signal)));
        ensure!(is_counted, "dropped {signal} are not counted: {}", scrape(scraped[0])?);
    }
    for name in ["jobmanager", "taskmanager-1"] {
        let log = cluster.log(name)?;
        let told: Vec<&str> = log.lines().filter(|line| line.contains("telemetry") && line.contains("WARN")).collect();
        ensure!(told.len() == 1, "{name} said it {} times: {told:#?}", told.len());
        ensure!(told[0].contains(&format!("http://127.0.0.1:{nobody}")), "{}", told[0]);
    }
    running.end(&cluster).await?;
    Ok(())
}

/// The same in earnest: every documented metric is in a real Prometheus, once by way of a real collector and once fetched, and the spans
/// of a checkpoint are with the collector. `make test-telemetry`.
#[tokio::test(flavor = "multi_thread")]
async fn real_collector_and_prometheus_have_all_that_is_documented() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let members = 1 + cluster.taskmanagers.len();
    let Some(tools) = TelemetryTools::start(cluster.dir(), members)? else { return Ok(()) };
    restart(&mut cluster.jobmanager, "grpc", tools.grpc_port, tools.scraped_ports[0])?;
    for (taskmanager, &scraped) in cluster.taskmanagers.iter_mut().zip(&tools.scraped_ports[1..]) {
        restart(taskmanager, "http/protobuf", tools.http_port, scraped)?;
    }
    cluster.wait_for_taskmanagers()?;
    let running = Running::begin(&cluster, "in_earnest", Load::of(2)).await?;
    let before = running.ledger()?;
    let victim = running.job.a_taskmanager_of(&cluster, "window")?;
    cluster.taskmanagers[victim].kill();
    restart(&mut cluster.taskmanagers[victim], "http/protobuf", tools.http_port, tools.scraped_ports[1 + victim])?;
    running.wait_for_a_new_attempt_to_publish(&before)?;

    let documented = documented()?;
    let missing = || {
        let mut missing = Vec::new();
        for metric in &documented {
            let series = if metric.kind == "histogram" { "_count" } else { "" };
            for way in ["job=\"scraped\"", "job!=\"scraped\""] {
                let query = format!("{}{series}{{{way}}}", metric.in_prometheus);
                if tools.query(&query).is_ok_and(|found| found.is_empty()) {
                    missing.push(query);
                }
            }
        }
        missing
    };
    let have_come = block_in_place(|| Deadline::after(LIMIT).wait_until(|| missing().is_empty()));
    ensure!(have_come, "not in Prometheus: {:#?}", missing());
    let collected = tools.collected()?;
    for wanted in ["Name           : checkpoint", "Name           : snapshot", "Name           : publish", "deployed"] {
        ensure!(collected.contains(wanted), "the collector was not told `{wanted}`");
    }
    eprintln!("{} metrics are in Prometheus, both ways", documented.len());
    running.end(&cluster).await?;
    Ok(())
}

#[test]
fn protocol_that_is_none_is_refused_in_one_line() -> Result<()> {
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "kafka")];
    for program in ["jobmanager", "taskmanager"] {
        let said = programs::run(program, &[], &env)?;
        ensure!(said.code == Some(1) && said.err.lines().count() == 1, "{said:?}");
        ensure!(
            said.err.contains("`OTEL_EXPORTER_OTLP_PROTOCOL` is `kafka`: choose `grpc` or `http/protobuf`"),
            "{said:?}"
        );
    }
    Ok(())
}

/// Has every process export to the port; where each taskmanager is scraped.
fn export_to(cluster: &mut Cluster, collector: u16) -> Result<Vec<u16>> {
    restart(&mut cluster.jobmanager, "grpc", collector, ports::free()?)?;
    let mut scraped = Vec::new();
    for taskmanager in &mut cluster.taskmanagers {
        let port = ports::free()?;
        restart(taskmanager, "http/protobuf", collector, port)?;
        scraped.push(port);
    }
    cluster.wait_for_taskmanagers()?;
    Ok(scraped)
}

/// Starts a process again that tells of itself.
pub(crate) fn restart(member: &mut Member, protocol: &str, collector: u16, scraped: u16) -> Result<()> {
    member.restart_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{collector}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "200"),
        ("GAPWISE_TRACE_SAMPLE", "100"),
        ("GAPWISE_LOG", "info,taskmanager=debug"),
        ("GAPWISE_METRICS_ADDRESS", &format!("127.0.0.1:{scraped}")),
    ])
}

/// Every metric of the page comes, as it is documented.
fn arrive(collector: &Collector, documented: &[Documented]) -> Result<()> {
    let seen = || {
        let mut seen = collector.metrics(TASKMANAGER);
        seen.extend(collector.metrics(JOBMANAGER));
        seen
    };
    let missing = || {
        let seen = seen();
        documented.iter().map(|metric| metric.name.clone()).filter(|name| !seen.contains_key(name)).collect::<Vec<_>>()
    };
    let have_come = block_in_place(|| Deadline::after(LIMIT).wait_until(|| missing().is_empty()));
    ensure!(have_come, "documented, and never told: {:?}", missing());
    for (name, told) in seen() {
        let metric = documented.iter().find(|metric| metric.name == name);
        let metric = metric.with_context(|| format!("`{name}` is told, and not documented"))?;
        ensure!((told.kind, &told.unit) == (metric.kind.as_str(), &metric.unit), "{told:?} is not as {metric:?}");
        for (attributes, value) in &told.points {
            let keys: BTreeSet<String> = attributes.keys().cloned().collect();
            ensure!(keys == metric.attributes, "{told:?} has other attributes than {metric:?}");
            ensure!(value.is_finite(), "{told:?}");
        }
    }
    Ok(())
}

/// The rows of `docs/metrics.md`.
fn documented() -> Result<Vec<Documented>> {
    let page = std::fs::read_to_string(repository_file("docs/metrics.md")?)?;
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let read = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let code = |cell: &str| cell.trim_matches('`').to_owned();
        Documented {
            name: code(cells[1]),
            in_prometheus: code(cells[2]),
            kind: cells[3].to_owned(),
            unit: cells[4].to_owned(),
            attributes: cells[5].split_whitespace().map(str::to_owned).collect(),
        }
    };
    let documented: Vec<Documented> = rows.map(read).collect();
    ensure!(documented.len() > 40, "{documented:?}");
    Ok(documented)
}

/// Some checkpoint is one connected trace: what the jobmanager, a taskmanager or two and all five tasks did.
fn checkpoints_are_traces(collector: &Collector, job: &str) -> Result<()> {
    let mut last = Vec::new();
    let is_whole = block_in_place(|| {
        Deadline::after(LIMIT).wait_until(|| {
            let mut traces = BTreeMap::<Vec<u8>, Vec<Span>>::new();
            let of_job =
                collector.spans().into_iter().filter(|span| span.attributes.get("job.id").is_some_and(|id| id == job));
            of_job.for_each(|span| traces.entry(span.trace.clone()).or_default().push(span));
            last = traces.into_values().filter(|trace| trace.iter().any(|span| span.name == "checkpoint")).collect();
            last.iter().any(|trace| is_whole_checkpoint(trace))
        })
    });
    ensure!(is_whole, "no checkpoint is a whole trace: {:#?}", last.iter().max_by_key(|trace| trace.len()));
    Ok(())
}

fn is_whole_checkpoint(trace: &[Span]) -> bool {
    let ids: BTreeSet<&[u8]> = trace.iter().map(|span| span.id.as_slice()).collect();
    let named = |name: &str| trace.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let tasks = |name: &str| {
        named(name).iter().filter_map(|span| span.attributes.get("subtask").cloned()).collect::<BTreeSet<_>>()
    };
    let roots: Vec<&Span> = trace.iter().filter(|span| span.parent.is_empty()).collect();
    let all = ["sink[0]", "source[0]", "source[1]", "window[0]", "window[1]"].map(str::to_owned);
    let instances: BTreeSet<&str> = trace.iter().map(|span| span.instance.as_str()).collect();
    roots.len() == 1
        && roots[0].name == "checkpoint"
        && trace.iter().all(|span| span.parent.is_empty() || ids.contains(span.parent.as_slice()))
        && trace.iter().all(|span| span.started <= span.ended)
        && tasks("snapshot") == BTreeSet::from(all.clone())
        && tasks("align") == BTreeSet::from_iter(all.iter().filter(|task| !task.starts_with("source")).cloned())
        && tasks("upload").contains("window[0]")
        && named("store manifest").len() == 1
        && named("publish").len() == 1
        && instances.len() > 1
}

/// The kill is told of: how long it took until all ran again, and what that consisted of.
fn recovery_is_a_trace(collector: &Collector) -> Result<()> {
    let spans = collector.spans();
    let recovery = spans.iter().find(|span| span.name == "recovery").context("no recovery was told")?;
    for part in ["prepare", "deploy"] {
        let is_part = |span: &&Span| span.name == part && span.parent == recovery.id && span.trace == recovery.trace;
        ensure!(spans.iter().any(|span| is_part(&span)), "no `{part}` in {recovery:?}");
    }
    Ok(())
}

/// From the client's call to the first records that were read, in one trace and in this order.
fn start_is_a_trace(collector: &Collector, job: &str) -> Result<()> {
    let spans = collector.spans();
    let start =
        spans.iter().find(|span| span.name == "start" && span.attributes.get("job.id").is_some_and(|id| id == job));
    let start = start.context("no start was told")?;
    let part = |name: &str| {
        let found = spans.iter().find(|span| span.name == name && span.trace == start.trace && span.parent == start.id);
        found.with_context(|| format!("no `{name}` in {start:?}"))
    };
    let (submit, prepare, deploy, first) = (part("submit")?, part("prepare")?, part("deploy")?, part("first records")?);
    // Times are told in milliseconds.
    let is_behind = |later: u64, earlier: u64| later + 2_000_000 >= earlier;
    ensure!(is_behind(submit.started, start.started) && submit.ended > submit.started, "{submit:?} in {start:?}");
    ensure!(is_behind(prepare.started, submit.ended), "{prepare:?} before {submit:?}");
    ensure!(is_behind(deploy.started, prepare.ended), "{deploy:?} before {prepare:?}");
    ensure!(is_behind(first.ended, submit.ended) && first.instance != submit.instance, "{first:?}");
    Ok(())
}

fn logs_have_fields(collector: &Collector, job: &str) -> Result<()> {
    let logs = collector.logs();
    for service in [JOBMANAGER, TASKMANAGER] {
        let of_service = logs.iter().filter(|record| record.service == service);
        let is_of_job =
            |record: &&e2e::collector::LogRecord| record.attributes.get("job_id").is_some_and(|id| id == job);
        ensure!(of_service.clone().any(|record| is_of_job(&record)), "no record of {service} says its job: {logs:#?}");
    }
    ensure!(
        logs.iter().any(|record| record.body == "deployed" && record.attributes.contains_key("attempt")),
        "{logs:#?}"
    );
    let of_checkpoint =
        logs.iter().find(|record| record.body == "acknowledged").context("nothing about a checkpoint")?;
    for field in ["job_id", "attempt", "subtask", "checkpoint"] {
        ensure!(of_checkpoint.attributes.contains_key(field), "no `{field}` in {of_checkpoint:?}");
    }
    Ok(())
}

/// What Prometheus would get.
fn scrape(port: u16) -> Result<String> {
    telemetry_tools::get(port, "/metrics")
}
