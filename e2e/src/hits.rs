//! What the two tables of an aggregate job should hold, computed by Postgres itself from the records of the topic.
//!
//! As in [`crate::oracle`], nothing of the engine takes part: Postgres' JSON functions read the events, and `date_bin` finds their
//! windows. Records that are no JSON object are left out, and events that were sent late on purpose, which are known by their `ip`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;

use crate::oracle;
use crate::traffic::{CLOSING_HOST, LATE_IP};

const EVENTS: &str = "
    DROP TABLE IF EXISTS oracle_events;
    CREATE UNLOGGED TABLE oracle_events AS
        SELECT record::json->>'host' AS host, record::json->>'referrer' AS referrer,
               date_bin(interval '{window} milliseconds', replace(record::json->>'event_time', 'Z', '')::timestamp,
                        timestamp '1970-01-01')::timestamp(3) AS event_hour
        FROM oracle_records WHERE record LIKE '{%' AND record::json->>'ip' IS DISTINCT FROM '{late}';";

/// A row that is there too often is surplus as well. The windows of the closing events are over or not, as the job was ended.
const COMPARE: &str = "
    WITH expected AS (
        SELECT {columns}, count(host) AS num_hits FROM oracle_events
        WHERE host IS DISTINCT FROM '{closing}' GROUP BY {columns}),
    found AS (SELECT {columns}, num_hits FROM {table} WHERE host IS DISTINCT FROM '{closing}'),
    missing AS (SELECT * FROM expected EXCEPT ALL SELECT * FROM found),
    surplus AS (SELECT * FROM found EXCEPT ALL SELECT * FROM expected)
    SELECT (SELECT count(*) FROM expected), (SELECT count(*) FROM missing), (SELECT count(*) FROM surplus),
           (SELECT string_agg(missing::text, ' ') FROM (SELECT * FROM missing ORDER BY 1, 2 LIMIT 5) AS missing),
           (SELECT string_agg(surplus::text, ' ') FROM (SELECT * FROM surplus ORDER BY 1, 2 LIMIT 5) AS surplus)";

/// Reads the topic, and compares both tables with it; the rows that each should have, and has. `dir` is a folder that the database
/// server can read.
///
/// # Errors
/// If a table is not exact, with the first rows that differ; if the topic cannot be read, or the database refuses.
pub async fn compare(sql: &mut Client, dir: &Path, bootstrap: &str, topic: &str, window_ms: i64) -> Result<[u64; 2]> {
    oracle::load_records(sql, dir, bootstrap, topic).await?;
    sql.execute(&EVENTS.replace("{window}", &window_ms.to_string()).replace("{late}", LATE_IP)).await?;
    let by_host = is_exact(sql, "processed_events_aggregated", "event_hour, host").await?;
    let by_referrer = is_exact(sql, "processed_events_aggregated_source", "event_hour, host, referrer").await?;
    Ok([by_host, by_referrer])
}

async fn is_exact(sql: &mut Client, table: &str, columns: &str) -> Result<u64> {
    let statement = COMPARE.replace("{table}", table).replace("{columns}", columns).replace("{closing}", CLOSING_HOST);
    let row = sql.query_text(&statement).await?.rows.concat();
    let [expected, missing, surplus, first_missing, first_surplus] = &row[..] else {
        anyhow::bail!("{} fields", row.len());
    };
    let number = |field: &Option<String>| -> Result<u64> { Ok(field.as_deref().context("a number")?.parse()?) };
    let (expected, missing, surplus) = (number(expected)?, number(missing)?, number(surplus)?);
    ensure!(
        expected > 0 && missing == 0 && surplus == 0,
        "`{table}`: of {expected} rows {missing} are missing ({first_missing:?}), {surplus} are too many ({first_surplus:?})"
    );
    Ok(expected)
}
