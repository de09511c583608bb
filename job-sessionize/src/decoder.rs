//! A record to keyed events.
//!
//! A NULL `ip` or `host` is an ordinary key; what is bad is `web_intake`'s to say.

use stream_core::collector::Collector;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::hash_key;
use stream_core::operator::{Decoded, Decoder, Refusal, SplitRecords};
use web_intake::DeadLetters;
use web_intake::intake::{Intake, WebEvent};

use crate::key::Key;

/// Decodes web events; its buffers are used again for each record.
#[derive(Debug)]
pub struct EventDecoder {
    intake: Intake<3>,
    key: Vec<u8>,
    /// See [`EventDecoder::putting_together`].
    gap_ms: Option<i64>,
}

impl EventDecoder {
    /// A decoder with empty buffers that counts bad records only.
    pub fn new() -> Self {
        Self::keeping(DeadLetters::default())
    }

    /// The same, which does this with bad records.
    pub(crate) fn keeping(dead_letters: DeadLetters) -> Self {
        EventDecoder { intake: Intake::new(["ip", "host", "event_time"], dead_letters), key: Vec::new(), gap_ms: None }
    }

    /// The same, which puts events of one key together that are within the gap, if there is one.
    pub fn putting_together(self, gap_ms: Option<i64>) -> Self {
        EventDecoder { gap_ms, ..self }
    }
}

impl Decoder for EventDecoder {
    fn decode(&mut self, records: SplitRecords<'_>, out: &mut Collector) -> Result<Decoded, Refusal> {
        let EventDecoder { intake, key, gap_ms } = self;
        intake.decode(records, out, |event, out| {
            let WebEvent { fields: [ip, host, _], time, origin } = event;
            Key { ip, host }.encode(key);
            let event = KeyedEvent { hash: hash_key(key), time, count: 1, key, origin };
            match *gap_ms {
                Some(gap_ms) => out.session_event(event, gap_ms),
                None => out.event(event),
            }
        })
    }
}

