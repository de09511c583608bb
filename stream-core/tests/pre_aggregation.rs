//! Events that share an entry of their batch become what they become one by one.
//!
//! 1. [`batches_put_together_become_what_their_events_become`]: each batch against the rules written down literally, with watermarks of events
//!    and of the clock that no source knows of; with limits, where order decides, against the events one by one.
//! 2. [`sources_that_put_events_together_change_nothing`]: two sources with splits that fall silent and wake up, windows of any parallelism that
//!    are restored and rescaled on the way; message by message against the same run without.

mod session_model;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent, Together};
use stream_core::ids::SubtaskIndex;
use stream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Added, Config, Fired, Limits, Windows};
use stream_core::snapshot::{Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::{Progress, SplitWatermarks, Valve, Watermark};

use session_model::{Model, Row};

/// A key, a time, and where it came from, which tells events of one time apart.
type Event = (u8, i64, u64);

/// What became of a message. In which order keys have their turn within a batch is nobody's business; that of a key's own events is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    rows: Vec<Row>,
    late: Vec<Event>,
}

impl Outcome {
    fn by_key(mut self) -> Self {
        self.rows.sort_by(|a, b| a.0.cmp(&b.0));
        self.late.sort_by_key(|event| event.0);
        self
    }
}

fn owned(fired: Fired<'_>) -> Row {
    (fired.key.to_vec(), fired.start.0, fired.end.0, fired.count)
}

fn put(collector: &mut Collector, event: Event, puts_together_within_ms: Option<i64>) {
    let (key, time, offset) = event;
    let key = [key];
    let origin = Origin { split: 0, offset };
    let event = KeyedEvent { hash: hash_key(&key), time: EventTime(time), count: 1, key: &key, origin };
    match puts_together_within_ms {
        Some(gap_ms) => collector.session_event(event, gap_ms),
        None => collector.event(event),
    }
}

/// As an operator does it, behind the wire.
fn add(windows: &mut Windows, batch: &EventBatch) -> Outcome {
    let mut outcome = Outcome::default();
    let batch = EventBatch::decode(&batch.encode()).expect("own bytes");
    for together in batch.together(windows.may_be_together()) {
        if windows.add_together(&together, |fired| outcome.rows.push(owned(fired))) == Added::Late {
            let Together { event, last } = together;
            assert_eq!((event.count, event.time), (1, last), "a late event is by itself");
            outcome.late.push((event.key[0], event.time.0, event.origin.offset));
        }
    }
    outcome.by_key()
}

fn state(windows: &Windows) -> Vec<Row> {
    let mut state = Vec::new();
    windows.for_each(|of| state.push(owned(of)));
    state.sort();
    state
}

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<(u8, i64)>),
    Watermark(i64),
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys, one of them hot, and times around those of the watermarks: many are late, or nearly.
    let event = (prop_oneof![4 => Just(0_u8), 2 => 1_u8..4], 0_i64..250);
    let step = prop_oneof![
        3 => prop::collection::vec(event, 0..40).prop_map(Step::Batch),
        2 => (0_i64..300).prop_map(Step::Watermark),
        1 => (0_i64..300).prop_map(Step::Clock),
    ];
    prop::collection::vec(step, 0..12)
}

fn windows_of(config: Config) -> Windows {
    let max = MaxParallelism::DEFAULT;
    Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max)
}

fn batch_of(events: &[Event], puts_together_within_ms: Option<i64>) -> EventBatch {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
    events.iter().for_each(|&event| put(&mut collector, event, puts_together_within_ms));
    let batches: Vec<_> = collector.take_all().map(|(_, batch)| batch).collect();
    assert!(batches.len() <= 1, "one batch");
    batches.into_iter().next().unwrap_or_default()
}

