//! `count` counts events by key and tells at the end; `echo` tells of each event at once, and `held` does when a gate lets
//! it. All read `KEY@MS`, panic at the key `boom`, and snapshot what they have counted, the deltas key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::ids::TableIndex;
use stream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism, hash_key};
use stream_core::operator::{Decoded, Decoder, Operator, OperatorCounters, Refusal, SplitRecords};
use stream_core::origin::Origin;
use stream_core::pipeline::{DecoderContext, JobDefinition, OperatorContext, OptionsError};
use stream_core::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;
use stream_runtime::jobs::Jobs;

use super::memory::HoldGate;

pub(crate) fn registry(gate: &Arc<HoldGate>) -> Jobs {
    let toy = |name| Toy { name, gate: Arc::clone(gate) };
    Jobs::new().with(toy("count")).with(toy("echo")).with(toy("held"))
}

struct Toy {
    name: &'static str,
    gate: Arc<HoldGate>,
}

impl JobDefinition for Toy {
    fn name(&self) -> &'static str {
        self.name
    }

    fn decoder(&self, _options: &str, _context: &DecoderContext<'_>) -> Result<Box<dyn Decoder>, OptionsError> {
        Ok(Box::new(KeyAtTime))
    }

    fn operator(&self, _options: &str, context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, OptionsError> {
        Ok(Box::new(Counting {
            counts: BTreeMap::new(),
            changed: BTreeSet::new(),
            watermark: Watermark::NONE,
            snapshot: None,
            gate: (self.name == "held").then(|| Arc::clone(&self.gate)),
            key_groups: context.key_groups,
            max_parallelism: context.max_parallelism,
            is_echo: self.name != "count",
        }))
    }
}

struct KeyAtTime;

impl Decoder for KeyAtTime {
    fn decode(&mut self, records: SplitRecords<'_>, out: &mut Collector) -> Result<Decoded, Refusal> {
        let mut decoded = Decoded::default();
        for record in records.records {
            let text = std::str::from_utf8(record.payload.unwrap()).unwrap();
            let (key, ms) = text.split_once('@').unwrap();
            let time = EventTime(ms.parse().unwrap());
            out.event(KeyedEvent {
                hash: hash_key(key.as_bytes()),
                time,
                count: 1,
                key: key.as_bytes(),
                origin: Origin::default(),
            });
            decoded.events += 1;
            decoded.latest = decoded.latest.max(Some(time));
        }
        Ok(decoded)
    }
}

struct Counting {
    counts: BTreeMap<String, i64>,
    changed: BTreeSet<String>,
    watermark: Watermark,
    snapshot: Option<KeyedSnapshot>,
    gate: Option<Arc<HoldGate>>,
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    is_echo: bool,
}

impl Operator for Counting {
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) -> Result<(), Refusal> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        for event in events.iter() {
            assert!(self.key_groups.contains(event.hash.key_group(self.max_parallelism)), "a key of somebody else");
            assert_ne!(event.key, b"boom", "boom");
            let key = std::str::from_utf8(event.key).unwrap();
            if self.is_echo {
                out.row(TableIndex::RESULT, 2).text(Some(key)).bigint(1);
            } else {
                *self.counts.entry(key.to_owned()).or_insert(0) += i64::from(event.count);
                self.changed.insert(key.to_owned());
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Collector) {
        self.watermark = watermark;
        if watermark == Watermark::END {
            for (key, count) in std::mem::take(&mut self.counts) {
                out.row(TableIndex::RESULT, 2).text(Some(&key)).bigint(count);
            }
        }
    }

    fn counters(&self) -> OperatorCounters {
        OperatorCounters { late: 0, open: self.counts.len() as u64, ..OperatorCounters::default() }
    }

    fn begin_snapshot(&mut self, kind: SnapshotKind) {
        let changed = std::mem::take(&mut self.changed);
        let is_in = |key: &&String| kind == SnapshotKind::Full || changed.contains(*key);
        let mut sections = BTreeMap::<KeyGroup, Section>::new();
        for (key, count) in self.counts.iter().filter(|(key, _)| is_in(key)) {
            let group = hash_key(key.as_bytes()).key_group(self.max_parallelism);
            let section = sections.entry(group).or_insert(Section { group, records: 0, bytes: Vec::new() });
            section.records += 1;
            section.bytes.extend_from_slice(format!("{key}={count}\n").as_bytes());
        }
        let sections = sections.into_values().collect();
        self.snapshot = Some(KeyedSnapshot { kind, watermark: self.watermark, sections, spare_blocks: Vec::new() });
    }

    fn continue_snapshot(&mut self, _keys: usize) -> Option<KeyedSnapshot> {
        self.snapshot.take()
    }

    fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        self.watermark = watermark;
        for section in newest_first {
            assert!(self.key_groups.contains(section.group), "a key group of somebody else");
            for (key, count) in std::str::from_utf8(&section.bytes).unwrap().lines().map(|l| l.split_once('=').unwrap())
            {
                // Once a watermark has ended them, they are no more.
                if watermark < Watermark::END {
                    self.counts.entry(key.to_owned()).or_insert(count.parse().unwrap());
                }
            }
        }
        Ok(())
    }
}
