//! The records of a run, and the answer: sessions cut by hand, from all records at once.

use std::collections::BTreeMap;

use job_sessionize::key::Key;
use stream_core::ids::SplitId;
use stream_core::pipeline::Split;

use crate::random::Random;

/// The gap of the run's sessions, in milliseconds.
pub const GAP_MS: i64 = 1000;
/// How far an event may be behind the latest one of its partition: so much the watermark waits, and no event is late.
pub const DELAY_MS: i64 = 400;

/// A session: where it starts, whose it is, how many events it has.
pub type SessionRow = (i64, String, i64);

/// A record: an event, or one that cannot be read.
#[derive(Clone, Debug)]
pub struct InputRecord {
    /// Event time and key; nothing for a bad record.
    pub event: Option<(i64, u64)>,
    /// From when on a source can read it.
    pub visible_at: i64,
}

/// The partitions.
#[derive(Debug)]
pub struct Input {
    /// The records of each.
    pub partitions: Vec<Vec<InputRecord>>,
}

/// The texts of a key.
pub fn key_texts(key: u64) -> (String, String) {
    (format!("10.0.0.{key}"), format!("host-{}", key % 3))
}

/// The bytes of a key.
pub fn key_bytes(key: u64) -> Vec<u8> {
    let (ip, host) = key_texts(key);
    let mut bytes = Vec::new();
    Key { ip: Some(&ip), host: Some(&host) }.encode(&mut bytes);
    bytes
}

impl Input {
    /// Of a seed: some hundred milliseconds of event time pass with each second of the simulated clock.
    pub fn new(random: &mut Random) -> Self {
        let keys = random.between(2, 8);
        let partitions = (0..random.between(1, 4)).map(|_| {
            let (mut latest, mut visible_at) = (0, 0);
            let records = (0..random.between(10, 60)).map(|_| {
                latest += random.between(0, 700);
                visible_at += random.between(0, 600);
                let time = latest - random.between(0, DELAY_MS);
                let event = (!random.percent(5)).then(|| (time, random.between(1, keys).unsigned_abs()));
                InputRecord { event, visible_at }
            });
            records.collect()
        });
        Input { partitions: partitions.collect() }
    }

    /// The splits as they are found at submit.
    pub fn splits(&self) -> Vec<Split> {
        let split = |(index, records): (usize, &Vec<InputRecord>)| Split {
            id: SplitId(format!("topic/{index}")),
            start: 0,
            end: Some(records.len() as u64),
        };
        self.partitions.iter().enumerate().map(split).collect()
    }

    /// The partition of a split.
    pub fn partition(&self, split: &SplitId) -> &[InputRecord] {
        let index: usize = split.0.rsplit('/').next().and_then(|index| index.parse().ok()).expect("our own name");
        &self.partitions[index]
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.partitions.iter().map(|records| records.len() as u64).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sessions, in order: events of a key belong together while no more than the gap lies between two of them.
    pub fn sessions(&self) -> Vec<SessionRow> {
        let mut by_key: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (time, key) in self.partitions.iter().flatten().filter_map(|record| record.event) {
            by_key.entry(key).or_default().push(time);
        }
        let mut rows: Vec<SessionRow> = Vec::new();
        for (key, mut times) in by_key {
            times.sort_unstable();
            let (ip, host) = key_texts(key);
            let whose = format!("{ip}|{host}");
            let mut last: Option<i64> = None;
            for time in times {
                match last.filter(|last| time - last <= GAP_MS) {
                    Some(_) => rows.last_mut().expect("one was begun").2 += 1,
                    None => rows.push((time, whose.clone(), 1)),
                }
                last = Some(time);
            }
        }
        rows.sort();
        rows
    }
}
