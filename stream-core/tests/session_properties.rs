//! Session windows against two naive oracles.
//!
//! 1. [`session_model`]: Flink's measured rules written down literally over plain lists. Any sequence of events and watermarks, late
//!    ones included, with and without allowed lateness, must give the same rows at the same steps.
//! 2. [`batch_sessions`]: sort by time, split at the gap. Any arrival order within the watermark's delay, any spreading over
//!    splits, any cut into batches and any parallelism must give the same rows.

mod session_model;

use std::collections::BTreeMap;

use proptest::prelude::*;
use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::ids::SubtaskIndex;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Added, Config, Fired, Limits, Windows};
use stream_core::time::EventTime;
use stream_core::watermark::{Progress, SplitWatermarks, Valve, Watermark};

use session_model::{Model, Row};

const DELAY_MS: i64 = 15;

#[derive(Clone, Debug)]
enum Step {
    Event { key: u8, time: i64 },
    Watermark(i64),
}

fn owned(fired: Fired<'_>) -> Row {
    (fired.key.to_vec(), fired.start.0, fired.end.0, fired.count)
}

fn event(key: &[u8], time: i64) -> KeyedEvent<'_> {
    KeyedEvent { hash: hash_key(key), time: EventTime(time), count: 1, key, origin: Origin::default() }
}

fn all_keys(config: Config) -> Windows {
    let max = MaxParallelism::DEFAULT;
    Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..4, -50_i64..250).prop_map(|(key, time)| Step::Event { key, time }),
        1 => (-60_i64..300).prop_map(Step::Watermark),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn windows_follow_the_rules_step_by_step(
        steps in prop::collection::vec(step(), 0..80),
        gap_ms in 1_i64..40,
        allowed_lateness_ms in prop_oneof![Just(0_i64), 0_i64..100],
    ) {
        let config = Config { gap_ms, allowed_lateness_ms, limits: Limits::NONE };
        let mut model = Model::new(config);
        let mut windows = all_keys(config);
        let (mut accepted, mut fired_before) = (0, 0);
        for step in steps.into_iter().chain([Step::Watermark(i64::MAX)]) {
            let mut rows = Vec::new();
            match step {
                Step::Event { key, time } => {
                    let added = windows.add(event(&[key], time), |fired| rows.push(owned(fired)));
                    let expected = model.event(&[key], time);
                    prop_assert_eq!(added == Added::Late, expected.is_none());
                    accepted += u64::from(added == Added::Accepted);
                    prop_assert_eq!(rows, expected.unwrap_or_default());
                }
                Step::Watermark(watermark) => {
                    windows.advance(Watermark(watermark), |fired| rows.push(owned(fired)));
                    prop_assert_eq!(rows, model.watermark(watermark));
                }
            }
            prop_assert_eq!(windows.len(), model.windows.len());
            prop_assert_eq!(accepted, windows.events() + windows.fired_events(), "each is counted once");
            prop_assert!(windows.fired_events() >= fired_before, "what was fired stays so");
            fired_before = windows.fired_events();
        }
        prop_assert!(windows.is_empty());
    }

    #[test]
    fn order_splits_batches_and_parallelism_do_not_matter(
        events in prop::collection::vec((0_u8..6, 0_i64..2000, 0_i64..DELAY_MS, 0_usize..3), 0..200),
        gap_ms in 1_i64..60,
        batch_cuts in prop::collection::vec(1_usize..20, 1..10),
        parallelism in 1_u32..5,
    ) {
        // Each event arrives up to the delay after its time, so none comes behind the watermark.
        let mut arrivals = events;
        arrivals.sort_by_key(|&(_, time, disorder, _)| time + disorder);
        let mut cluster = Cluster::new(gap_ms, parallelism, 3);
        let mut rest = arrivals.as_slice();
        for cut in batch_cuts.iter().cycle() {
            let (batch, tail) = rest.split_at((*cut).min(rest.len()));
            rest = tail;
            for (key, time, _, split) in batch {
                cluster.read(*split, &[*key], *time);
            }
            cluster.flush();
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(cluster.late, 0);
        let mut rows = cluster.end();
        rows.sort();
        prop_assert_eq!(rows, batch_sessions(&arrivals, gap_ms));
    }
}

/// Sort by key and time, split where more than the gap lies between.
fn batch_sessions(events: &[(u8, i64, i64, usize)], gap_ms: i64) -> Vec<Row> {
    let mut times: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
    for (key, time, ..) in events {
        times.entry(*key).or_default().push(*time);
    }
    let mut rows = Vec::new();
    for (key, mut times) in times {
        times.sort_unstable();
        for session in times.chunk_by(|earlier, later| later - earlier <= gap_ms) {
            let last = session[session.len() - 1];
            rows.push((vec![key], session[0], last + gap_ms, session.len() as u64));
        }
    }
    rows
}

/// One source subtask in front of several window subtasks, without threads.
struct Cluster {
    splits: SplitWatermarks,
    collector: Collector,
    subtasks: Vec<(Valve, Windows)>,
    rows: Vec<Row>,
    late: u64,
}

impl Cluster {
    fn new(gap_ms: i64, parallelism: u32, split_count: usize) -> Self {
        let max = MaxParallelism::DEFAULT;
        let mut splits = SplitWatermarks::new(DELAY_MS);
        for _ in 0..split_count {
            splits.add_split();
        }
        let config = Config { gap_ms, allowed_lateness_ms: 0, limits: Limits::NONE };
        let subtask = |index| {
            let range = KeyGroupRange::of_subtask(max, parallelism, SubtaskIndex(index));
            (Valve::new(1), Windows::new(config, range, max))
        };
        let subtasks = (0..parallelism).map(subtask).collect();
        Cluster { splits, collector: Collector::new(max, parallelism), subtasks, rows: Vec::new(), late: 0 }
    }

    fn read(&mut self, split: usize, key: &[u8], time: i64) {
        self.collector.event(event(key, time));
        self.splits.observe(split, EventTime(time));
    }

    fn flush(&mut self) {
        for (target, batch) in self.collector.take_all().collect::<Vec<_>>() {
            // Through the wire's form, so that a batch that travels is the same as one that does not.
            let batch = EventBatch::decode(&batch.encode()).expect("own bytes");
            for event in batch.iter() {
                let windows = &mut self.subtasks[target.0 as usize].1;
                let added = windows.add(event, |_| unreachable!("no lateness is allowed for"));
                self.late += u64::from(added == Added::Late);
            }
        }
        let progress = self.splits.progress();
        self.progress(progress);
    }

    fn progress(&mut self, progress: Progress) {
        for (valve, windows) in &mut self.subtasks {
            if let Some(Progress::Active(watermark)) = valve.on_progress(0, progress) {
                windows.advance(watermark, |fired| self.rows.push(owned(fired)));
            }
        }
    }

    fn end(mut self) -> Vec<Row> {
        self.progress(Progress::Active(Watermark::END));
        assert!(self.subtasks.iter().all(|(_, windows)| windows.is_empty()));
        self.rows
    }
}
