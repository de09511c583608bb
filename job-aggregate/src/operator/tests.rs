use std::time::Duration;

use stream_core::event_batch::KeyedEvent;
use stream_core::ids::{JobId, StageIndex, SubtaskId, SubtaskIndex};
use stream_core::key_group::hash_key;
use stream_core::origin::Origin;
use stream_core::pipeline::{
    DecoderContext, JobDefinition as _, OperatorContext, OptionsError, SourceSpec, StartPosition,
};
use stream_core::row::{Column, Field, RowBatch};
use stream_core::time::EventTime;
use web_intake::{OnBadRecord, OnLate};

use super::*;
use crate::key::head;
use crate::tables::{columns, columns_by_referrer, side_tables};
use crate::{Aggregate, pipeline};

const MINUTE: i64 = 60_000;

struct Probe {
    operator: Box<dyn Operator>,
    out: Collector,
}

fn options(allowed_lateness: Duration) -> Options {
    Options::new(Duration::from_secs(300), allowed_lateness).expect("valid")
}

fn operator(options: &str, stage: &str) -> Result<Box<dyn Operator>, OptionsError> {
    let max_parallelism = MaxParallelism::DEFAULT;
    Aggregate.operator(
        options,
        &OperatorContext {
            job_id: JobId(7),
            source: &source(),
            stage,
            subtask: SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) },
            key_groups: KeyGroupRange { start: 0, end: max_parallelism.get() },
            max_parallelism,
            is_from_savepoint: false,
        },
    )
}

fn source() -> SourceSpec {
    SourceSpec {
        uri: "kafka://broker:9092/web".to_owned(),
        from: StartPosition::Earliest,
        is_bounded: false,
        watermark_delay: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        close_when_idle: Duration::ZERO,
        max_future: Duration::ZERO,
        max_drift: Duration::ZERO,
        properties: [].into(),
        secrets: [].into(),
    }
}

impl Probe {
    fn new(options: Options) -> Self {
        let operator = operator(&options.to_json(), pipeline::WINDOW_STAGE).expect("its own options and stage");
        Probe { operator, out: Collector::new(MaxParallelism::DEFAULT, 1) }
    }

    fn event(&mut self, host: Option<&str>, referrer: Option<&str>, time: i64) -> Result<(), Refusal> {
        let mut key = Vec::new();
        Key { host, referrer }.encode(&mut key);
        let origin = Origin { split: 3, offset: 99 };
        let mut batch = EventBatch::default();
        batch.push(KeyedEvent { hash: hash_key(head(&key)), time: EventTime(time), count: 1, key: &key, origin });
        self.operator.on_events(&batch, &mut self.out)
    }

    /// The rows of both results: of what was added, and of the watermark behind it.
    fn rows(&mut self, watermark: i64) -> (Vec<String>, Vec<String>) {
        self.operator.on_watermark(Watermark(watermark), &mut self.out);
        let (mut by_host, mut by_referrer) = (Vec::new(), Vec::new());
        for rows in self.out.take_row_batches() {
            match rows.table() {
                TableIndex::RESULT => by_host.extend(shown(&rows, &columns())),
                BY_REFERRER => by_referrer.extend(shown(&rows, &columns_by_referrer())),
                other => panic!("rows of {other:?}"),
            }
        }
        (by_host, by_referrer)
    }
}

/// Rows as text.
fn shown(rows: &RowBatch, columns: &[Column]) -> Vec<String> {
    let mut reader = rows.reader(columns);
    let mut shown = Vec::new();
    loop {
        let mut row = Vec::new();
        let is_row = reader.next_row(|_, field| {
            row.push(match field {
                Field::Null => "NULL".to_owned(),
                Field::Timestamp(time) => time.to_string(),
                Field::Text(text) => text.as_str().to_owned(),
                Field::BigInt(number) => number.to_string(),
                Field::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            });
        });
        if !is_row.expect("own rows") {
            return shown;
        }
        shown.push(row.join(" | "));
    }
}

fn counters(late: u64, open: u64, open_events: u64, fired_events: u64) -> OperatorCounters {
    OperatorCounters { late, open, open_events, fired_events, unanswered: 0 }
}

#[test]
fn job_is_built_from_its_own_options_and_stage_only() {
    let json = options(Duration::ZERO).to_json();
    assert!(Aggregate.decoder(&json, &DecoderContext { job_id: JobId(1), source: &source() }).is_ok());
    let refused = |options, stage| operator(options, stage).map(drop).map_err(|error| error.to_string());
    assert_eq!(refused(&json, "join"), Err("job `aggregate` has no stage `join`".to_owned()));
    assert!(refused("{}", "window").expect_err("other options").starts_with("job `aggregate`: its options are not"));
}

#[test]
fn window_is_a_row_for_each_host_and_one_for_each_of_its_referrers() {
    let mut probe = Probe::new(options(Duration::ZERO));
    let at = 1_736_874_072_232; // 17:01:12.232
    for (host, referrer) in [("b", Some("y")), ("a", Some("x")), ("b", None), ("b", Some("y")), ("b", Some(""))] {
        assert_eq!(probe.event(Some(host), referrer, at), Ok(()));
    }
    assert_eq!(probe.operator.counters(), counters(0, 4, 5, 0));
    let start = "2025-01-14 17:00:00.000";
    let rows = probe.rows(i64::MAX);
    assert_eq!(rows.0, [format!("{start} | a | 1"), format!("{start} | b | 4")]);
    let by_referrer = ["a | x | 1", "b | NULL | 1", "b |  | 1", "b | y | 2"].map(|row| format!("{start} | {row}"));
    assert_eq!(rows.1, by_referrer);
    assert_eq!(probe.operator.counters(), counters(0, 0, 0, 5), "each event once, though it is in two tables");
}

