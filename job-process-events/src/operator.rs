//! Keyed events and answers to rows.
//!
//! An event whose ip is known is written at once. One whose ip is not known waits, and so does every later event of that ip, so
//! that rows of an ip stay in the order of its events; the question is put once. The waiting events are the whole state: a
//! snapshot has them, and behind a restore their ips are asked about again. What is known is not state: it can be had again.

use std::num::NonZeroU32;

use stream_core::collector::Collector;
use stream_core::event_batch::EventBatch;
use stream_core::ids::TableIndex;
use stream_core::key_group::MaxParallelism;
use stream_core::operator::{Answer, Operator, OperatorCounters, Refusal};
use stream_core::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

use crate::cache::Cache;
use crate::record::{Record, hash_ip};
use crate::waiting::Waiting;

/// The location of which nothing is known.
pub const NO_LOCATION: &str = "{}";
/// Bytes of waiting events at which no more are taken: a snapshot copies them in a few milliseconds, and at the rate of a busy
/// topic they are some seconds' worth.
pub const MAX_WAITING_BYTES: usize = 8 << 20;

/// Finds the location of each event's ip.
#[derive(Debug)]
pub struct LocateOperator {
    max_parallelism: MaxParallelism,
    known: Cache,
    waiting: Waiting,
    questions: Vec<Vec<u8>>,
    watermark: Watermark,
    snapshot: Option<KeyedSnapshot>,
    written: u64,
    unanswered: u64,
}

impl LocateOperator {
    /// Knows nothing yet, and will know `cached_ips` at most.
    pub fn new(cached_ips: NonZeroU32, max_parallelism: MaxParallelism) -> Self {
        LocateOperator {
            max_parallelism,
            known: Cache::new(cached_ips),
            waiting: Waiting::default(),
            questions: Vec::new(),
            watermark: Watermark::NONE,
            snapshot: None,
            written: 0,
            unanswered: 0,
        }
    }
}

impl Operator for LocateOperator {
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) -> Result<(), Refusal> {
        for event in events.iter() {
            let record = own(event.key);
            let location = match record.ip {
                None => Some(NO_LOCATION),
                Some(ip) if self.waiting.contains(event.hash, ip) => None,
                Some(ip) => self.known.get(event.hash, ip),
            };
            if let Some(location) = location {
                write_row(record, event.time, location, out);
                self.written += 1;
                continue;
            }
            let ip = record.ip.unwrap_or_default();
            if self.waiting.push(event.hash, ip, event.time, event.key) {
                self.questions.push(ip.as_bytes().to_vec());
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _out: &mut Collector) {
        self.watermark = watermark;
    }

    fn take_questions(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.questions)
    }

    fn on_answer(&mut self, key: &[u8], answer: Answer, out: &mut Collector) {
        // Every question was an ip's text.
        let Ok(ip) = std::str::from_utf8(key) else { return };
        let location = match &answer {
            Answer::Found(location) => location.as_str(),
            Answer::Nothing | Answer::Failed => NO_LOCATION,
        };
        // What nobody could tell is asked again with the next event.
        if answer != Answer::Failed {
            self.known.insert(hash_ip(ip), ip, location);
        }
        let Some(released) = self.waiting.release(ip) else { return };
        for (time, record) in released.iter() {
            write_row(own(record), time, location, out);
        }
        self.written += released.count;
        if answer == Answer::Failed {
            self.unanswered += released.count;
        }
    }

    fn forget_answers(&mut self) {
        self.known.clear();
    }

    fn is_waiting(&self) -> bool {
        self.waiting.events() > 0
    }

    fn is_full(&self) -> bool {
        self.waiting.bytes() >= MAX_WAITING_BYTES
    }

    fn counters(&self) -> OperatorCounters {
        OperatorCounters {
            late: 0,
            open: self.waiting.ips(),
            open_events: self.waiting.events(),
            fired_events: self.written,
            unanswered: self.unanswered,
        }
    }

    /// Full whatever `kind` says: what waits changes from one barrier to the next, and is bounded.
    fn begin_snapshot(&mut self, _kind: SnapshotKind) {
        self.snapshot = Some(KeyedSnapshot {
            kind: SnapshotKind::Full,
            watermark: self.watermark,
            sections: self.waiting.sections(self.max_parallelism),
            spare_blocks: Vec::new(),
        });
    }

    fn continue_snapshot(&mut self, _keys: usize) -> Option<KeyedSnapshot> {
        self.snapshot.take()
    }

    /// A snapshot is full, so that of several sections only the newest counts.
    fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        let LocateOperator { waiting, questions, max_parallelism, .. } = self;
        self.watermark = watermark;
        match newest_first.first() {
            Some(newest) => waiting.restore(newest, *max_parallelism, |ip| questions.push(ip.as_bytes().to_vec())),
            None => Ok(()),
        }
    }
}

fn own(record: &[u8]) -> Record<'_> {
    Record::decode(record).expect("every record was encoded by this job's decoder, or checked when it was restored")
}

fn write_row(record: Record<'_>, time: EventTime, location: &str, out: &mut Collector) {
    let Record { ip, host, referrer, url } = record;
    let mut row = out.row(TableIndex::RESULT, 6);
    row.text(ip).timestamp(time).text(referrer).text(host).text(url).text(Some(location));
}

#[cfg(test)]
mod tests;
