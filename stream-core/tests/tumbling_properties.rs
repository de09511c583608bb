//! Tumbling windows against a naive oracle: Flink's rules written down literally over one map of counts. Any sequence of events and
//! watermarks, late ones included, with and without allowed lateness, at any parallelism, must give the same counts, sums and late
//! events at the same steps.
//!
//! Snapshots, crashes and rescaling: `snapshot_properties`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stream_core::event_batch::KeyedEvent;
use stream_core::ids::SubtaskIndex;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::time::EventTime;
use stream_core::tumbling::{Added, Config, Fired, Of, Windows};
use stream_core::watermark::Watermark;

#[derive(Clone, Debug)]
enum Step {
    Event { head: u8, tail: u8, time: i64 },
    Watermark(i64),
}

/// Window, key or head, whether it is a head's sum, events.
type Row = (i64, Vec<u8>, bool, u64);

struct Model {
    size_ms: i64,
    lateness_ms: i64,
    watermark: i64,
    counts: BTreeMap<(i64, [u8; 2]), u64>,
}

impl Model {
    /// What an event fires at once; `None` if it is late.
    fn event(&mut self, key: [u8; 2], time: i64) -> Option<Vec<Row>> {
        let mut start = 0;
        while start > time {
            start -= self.size_ms;
        }
        while start + self.size_ms <= time {
            start += self.size_ms;
        }
        let last = start + self.size_ms - 1;
        if last + self.lateness_ms <= self.watermark {
            return None;
        }
        *self.counts.entry((start, key)).or_default() += 1;
        if last > self.watermark {
            return Some(vec![]);
        }
        let own = (start, key.to_vec(), false, self.counts[&(start, key)]);
        Some(vec![own, self.sum(start, key[0])])
    }

    fn watermark(&mut self, watermark: i64) -> Vec<Row> {
        if watermark <= self.watermark {
            return vec![];
        }
        let old = std::mem::replace(&mut self.watermark, watermark);
        let fires = |start: i64| (old + 1..=watermark).contains(&(start + self.size_ms - 1));
        let due = self.counts.iter().filter(|((start, _), _)| fires(*start));
        let mut rows: Vec<Row> =
            due.clone().map(|((start, key), count)| (*start, key.to_vec(), false, *count)).collect();
        let mut sums: Vec<Row> = due.map(|((start, key), _)| self.sum(*start, key[0])).collect();
        sums.dedup();
        rows.extend(sums);
        self.counts.retain(|(start, _), _| start + self.size_ms - 1 + self.lateness_ms > watermark);
        rows
    }

    fn sum(&self, start: i64, head: u8) -> Row {
        let of_head = self.counts.iter().filter(|((of, key), _)| *of == start && key[0] == head);
        (start, vec![head], true, of_head.map(|(_, count)| count).sum())
    }
}

/// The end of time, at which the model can still add.
const END: i64 = 1 << 40;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..4, 0_u8..4, -250_i64..250).prop_map(|(head, tail, time)| Step::Event { head, tail, time }),
        1 => (-260_i64..300).prop_map(Step::Watermark),
    ]
}

fn row(fired: Fired<'_>) -> Row {
    match fired.of {
        Of::Key(key) => (fired.start.0, key.to_vec(), false, fired.count),
        Of::Head(head) => (fired.start.0, head.to_vec(), true, fired.count),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn windows_follow_the_rules_step_by_step(
        steps in prop::collection::vec(step(), 0..80),
        size_ms in 1_i64..80,
        lateness_ms in prop_oneof![Just(0_i64), 0_i64..100],
        parallelism in 1_u32..5,
    ) {
        let max = MaxParallelism::DEFAULT;
        let config = Config { size_ms, allowed_lateness_ms: lateness_ms, head: |key| &key[..1] };
        let range = |index| KeyGroupRange::of_subtask(max, parallelism, SubtaskIndex(index));
        let mut subtasks: Vec<Windows> =
            (0..parallelism).map(|index| Windows::new(config, range(index), max)).collect();
        let mut model = Model { size_ms, lateness_ms, watermark: -END, counts: BTreeMap::new() };
        let mut accepted = 0;
        for step in steps.into_iter().chain([Step::Watermark(END)]) {
            let mut rows = Vec::new();
            match step {
                Step::Event { head, tail, time } => {
                    let (key, hash) = ([head, tail], hash_key(&[head]));
                    let event = KeyedEvent { hash, time: EventTime(time), count: 1, key: &key, origin: Origin::default() };
                    let owner = hash.key_group(max).subtask(max, parallelism).0 as usize;
                    let added = subtasks[owner].add(&event, |fired| rows.push(row(fired)));
                    accepted += u64::from(added == Added::Accepted);
                    let expected = model.event(key, time);
                    prop_assert_eq!(added == Added::Late, expected.is_none());
                    prop_assert_eq!(rows, expected.unwrap_or_default());
                }
                Step::Watermark(watermark) => {
                    for subtask in &mut subtasks {
                        let from = rows.len();
                        subtask.advance(Watermark(watermark), |fired| rows.push(row(fired)));
                        prop_assert!(rows[from..].is_sorted_by_key(|(start, ..)| *start), "windows fire in their order");
                    }
                    let mut expected = model.watermark(watermark);
                    expected.sort();
                    rows.sort();
                    prop_assert_eq!(rows, expected);
                }
            }
            let sum = |of: fn(&Windows) -> u64| subtasks.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(|windows| windows.len() as u64), model.counts.len() as u64);
            prop_assert_eq!(accepted, sum(Windows::events) + sum(Windows::fired_events), "each is counted once");
        }
        prop_assert!(subtasks.iter().all(Windows::is_empty));
    }
}
