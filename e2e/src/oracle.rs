//! What the table should hold, computed by Postgres itself from the records of the topic.
//!
//! Nothing of the engine takes part: librdkafka reads the records, Postgres' JSON functions read the events, and window
//! functions find the sessions ([`Subject`]). A session begins where the event before is *more* than the gap away: at exactly
//! the gap the windows `[t, t + gap)` touch, and Flink merges windows that touch.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::{Client, Table};
use localcluster::deadline::Deadline;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::subject::Subject;

const BROKER_LIMIT: Duration = Duration::from_secs(30);
/// A topic that has not been read to its end has a next record by then.
const NEXT_RECORD_LIMIT: Duration = Duration::from_secs(120);

/// No JSON text holds these two as bytes, so a record is a field as it is.
const LOAD: &str = "
    DROP TABLE IF EXISTS oracle_records, oracle_rows;
    CREATE UNLOGGED TABLE oracle_records (partition int, number bigint, record text);
    COPY oracle_records FROM '{file}' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02');";

/// A record that makes no row says where it is kept. Rows are compared as text, whatever their columns are.
const COMPARE: &str = "
    ALTER TABLE oracle_records ADD COLUMN kept text GENERATED ALWAYS AS (CASE {makes_no_row} END) STORED;
    CREATE UNLOGGED TABLE oracle_rows AS {expected};
    CREATE TEMP TABLE expected AS SELECT r::text AS line FROM oracle_rows AS r;
    CREATE TEMP TABLE found AS SELECT r::text AS line FROM ({found}) AS r;
    CREATE TEMP TABLE missing AS SELECT * FROM expected EXCEPT ALL SELECT * FROM found;
    CREATE TEMP TABLE surplus AS SELECT line, line IN (SELECT line FROM expected) AS is_duplicate
        FROM (SELECT * FROM found EXCEPT ALL SELECT * FROM expected) AS s;
    CREATE TEMP TABLE to_keep AS SELECT kept, partition, number FROM oracle_records WHERE kept IS NOT NULL;
    CREATE TEMP TABLE kept AS {kept};
    CREATE TEMP TABLE wrongly_kept AS
        (SELECT 'lost' AS what, * FROM (SELECT * FROM to_keep EXCEPT ALL SELECT * FROM kept) AS l)
        UNION ALL (SELECT 'surplus', * FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM to_keep) AS s);";

const KEPT: &str = "SELECT '{table}' AS kept, partition::int, \"offset\"::bigint AS number FROM {table}";

const COUNT: &str = "
    SELECT (SELECT count(*) FROM oracle_records), (SELECT count(*) FROM expected), (SELECT count(*) FROM found),
           (SELECT count(*) FROM missing), (SELECT count(*) FROM surplus WHERE is_duplicate),
           (SELECT count(*) FROM surplus WHERE NOT is_duplicate), (SELECT count(*) FROM kept),
           (SELECT count(*) FROM wrongly_kept)";

const FIRST: &str = "
    SELECT * FROM (
        SELECT 'missing' AS what, line FROM missing
        UNION ALL SELECT CASE WHEN is_duplicate THEN 'duplicate' ELSE 'different' END, line FROM surplus
        UNION ALL SELECT what || ' in ' || kept, partition || ' ' || number FROM wrongly_kept) AS difference
    ORDER BY line, what LIMIT 20";

/// How the table compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records in the topic.
    pub records: u64,
    /// Rows that should be there.
    pub expected: u64,
    /// Rows that are there.
    pub rows: u64,
    /// Rows that should be there and are not.
    pub missing: u64,
    /// Rows that are there more often than they should.
    pub duplicate: u64,
    /// Rows that should not be there at all.
    pub different: u64,
    /// Rows in the tables of late events and of dead letters.
    pub kept: u64,
    /// Records that should be in one of them and are not, or the other way round.
    pub wrongly_kept: u64,
    /// The first rows that differ.
    pub first: Vec<String>,
}

impl Verdict {
    /// Whether every session is there once, and nothing else.
    pub fn is_exact(&self) -> bool {
        self.expected > 0 && self.missing + self.duplicate + self.different + self.wrongly_kept == 0
    }

