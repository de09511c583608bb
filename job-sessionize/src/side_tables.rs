//! The tables beside the result: late events and dead letters, as far as the options ask for them, and where the open sessions stand.

use stream_core::ids::{JobId, TableIndex};
use stream_core::pipeline::SideTable;
use web_intake::{DeadLetters, LateEvents, OnBadRecord, OnLate};

use crate::options::Options;

/// The side tables of a job, in the schema of its result's table.
pub fn side_tables(options: Options, result: &str) -> Vec<SideTable> {
    options.on_late.side_table(result).into_iter().chain(options.on_bad_record.side_table(result)).collect()
}

/// The late events of a job.
pub(crate) fn late_events(options: Options, job_id: JobId, topic: &str) -> LateEvents {
    LateEvents::new(options.on_late, TableIndex(1), job_id, topic)
}

/// The dead letters of a job, whose table stands behind that of late events.
pub(crate) fn dead_letters(options: Options, job_id: JobId, topic: &str) -> DeadLetters {
    let table = if options.on_late == OnLate::DeadLetterTable { TableIndex(2) } else { TableIndex(1) };
    DeadLetters::new(options.on_bad_record, table, job_id, topic)
}

/// The table of open sessions, which stands behind all others.
pub(crate) fn open_table(options: Options) -> TableIndex {
    let before = [options.on_late == OnLate::DeadLetterTable, options.on_bad_record == OnBadRecord::DeadLetter];
    TableIndex(1 + before.into_iter().map(u16::from).sum::<u16>())
}

#[cfg(test)]
mod tests {
    use stream_core::collector::Collector;
    use stream_core::event_batch::{EventBatch, KeyedEvent};
    use stream_core::ids::{SplitId, StageIndex, SubtaskId, SubtaskIndex};
    use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
    use stream_core::operator::{Decoded, Hold, Record, Refusal, SplitRecords};
    use stream_core::origin::Origin;
    use stream_core::pipeline::{DecoderContext, JobDefinition as _, OperatorContext};
    use stream_core::time::EventTime;
    use stream_core::watermark::Watermark;
    use web_intake::dead_letters::KEPT_BYTES;

    use super::*;
    use crate::Sessionize;
    use crate::key::Key;
    use crate::testing::{shown, source};

    const KEPT: Options = Options::DEFAULT.with_policies(OnLate::DeadLetterTable, OnBadRecord::DeadLetter);

    fn decode(options: Options, payloads: &[&[u8]], out: &mut Collector) -> Result<Decoded, Refusal> {
        let context = DecoderContext { job_id: JobId(7), source: &source() };
        let mut decoder = Sessionize.decoder(&options.to_json(), &context).expect("options");
        let records: Vec<_> =
            (40..).zip(payloads).map(|(offset, &payload)| Record { payload: Some(payload), offset }).collect();
        let split = SplitId("web/3".to_owned());
        let not_after = EventTime(10_000);
        decoder.decode(SplitRecords { split: &split, records: &records, not_after, hold: Hold::NEVER }, out)
    }