#[test]
fn a_null_host_has_no_hits_in_sql_and_its_events_in_datastream() {
    for (lateness, hits) in [(Duration::ZERO, 0), (Duration::from_millis(1), 2)] {
        let mut probe = Probe::new(options(lateness));
        assert_eq!((probe.event(None, None, 0), probe.event(None, None, 1)), (Ok(()), Ok(())));
        let (by_host, by_referrer) = probe.rows(i64::MAX);
        assert_eq!(by_host, [format!("1970-01-01 00:00:00.000 | NULL | {hits}")]);
        assert_eq!(by_referrer, [format!("1970-01-01 00:00:00.000 | NULL | NULL | {hits}")]);
    }
}

#[test]
fn allowed_late_event_gives_what_it_is_counted_in_again() {
    let mut probe = Probe::new(options(Duration::from_secs(60)));
    for referrer in ["x", "y"] {
        assert_eq!(probe.event(Some("a"), Some(referrer), 0), Ok(()));
    }
    assert_eq!(probe.rows(5 * MINUTE).1.len(), 2);
    assert_eq!(probe.event(Some("a"), Some("x"), 1), Ok(()));
    let (by_host, by_referrer) = probe.rows(5 * MINUTE + 1);
    assert_eq!(by_host, ["1970-01-01 00:00:00.000 | a | 3"]);
    assert_eq!(by_referrer, ["1970-01-01 00:00:00.000 | a | x | 2"]);
}

#[test]
fn every_row_of_the_second_result_is_written_however_many_there_are() {
    let mut probe = Probe::new(options(Duration::ZERO));
    for referrer in 0..12_000 {
        assert_eq!(probe.event(Some("a"), Some(&referrer.to_string()), 0), Ok(()));
    }
    let (by_host, by_referrer) = probe.rows(i64::MAX);
    assert_eq!((by_host.len(), by_referrer.len()), (1, 12_000));
}

#[test]
fn late_event_is_counted_once_and_kept_with_its_place_or_refused() {
    for (on_late, table) in [(OnLate::Drop, None), (OnLate::DeadLetterTable, Some(2)), (OnLate::Fail, None)] {
        let options = options(Duration::ZERO).with_policies(on_late, OnBadRecord::DeadLetter);
        let mut probe = Probe::new(options);
        assert_eq!(probe.rows(10 * MINUTE), (vec![], vec![]));
        let added = probe.event(Some("a"), Some("x"), 5);
        assert_eq!(added.is_err(), on_late == OnLate::Fail);
        assert_eq!(probe.operator.counters(), counters(1, 0, 0, 0));
        let Some(index) = table else { continue };
        let rows = probe.out.take_rows(TableIndex(index)).expect("a row");
        let tables = side_tables(&options, "t");
        assert_eq!(tables[usize::from(index) - 1].name, "late_events");
        assert_eq!(
            shown(&rows, &tables[usize::from(index) - 1].columns),
            [
                "00000000000000000000000000000007 | NULL | a | 1970-01-01 00:00:00.005 | 1970-01-01 00:10:00.000 | 599995 | web \
              | 3 | 99"
            ]
        );
    }
}

#[test]
fn counts_go_on_in_an_operator_that_was_restored() {
    let mut before = Probe::new(options(Duration::ZERO));
    assert_eq!(before.event(Some("a"), Some("x"), 0), Ok(()));
    before.rows(MINUTE);
    before.operator.begin_snapshot(SnapshotKind::Full);
    let snapshot = before.operator.continue_snapshot(10).expect("one count is copied at once");
    let mut after = Probe::new(options(Duration::ZERO));
    let sections: Vec<&Section> = snapshot.sections.iter().collect();
    after.operator.restore(snapshot.watermark, &sections).expect("own records");
    assert_eq!(after.operator.counters(), counters(0, 1, 1, 0));
    assert_eq!(after.event(Some("a"), Some("y"), MINUTE), Ok(()));
    let (by_host, by_referrer) = after.rows(i64::MAX);
    assert_eq!(by_host, ["1970-01-01 00:00:00.000 | a | 2"]);
    assert_eq!(by_referrer.len(), 2);
}

#[test]
fn event_is_held_until_its_window_has_fired() -> Result<(), Refusal> {
    let mut probe = Probe::new(options(Duration::ZERO));
    probe.event(Some("a"), None, MINUTE)?;
    let holds = |probe: &Probe| probe.operator.holds(hash_key(b"a"), b"a", EventTime(MINUTE));
    assert!(holds(&probe));
    assert!(probe.rows(5 * MINUTE - 2).0.is_empty() && holds(&probe));
    assert!(!probe.rows(5 * MINUTE - 1).0.is_empty() && !holds(&probe));
    Ok(())
}
