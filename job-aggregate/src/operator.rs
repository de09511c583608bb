//! Keyed events and watermarks to the rows of both results.

use stream_core::collector::Collector;
use stream_core::event_batch::EventBatch;
use stream_core::ids::TableIndex;
use stream_core::key_group::{KeyGroupRange, KeyHash, MaxParallelism};
use stream_core::operator::{Operator, OperatorCounters, Refusal};
use stream_core::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::tumbling::{Added, Fired, Of, Windows};
use stream_core::watermark::Watermark;
use web_intake::LateEvents;
use web_intake::late_events::Visit;

use crate::key::{Key, host_of};
use crate::options::{Form, Options};
use crate::tables::BY_REFERRER;

/// The counts of one subtask.
#[derive(Debug)]
pub struct HitsOperator {
    windows: Windows,
    form: Form,
    late_events: LateEvents,
    late: u64,
}

impl HitsOperator {
    /// No counts yet, for the keys of `key_groups`.
    pub fn new(
        options: &Options,
        late_events: LateEvents,
        key_groups: KeyGroupRange,
        max_parallelism: MaxParallelism,
    ) -> Self {
        let windows = Windows::new(options.windows(), key_groups, max_parallelism);
        HitsOperator { windows, form: options.form(), late_events, late: 0 }
    }
}

impl Operator for HitsOperator {
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) -> Result<(), Refusal> {
        let HitsOperator { windows, form, late_events, late } = self;
        for event in events.iter() {
            let added = windows.add(&event, |fired| write_row(*form, fired, out));
            if added == Added::Late {
                *late += u64::from(event.count);
                // Whose event it was, this job does not read.
                let visit = Visit { ip: None, host: key(event.key).host };
                late_events.on_late(&event, visit, windows.watermark(), out)?;
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Collector) {
        let form = self.form;
        self.windows.advance(watermark, |fired| write_row(form, fired, out));
    }

    fn holds(&self, _hash: KeyHash, _key: &[u8], time: EventTime) -> bool {
        self.windows.is_open(time)
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

    fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        self.windows.restore(watermark, newest_first)
    }
}

fn write_row(form: Form, fired: Fired<'_>, out: &mut Collector) {
    match fired.of {
        Of::Key(bytes) => {
            let Key { host, referrer } = key(bytes);
            let mut row = out.row(BY_REFERRER, 4);
            row.timestamp(fired.start).text(host).text(referrer).bigint(num_hits(form, host, fired.count));
        }
        Of::Head(head) => {
            let host = host_of(head).expect("the head of a key of this job's decoder");
            let mut row = out.row(TableIndex::RESULT, 3);
            row.timestamp(fired.start).text(host).bigint(num_hits(form, host, fired.count));
        }
    }
}

fn key(bytes: &[u8]) -> Key<'_> {
    Key::decode(bytes).expect("every key was encoded by this job's decoder")
}

/// `num_hits` of a count.
fn num_hits(form: Form, host: Option<&str>, events: u64) -> i64 {
    match (form, host) {
        (Form::Sql, None) => 0,
        (Form::Sql, Some(_)) | (Form::DataStream, _) => events.try_into().unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests;