impl Default for EventDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use stream_core::ids::SplitId;
    use stream_core::key_group::MaxParallelism;
    use stream_core::operator::{Hold, Record};
    use stream_core::time::EventTime;
    use web_intake::intake::MAX_RECORD_BYTES;

    use super::*;

    type Row = (Option<String>, Option<String>, i64);

    fn decode(payloads: &[Option<&[u8]>]) -> (Decoded, Vec<Row>) {
        decode_within(Hold::NEVER, payloads)
    }

    fn decode_within(hold: Hold, payloads: &[Option<&[u8]>]) -> (Decoded, Vec<Row>) {
        let mut out = Collector::new(MaxParallelism::DEFAULT, 1);
        let records: Vec<Record<'_>> =
            (0..).zip(payloads).map(|(offset, &payload)| Record { payload, offset }).collect();
        let split = SplitId("topic/3".to_owned());
        let records = SplitRecords { split: &split, records: &records, not_after: EventTime(i64::MAX), hold };
        let decoded = EventDecoder::new().decode(records, &mut out).expect("bad records are skipped");
        let mut rows = Vec::new();
        for (_, batch) in out.take_all() {
            rows.extend(batch.iter().map(|event| {
                let key = Key::decode(event.key).expect("own key");
                (key.ip.map(str::to_owned), key.host.map(str::to_owned), event.time.0)
            }));
        }
        (decoded, rows)
    }

    fn row(ip: &str, host: &str, time: i64) -> Row {
        (Some(ip.to_owned()), Some(host.to_owned()), time)
    }

    #[test]
    fn event_is_keyed_by_ip_and_host_and_raises_the_latest_time() {
        let (decoded, rows) = decode(&[
            Some(br#"{"ip":"1","host":"a","event_time":"1970-01-01T00:00:09.000Z","url":"/"}"#),
            Some(br#"{"ip":"2","host":"b","event_time":"1970-01-01T00:00:05.000Z"}"#),
        ]);
        assert_eq!(decoded, Decoded { latest: Some(EventTime(9000)), events: 2, bad: 0, left: None });
        assert_eq!(rows, [row("1", "a", 9000), row("2", "b", 5000)]);
    }

    #[test]
    fn missing_ip_and_null_host_are_ordinary_keys() {
        let (decoded, rows) = decode(&[Some(br#"{"host":null,"event_time":"1970-01-01T00:00:01.000Z"}"#)]);
        assert_eq!((decoded.events, decoded.bad), (1, 0));
        assert_eq!(rows, [(None, None, 1000)]);
    }

    #[test]
    fn tombstone_and_empty_record_are_neither_event_nor_error() {
        assert_eq!(decode(&[None, Some(b""), Some(b"[]")]).0, Decoded::default());
    }

    #[test]
    fn bad_records_are_counted_and_the_next_one_is_read() {
        let bad: [&[u8]; 6] = [
            b"not json",
            br#"{"ip":"1","host":"a""#,
            br#"{"ip":"1","host":"a"}"#,
            br#"{"ip":"1","host":"a","event_time":null}"#,
            br#"{"ip":"1","host":"a","event_time":"yesterday"}"#,
            b"\xff\xfe",
        ];
        let good: &[u8] = br#"{"ip":"1","host":"a","event_time":"1970-01-01T00:00:01.000Z"}"#;
        for payload in bad {
            let (decoded, rows) = decode(&[Some(payload), Some(good)]);
            assert_eq!(decoded, Decoded { latest: Some(EventTime(1000)), events: 1, bad: 1, left: None });
            assert_eq!(rows, [row("1", "a", 1000)]);
        }
    }

    #[test]
    fn elements_of_an_array_count_one_by_one() {
        let (decoded, rows) = decode(&[Some(
            br#"[{"ip":"1","host":"a","event_time":"1970-01-01T00:00:01.000Z"},{"event_time":"x"},{"event_time":"y"},7]"#,
        )]);
        assert_eq!((decoded.events, decoded.bad), (1, 3));
        assert_eq!(rows, [row("1", "a", 1000)]);
    }

    #[test]
    fn what_is_ahead_is_left_with_all_that_follows() {
        let event =
            |second: u32| format!(r#"{{"ip":"1","host":"a","event_time":"1970-01-01T00:00:{second:02}.000Z"}}"#);
        let left = |spare, records: &[String]| {
            let payloads: Vec<Option<&[u8]>> = records.iter().map(|record| Some(record.as_bytes())).collect();
            let (decoded, rows) = decode_within(Hold { beyond: EventTime(10_000), spare }, &payloads);
            assert_eq!(decoded.events, rows.len() as u64);
            (rows.len(), decoded.bad, decoded.left.map(|left| (left.records, left.time.0)))
        };
        let records = [event(1), event(20), event(30), event(5)];
        assert_eq!(left(1, &records), (2, 0, Some((2, 30_000))));
        assert_eq!(left(0, &records), (1, 0, Some((3, 20_000))));
        assert_eq!(left(0, &[event(10), event(9)]), (2, 0, None), "up to the limit it is not ahead");
        let array = format!("[{},{}]", event(20), event(30));
        assert_eq!(left(0, &["bad".to_owned(), array.clone()]), (0, 1, Some((1, 20_000))));
        assert_eq!(left(0, &[format!("[7,{array}")]), (0, 1, None), "a record is left as a whole or not at all");
        assert_eq!(left(0, &[format!("[{},7", event(20))]), (0, 0, Some((1, 20_000))), "and read when it is its turn");
    }

    #[test]
    fn record_above_the_limit_is_bad() {
        let pad = "x".repeat(MAX_RECORD_BYTES);
        let record = format!(r#"{{"event_time":"1970-01-01T00:00:01.000Z","pad":"{pad}"}}"#);
        assert_eq!(decode(&[Some(record.as_bytes())]).0, Decoded { latest: None, events: 0, bad: 1, left: None });
        let under = &record[record.len() - MAX_RECORD_BYTES..];
        assert_eq!(decode(&[Some(under.as_bytes())]).0.bad, 1, "at the limit it is read, and is not JSON");
    }
}
