//! A Kafka record to keyed events.
//!
//! A NULL field is a value like any other; what is bad is `web_intake`'s to say.

use stream_core::collector::Collector;
use stream_core::event_batch::KeyedEvent;
use stream_core::operator::{Decoded, Decoder, Refusal, SplitRecords};
use web_intake::DeadLetters;
use web_intake::intake::{Intake, WebEvent};

use crate::record::Record;

/// Decodes web events; its buffers are used again for each record.
#[derive(Debug)]
pub struct EventDecoder {
    intake: Intake<5>,
    record: Vec<u8>,
}

impl EventDecoder {
    /// A decoder with empty buffers, which does this with bad records.
    pub fn new(dead_letters: DeadLetters) -> Self {
        let names = ["ip", "host", "referrer", "url", "event_time"];
        EventDecoder { intake: Intake::new(names, dead_letters), record: Vec::new() }
    }
}

impl Decoder for EventDecoder {
    fn decode(&mut self, records: SplitRecords<'_>, out: &mut Collector) -> Result<Decoded, Refusal> {
        let EventDecoder { intake, record } = self;
        intake.decode(records, out, |event, out| {
            let WebEvent { fields: [ip, host, referrer, url, _], time, origin } = event;
            let hash = Record { ip, host, referrer, url }.encode(record);
            out.event(KeyedEvent { hash, time, count: 1, key: record, origin });
        })
    }
}

#[cfg(test)]
mod tests {
    use stream_core::ids::SplitId;
    use stream_core::key_group::MaxParallelism;
    use stream_core::operator;
    use stream_core::time::EventTime;

    use super::*;
    use crate::record::hash_ip;

    #[test]
    fn event_is_keyed_by_ip_with_its_other_fields_behind() {
        let mut out = Collector::new(MaxParallelism::DEFAULT, 1);
        let payloads: [&[u8]; 2] = [
            br#"{"ip":"1.2.3.4","host":"a.io","url":"\/x","referrer":null,"headers":"{}","event_time":"1970-01-01T00:00:09.000Z"}"#,
            br#"{"ip":"1.2.3.4","event_time":"yesterday"}"#,
        ];
        let records: Vec<operator::Record<'_>> =
            (0..).zip(payloads).map(|(offset, payload)| operator::Record { payload: Some(payload), offset }).collect();
        let split = SplitId("topic/3".to_owned());
        let records = SplitRecords {
            split: &split,
            records: &records,
            not_after: EventTime(i64::MAX),
            hold: operator::Hold::NEVER,
        };
        let decoded = EventDecoder::new(DeadLetters::default()).decode(records, &mut out).expect("skipped");
        assert_eq!(decoded, Decoded { latest: Some(EventTime(9000)), events: 1, bad: 1, left: None });
        let (_, batch) = out.take_all().next().expect("a batch");
        let event = batch.iter().next().expect("an event");
        let record = Record { ip: Some("1.2.3.4"), host: Some("a.io"), referrer: None, url: Some("/x") };
        assert_eq!(Record::decode(event.key), Some(record));
        assert_eq!((event.hash, event.time), (hash_ip("1.2.3.4"), EventTime(9000)));
    }
}
