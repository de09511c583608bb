//! The judges of `make chaos`, judged: a table that is right passes, and each way to be wrong is seen.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use connectors::postgres::Client;
use e2e::audit::Audit;
use e2e::broker::Broker;
use e2e::cluster::readable_dir;
use e2e::feed::{self, Feed};
use e2e::oracle::{self, Verdict};
use e2e::subject::Subject;
use e2e::traffic::{GAP_MS, Traffic};
use localcluster::deadline::Deadline;
use localcluster::postgres::Postgres;
use tokio::task::block_in_place;

const LIMIT: Duration = Duration::from_secs(30);

const TABLES: &str = "CREATE TABLE sessionized_aggregated_events \
                          (event_hour timestamp(3), ip varchar, host varchar, num_hits bigint); \
                      CREATE TABLE late_events (partition int, \"offset\" bigint); \
                      CREATE TABLE dead_letter_events (partition int, \"offset\" bigint)";

/// One broker for both: each clause has a topic of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_oracle() -> Result<()> {
    let dir = readable_dir()?;
    let mut broker = Broker::start(dir.path())?;
    let postgres = Postgres::start(dir.path())?;
    let mut sql = Client::connect(&postgres.url().parse()?).await?;
    sql.execute(TABLES).await?;
    it_joins_events_that_are_a_gap_apart_and_no_others(&mut sql, dir.path(), &broker).await?;
    it_sees_missing_duplicate_and_different_rows(&mut sql, dir.path(), &mut broker).await
}

async fn it_sees_missing_duplicate_and_different_rows(sql: &mut Client, dir: &Path, broker: &mut Broker) -> Result<()> {
    let bootstrap = broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "web").await?;
    let feed = Feed::start(&bootstrap, "web", Traffic::new(3).spoilt(500), 2_000)?;
    // A broker that dies in between neither loses nor repeats an event of the feed.
    ensure!(block_in_place(|| Deadline::after(LIMIT).wait_until(|| feed.sent() > 1_000)));
    block_in_place(|| {
        broker.kill();
        broker.restart()
    })?;
    let sent = feed.sent();
    ensure!(block_in_place(|| Deadline::after(LIMIT).wait_until(|| feed.sent() > sent + 1_000)));
    let traffic = block_in_place(|| feed.stop())?;
    feed::close(&bootstrap, "web", &traffic)?;
    ensure!(feed::topic_length(&bootstrap, "web").await? == traffic.taken() + 3);

    let empty = oracle::compare(sql, dir, &bootstrap, "web", Subject::SESSIONS).await?;
    ensure!(empty.missing == empty.expected && empty.expected > 200 && !empty.is_exact(), "{empty}");
    ensure!(empty.wrongly_kept > 10, "all that is bad is lost: {empty}");
    sql.execute("INSERT INTO sessionized_aggregated_events TABLE oracle_rows").await?;
    let kept = "SELECT partition, number FROM oracle_records WHERE kept =";
    for table in ["late_events", "dead_letter_events"] {
        sql.execute(&format!("INSERT INTO {table} {kept} '{table}'")).await?;
    }
    let good = oracle::compare(sql, dir, &bootstrap, "web", Subject::SESSIONS).await?;
    ensure!(good.is_exact() && good.records == traffic.taken() + 3, "{good}");
    let hits = sql.query_text("SELECT sum(num_hits) FROM sessionized_aggregated_events").await?.rows;
    ensure!(hits == [[Some((traffic.taken() - good.kept).to_string())]], "{hits:?}");

    for (change, expected) in [
        ("INSERT INTO sessionized_aggregated_events SELECT * FROM oracle_rows LIMIT 3", (0, 3, 0)),
        ("DELETE FROM sessionized_aggregated_events WHERE num_hits = 1", (1, 0, 0)),
        ("UPDATE sessionized_aggregated_events SET num_hits = num_hits + 100 WHERE num_hits > 1", (1, 0, 1)),
    ] {
        sql.execute(change).await?;
        let Verdict { missing, duplicate, different, .. } =
            oracle::compare(sql, dir, &bootstrap, "web", Subject::SESSIONS).await?;
        ensure!(
            (missing.min(1), duplicate, different.min(1)) == expected,
            "{change}: {missing} {duplicate} {different}"
        );
        sql.execute(
            "TRUNCATE sessionized_aggregated_events; INSERT INTO sessionized_aggregated_events TABLE oracle_rows",
        )
        .await?;
    }
    for (change, expected) in [
        ("INSERT INTO late_events VALUES (0, 0)", 1),
        ("DELETE FROM dead_letter_events WHERE ctid = (SELECT min(ctid) FROM dead_letter_events)", 2),
    ] {
        sql.execute(change).await?;
        let verdict = oracle::compare(sql, dir, &bootstrap, "web", Subject::SESSIONS).await?;
        ensure!(verdict.wrongly_kept == expected && !verdict.is_exact(), "{change}: {verdict}");
    }
    Ok(())
}

