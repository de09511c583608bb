//! A table that is kept by what windows tell of themselves is, at each barrier, the open windows; and its ids stand for sessions.
//!
//! Several subtasks take random events and watermarks. At each barrier what changed is told, done to the table, and a snapshot begun,
//! which is copied in slices between later events. Now and then all is lost: another number of subtasks goes on from the last
//! finished snapshot, with the table as it was at that barrier, as a ledger has it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use stream_core::event_batch::KeyedEvent;
use stream_core::ids::SubtaskIndex;
use stream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Added, Change, Config, Fired, Limits, Restored, WindowId, Windows};
use stream_core::snapshot::{KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

#[derive(Clone, Debug)]
enum Step {
    Event { key: u8, time: i64 },
    Watermark(i64),
    Barrier(SnapshotKind),
    Copy { subtask: usize, keys: usize },
    CopyAll,
    Crash { parallelism: u32, restored: Restored },
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(SnapshotKind::Full), Just(SnapshotKind::Delta)];
    let restored = prop_oneof![4 => Just(Restored::Told), 1 => Just(Restored::Untold)];
    prop_oneof![
        14 => (0_u8..8, -50_i64..350).prop_map(|(key, time)| Step::Event { key, time }),
        3 => (-60_i64..360).prop_map(Step::Watermark),
        4 => kind.prop_map(Step::Barrier),
        6 => (0_usize..8, 0_usize..4).prop_map(|(subtask, keys)| Step::Copy { subtask, keys }),
        3 => Just(Step::CopyAll),
        1 => (1_u32..=8, restored).prop_map(|(parallelism, restored)| Step::Crash { parallelism, restored }),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let limited = (1_i64..100, 1_u64..10);
    let limited = limited.prop_map(|(max_span_ms, max_events)| Limits { max_span_ms, max_events });
    let rules = prop_oneof![
        3 => Just((0, Limits::NONE)),
        1 => (0_i64..150).prop_map(|lateness| (lateness, Limits::NONE)),
        1 => limited.prop_map(|limits| (0, limits)),
    ];
    (1_i64..40, rules).prop_map(|(gap_ms, (allowed_lateness_ms, limits))| Config {
        gap_ms,
        allowed_lateness_ms,
        limits,
    })
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    key: u8,
    start: i64,
    end: i64,
    events: u64,
}

impl Row {
    fn is_within(&self, other: &Row) -> bool {
        self.key == other.key && other.start <= self.start && self.end <= other.end
    }
}

type Table = BTreeMap<WindowId, Row>;

/// What can be gone back to.
#[derive(Clone)]
struct Checkpoint {
    chains: Vec<Vec<KeyedSnapshot>>,
    table: Table,
}

struct Run {
    config: Config,
    subtasks: Vec<Windows>,
    table: Table,
    /// Of each subtask, its snapshots from a full one on; the last may be in the making.
    chains: Vec<Vec<KeyedSnapshot>>,
    begun: Option<(Table, BTreeSet<usize>)>,
    last: Option<Checkpoint>,
    /// What may be told to be open at the next barrier.
    changes: usize,
    /// Restored windows that nobody was told of, which may be told to be gone.
    untold: usize,
    /// Every id that was ever a row, with what it was last.
    seen: Table,
    /// What has fired since the last barrier.
    fired: Vec<Row>,
}

fn max_parallelism() -> MaxParallelism {
    MaxParallelism::new(6).expect("in range")
}

fn owner(group: KeyGroup, subtasks: usize) -> usize {
    group.subtask(max_parallelism(), subtasks as u32).0 as usize
}

impl Run {
    fn new(config: Config, parallelism: u32) -> Self {
        let (subtasks, chains) =
            (subtasks(config, parallelism, Restored::Told), vec![Vec::new(); parallelism as usize]);
        let (table, seen) = (Table::new(), Table::new());
        let fired = Vec::new();
        Run { config, subtasks, table, chains, begun: None, last: None, changes: 0, untold: 0, seen, fired }
    }

    fn take(&mut self, step: &Step) -> TestCaseResult {
        let fired = &mut self.fired;
        let mut fire = |of: Fired<'_>| {
            fired.push(Row { key: of.key[0], start: of.start.0, end: of.end.0, events: of.count });
        };
        match *step {
            Step::Event { key, time } => {
                let (hash, key) = (hash_key(&[key]), [key]);
                let event = KeyedEvent { hash, time: EventTime(time), count: 1, key: &key, origin: Origin::default() };
                let subtask = owner(hash.key_group(max_parallelism()), self.subtasks.len());
                self.changes += usize::from(self.subtasks[subtask].add(event, fire) == Added::Accepted);
            }
            Step::Watermark(watermark) => {
                self.subtasks.iter_mut().for_each(|windows| windows.advance(Watermark(watermark), &mut fire));
            }
            Step::Barrier(kind) => self.barrier(kind)?,
            Step::Copy { subtask, keys } => self.copy(subtask % self.subtasks.len(), keys),
            Step::CopyAll => (0..self.subtasks.len()).for_each(|subtask| self.copy(subtask, usize::MAX)),
            Step::Crash { parallelism, restored } => self.crash(parallelism, restored),
        }
        Ok(())
    }

    fn barrier(&mut self, kind: SnapshotKind) -> TestCaseResult {
        let before = self.table.clone();
        let (mut opened, mut gone) = (0, 0);
        for windows in &mut self.subtasks {
            windows.tell_changes(|change| match change {
                Change::Open { id, key, start, end, events } => {
                    opened += 1;
                    let row = Row { key: key[0], start: start.0, end: end.0, events };
                    self.table.insert(id, row);
                }
                Change::Gone(id) => {
                    gone += 1;
                    self.table.remove(&id);
                }
            });
        }
        prop_assert!(opened <= self.changes, "{opened} told of {} changes", self.changes);
        prop_assert!(gone <= before.len() + self.untold, "{gone} are gone of {}", before.len());
        (self.changes, self.untold) = (0, 0);
        self.compare()?;
        self.check_ids(&before)?;
        self.fired.clear();
        let first = self.chains.iter().all(Vec::is_empty);
        self.begun = Some((self.table.clone(), BTreeSet::new()));
        let kind = if first { SnapshotKind::Full } else { kind };
        self.subtasks.iter_mut().for_each(|windows| windows.begin_snapshot(kind));
        Ok(())
    }

    /// The table is the open windows.
    fn compare(&self) -> TestCaseResult {
        let mut open = Vec::new();
        for windows in &self.subtasks {
            windows.show_open(0..windows.places(), |of| open.push((of.key[0], of.start.0, of.end.0)));
        }
        let mut shown: Vec<_> = self.table.values().map(|row| (row.key, row.start, row.end)).collect();
        open.sort_unstable();
        shown.sort_unstable();
        prop_assert_eq!(open, shown);
        let events: u64 = self.table.values().map(|row| row.events).sum();
        prop_assert_eq!(events, self.subtasks.iter().map(Windows::events).sum::<u64>());
        Ok(())
    }

    /// An id stays with its session and is nobody else's. In which part of a session that is limited an event is cannot be seen from here.
    fn check_ids(&mut self, before: &Table) -> TestCaseResult {
        for (id, row) in &self.table {
            if let Some(earlier) = before.get(id) {
                prop_assert!(earlier.is_within(row), "{id:?}: {earlier:?} became {row:?}");
            }
            if self.config.limits == Limits::NONE {
                // What has fired is over: what a late event opens again, or opens where it was, is another.
                let has_fired = |earlier: &Row| self.fired.iter().any(|fired| earlier.is_within(fired));
                let parts = before.iter().filter(|(_, earlier)| earlier.is_within(row) && !has_fired(earlier));
                let first = parts.min_by_key(|(_, earlier)| earlier.start).map(|(id, _)| id);
                prop_assert!(first.is_none_or(|first| first == id), "{row:?} got another id");
            }
            let earlier = self.seen.insert(*id, row.clone());
            prop_assert!(earlier.is_none_or(|earlier| earlier.key == row.key), "{id:?} was another's");
        }
        Ok(())
    }

    fn copy(&mut self, subtask: usize, keys: usize) {
        let Some(snapshot) = self.subtasks[subtask].continue_snapshot(keys) else { return };
        let Some((table, done)) = &mut self.begun else { unreachable!("a snapshot was begun") };
        done.insert(subtask);
        if snapshot.kind == SnapshotKind::Full {
            self.chains[subtask].clear();
        }
        self.chains[subtask].push(snapshot);
        if done.len() == self.subtasks.len() {
            self.last = Some(Checkpoint { chains: self.chains.clone(), table: std::mem::take(table) });
            self.begun = None;
        }
    }

    fn crash(&mut self, parallelism: u32, restored: Restored) {
        let Some(Checkpoint { chains, table }) = self.last.clone() else { return };
        self.subtasks = subtasks(self.config, parallelism, restored);
        for group in (0..max_parallelism().get()).map(KeyGroup) {
            let chain = &chains[owner(group, chains.len())];
            let watermark = chain.last().expect("it was finished").watermark;
            let sections = chain.iter().rev().flat_map(|snapshot| &snapshot.sections);
            let sections: Vec<&Section> = sections.filter(|section| section.group == group).collect();
            let new = owner(group, parallelism as usize);
            self.subtasks[new].restore(watermark, &sections).expect("own records");
        }
        (self.chains, self.begun) = (vec![Vec::new(); parallelism as usize], None);
        self.fired.clear();
        // Whoever is not known to have been told has nothing, and is told all.
        (self.table, self.untold) = match restored {
            Restored::Told => (table, 0),
            Restored::Untold => (Table::new(), table.len()),
        };
        self.changes = self.untold;
    }
}

