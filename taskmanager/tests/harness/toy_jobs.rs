//! `count` counts events by key and tells at the end; `echo` tells of each event at once; both read `KEY@MS` and panic at
//! the key `boom`.

use std::collections::BTreeMap;

use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::operator::{Decoded, Decoder, Operator, OperatorCounters, Record};
use stream_core::pipeline::{JobDefinition, OperatorContext, OptionsError};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;
use stream_runtime::jobs::Jobs;

pub(crate) fn registry() -> Jobs {
    Jobs::new().with(Toy { name: "count" }).with(Toy { name: "echo" })
}

struct Toy {
    name: &'static str,
}

impl JobDefinition for Toy {
    fn name(&self) -> &'static str {
        self.name
    }

    fn decoder(&self, _options: &str) -> Result<Box<dyn Decoder>, OptionsError> {
        Ok(Box::new(KeyAtTime))
    }

    fn operator(&self, _options: &str, context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, OptionsError> {
        Ok(Box::new(Counting {
            counts: BTreeMap::new(),
            key_groups: context.key_groups,
            max_parallelism: context.max_parallelism,
            is_echo: self.name == "echo",
        }))
    }
}

struct KeyAtTime;

impl Decoder for KeyAtTime {
    fn decode(&mut self, records: &[Record<'_>], out: &mut Collector) -> Decoded {
        let mut decoded = Decoded::default();
        for record in records {
            let text = std::str::from_utf8(record.payload.unwrap()).unwrap();
            let (key, ms) = text.split_once('@').unwrap();
            let time = EventTime(ms.parse().unwrap());
            out.event(KeyedEvent { hash: hash_key(key.as_bytes()), time, count: 1, key: key.as_bytes() });
            decoded.events += 1;
            decoded.latest = decoded.latest.max(Some(time));
        }
        decoded
    }
}

struct Counting {
    counts: BTreeMap<String, i64>,
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    is_echo: bool,
}

impl Operator for Counting {
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) {
        for event in events.iter() {
            assert!(self.key_groups.contains(event.hash.key_group(self.max_parallelism)), "a key of somebody else");
            assert_ne!(event.key, b"boom", "boom");
            let key = std::str::from_utf8(event.key).unwrap();
            if self.is_echo {
                out.row(2).text(Some(key)).bigint(1);
            } else {
                *self.counts.entry(key.to_owned()).or_insert(0) += i64::from(event.count);
            }
        }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Collector) {
        if watermark == Watermark::END {
            for (key, count) in std::mem::take(&mut self.counts) {
                out.row(2).text(Some(&key)).bigint(count);
            }
        }
    }

    fn counters(&self) -> OperatorCounters {
        OperatorCounters { late: 0, open: self.counts.len() as u64, open_events: 0 }
    }
}
