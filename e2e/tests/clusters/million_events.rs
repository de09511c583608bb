//! A million generated events through Kafka at parallelism 2: the table equals what SQL window functions make of them.

use anyhow::{Result, ensure};
use e2e::cluster::Cluster;
use e2e::programs;

/// The same events, read by Postgres itself: one line a row, parsed by its own JSON functions.
const LOAD: &str = "
    CREATE UNLOGGED TABLE lines (line text);
    COPY lines FROM '{file}' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02');
    CREATE UNLOGGED TABLE events AS
        SELECT line::json->>'ip' AS ip, line::json->>'host' AS host,
               (replace(line::json->>'event_time', 'Z', ''))::timestamp(3) AS at
        FROM lines;";

/// Sessions by window functions: a new one begins where the event before is more than the gap away.
const BATCH: &str = "
    CREATE UNLOGGED TABLE batch AS
        SELECT min(at) AS event_hour, ip, host, count(*) AS num_hits
        FROM (SELECT *, count(*) FILTER (WHERE is_first) OVER (PARTITION BY ip, host ORDER BY at, n) AS session
              FROM (SELECT *, row_number() OVER (PARTITION BY ip, host ORDER BY at) AS n,
                           coalesce(at - lag(at) OVER (PARTITION BY ip, host ORDER BY at) > interval '5 minutes', true) AS is_first
                    FROM events) AS marked) AS numbered
        GROUP BY ip, host, session;";

const DIFFERENCE: &str = "
    SELECT count(*) FROM (
        (TABLE sessionized_aggregated_events EXCEPT ALL TABLE batch)
        UNION ALL
        (TABLE batch EXCEPT ALL TABLE sessionized_aggregated_events)) AS difference";

#[tokio::test(flavor = "multi_thread")]
async fn table_equals_a_batch_computation_in_sql() -> Result<()> {
    let cluster = Cluster::start(2, 1)?;
    let file = cluster.dir().join("events.jsonl");
    let path = file.to_str().unwrap();
    programs::run(
        "localcluster",
        &["generate", "--events", "1000000", "--seed", "4", "--ips", "5000", "--out", path],
        &[],
    )?
    .ok()?;
    cluster.load("million", 3, &file)?;
    let args = ["submit", "sessionize", "--gap", "5m", "--until", "latest", "--wait", "--parallelism", "2"];
    cluster.jobctl_with(&args, &[("KAFKA_TOPIC", "million")])?.ok()?;

    let mut sql = cluster.sql().await?;
    sql.execute(&LOAD.replace("{file}", path)).await?;
    sql.execute(BATCH).await?;
    let mut count =
        async |query: &str| anyhow::Ok(sql.query_text(query).await?.rows[0][0].clone().unwrap().parse::<u64>()?);
    ensure!(count("SELECT count(*) FROM events").await? == 1_000_000);
    ensure!(count("SELECT sum(num_hits) FROM sessionized_aggregated_events").await? == 1_000_000);
    let sessions = count("SELECT count(*) FROM batch").await?;
    ensure!(sessions > 100_000, "{sessions} sessions are too few to prove anything");
    let different = count(DIFFERENCE).await?;
    ensure!(different == 0, "{different} rows of {sessions} differ");
    Ok(())
}
