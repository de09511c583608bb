//! Keyed events and watermarks to the rows of closed sessions.

use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::ids::TableIndex;
use stream_core::key_group::{KeyGroupRange, KeyHash, MaxParallelism};
use stream_core::operator::{Operator, OperatorCounters, QueryError, Refusal};
use stream_core::session::{Added, Config, Fired, Windows};
use stream_core::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;
use web_intake::LateEvents;
use web_intake::late_events::Visit;

use crate::key::Key;
use crate::open_sessions::Search;
use crate::open_table::OpenTable;

/// The two forms in which the job exists in Flink. They count differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Table API and SQL: `num_hits` is `COUNT(host)`, so 0 where the host is NULL. It knows no allowed lateness.
    Sql,
    /// `EventTimeSessionWindows` with `allowedLateness`: `num_hits` counts events, and a session that a late event joins is
    /// emitted again with its whole new count.
    DataStream,
}

/// The session windows of one subtask.
#[derive(Debug)]
pub struct SessionOperator {
    windows: Windows,
    gap_ms: i64,
    rows: Rows,
    late_events: LateEvents,
    late: u64,
    search: Option<Search>,
    open_table: Option<OpenTable>,
}

impl SessionOperator {
    /// No sessions yet, for the keys of `key_groups`. Late events are counted only.
    pub fn new(windows: Config, form: Form, key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        let gap_ms = windows.gap_ms;
        let windows = Windows::new(windows, key_groups, max_parallelism).sharing_tails(Key::head_bytes);
        let rows = Rows { form, gap_ms, has_last_event: false };
        let late_events = LateEvents::default();
        SessionOperator { windows, gap_ms, rows, late_events, late: 0, search: None, open_table: None }
    }

    /// The same, whose rows have the time of the last event, or not.
    pub(crate) fn with_last_event(mut self, has_last_event: bool) -> Self {
        self.rows.has_last_event = has_last_event;
        self
    }

    /// The same, which does this with late events.
    pub(crate) fn keeping(self, late_events: LateEvents) -> Self {
        SessionOperator { late_events, ..self }
    }

    /// The same, which shows the open sessions in a table. To be called before anything is restored.
    pub fn showing_open(self, table: OpenTable) -> Self {
        SessionOperator { windows: table.prepare(self.windows), open_table: Some(table), ..self }
    }
}

impl Operator for SessionOperator {
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) -> Result<(), Refusal> {
        let SessionOperator { windows, rows, late_events, late, .. } = self;
        let mut on_late = |event: &KeyedEvent<'_>, watermark: Watermark, out: &mut Collector| {
            *late += u64::from(event.count);
            let Key { ip, host } = Key::decode(event.key).expect("every key was encoded by this job's decoder");
            late_events.on_late(event, Visit { ip, host }, watermark, out)
        };
        let (mut events, mut looked_up) = (events.together(windows.may_be_together()), Vec::new());
        while windows.look_up(&mut events, &mut looked_up) {
            for looked_up in &looked_up {
                if windows.add_looked_up(looked_up, |fired| rows.write(fired, out)) == Added::Late {
                    on_late(&looked_up.events.event, windows.watermark(), out)?;
                }
            }
        }
        for events in events {
            if windows.add_together(&events, |fired| rows.write(fired, out)) == Added::Late {
                on_late(&events.event, windows.watermark(), out)?;
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Collector) {
        let rows = self.rows;
        self.windows.advance(watermark, |fired| rows.write(fired, out));
    }

    fn on_clock_watermark(&mut self, by_clock: Watermark) {
        self.windows.closed_by_clock(by_clock);
    }

    fn holds(&self, hash: KeyHash, key: &[u8], time: EventTime) -> bool {
        self.windows.open_of_key(hash, key).any(|window| window.start <= time && time < window.end)
    }

    fn on_barrier(&mut self, out: &mut Collector) {
        if let Some(table) = &mut self.open_table {
            table.write(&mut self.windows, self.gap_ms, out);
        }
    }

    fn counters(&self) -> OperatorCounters {
        OperatorCounters {
            late: self.late,
            open: self.windows.len() as u64,
            open_events: self.windows.events(),
            fired_events: self.windows.fired_events(),
            unanswered: 0,
        }
    }

    fn begin_snapshot(&mut self, kind: SnapshotKind) {
        self.windows.begin_snapshot(kind);
    }

    fn blocks_wanted(&self) -> usize {
        self.windows.blocks_wanted()
    }

    fn lend(&mut self, blocks: Vec<Vec<u8>>) {
        self.windows.lend(blocks);
    }

    fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot> {
        self.windows.continue_snapshot(keys)
    }

    fn begin_query(&mut self, query: &str) -> Result<(), QueryError> {
        self.search = Some(Search::new(query)?);
        Ok(())
    }

    fn continue_query(&mut self, keys: usize) -> Option<String> {
        let is_done = self.search.as_mut()?.go_on(&self.windows, self.gap_ms, keys);
        self.search.take_if(|_| is_done).map(Search::answer)
    }

    fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        self.windows.restore(watermark, newest_first)
    }
}