fn subtasks(config: Config, parallelism: u32, restored: Restored) -> Vec<Windows> {
    let max = max_parallelism();
    let range = |index| KeyGroupRange::of_subtask(max, parallelism, SubtaskIndex(index));
    let windows = |index| Windows::new(config, range(index), max).telling_changes(7, restored);
    (0..parallelism).map(windows).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn table_kept_by_changes_is_the_open_windows_at_each_barrier(
        steps in prop::collection::vec(step(), 0..200), config in config(), parallelism in 1_u32..=8,
    ) {
        let mut run = Run::new(config, parallelism);
        let end = [Step::Barrier(SnapshotKind::Full), Step::Watermark(i64::MAX), Step::Barrier(SnapshotKind::Full)];
        for step in steps.iter().chain(&end) {
            run.take(step)?;
        }
        prop_assert!(run.table.is_empty(), "all windows have fired");
    }
}

#[test]
fn windows_that_were_not_asked_to_tell_tell_nothing_and_store_no_ids() {
    let (max, limits) = (max_parallelism(), Limits::NONE);
    let config = Config { gap_ms: 10, allowed_lateness_ms: 0, limits };
    let mut windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
    let (hash, time, origin) = (hash_key(b"k"), EventTime(0), Origin::default());
    windows.add(KeyedEvent { hash, time, count: 1, key: b"k", origin }, |_| ());
    windows.tell_changes(|change| panic!("told {change:?}"));
    windows.begin_snapshot(SnapshotKind::Full);
    let snapshot = windows.continue_snapshot(10).expect("one key is copied at once");
    assert_eq!(snapshot.sections[0].bytes[0], 1, "the format of all who do without");
}
