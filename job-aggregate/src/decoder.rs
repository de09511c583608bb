//! A record to keyed events. A NULL `host` or `referrer` is an ordinary key; what is bad is `web_intake`'s to say.

use stream_core::collector::Collector;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::hash_key;
use stream_core::operator::{Decoded, Decoder, Refusal, SplitRecords};
use web_intake::DeadLetters;
use web_intake::intake::{Intake, WebEvent};

use crate::key::{self, Key};

/// Decodes web events; its buffers are used again for each record.
#[derive(Debug)]
pub struct EventDecoder {
    intake: Intake<3>,
    key: Vec<u8>,
}

impl EventDecoder {
    /// A decoder that does this with bad records.
    pub fn new(dead_letters: DeadLetters) -> Self {
        EventDecoder { intake: Intake::new(["host", "referrer", "event_time"], dead_letters), key: Vec::new() }
    }
}

impl Decoder for EventDecoder {
    fn decode(&mut self, records: SplitRecords<'_>, out: &mut Collector) -> Result<Decoded, Refusal> {
        let EventDecoder { intake, key } = self;
        intake.decode(records, out, |event, out| {
            let WebEvent { fields: [host, referrer, _], time, origin } = event;
            Key { host, referrer }.encode(key);
            // By the host alone, so that all its referrers meet.
            out.event(KeyedEvent { hash: hash_key(key::head(key)), time, count: 1, key, origin });
        })
    }
}
