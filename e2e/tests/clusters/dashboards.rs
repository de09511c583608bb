//! Every panel and every alert asks for something that a cluster under load really has: `scripts/render-dashboards` against a real
//! Prometheus, which a real collector feeds, and the real tables. Part of `make test-telemetry`.
//!
//! With `UPDATE_DOCS=1` the pictures go to `docs/dashboards`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use connectors::postgres::Client;
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape, repository_file};
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::programs;
use e2e::telemetry_tools::TelemetryTools;
use e2e::traffic::{Event, GAP_MS, LATE_IP, NO_JSON, time_text};
use localcluster::deadline::{Deadline, pause};
use localcluster::process::{Launch, OwnedChild};
use localcluster::program;
use serde_json::Value;
use tokio::task::block_in_place;

use crate::telemetry::restart;

const NAME: &str = "sessionize";
/// Subqueries of the alerts look at half minutes, and need two.
const LIMIT: Duration = Duration::from_secs(180);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// What is asked for: all that happened here, until the limit.
const MINUTES: &str = "4";
/// For pictures that show something.
const SHOWN: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_fills_every_panel_and_alert() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let Some(tools) = TelemetryTools::start(cluster.dir(), 1 + cluster.taskmanagers.len())? else { return Ok(()) };
    restart(&mut cluster.jobmanager, "grpc", tools.grpc_port, tools.scraped_ports[0])?;
    for (taskmanager, &scraped) in cluster.taskmanagers.iter_mut().zip(&tools.scraped_ports[1..]) {
        restart(taskmanager, "http/protobuf", tools.http_port, scraped)?;
    }
    cluster.wait_for_taskmanagers()?;
    let job = Job { name: NAME.to_owned(), postgres_url: cluster.create_database(NAME).await? };
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, NAME).await?;
    let _traffic = live_traffic(&cluster)?;
    job.submit(&cluster, 2, &["--checkpoint-interval", "5s"])?;
    let mut sql = Client::connect(&job.postgres_url.parse()?).await?;
    // The panels ask for the time that the table has sessions of, in which late events are to be: that of the first session.
    let first_ms = wait_for_number(
        &mut sql,
        "SELECT (extract(epoch FROM min(event_hour)) * 1000)::bigint FROM sessionized_aggregated_events",
    )
    .await?;
    // Before a session of that time would have ended everywhere, nothing is late for it.
    let is_past = |subtask: &Value| subtask["watermark_ms"].as_i64() > Some(first_ms + 2 * GAP_MS);
    job.wait_until(&cluster, |job| job["subtasks"].as_array().is_some_and(|all| all.iter().all(is_past)))?;
    block_in_place(|| feed::produce_records(&bootstrap, NAME, &of_no_session(first_ms)))?;
    // A recovery reads again what was not published: it may come before others then, and not be late.
    wait_for_number(&mut sql, "SELECT nullif(count(*), 0) FROM late_events").await?;
    let attempt = job.describe(&cluster)?["attempt"].as_u64();
    let victim = job.a_taskmanager_of(&cluster, "window")?;
    cluster.taskmanagers[victim].kill();
    restart(&mut cluster.taskmanagers[victim], "http/protobuf", tools.http_port, tools.scraped_ports[1 + victim])?;
    job.wait_until(&cluster, |job| job["state"] == "running" && job["attempt"].as_u64() > attempt)?;

    let docs = std::env::var_os("UPDATE_DOCS").is_some();
    let out = if docs { repository_file("docs")?.join("dashboards") } else { cluster.dir().join("dashboards") };
    if docs {
        block_in_place(|| pause(SHOWN));
    }
    let (deadline, mut said) = (Deadline::after(LIMIT), String::new());
    let mut render = Command::new(repository_file("scripts/render-dashboards")?);
    render.args(["--prometheus", &tools.prometheus_url(), "--minutes", MINUTES]).arg("--out").arg(&out);
    match program::on_path("psql") {
        Some(_) => {
            render.args(["--postgres", &job.postgres_url]);
        }
        None => eprintln!("SKIPPED: no psql, so the panels of analysts are not asked"),
    }
    let is_filled = block_in_place(|| {
        deadline.wait_until(|| {
            pause(LOOK_AGAIN_AFTER);
            let output = render.output();
            said =
                output.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            output.is_ok_and(|output| output.status.success())
        })
    });
    ensure!(is_filled, "{said}");
    eprintln!("{}", said.lines().last().unwrap_or_default());
    Ok(())
}

/// Waits for a number that the tables do not have yet.
async fn wait_for_number(sql: &mut Client, query: &str) -> Result<i64> {
    let deadline = Deadline::after(RECOVERY_LIMIT);
    loop {
        // The job makes the tables: until then it is an error.
        let answer = sql.query_text(query).await;
        if let Some(number) = answer.as_ref().ok().and_then(|found| found.rows[0][0].clone()) {
            return Ok(number.parse()?);
        }
        ensure!(!deadline.has_passed(), "no number within {RECOVERY_LIMIT:?}, but {answer:?}: {query}");
        block_in_place(|| pause(LOOK_AGAIN_AFTER));
    }
}

/// Events of now, of more visitors than come back within a gap.
fn live_traffic(cluster: &Cluster) -> Result<OwnedChild> {
    let log: PathBuf = cluster.dir().join("traffic.log");
    let mut launch = Launch::new(programs::path("localcluster")?, log)
        .args(["traffic", "--rate", "1000", "--ips", "40000", "--topic", NAME]);
    launch.env = [("KAFKA_URL".to_owned(), Some(cluster.broker.bootstrap_servers()))].into();
    Ok(OwnedChild::start(&launch)?)
}

/// Dead letters, and events of a time whose sessions have ended.
fn of_no_session(late_ms: i64) -> Vec<Event> {
    let late = format!(r#"{{"ip":"{LATE_IP}","host":"a.example","event_time":"{}"}}"#, time_text(late_ms));
    let event = |number: i32, json: String| Event { partition: number % 3, at_ms: 0, json };
    (0..60).flat_map(|number| [event(number, format!("{NO_JSON} {number}")), event(number, late.clone())]).collect()
}