    /// For a report.
    pub fn to_json(&self) -> Value {
        let Verdict { records, expected, rows, missing, duplicate, different, kept, wrongly_kept, first } = self;
        json!({ "records": records, "expected": expected, "rows": rows, "missing": missing, "duplicate": duplicate,
                "different": different, "kept": kept, "wrongly_kept": wrongly_kept, "first": first })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { records, expected, rows, missing, duplicate, different, kept, wrongly_kept, .. } = self;
        write!(
            f,
            "{rows} rows of {expected} from {records} records: {missing} missing, {duplicate} duplicate, {different} different; {kept} \
             late or bad, {wrongly_kept} of them wrongly"
        )?;
        self.first.iter().try_for_each(|row| write!(f, "\n  {row}"))
    }
}

/// Reads the topic and compares the table with it. `dir` is a folder that the database server can read.
///
/// # Errors
/// If the topic cannot be read, or the database refuses.
pub async fn compare(sql: &mut Client, dir: &Path, bootstrap: &str, topic: &str, subject: Subject) -> Result<Verdict> {
    load_records(sql, dir, bootstrap, topic).await?;
    let side_tables = subject.tables()[1..].iter().map(|table| KEPT.replace("{table}", table));
    let kept = side_tables.collect::<Vec<_>>().join(" UNION ALL ");
    let compare = COMPARE.replace("{expected}", &subject.expected()).replace("{found}", &subject.found());
    sql.execute(&compare.replace("{kept}", &kept).replace("{makes_no_row}", &subject.makes_no_row())).await?;
    let counts = sql.query_text(COUNT).await?;
    let first = lines(&sql.query_text(FIRST).await?);
    sql.execute("DROP TABLE expected, found, missing, surplus, to_keep, kept, wrongly_kept").await?;
    let counts: Vec<u64> =
        counts.rows.concat().iter().map(|field| Ok(field.as_deref().unwrap_or("0").parse()?)).collect::<Result<_>>()?;
    let [records, expected, rows, missing, duplicate, different, kept, wrongly_kept] = counts[..] else {
        anyhow::bail!("{} counts", counts.len());
    };
    Ok(Verdict { records, expected, rows, missing, duplicate, different, kept, wrongly_kept, first })
}

/// Reads the topic into the table `oracle_records`.
///
/// # Errors
/// If the topic cannot be read, or the database refuses.
pub(crate) async fn load_records(sql: &mut Client, dir: &Path, bootstrap: &str, topic: &str) -> Result<()> {
    let file = dir.join(format!("{topic}.records"));
    read_topic(bootstrap, topic, &file).with_context(|| format!("reading `{topic}`"))?;
    let file = file.to_str().context("a path that is text")?;
    sql.execute(&LOAD.replace("{file}", file)).await?;
    Ok(())
}

fn lines(table: &Table) -> Vec<String> {
    let text = |row: &Vec<Option<String>>| {
        row.iter().map(|field| field.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("  ")
    };
    table.rows.iter().map(text).collect()
}

/// Writes partition, offset and message of every record that the topic holds now.
fn read_topic(bootstrap: &str, topic: &str, file: &Path) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "oracle").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.set("reconnect.backoff.max.ms", "500").create()?;
    let metadata = consumer.fetch_metadata(Some(topic), BROKER_LIMIT)?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions();
    let (mut list, mut left) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in partitions.iter().map(|partition| partition.id()) {
        let (low, high) = consumer.fetch_watermarks(topic, partition, BROKER_LIMIT)?;
        list.add_partition_offset(topic, partition, Offset::Offset(low))?;
        if high > low {
            left.insert(partition, high);
        }
    }
    consumer.assign(&list)?;
    let mut out = BufWriter::new(File::create(file)?);
    let mut deadline = Deadline::after(NEXT_RECORD_LIMIT);
    while !left.is_empty() {
        ensure!(!deadline.has_passed(), "the records up to {left:?} did not come");
        // Errors of a connection are passing; what does not come is told at the deadline.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        deadline = Deadline::after(NEXT_RECORD_LIMIT);
        let (partition, offset) = (message.partition(), message.offset());
        let payload = message.payload().unwrap_or_default();
        ensure!(!payload.iter().any(|byte| matches!(byte, 1 | 2 | b'\n')), "a record of several lines");
        write!(out, "{partition}\x01{offset}\x01")?;
        out.write_all(payload)?;
        writeln!(out)?;
        if left.get(&partition).is_some_and(|&end| offset + 1 >= end) {
            left.remove(&partition);
        }
    }
    Ok(out.flush()?)
}