/// `num_hits` of a session.
pub fn num_hits(form: Form, has_host: bool, events: u64) -> i64 {
    match (form, has_host) {
        (Form::Sql, false) => 0,
        (Form::Sql, true) | (Form::DataStream, _) => events.try_into().unwrap_or(i64::MAX),
    }
}

/// What a row holds.
#[derive(Clone, Copy, Debug)]
struct Rows {
    form: Form,
    gap_ms: i64,
    has_last_event: bool,
}

impl Rows {
    fn write(self, fired: Fired<'_>, out: &mut Collector) {
        let Rows { form, gap_ms, has_last_event } = self;
        let [ip, host] = Key::texts(fired.key).expect("every key in a window was encoded by this job's decoder");
        let mut row = out.row(TableIndex::RESULT, if has_last_event { 5 } else { 4 });
        let hits = num_hits(form, host.is_some(), fired.count);
        row.timestamp(fired.start).checked_text(ip).checked_text(host).bigint(hits);
        if has_last_event {
            row.timestamp(fired.end.saturating_add_ms(-gap_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use stream_core::event_batch::KeyedEvent;
    use stream_core::key_group::hash_key;
    use stream_core::origin::Origin;
    use stream_core::session::Limits;

    use super::*;
    use crate::options::Options;
    use crate::pipeline::{columns, columns_of};
    use crate::testing::shown;

    const MINUTE: i64 = 60_000;

    struct Probe {
        operator: SessionOperator,
        out: Collector,
    }

    impl Probe {
        fn new(form: Form, allowed_lateness_ms: i64) -> Self {
            let max = MaxParallelism::DEFAULT;
            let config = Config { gap_ms: 5 * MINUTE, allowed_lateness_ms, limits: Limits::NONE };
            let all = KeyGroupRange { start: 0, end: max.get() };
            Probe { operator: SessionOperator::new(config, form, all, max), out: Collector::new(max, 1) }
        }

        fn event(&mut self, host: Option<&str>, time: i64) {
            let mut key = Vec::new();
            Key { ip: Some("1.2.3.4"), host }.encode(&mut key);
            let mut batch = EventBatch::default();
            batch.push(KeyedEvent {
                hash: hash_key(&key),
                time: EventTime(time),
                count: 1,
                key: &key,
                origin: Origin::default(),
            });
            self.operator.on_events(&batch, &mut self.out).expect("late events are dropped");
        }

        fn rows(&mut self, watermark: i64) -> Vec<String> {
            self.operator.on_watermark(Watermark(watermark), &mut self.out);
            let rows = self.out.take_rows(TableIndex::RESULT).unwrap_or_default();
            shown(&rows, &columns())
        }
    }

    fn counters(late: u64, open: u64, open_events: u64, fired_events: u64) -> OperatorCounters {
        OperatorCounters { late, open, open_events, fired_events, unanswered: 0 }
    }

    #[test]
    fn closed_session_is_one_row_with_its_start_and_hits() {
        let mut probe = Probe::new(Form::Sql, 0);
        probe.event(Some("a.io"), 1_736_874_072_232);
        probe.event(Some("a.io"), 1_736_874_073_000);
        assert_eq!(probe.operator.counters(), counters(0, 1, 2, 0));
        assert_eq!(probe.rows(i64::MAX), ["2025-01-14 17:01:12.232 | 1.2.3.4 | a.io | 2"]);
        assert_eq!(probe.operator.counters(), counters(0, 0, 0, 2));
    }

    #[test]
    fn row_has_the_time_of_the_last_event_where_that_is_asked_for() {
        let mut probe = Probe::new(Form::Sql, 0);
        probe.operator = probe.operator.with_last_event(true);
        probe.event(Some("a.io"), 2 * MINUTE);
        probe.event(Some("a.io"), 0);
        probe.operator.on_watermark(Watermark(i64::MAX), &mut probe.out);
        let rows = probe.out.take_rows(TableIndex::RESULT).unwrap_or_default();
        let columns = columns_of(Options::DEFAULT.with_last_event(true));
        assert_eq!(shown(&rows, &columns), ["1970-01-01 00:00:00.000 | 1.2.3.4 | a.io | 2 | 1970-01-01 00:02:00.000"]);
    }

    #[test]
    fn session_without_a_host_has_no_hits_in_sql_and_its_events_in_datastream() {
        for (form, hits) in [(Form::Sql, 0), (Form::DataStream, 2)] {
            let mut probe = Probe::new(form, 0);
            probe.event(None, 0);
            probe.event(None, 1);
            assert_eq!(probe.rows(i64::MAX), [format!("1970-01-01 00:00:00.000 | 1.2.3.4 | NULL | {hits}")]);
        }
    }

    #[test]
    fn event_is_held_until_its_session_has_fired() {
        let mut probe = Probe::new(Form::Sql, 0);
        probe.event(Some("a.io"), 0);
        let mut key = Vec::new();
        Key { ip: Some("1.2.3.4"), host: Some("a.io") }.encode(&mut key);
        let holds = |probe: &Probe, time| probe.operator.holds(hash_key(&key), &key, EventTime(time));
        assert!(holds(&probe, 0) && !holds(&probe, 5 * MINUTE));
        probe.rows(MINUTE);
        assert!(holds(&probe, 0));
        probe.rows(5 * MINUTE);
        assert!(!holds(&probe, 0));
    }

    #[test]
    fn late_event_is_counted_and_gives_no_row() {
        let mut probe = Probe::new(Form::Sql, 0);
        probe.rows(10 * MINUTE);
        probe.event(Some("a.io"), 0);
        assert_eq!(probe.operator.counters(), counters(1, 0, 0, 0));
        assert!(probe.rows(i64::MAX).is_empty());
    }

    #[test]
    fn allowed_late_event_gives_the_session_again_and_is_counted_as_fired_at_once() {
        let mut probe = Probe::new(Form::DataStream, MINUTE);
        probe.event(Some("a.io"), 0);
        assert_eq!(probe.rows(5 * MINUTE), ["1970-01-01 00:00:00.000 | 1.2.3.4 | a.io | 1"]);
        assert_eq!(probe.operator.counters(), counters(0, 1, 0, 1));
        probe.event(Some("a.io"), 0);
        assert_eq!(probe.rows(6 * MINUTE), ["1970-01-01 00:00:00.000 | 1.2.3.4 | a.io | 2"]);
        assert_eq!(probe.operator.counters(), counters(0, 0, 0, 2));
    }

    #[test]
    fn session_goes_on_in_an_operator_that_was_restored() {
        let mut before = Probe::new(Form::Sql, 0);
        before.event(Some("a.io"), 0);
        before.rows(MINUTE);
        before.operator.begin_snapshot(SnapshotKind::Full);
        let snapshot = before.operator.continue_snapshot(10).expect("one key is copied at once");
        let mut after = Probe::new(Form::Sql, 0);
        let sections: Vec<&Section> = snapshot.sections.iter().collect();
        after.operator.restore(snapshot.watermark, &sections).expect("own records");
        assert_eq!(after.operator.counters(), counters(0, 1, 1, 0));
        after.event(Some("a.io"), MINUTE);
        assert_eq!(after.rows(i64::MAX), ["1970-01-01 00:00:00.000 | 1.2.3.4 | a.io | 2"]);
    }
}
