//! A record to a bid, keyed by its bidder.
//!
//! A record is a JSON object with at least `bidder`, a whole number, and `date_time`, such as `2015-07-15T00:00:00.000Z`: one bid. All
//! other records are bad: they are counted and skipped.

use stream_core::collector::Collector;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::hash_key;
use stream_core::operator::{Decoded, Decoder, Left, Refusal, SplitRecords};
use stream_core::origin::Origin;
use stream_core::time::{EventTime, millis};
use web_event::event_time::to_timestamp;
use web_event::json::Projection;

use crate::pipeline::GAP;

/// A longer record is bad, unread.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// Decodes bids; its buffers are used again for each record.
#[derive(Debug)]
pub struct BidDecoder {
    fields: Projection<2>,
}

/// What the query reads of a bid.
struct Bid {
    bidder: i64,
    time: EventTime,
}

/// What stands in a record.
enum Content {
    Nothing,
    Bid(Bid),
    Bad,
}

impl BidDecoder {
    /// A decoder with empty buffers.
    pub fn new() -> Self {
        BidDecoder { fields: Projection::new(["bidder", "date_time"]) }
    }

    fn read(&mut self, payload: &[u8]) -> Content {
        if payload.len() > MAX_RECORD_BYTES {
            return Content::Bad;
        }
        let mut content = Content::Nothing;
        let read = self.fields.decode(payload, |[bidder, time]| {
            let is_first = matches!(content, Content::Nothing);
            let bidder = bidder.and_then(|text| text.parse().ok()).filter(|_| is_first);
            let time = time.and_then(to_timestamp).map(EventTime);
            content = match (bidder, time) {
                (Some(bidder), Some(time)) => Content::Bid(Bid { bidder, time }),
                _ => Content::Bad,
            };
        });
        if read.is_ok() { content } else { Content::Bad }
    }
}

impl Decoder for BidDecoder {
    fn decode(&mut self, records: SplitRecords<'_>, out: &mut Collector) -> Result<Decoded, Refusal> {
        let SplitRecords { split, records, not_after, mut hold } = records;
        let split = split.number();
        let mut decoded = Decoded::default();
        for (index, record) in records.iter().enumerate() {
            let Some(payload) = record.payload else { continue };
            let bid = match self.read(payload) {
                Content::Nothing => continue,
                Content::Bid(bid) if bid.time <= not_after => bid,
                Content::Bid(_) | Content::Bad => {
                    decoded.bad += 1;
                    continue;
                }
            };
            if hold.leaves(bid.time) {
                decoded.left = Some(Left { records: records.len() - index, time: bid.time });
                break;
            }
            let key = bid.bidder.to_be_bytes();
            let origin = Origin { split, offset: record.offset };
            let event = KeyedEvent { hash: hash_key(&key), time: bid.time, count: 1, key: &key, origin };
            out.session_event(event, millis(GAP));
            decoded.events += 1;
            decoded.latest = decoded.latest.max(Some(bid.time));
        }
        Ok(decoded)
    }
}

impl Default for BidDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use stream_core::ids::SplitId;
    use stream_core::key_group::MaxParallelism;
    use stream_core::operator::{Hold, Record};

    use super::*;

    fn decode(hold: Hold, records: &[&str]) -> (Decoded, Vec<(i64, i64)>) {
        let mut out = Collector::new(MaxParallelism::DEFAULT, 1);
        let records: Vec<Record<'_>> =
            (0..).zip(records).map(|(offset, text)| Record { payload: Some(text.as_bytes()), offset }).collect();
        let split = SplitId("bids/3".to_owned());
        let records = SplitRecords { split: &split, records: &records, not_after: EventTime(60_000), hold };
        let decoded = BidDecoder::new().decode(records, &mut out).expect("nothing is refused");
        let mut bids = Vec::new();
        for (_, batch) in out.take_all() {
            bids.extend(batch.iter().map(|event| {
                let key = event.key.try_into().expect("eight bytes");
                (i64::from_be_bytes(key), event.time.0)
            }));
        }
        (decoded, bids)
    }

    fn bid(bidder: i64, second: u32) -> String {
        format!(
            r#"{{"auction":7,"bidder":{bidder},"price":3,"date_time":"1970-01-01T00:00:{second:02}.000Z","extra":""}}"#
        )
    }

    #[test]
    fn bid_is_keyed_by_its_bidder_and_raises_the_latest_time() {
        let (decoded, bids) = decode(Hold::NEVER, &[&bid(1001, 9), &bid(-2, 5)]);
        assert_eq!(decoded, Decoded { latest: Some(EventTime(9000)), events: 2, bad: 0, left: None });
        assert_eq!(bids, [(1001, 9000), (-2, 5000)]);
    }

    #[test]
    fn what_is_not_one_bid_is_bad_and_the_next_record_is_read() {
        let two = format!("[{},{}]", bid(1, 1), bid(2, 2));
        for bad in [
            "not json",
            "{}",
            r#"{"bidder":null,"date_time":"1970-01-01T00:00:01.000Z"}"#,
            r#"{"bidder":"me","date_time":"1970-01-01T00:00:01.000Z"}"#,
            r#"{"bidder":1,"date_time":"soon"}"#,
            r#"{"bidder":1,"date_time":"1970-01-01T00:01:00.001Z"}"#,
            &two,
        ] {
            let (decoded, bids) = decode(Hold::NEVER, &[bad, &bid(1, 1)]);
            assert_eq!((decoded.events, decoded.bad, bids), (1, 1, vec![(1, 1000)]), "{bad}");
        }
        assert_eq!(decode(Hold::NEVER, &["", "[]"]).0, Decoded::default(), "and what holds nothing is nothing");
    }

    #[test]
    fn what_is_ahead_is_left_with_all_that_follows() {
        let hold = Hold { beyond: EventTime(10_000), spare: 1 };
        let (decoded, bids) = decode(hold, &[&bid(1, 1), &bid(2, 20), &bid(3, 30), &bid(4, 5)]);
        assert_eq!(bids, [(1, 1000), (2, 20_000)]);
        assert_eq!(decoded.left, Some(Left { records: 2, time: EventTime(30_000) }));
    }
}