/// The events with their places in all that come.
fn placed(events: &[(u8, i64)], came: &mut u64) -> Vec<Event> {
    let first = *came;
    *came += events.len() as u64;
    (first..).zip(events).map(|(offset, &(key, time))| (key, time, offset)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn batches_put_together_become_what_their_events_become(
        steps in steps(), gap_ms in 1_i64..40, allowed_lateness_ms in prop_oneof![Just(0_i64), 0_i64..100],
    ) {
        let config = Config { gap_ms, allowed_lateness_ms, limits: Limits::NONE };
        let (mut windows, mut model) = (windows_of(config), Model::new(config));
        let (mut came, mut late) = (0, 0);
        for step in steps.into_iter().chain([Step::Watermark(i64::MAX)]) {
            match step {
                Step::Batch(events) => {
                    let events = placed(&events, &mut came);
                    let batch = batch_of(&events, Some(gap_ms));
                    prop_assert_eq!(batch.events(), events.len() as u64);
                    let mut expected = Outcome::default();
                    for &(key, time, offset) in &events {
                        match model.event(&[key], time) {
                            Some(rows) => expected.rows.extend(rows),
                            None => expected.late.push((key, time, offset)),
                        }
                    }
                    late += expected.late.len() as u64;
                    prop_assert_eq!(add(&mut windows, &batch), expected.by_key());
                }
                Step::Watermark(watermark) => {
                    let mut rows = Vec::new();
                    windows.advance(Watermark(watermark), |fired| rows.push(owned(fired)));
                    prop_assert_eq!(rows, model.watermark(watermark));
                }
                Step::Clock(watermark) => {
                    windows.closed_by_clock(Watermark(watermark));
                    model.closed_by_clock(watermark);
                }
            }
            model.windows.sort();
            prop_assert_eq!(state(&windows), model.windows.clone());
            prop_assert_eq!(came, late + windows.events() + windows.fired_events(), "each is counted once");
        }
    }

    #[test]
    fn sessions_within_limits_are_parted_where_the_order_of_events_parts_them(
        steps in steps(), gap_ms in 1_i64..40, max_span_ms in 40_i64..120, max_events in 2_u64..12,
    ) {
        let config = Config { gap_ms, allowed_lateness_ms: 0, limits: Limits { max_span_ms, max_events } };
        let (mut windows, mut one_by_one) = (windows_of(config), windows_of(config));
        let mut came = 0;
        for step in steps {
            match step {
                Step::Batch(events) => {
                    let events = placed(&events, &mut came);
                    let expected = add(&mut one_by_one, &batch_of(&events, None));
                    prop_assert_eq!(add(&mut windows, &batch_of(&events, Some(gap_ms))), expected);
                }
                Step::Watermark(watermark) => {
                    windows.advance(Watermark(watermark), |_| ());
                    one_by_one.advance(Watermark(watermark), |_| ());
                }
                Step::Clock(_) => {}
            }
            prop_assert_eq!(state(&windows), state(&one_by_one));
        }
    }
}

const GAP_MS: i64 = 20;
const DELAY_MS: i64 = 15;
const SOURCES: usize = 2;
const SPLITS: usize = 2;

#[derive(Clone, Debug)]
enum Act {
    Read {
        source: usize,
        split: usize,
        key: u8,
        time: i64,
    },
    /// A source sends what it has, and how far it is.
    Send(usize),
    FallSilent {
        source: usize,
        split: usize,
    },
    /// While all its splits are silent, the clock carries event time on so far.
    Clock {
        source: usize,
        by_clock: i64,
    },
    /// The windows are restored from a snapshot, by so many subtasks; the sources know nothing of how far event time was.
    Restore(u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let source = 0..SOURCES;
    let act = prop_oneof![
        24 => (source.clone(), 0..SPLITS, prop_oneof![3 => Just(0_u8), 1 => 1_u8..6], 0_i64..60).prop_map(
            |(source, split, key, time)| Act::Read { source, split, key, time }),
        3 => source.clone().prop_map(Act::Send),
        2 => (source.clone(), 0..SPLITS).prop_map(|(source, split)| Act::FallSilent { source, split }),
        1 => (source, 0_i64..100).prop_map(|(source, by_clock)| Act::Clock { source, by_clock }),
        1 => (1_u32..5).prop_map(Act::Restore),
    ];
    prop::collection::vec(act, 0..200)
}

/// Sources and windows without threads: a message is taken as soon as it is sent.
struct Cluster {
    puts_together: bool,
    sources: Vec<(SplitWatermarks, Collector)>,
    windows: Vec<(Valve, Windows)>,
    came: u64,
    late: u64,
    fired_before: u64,
}

fn config() -> Config {
    Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE }
}

impl Cluster {
    fn new(puts_together: bool) -> Self {
        let mut cluster =
            Cluster { puts_together, sources: Vec::new(), windows: Vec::new(), came: 0, late: 0, fired_before: 0 };
        cluster.deploy(1);
        cluster
    }

    fn deploy(&mut self, parallelism: u32) {
        let max = MaxParallelism::DEFAULT;
        self.sources = (0..SOURCES)
            .map(|_| {
                let mut splits = SplitWatermarks::new(DELAY_MS);
                (0..SPLITS).for_each(|_| {
                    splits.add_split();
                });
                (splits, Collector::new(max, parallelism))
            })
            .collect();
        let windows =
            |index| Windows::new(config(), KeyGroupRange::of_subtask(max, parallelism, SubtaskIndex(index)), max);
        self.windows = (0..parallelism).map(|index| (Valve::new(SOURCES), windows(index))).collect();
    }

    fn act(&mut self, act: &Act, base: i64) -> Outcome {
        match *act {
            Act::Read { source, split, key, time } => {
                let (splits, collector) = &mut self.sources[source];
                let time = base + time;
                splits.observe(split, EventTime(time));
                put(collector, (key, time, self.came), self.puts_together.then_some(GAP_MS));
                self.came += 1;
                Outcome::default()
            }
            Act::Send(source) => {
                let progress = self.sources[source].0.progress();
                self.send(source, progress)
            }
            Act::FallSilent { source, split } => {
                self.sources[source].0.mark_idle(split);
                Outcome::default()
            }
            Act::Clock { source, by_clock } if self.sources[source].0.are_idle() => {
                self.send(source, Progress::Idle(Watermark(base + by_clock)))
            }
            Act::Clock { .. } => Outcome::default(),
            Act::Restore(parallelism) => self.restore(parallelism),
        }
    }

    fn send(&mut self, source: usize, progress: Progress) -> Outcome {
        let mut outcome = Outcome::default();
        for (target, batch) in self.sources[source].1.take_all() {
            let added = add(&mut self.windows[target.0 as usize].1, &batch);
            outcome.rows.extend(added.rows);
            outcome.late.extend(added.late);
        }
        self.late += outcome.late.len() as u64;
        for (valve, windows) in &mut self.windows {
            let _ = valve.on_progress(source, progress);
            windows.advance(valve.watermark(), |fired| outcome.rows.push(owned(fired)));
            windows.closed_by_clock(valve.by_clock());
        }
        outcome.by_key()
    }

    fn restore(&mut self, parallelism: u32) -> Outcome {
        let mut outcome = Outcome::default();
        for source in 0..SOURCES {
            let progress = self.sources[source].0.progress();
            let sent = self.send(source, progress);
            outcome.rows.extend(sent.rows);
            outcome.late.extend(sent.late);
        }
        self.fired_before += self.windows.iter().map(|(_, windows)| windows.fired_events()).sum::<u64>();
        let (watermark, by_clock) = (self.windows[0].0.watermark(), self.windows[0].0.by_clock());
        let mut sections: Vec<Section> = Vec::new();
        for (_, windows) in &mut self.windows {
            windows.begin_snapshot(SnapshotKind::Full);
            sections.extend(windows.continue_snapshot(usize::MAX).expect("it was begun").sections);
        }
        self.deploy(parallelism);
        let max = MaxParallelism::DEFAULT;
        for group in (0..max.get()).map(KeyGroup) {
            let of_group: Vec<&Section> = sections.iter().filter(|section| section.group == group).collect();
            let (_, windows) = &mut self.windows[group.subtask(max, parallelism).0 as usize];
            windows.restore(watermark, &of_group).expect("own records");
        }
        for (valve, windows) in &mut self.windows {
            *valve = Valve::restored(SOURCES, watermark, by_clock);
            windows.closed_by_clock(by_clock);
        }
        outcome
    }

    fn state(&self) -> Vec<Row> {
        let mut state: Vec<Row> = self.windows.iter().flat_map(|(_, windows)| state(windows)).collect();
        state.sort();
        state
    }

    /// Events that were taken by windows or were late.
    fn accounted(&self) -> u64 {
        let taken = |(_, windows): &(Valve, Windows)| windows.events() + windows.fired_events();
        self.fired_before + self.late + self.windows.iter().map(taken).sum::<u64>()
    }
}

fn runs_are_the_same(acts: &[Act]) -> TestCaseResult {
    let (mut together, mut one_by_one) = (Cluster::new(true), Cluster::new(false));
    // Event time goes on by a third of the gap with every ten acts.
    for (number, act) in (0_i64..).zip(acts) {
        let base = number / 10 * GAP_MS / 3;
        prop_assert_eq!(together.act(act, base), one_by_one.act(act, base));
        prop_assert_eq!(together.state(), one_by_one.state());
    }
    for source in 0..SOURCES {
        let end = Progress::Active(Watermark::END);
        prop_assert_eq!(together.send(source, end), one_by_one.send(source, end));
    }
    prop_assert_eq!(together.accounted(), together.came, "each event is counted once");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn sources_that_put_events_together_change_nothing(acts in acts()) {
        runs_are_the_same(&acts)?;
    }
}