    /// Two events of one key and a watermark between them, behind which the second is.
    fn come_late(options: Options, out: &mut Collector) -> Result<(), Refusal> {
        let max_parallelism = MaxParallelism::DEFAULT;
        let context = OperatorContext {
            job_id: JobId(7),
            source: &source(),
            stage: "window",
            subtask: SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) },
            key_groups: KeyGroupRange { start: 0, end: max_parallelism.get() },
            max_parallelism,
            is_from_savepoint: false,
        };
        let mut operator = Sessionize.operator(&options.to_json(), &context).expect("options");
        let mut key = Vec::new();
        Key { ip: Some("1.2.3.4"), host: None }.encode(&mut key);
        let mut events = EventBatch::default();
        let origin = Origin { split: 3, offset: 99 };
        events.push(KeyedEvent { hash: hash_key(&key), time: EventTime(5000), count: 1, key: &key, origin });
        operator.on_watermark(Watermark(1_000_000), out);
        let added = operator.on_events(&events, out);
        assert_eq!(operator.counters().late, 1);
        added
    }

    #[test]
    fn bad_records_are_kept_as_they_are_with_the_reason_and_their_place() {
        let mut out = Collector::new(MaxParallelism::DEFAULT, 1);
        let long = vec![b'x'; KEPT_BYTES + 1];
        let payloads: [&[u8]; 5] = [
            br#"{"event_time":"1970-01-01T00:00:09.000Z"}"#,
            b"nonsense",
            br#"{"event_time":"1970-01-01T00:00:11.000Z"}"#,
            br#"[{"event_time":"yesterday"},{"event_time":"1970-01-01T00:00:09.000Z"}]"#,
            &long,
        ];
        let decoded = decode(KEPT, &payloads, &mut out).expect("kept");
        assert_eq!(decoded, Decoded { latest: Some(EventTime(9000)), events: 2, bad: 4, left: None });
        let rows = out.take_rows(TableIndex(2)).expect("rows");
        let job = "00000000000000000000000000000007";
        let mut rows = shown(&rows, &side_tables(KEPT, "t")[1].columns);
        assert_eq!(
            rows.pop().map(|row| row.ends_with(&"x".repeat(KEPT_BYTES)) && row.contains("| 44 | 65537 | x")),
            Some(true)
        );
        assert_eq!(
            rows[1..],
            [
                format!(
                    "{job} | event_time 1970-01-01 00:00:11.000 is in the future | web | 3 | 42 | 41 | {}",
                    r#"{"event_time":"1970-01-01T00:00:11.000Z"}"#
                ),
                format!(
                    "{job} | no valid event_time | web | 3 | 43 | 70 | {}",
                    r#"[{"event_time":"yesterday"},{"event_time":"1970-01-01T00:00:09.000Z"}]"#
                ),
            ]
        );
        assert!(
            rows[0].starts_with(&format!("{job} | ")) && rows[0].ends_with(" | web | 3 | 41 | 8 | nonsense"),
            "{}",
            rows[0]
        );
    }

    #[test]
    fn late_events_are_kept_with_their_place_and_the_watermark() {
        let mut out = Collector::new(MaxParallelism::DEFAULT, 1);
        come_late(KEPT, &mut out).expect("kept");
        let rows = shown(&out.take_rows(TableIndex(1)).expect("a row"), &side_tables(KEPT, "t")[0].columns);
        let job = "00000000000000000000000000000007";
        let expected = "1.2.3.4 | NULL | 1970-01-01 00:00:05.000 | 1970-01-01 00:16:40.000 | 995000 | web | 3 | 99";
        assert_eq!(rows, [format!("{job} | {expected}")]);
    }

    #[test]
    fn other_policies_keep_nothing_or_fail_naming_the_place() {
        let mut out = Collector::new(MaxParallelism::DEFAULT, 1);
        assert_eq!(decode(Options::DEFAULT, &[b"nonsense"], &mut out).map(|decoded| decoded.bad), Ok(1));
        assert_eq!(come_late(Options::DEFAULT, &mut out), Ok(()));
        assert_eq!(out.row_bytes(), 0);
        let strict = Options::DEFAULT.with_policies(OnLate::Fail, OnBadRecord::Fail);
        let refusal = decode(strict, &[b"nonsense"], &mut out).expect_err("strict").to_string();
        assert!(refusal.starts_with("the record at offset 40 of partition 3 of `web` is bad ("), "{refusal}");
        let refusal = come_late(strict, &mut out).expect_err("strict").to_string();
        assert!(
            refusal.starts_with("the event at offset 99 of partition 3 of `web` came 995000 ms behind"),
            "{refusal}"
        );
    }

    #[test]
    fn tables_stand_in_the_schema_of_the_result_and_are_there_if_asked_for() {
        let names = |options, result| -> Vec<String> {
            side_tables(options, result).into_iter().map(|table| table.name).collect()
        };
        assert_eq!(names(KEPT, "sessions"), ["late_events", "dead_letter_events"]);
        assert_eq!(names(KEPT, "web.sessions"), ["web.late_events", "web.dead_letter_events"]);
        assert_eq!(names(KEPT, "\"a.b\".\"c.d\""), ["\"a.b\".late_events", "\"a.b\".dead_letter_events"]);
        assert_eq!(names(Options::default(), "sessions"), [""; 0]);
        let places = [KEPT, Options::default()].map(|options| open_table(options).place());
        assert_eq!(places, [3, 1], "behind the others");
        assert_eq!(names(KEPT.with_policies(OnLate::Drop, OnBadRecord::DeadLetter), "s"), ["dead_letter_events"]);
    }
}
