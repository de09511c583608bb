//! Everything that a topic should not hold, in one topic, through the whole job: each record ends where it belongs, none costs a crash, a
//! stall or a neighbour.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::cluster::{Cluster, Shape};
use e2e::job;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use tokio::task::block_in_place;

const LIMIT: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// Where a record ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// It is an event of this visitor; several have one each.
    Event(&'static str),
    /// It is kept as a dead letter for a reason like this.
    Dead(&'static str),
    /// It is an event, and a dead letter besides.
    Both(&'static str, &'static str),
    /// It is neither.
    Nowhere,
}

/// In the order of their times: no event of them is late.
fn corpus() -> Vec<(Option<Vec<u8>>, Ends)> {
    use Ends::{Both, Dead, Event, Nowhere};
    const NOON: &str = "2025-01-14T12:00:00.000Z";
    let mut records: Vec<(Option<Vec<u8>>, Ends)> = vec![(None, Nowhere)];
    let mut add = |bytes: &[u8], ends| records.push((Some(bytes.to_vec()), ends));
    // Times, from the first that there is to the last.
    for (time, visitor) in [
        ("0001-01-01T00:00:00.000Z", "year 1"),
        ("1969-12-31T23:59:59.999Z", "before 1970"),
        ("1970-01-01T00:00:00.000Z", "1970"),
        ("2000-02-29T12:00:00.000Z", "leap day of a century"),
        ("2023-02-29T12:00:00.000Z", "leap day that was none"),
        ("2024-02-29T12:00:00.000Z", "leap day"),
    ] {
        add(event(visitor, time).as_bytes(), Event(visitor));
    }
    add(event("x", "9999-12-31T23:59:59.999Z").as_bytes(), Dead("is in the future"));
    add(event("x", "-2025-01-01T00:00:00.000Z").as_bytes(), Dead("no valid event_time"));
    add(event("x", "2025-13-01T00:00:00.000Z").as_bytes(), Dead("no valid event_time"));
    add(br#"{"ip":"x","event_time":1736856000000}"#, Dead("no valid event_time"));
    add(br#"{"ip":"x","event_time":null}"#, Dead("no valid event_time"));
    // Shapes.
    add(b"", Nowhere);
    add(b"[]", Nowhere);
    add(b"{}", Dead("no valid event_time"));
    for bytes in [&b" "[..], b"null", b"7", b"\"text\"", b"{", b"[{", b"{\"a\":tru}", b"\0", b"\xff", b"{'a':1}"] {
        add(bytes, Dead(""));
    }
    add(format!("{} trailing", event("trailing", NOON)).as_bytes(), Event("trailing"));
    add(format!("[{},{}]", event("array", NOON), event("array", NOON)).as_bytes(), Event("array"));
    add(format!("[{},7]", event("half an array", NOON)).as_bytes(), Both("half an array", ""));
    add(
        format!(r#"{{"ip":"not this","ip":"duplicate","host":"a.io","event_time":"{NOON}"}}"#).as_bytes(),
        Event("duplicate"),
    );
    add(format!(r#"{{"ip":4711,"host":"a.io","event_time":"{NOON}"}}"#).as_bytes(), Event("4711"));
    add(format!(r#"{{"ip":{{"a":[1]}},"host":"a.io","event_time":"{NOON}"}}"#).as_bytes(), Event(r#"{"a":[1]}"#));
    let deep = |levels: usize, ip: &str| {
        format!(
            r#"{{"ip":"{ip}","host":"a.io","event_time":"{NOON}","deep":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    add(deep(900, "deep").as_bytes(), Event("deep"));
    add(deep(100_000, "x").as_bytes(), Dead("nested more than"));
    // Bytes.
    add(&[b"\xef\xbb\xbf", event("byte order mark", NOON).as_bytes()].concat(), Event("byte order mark"));
    let utf_16: Vec<u8> = event("utf 16", NOON).encode_utf16().flat_map(u16::to_le_bytes).collect();
    add(&[b"\xff\xfe", &utf_16[..]].concat(), Event("utf 16"));
    add(&[br#"{"ip":"x","url":""#, &b"\xff"[..], br#"","event_time":""#, NOON.as_bytes(), b"\"}"].concat(), Dead(""));
    add(event("\\u0007\\ud83d\\ude00", NOON).as_bytes(), Event("\u{7}\u{1f600}"));
    add(padded("seven MiB", NOON, 7 * MIB).as_bytes(), Event("seven MiB"));
    add(padded("x", NOON, 10 * MIB).as_bytes(), Dead("longer than 8 MiB"));
    add(&vec![b'{'; 10 * MIB], Dead("longer than 8 MiB"));
    add(event("the last", NOON).as_bytes(), Event("the last"));
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_ends_where_it_belongs() -> Result<()> {
    let cluster = Cluster::start_with(Shape { taskmanagers: 1, ..Shape::TWO_BY_TWO })?;
    let records = corpus();
    block_in_place(|| tokio::runtime::Handle::current().block_on(produce(&cluster, "poison", &records)))?;
    let args = ["submit", "sessionize", "--until", "latest", "--wait", "--on-late", "fail"];
    cluster.jobctl_with(&args, &[("KAFKA_TOPIC", "poison")])?.ok()?;

    let described: Value =
        serde_json::from_str(&cluster.jobctl(&["describe", "sessionize", "--output", "json"])?.ok()?)?;
    ensure!(described["restarts"] == 0, "{described}");
    let (mut visitors, mut dead) = (BTreeMap::new(), Vec::new());
    for (offset, (bytes, ends)) in records.iter().enumerate() {
        let (visitor, reason) = match *ends {
            Ends::Event(visitor) => (Some(visitor), None),
            Ends::Dead(reason) => (None, Some(reason)),
            Ends::Both(visitor, reason) => (Some(visitor), Some(reason)),
            Ends::Nowhere => (None, None),
        };
        if let Some(visitor) = visitor {
            *visitors.entry(visitor.to_owned()).or_insert(0) += if visitor == "array" { 2 } else { 1 };
        }
        dead.extend(reason.map(|reason| (offset.to_string(), bytes.as_ref().map_or(0, Vec::len).to_string(), reason)));
    }
    ensure!(job::counter(&described, "source", "bad")? == dead.len() as u64, "{described}");

    let mut sql = cluster.sql().await?;
    let found = rows(&mut sql, "SELECT ip, sum(num_hits) FROM sessionized_aggregated_events GROUP BY ip").await?;
    let found: BTreeMap<String, u64> = found.into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect();
    ensure!(found == visitors, "sessions of {found:?}, and not of {visitors:?}");
    let query = "SELECT \"offset\", bytes, reason FROM dead_letter_events ORDER BY \"offset\"";
    let found = rows(&mut sql, query).await?;
    ensure!(found.len() == dead.len(), "{found:?}");
    for (row, (offset, bytes, reason)) in found.iter().zip(&dead) {
        let is_it = row[0] == *offset && row[1] == *bytes && row[2].contains(reason) && !row[2].is_empty();
        ensure!(is_it, "{row:?}, and not offset {offset} of {bytes} bytes for {reason:?}");
    }
    Ok(())
}

fn event(ip: &str, time: &str) -> String {
    format!(r#"{{"ip":"{ip}","host":"a.io","event_time":"{time}"}}"#)
}

/// An event so long.
fn padded(ip: &str, time: &str, bytes: usize) -> String {
    let event = event(ip, time);
    let open = event.strip_suffix('}').unwrap();
    let frame = format!(r#"{open},"pad":""}}"#).len();
    format!(r#"{open},"pad":"{}"}}"#, "x".repeat(bytes - frame))
}

async fn produce(cluster: &Cluster, topic: &str, records: &[(Option<Vec<u8>>, Ends)]) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.broker.bootstrap_servers()).set("message.max.bytes", "20000000");
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "20000000");
    for made in admin.create_topics([&new], &AdminOptions::new()).await? {
        made.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    let producer: BaseProducer = config.create()?;
    for (bytes, _) in records {
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(0);
        record.payload = bytes.as_deref();
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(LIMIT).context("the broker does not take them all")
}

async fn rows(sql: &mut Client, query: &str) -> Result<Vec<Vec<String>>> {
    let rows = sql.query_text(query).await?.rows;
    Ok(rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect())
}
