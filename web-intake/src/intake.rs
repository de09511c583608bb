//! A record to its fields and its event time, or to a dead letter.

use stream_core::collector::Collector;
use stream_core::operator::{Decoded, Hold, Left, Refusal, SplitRecords};
use stream_core::origin::Origin;
use stream_core::time::EventTime;
use web_event::event_time::to_timestamp;
use web_event::json::Projection;

use crate::dead_letters::DeadLetters;

/// A longer record is bad, unread. Kafka's own default limit is 1 MiB; what is made of one record must fit into one frame of
/// the exchange.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

/// How the reason of a dead letter ends that was in the future when it was read, which a later reader cannot tell.
pub const IN_FUTURE: &str = "is in the future";

/// Why an event cannot be used.
#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error("longer than {} MiB", MAX_RECORD_BYTES >> 20)]
    TooLong,
    #[error(transparent)]
    NoJson(#[from] web_event::json::JsonError),
    #[error("no valid event_time")]
    NoTime,
    #[error("event_time {0} {IN_FUTURE}")]
    InFuture(EventTime),
}

/// Reads the records of one source subtask; its buffers are used again for each.
#[derive(Debug)]
pub struct Intake<const FIELDS: usize> {
    fields: Projection<FIELDS>,
    dead_letters: DeadLetters,
}

/// An event as it was read.
#[derive(Clone, Copy, Debug)]
pub struct WebEvent<'a, const FIELDS: usize> {
    /// The fields that were asked for, in that order.
    pub fields: [Option<&'a str>; FIELDS],
    /// When it happened.
    pub time: EventTime,
    /// Where its record stands.
    pub origin: Origin,
}

impl<const FIELDS: usize> Intake<FIELDS> {
    /// Reads these fields, the last of which is the event time, and does this with bad records.
    pub fn new(names: [&'static str; FIELDS], dead_letters: DeadLetters) -> Self {
        Intake { fields: Projection::new(names), dead_letters }
    }

    /// Hands over the events of records of one split, in their order. A record without a value is no event and no error.
    ///
    /// In a record that is an array, each element without a valid time counts as bad on its own; elements before one that
    /// is not JSON are kept, as in Flink with `json.ignore-parse-errors`.
    ///
    /// # Errors
    /// If one is bad, and the job is to fail then.
    pub fn decode(
        &mut self,
        records: SplitRecords<'_>,
        out: &mut Collector,
        mut on_event: impl FnMut(WebEvent<'_, FIELDS>, &mut Collector),
    ) -> Result<Decoded, Refusal> {
        let mut decoded = Decoded::default();
        let SplitRecords { split, records, not_after, mut hold } = records;
        let split = split.number();
        for (index, record) in records.iter().enumerate() {
            let Some(payload) = record.payload else { continue };
            let origin = Origin { split, offset: record.offset };
            let limits = Limits { not_after, hold: &mut hold };
            let left = self.decode_payload(payload, origin, limits, out, &mut decoded, &mut on_event)?;
            if let Some(time) = left {
                decoded.left = Some(Left { records: records.len() - index, time });
                break;
            }
        }
        Ok(decoded)
    }

    /// The time of its first event if the record is to be left.
    fn decode_payload(
        &mut self,
        payload: &[u8],
        origin: Origin,
        Limits { not_after, hold }: Limits<'_>,
        out: &mut Collector,
        decoded: &mut Decoded,
        on_event: &mut impl FnMut(WebEvent<'_, FIELDS>, &mut Collector),
    ) -> Result<Option<EventTime>, Refusal> {
        let Intake { fields, dead_letters } = self;
        if payload.len() > MAX_RECORD_BYTES {
            decoded.bad += 1;
            return dead_letters.on_bad(origin, payload, &Bad::TooLong, out).map(|()| None);
        }
        let taken_before = decoded.events + decoded.bad;
        let mut left = None;
        let mut refused = Ok(());
        let mut on_bad = |bad: Bad, out: &mut Collector, decoded: &mut Decoded| {
            decoded.bad += 1;
            if let Err(refusal) = dead_letters.on_bad(origin, payload, &bad, out) {
                refused = Err(refusal);
            }
        };
        let read = fields.decode(payload, |fields| {
            if left.is_some() {
                return;
            }
            let event_time = fields.last().copied().flatten();
            let Some(time) = event_time.and_then(to_timestamp).map(EventTime) else {
                return on_bad(Bad::NoTime, out, decoded);
            };
            if time > not_after {
                return on_bad(Bad::InFuture(time), out, decoded);
            }
            // A record is left as a whole or not at all.
            if hold.leaves(time) && decoded.events + decoded.bad == taken_before {
                left = Some(time);
                return;
            }
            on_event(WebEvent { fields, time, origin }, out);
            decoded.events += 1;
            decoded.latest = decoded.latest.max(Some(time));
        });
        if let Err(error) = read
            && left.is_none()
        {
            on_bad(error.into(), out, decoded);
        }
        refused.map(|()| left)
    }
}

/// What times are taken, and when.
struct Limits<'a> {
    not_after: EventTime,
    hold: &'a mut Hold,
}
