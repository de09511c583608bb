//! Web traffic through the whole job, against a batch computation that shares no code with it: `serde_json` reads the records, a map
//! counts them by the text of their time.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use job_aggregate::Aggregate;
use job_aggregate::options::Options;
use job_aggregate::tables::{BY_REFERRER, columns, columns_by_referrer};
use serde_json::Value;
use stream_core::collector::Collector;
use stream_core::ids::{JobId, SplitId, StageIndex, SubtaskId, SubtaskIndex, TableIndex};
use stream_core::key_group::{KeyGroupRange, MaxParallelism};
use stream_core::operator::{Hold, Operator, Record, SplitRecords};
use stream_core::pipeline::{DecoderContext, JobDefinition as _, OperatorContext, SourceSpec, StartPosition};
use stream_core::row::{Column, Field, RowBatch};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

const DELAY_MS: i64 = 15_000;
/// Records between two watermarks: more than one, and not a divisor of the number of events.
const RECORDS: usize = 333;

/// Fields of a row as text, and its hits.
type Rows = BTreeMap<Vec<Option<String>>, u64>;

#[test]
fn both_results_equal_a_batch_computation_at_every_parallelism() {
    for name in ["traffic_a", "traffic_b"] {
        let mut text = String::new();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../conformance/web/{name}.jsonl.gz"));
        MultiGzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let expected = batch(&lines);
        assert!(expected.0.len() > 100 && expected.1.len() > expected.0.len(), "{name} has something to compare");
        for parallelism in 1..=3 {
            assert!(stream(&lines, parallelism) == expected, "{name} at parallelism {parallelism}: rows differ");
        }
    }
}

/// Hits per host, and per host and referrer, of each five minutes.
fn batch(lines: &[&str]) -> (Rows, Rows) {
    let (mut by_host, mut by_referrer) = (Rows::new(), Rows::new());
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| event[field].as_str().map(str::to_owned);
        // `2025-01-12T14:03:06.649Z` is in the window of `2025-01-12 14:00:00.000`.
        let time = text("event_time").unwrap();
        let minute: u32 = time[14..16].parse().unwrap();
        let start = Some(format!("{} {}{:02}:00.000", &time[..10], &time[11..14], minute / 5 * 5));
        let hit = u64::from(!event["host"].is_null());
        *by_host.entry(vec![start.clone(), text("host")]).or_default() += hit;
        *by_referrer.entry(vec![start, text("host"), text("referrer")]).or_default() += hit;
    }
    (by_host, by_referrer)
}

/// The same by the job: one source subtask, and so many behind it.
fn stream(lines: &[&str], parallelism: u32) -> (Rows, Rows) {
    let options = Options::new(Duration::from_secs(300), Duration::ZERO).unwrap().to_json();
    let (source, job_id, max_parallelism) = (source(), JobId(1), MaxParallelism::DEFAULT);
    let mut decoder = Aggregate.decoder(&options, &DecoderContext { job_id, source: &source }).unwrap();
    let operator = |index| {
        let subtask = SubtaskId { stage: StageIndex(1), index: SubtaskIndex(index) };
        let key_groups = KeyGroupRange::of_subtask(max_parallelism, parallelism, subtask.index);
        let context = OperatorContext {
            job_id,
            source: &source,
            stage: "window",
            subtask,
            key_groups,
            max_parallelism,
            is_from_savepoint: false,
        };
        Aggregate.operator(&options, &context).unwrap()
    };
    let mut operators: Vec<Box<dyn Operator>> = (0..parallelism).map(operator).collect();
    let (mut events, mut rows) = (Collector::new(max_parallelism, parallelism), Collector::new(max_parallelism, 1));
    let split = SplitId("web/0".to_owned());
    let mut latest = EventTime(i64::MIN + DELAY_MS);
    for lines in lines.chunks(RECORDS) {
        let records: Vec<Record<'_>> =
            lines.iter().map(|line| Record { payload: Some(line.as_bytes()), offset: 0 }).collect();
        let records =
            SplitRecords { split: &split, records: &records, not_after: EventTime(i64::MAX), hold: Hold::NEVER };
        let decoded = decoder.decode(records, &mut events).unwrap();
        assert_eq!((decoded.events, decoded.bad), (lines.len() as u64, 0));
        latest = latest.max(decoded.latest.unwrap());
        for (target, batch) in events.take_all() {
            operators[target.0 as usize].on_events(&batch, &mut rows).unwrap();
        }
        operators.iter_mut().for_each(|operator| operator.on_watermark(Watermark(latest.0 - DELAY_MS), &mut rows));
    }
    operators.iter_mut().for_each(|operator| operator.on_watermark(Watermark::END, &mut rows));
    let sum = |of: fn(&dyn Operator) -> u64| operators.iter().map(|operator| of(operator.as_ref())).sum::<u64>();
    assert_eq!(sum(|operator| operator.counters().fired_events), lines.len() as u64);
    assert_eq!(sum(|operator| operator.counters().late + operator.counters().open_events), 0);
    let (mut by_host, mut by_referrer) = (Rows::new(), Rows::new());
    for batch in rows.take_row_batches() {
        match batch.table() {
            TableIndex::RESULT => read(&batch, &columns(), &mut by_host),
            BY_REFERRER => read(&batch, &columns_by_referrer(), &mut by_referrer),
            other => panic!("rows of {other:?}"),
        }
    }
    (by_host, by_referrer)
}

/// Adds rows, of which none may come twice.
fn read(batch: &RowBatch, columns: &[Column], rows: &mut Rows) {
    let mut reader = batch.reader(columns);
    loop {
        let (mut fields, mut hits) = (Vec::new(), 0);
        let is_row = reader.next_row(|_, field| match field {
            Field::Null => fields.push(None),
            Field::Timestamp(time) => fields.push(Some(time.to_string())),
            Field::Text(text) => fields.push(Some(text.as_str().to_owned())),
            Field::BigInt(number) => hits = number.unsigned_abs(),
            Field::Bytes(_) => panic!("no such column"),
        });
        if !is_row.unwrap() {
            return;
        }
        assert_eq!(rows.insert(fields, hits), None, "a row came twice");
    }
}

fn source() -> SourceSpec {
    SourceSpec {
        uri: "kafka://broker:9092/web".to_owned(),
        from: StartPosition::Earliest,
        is_bounded: true,
        watermark_delay: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        close_when_idle: Duration::ZERO,
        max_future: Duration::ZERO,
        max_drift: Duration::ZERO,
        properties: [].into(),
        secrets: [].into(),
    }
}
