//! Sessions end although nothing more comes, and what comes too late then makes no second session of one that was closed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::audit::Audit;
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::traffic::{Event, GAP_MS, WATERMARK_DELAY_MS};
use localcluster::deadline::Deadline;
use tokio::task::block_in_place;

const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// What the machine and the checkpoints may add.
const SLACK: Duration = Duration::from_secs(5);

/// One of three partitions is silent from the beginning, the others fall silent.
#[tokio::test(flavor = "multi_thread")]
async fn silent_topic_closes_every_session_in_time_and_a_straggler_opens_no_second_one() -> Result<()> {
    let cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "silence").await?;
    let job = Job { name: "silence".to_owned(), postgres_url: cluster.create_database("silence").await? };
    let observer = Audit::start(&job.postgres_url, Deadline::after(Duration::MAX))?;
    job.submit(&cluster, 2, &["--idle-timeout", "2s", "--close-when-idle"])?;
    job.wait_until(&cluster, |job| job["state"] == "running")?;

    let events: Vec<Event> = (0..40).map(|second| event(second % 2, "1.1.1.1", second.into())).collect();
    feed::produce_records(&bootstrap, "silence", &events)?;
    feed::produce_records(&bootstrap, "silence", &[event(1, "2.2.2.2", 39)])?;
    let silent_since = Deadline::after(Duration::MAX);
    let closed = |rows: u64| {
        let found = block_in_place(|| observer.wait_for(RECOVERY_LIMIT, |now| now.rows_total == rows));
        found.with_context(|| format!("{rows} sessions, in vain; the ledger: {:?}", observer.ledger()))
    };
    closed(2)?;
    let (gap, delay) = (GAP_MS.unsigned_abs(), WATERMARK_DELAY_MS.unsigned_abs());
    let limit = Duration::from_millis(gap + delay) + IDLE_TIMEOUT + SLACK;
    ensure!(silent_since.elapsed() <= limit, "after {:?}, and {limit:?} is the limit", silent_since.elapsed());

    // In time it would have made the session of 1.1.1.1 longer; its own window is not over.
    feed::produce_records(&bootstrap, "silence", &[event(0, "1.1.1.1", 39 + GAP_MS / 1000 - 1)])?;
    let late = block_in_place(|| observer.wait_for(RECOVERY_LIMIT, |now| now.late == 1));
    late.with_context(|| format!("a late event, in vain; the ledger: {:?}", observer.ledger()))?;
    // What is beyond that gap is a session of its own, and ends by the clock again.
    feed::produce_records(&bootstrap, "silence", &[event(0, "1.1.1.1", 39 + GAP_MS / 1000 + 1)])?;
    closed(3)?;

    let mut sql = Client::connect(&job.postgres_url.parse()?).await?;
    let rows = sql.query_text("SELECT ip, num_hits FROM sessionized_aggregated_events ORDER BY event_hour, ip").await?;
    let rows: Vec<String> =
        rows.rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    ensure!(rows == ["1.1.1.1 40", "2.2.2.2 1", "1.1.1.1 1"], "{rows:?}");
    let findings = block_in_place(|| observer.finish())?;
    ensure!(findings.violations == 0, "{:?}", findings.told);
    Ok(())
}

/// An event so many seconds after 2025-01-14 00:00.
fn event(partition: i32, ip: &str, second: i64) -> Event {
    let at = format!("2025-01-14T00:{:02}:{:02}.000Z", second / 60, second % 60);
    let json = format!(r#"{{"ip":"{ip}","host":"www.techcreator.io","event_time":"{at}"}}"#);
    Event { partition, at_ms: 0, json }
}