async fn it_joins_events_that_are_a_gap_apart_and_no_others(
    sql: &mut Client,
    dir: &Path,
    broker: &Broker,
) -> Result<()> {
    let bootstrap = broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "gaps").await?;
    block_in_place(|| feed::produce(&bootstrap, "gaps", &mut Traffic::new(5), 20_000))?;
    let mut expected = Vec::new();
    for gap_ms in [GAP_MS - 1, GAP_MS, GAP_MS + 1] {
        expected.push(oracle::compare(sql, dir, &bootstrap, "gaps", Subject::Sessions { gap_ms }).await?.expected);
    }
    ensure!(expected[0] > expected[1], "no two events are a gap apart, or it does not join them: {expected:?}");
    ensure!(expected[1] == expected[2], "{expected:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auditor_survives_a_crash_and_sees_a_row_without_its_account() -> Result<()> {
    let dir = readable_dir()?;
    let mut postgres = Postgres::start(dir.path())?;
    let audit = Audit::start(&postgres.url(), Deadline::after(Duration::MAX))?;
    let mut sql = Client::connect(&postgres.url().parse()?).await?;
    // The ledger as far as it is looked at.
    sql.execute(TABLES).await?;
    sql.execute(
        "CREATE TABLE gapwise_ledger (token bigint, last_epoch bigint, prev_epoch bigint, rows_total bigint,
             events_read bigint, events_in_sessions bigint, late bigint, bad bigint, open_events bigint);
         INSERT INTO gapwise_ledger VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0)",
    )
    .await?;
    let publish = |epoch: u64| {
        format!(
            "BEGIN; INSERT INTO sessionized_aggregated_events VALUES (now(), 'a', 'b', 5);
             UPDATE gapwise_ledger SET last_epoch = {epoch}, prev_epoch = last_epoch, rows_total = rows_total + 1,
                 events_read = events_read + 5, events_in_sessions = events_in_sessions + 5; COMMIT"
        )
    };
    sql.execute(&publish(1)).await?;
    ensure!(block_in_place(|| audit.wait_for(LIMIT, |ledger| ledger.last_epoch == 1)).is_some());
    block_in_place(|| {
        postgres.stop_immediately();
        postgres.restart()
    })?;
    let mut sql = Client::connect(&postgres.url().parse()?).await?;
    sql.execute(&publish(2)).await?;
    ensure!(block_in_place(|| audit.wait_for(LIMIT, |ledger| ledger.last_epoch == 2)).is_some());
    let good = audit.findings();
    ensure!(good.violations == 0 && good.outages > 0 && good.publications.len() == 2, "{good:?}");

    sql.execute("INSERT INTO sessionized_aggregated_events VALUES (now(), 'a', 'b', 5)").await?;
    ensure!(block_in_place(|| Deadline::after(LIMIT).wait_until(|| audit.findings().violations > 0)));
    let bad = audit.finish()?;
    ensure!(bad.told[0].contains("hits in the table") && bad.told[0].contains("rows in the table"), "{:?}", bad.told);
    Ok(())
}
