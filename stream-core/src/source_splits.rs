//! The splits of one source subtask: how far each was read, and which of them hold the watermark back.
//!
//! Reads no clock: the time that passed between two polls is an argument.

use std::time::Duration;

use crate::checkpoint::SplitSnapshot;
use crate::ids::SplitId;
use crate::operator::{Decoded, Hold};
use crate::pipeline::Split;
use crate::time::{EventTime, millis};
use crate::watermark::{Progress, SplitWatermarks, Watermark};
use crate::watermark_alignment::{Alignment, Pace};

/// How many events beyond its limit a split may deliver before it waits. With fewer, a topic of few events a day would be read at the pace at
/// which subtasks hear of each other; with more, that many more windows would be open.
const SPARE: u32 = 64;

/// The splits that a source subtask reads, numbered in the order in which its reader got them.
#[derive(Debug)]
pub struct SourceSplits {
    watermarks: SplitWatermarks,
    splits: Vec<SplitState>,
    /// Read to their end before this attempt: known, and not read again.
    finished_before: Vec<SplitSnapshot>,
    idleness: Idleness,
    alignment: Alignment,
    /// For how long every split has been idle.
    all_idle: Duration,
}

/// What silence means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idleness {
    /// How long a split may be at its end and silent before it holds nobody back; zero for ever.
    pub timeout: Duration,
    /// How far the clock carries event time on while every split is idle; zero: not at all. It need go no further than where
    /// the sessions of all events seen have ended: behind that it could only make events late.
    pub advance: Duration,
}

/// How far a source subtask has read one split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitProgress {
    /// The split.
    pub split: SplitId,
    /// The next offset to be read.
    pub position: u64,
    /// Its end as last known.
    pub known_end: Option<u64>,
    /// Its own watermark, from the first on.
    pub watermark: Option<Watermark>,
    /// For how long it has been at its end and delivered nothing, while we were free to read it.
    pub silent: Duration,
    /// Whether it is not read, because it is ahead of the others.
    pub is_held: bool,
    /// Whether it is left out of the source's watermark.
    pub is_idle: bool,
    /// Whether it has been read to its end.
    pub is_finished: bool,
}

#[derive(Debug)]
struct SplitState {
    id: SplitId,
    /// See [`SplitSnapshot::begun`].
    begun: Vec<u64>,
    position: u64,
    /// Its end as it was given.
    end: Option<u64>,
    known_end: Option<u64>,
    is_finished: bool,
    /// Whether its position was its end when it was last heard of.
    is_at_end: bool,
    /// For how long it has been at its end and delivered nothing.
    silent: Duration,
    /// The time of the record that was left for later, if one was.
    left: Option<EventTime>,
}

impl SourceSplits {
    /// No splits yet.
    pub fn new(watermark_delay_ms: i64, idleness: Idleness) -> Self {
        SourceSplits {
            watermarks: SplitWatermarks::new(watermark_delay_ms),
            splits: Vec::new(),
            finished_before: Vec::new(),
            idleness,
            alignment: Alignment::default(),
            all_idle: Duration::ZERO,
        }
    }

    /// The same, read in step: see [`Alignment`].
    #[must_use]
    pub fn aligned(self, alignment: Alignment) -> Self {
        SourceSplits { alignment, ..self }
    }

    /// What keeps them in step with those of other subtasks.
    pub fn alignment(&mut self) -> &mut Alignment {
        &mut self.alignment
    }

    /// Looks how far each split may be read, for the sake of the others.
    pub fn align(&mut self) {
        let slowest = self.slowest_with_events();
        let SourceSplits { watermarks, splits, alignment, .. } = self;
        match slowest {
            Some(slowest) => alignment.align(std::iter::once(slowest)),
            None => alignment.align(paces(watermarks, splits)),
        }
    }

    /// From which event time on records of a split are to be left for later.
    pub fn hold(&self, split: usize) -> Hold {
        let limit = self.alignment.limit();
        let is_ahead = self.watermarks.split_watermark(split) > limit;
        Hold { beyond: self.watermarks.latest_at(limit), spare: if is_ahead { 0 } else { SPARE } }
    }

    /// Whether a split has a record that is to be left for later.
    pub fn is_held(&self, split: usize) -> bool {
        self.splits[split].left.is_some_and(|time| self.hold(split).leaves(time))
    }

    /// Whether there are splits to be read, and all of them are held.
    pub fn are_held(&self) -> bool {
        let mut unfinished = self.splits.iter().enumerate().filter(|(_, state)| !state.is_finished).peekable();
        unfinished.peek().is_some() && unfinished.all(|(index, _)| self.is_held(index))
    }

    /// How far the slowest split is, if others are to be told.
    pub fn news(&mut self) -> Option<Watermark> {
        let slowest = self.slowest_with_events();
        let SourceSplits { watermarks, splits, alignment, .. } = self;
        match slowest {
            Some(slowest) => alignment.news(std::iter::once(slowest)),
            None => alignment.news(paces(watermarks, splits)),
        }
    }

    /// The slowest of those that are waited for, where each of them has had events: it stands for all then, and a thousand need not be
    /// looked at for each few records of one.
    fn slowest_with_events(&mut self) -> Option<Pace> {
        let watermark = self.watermarks.least().filter(|&least| least > Watermark::NONE)?;
        Some(Pace { watermark, is_waited_for: true, is_at_end: false })
    }

    /// Those of `splits` that are not among them yet, each once.
    pub fn unknown(&self, mut splits: Vec<Split>) -> Vec<Split> {
        splits.sort();
        splits.dedup_by(|later, earlier| later.id == earlier.id);
        splits.retain(|split| {
            let mut finished = self.finished_before.iter().map(|finished| &finished.split.id);
            self.splits.iter().all(|known| known.id != split.id) && finished.all(|known| *known != split.id)
        });
        splits
    }

    /// Adds splits that nobody has read yet.
    pub fn add(&mut self, splits: &[Split]) {
        for split in splits {
            self.watermarks.add_split();
            self.push(SplitSnapshot::unread(split.clone()));
        }
    }

    /// Adds splits as a checkpoint has them; returns those that are to be read on, in the order in which they are numbered.
    pub fn restore(&mut self, splits: Vec<SplitSnapshot>) -> Vec<Split> {
        let (finished, unfinished): (Vec<_>, Vec<_>) = splits.into_iter().partition(|split| split.is_finished);
        self.finished_before.extend(finished);
        let to_read = unfinished.iter().map(|split| split.split.clone()).collect();
        for split in unfinished {
            self.watermarks.add_split_at(split.watermark);
            self.push(split);
        }
        to_read
    }

    /// How far every split was read.
    pub fn snapshot(&self) -> Vec<SplitSnapshot> {
        let now = self.splits.iter().enumerate().map(|(index, state)| SplitSnapshot {
            split: Split { id: state.id.clone(), start: state.position, end: state.end },
            watermark: self.watermark(index),
            is_finished: state.is_finished,
            begun: state.begun.clone(),
        });
        now.chain(self.finished_before.iter().cloned()).collect()
    }

    /// The name of a split.
    pub fn id(&self, split: usize) -> &SplitId {
        &self.splits[split].id
    }

    /// Whether there is none to be read.
    pub fn is_empty(&self) -> bool {
        self.splits.is_empty()
    }

    /// Records of a split were decoded, and those before `next_offset` were taken.
    pub fn on_decoded(&mut self, split: usize, decoded: Decoded, next_offset: u64) {
        let state = &mut self.splits[split];
        let has_taken = next_offset > state.position;
        state.left = decoded.left.map(|left| left.time);
        state.position = next_offset;
        state.is_at_end = false;
        state.silent = Duration::ZERO;
        match decoded.latest {
            Some(latest) => self.watermarks.observe(split, latest),
            // Records that are left are there as well: event time must not pass them by.
            None if has_taken || decoded.left.is_some() => self.watermarks.mark_active(split),
            None => {}
        }
    }

    /// A split's position is its end for now.
    pub fn on_end_for_now(&mut self, split: usize) {
        self.splits[split].is_at_end = true;
    }

    /// A split was read to its end.
    pub fn on_finished(&mut self, split: usize) {
        self.watermarks.finish(split);
        self.splits[split].is_finished = true;
    }

    /// A split's end became known.
    pub fn on_known_end(&mut self, split: usize, end: u64) {
        self.splits[split].known_end = Some(end);
    }

    /// `passed` of time in which this source was free to read. Time in which its output was not taken does not count: a
    /// split is not idle because *we* did not read it.
    pub fn on_time_passed(&mut self, passed: Duration) {
        // Time counts from when all of them were idle, not from before.
        self.all_idle = if self.watermarks.are_idle() { self.all_idle.saturating_add(passed) } else { Duration::ZERO };
        for (index, state) in self.splits.iter_mut().enumerate() {
            if !state.is_at_end {
                continue;
            }
            state.silent = state.silent.saturating_add(passed);
            if !self.idleness.timeout.is_zero() && state.silent >= self.idleness.timeout {
                self.watermarks.mark_idle(index);
            }
        }
    }

    /// Whether event time has gone so far beyond what downstream was told that windows which could end are many. Where old records
    /// are read, an hour of them passes within the time that an event may wait for others to travel with.
    pub fn is_progress_due(&mut self, told: Watermark) -> bool {
        let SourceSplits { watermarks, alignment, .. } = self;
        matches!(watermarks.progress(), Progress::Active(now) if alignment.is_far(told, now))
    }

    /// The progress of all splits together.
    pub fn progress(&mut self) -> Progress {
        match self.watermarks.progress() {
            _ if self.are_finished() => Progress::Active(Watermark::END),
            Progress::Idle(_) => Progress::Idle(self.by_clock()),
            active @ Progress::Active(_) => active,
        }
    }

    /// How far the clock has carried event time on, if every split is idle and there was an event.
    fn by_clock(&self) -> Watermark {
        let highest = self.watermarks.highest();
        if self.idleness.advance.is_zero() || highest == Watermark::NONE || !self.watermarks.are_idle() {
            return Watermark::NONE;
        }
        Watermark(highest.0.saturating_add(millis(self.all_idle.min(self.idleness.advance))))
    }

    /// Whether there are splits, and every one of them was read to its end.
    pub fn are_finished(&self) -> bool {
        !self.is_empty() && self.watermarks.is_finished()
    }

    /// Writes how far each split is, reusing what is there.
    pub fn report(&self, progress: &mut Vec<SplitProgress>) {
        if progress.len() != self.splits.len() + self.finished_before.len() {
            progress.clear();
            let states = self.splits.iter().enumerate();
            progress.extend(states.map(|(index, state)| self.split_progress(index, state.id.clone())));
            progress.extend(self.finished_before.iter().map(finished_progress));
        }
        for (index, progress) in progress.iter_mut().enumerate().take(self.splits.len()) {
            let split = std::mem::replace(&mut progress.split, SplitId(String::new()));
            *progress = self.split_progress(index, split);
        }
    }

    fn push(&mut self, snapshot: SplitSnapshot) {
        let SplitSnapshot { split, begun, .. } = snapshot;
        self.splits.push(SplitState {
            id: split.id,
            begun,
            position: split.start,
            end: split.end,
            known_end: split.end,
            is_finished: false,
            is_at_end: false,
            silent: Duration::ZERO,
            left: None,
        });
    }

    fn watermark(&self, index: usize) -> Option<Watermark> {
        let watermark = self.watermarks.split_watermark(index);
        (watermark > Watermark::NONE).then_some(watermark)
    }

    fn split_progress(&self, index: usize, split: SplitId) -> SplitProgress {
        let state = &self.splits[index];
        SplitProgress {
            split,
            position: state.position,
            known_end: state.known_end,
            watermark: self.watermark(index),
            silent: if state.is_at_end { state.silent } else { Duration::ZERO },
            is_held: self.is_held(index),
            is_idle: self.watermarks.is_idle(index),
            is_finished: state.is_finished,
        }
    }
}

fn paces<'a>(watermarks: &'a SplitWatermarks, splits: &'a [SplitState]) -> impl Iterator<Item = Pace> + Clone + 'a {
    splits.iter().enumerate().map(|(index, state)| Pace {
        watermark: watermarks.split_watermark(index),
        is_waited_for: !state.is_finished && !watermarks.is_idle(index),
        is_at_end: state.is_at_end,
    })
}

fn finished_progress(finished: &SplitSnapshot) -> SplitProgress {
    SplitProgress {
        split: finished.split.id.clone(),
        position: finished.split.start,
        known_end: finished.split.end,
        watermark: finished.watermark,
        silent: Duration::ZERO,
        is_held: false,
        is_idle: false,
        is_finished: true,
    }
}

#[cfg(test)]
mod tests {
    use crate::operator::Left;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn two_splits(timeout: Duration) -> SourceSplits {
        let mut splits = SourceSplits::new(0, Idleness { timeout, advance: Duration::from_secs(10) });
        splits.add(&["topic/0", "topic/1"].map(|id| Split { id: SplitId(id.to_owned()), start: 0, end: None }));
        splits
    }

    fn decoded(latest: Option<i64>) -> Decoded {
        Decoded { latest: latest.map(EventTime), events: 1, bad: 0, left: None }
    }

    const fn active(ms: i64) -> Progress {
        Progress::Active(Watermark(ms))
    }

    #[test]
    fn split_at_its_end_is_idle_after_the_timeout_and_counts_again_with_its_next_record() {
        let mut splits = two_splits(TIMEOUT);
        splits.on_decoded(0, decoded(Some(100)), 1);
        splits.on_end_for_now(1);
        splits.on_time_passed(TIMEOUT / 2);
        assert_eq!(splits.progress(), active(i64::MIN));
        splits.on_time_passed(TIMEOUT / 2);
        assert_eq!(splits.progress(), active(100));
        splits.on_decoded(1, decoded(None), 1);
        splits.on_decoded(0, decoded(Some(200)), 2);
        assert_eq!(splits.progress(), active(100), "a bad record is a sign of life, too");
    }

    #[test]
    fn once_every_split_is_idle_the_clock_carries_event_time_on_so_far_and_no_further() {
        let mut splits = two_splits(TIMEOUT);
        splits.on_decoded(0, decoded(Some(5000)), 1);
        splits.on_decoded(1, decoded(Some(3000)), 1);
        splits.on_end_for_now(0);
        splits.on_time_passed(TIMEOUT);
        assert_eq!(splits.progress(), active(3000), "the other one may still deliver");
        splits.on_end_for_now(1);
        splits.on_time_passed(TIMEOUT);
        assert_eq!(splits.progress(), Progress::Idle(Watermark(5000)));
        splits.on_time_passed(Duration::from_millis(1500));
        assert_eq!(splits.progress(), Progress::Idle(Watermark(6500)));
        splits.on_time_passed(TIMEOUT);
        assert_eq!(splits.progress(), Progress::Idle(Watermark(15_000)));
        splits.on_decoded(1, decoded(Some(4000)), 2);
        assert_eq!(splits.progress(), active(4000));
        splits.on_end_for_now(1);
        splits.on_time_passed(TIMEOUT);
        assert_eq!(splits.progress(), Progress::Idle(Watermark(5000)), "and begins anew");
    }

    #[test]
    fn silence_before_the_first_event_is_no_event_time() {
        let mut splits = two_splits(TIMEOUT);
        splits.on_end_for_now(0);
        splits.on_end_for_now(1);
        splits.on_time_passed(TIMEOUT * 2);
        assert_eq!(splits.progress(), Progress::Idle(Watermark::NONE));
    }

    #[test]
    fn split_that_merely_was_not_read_is_not_idle() {
        let mut splits = two_splits(TIMEOUT);
        splits.on_decoded(0, decoded(Some(100)), 1);
        splits.on_time_passed(TIMEOUT * 10);
        assert_eq!(splits.progress(), active(i64::MIN));
    }

    fn left(latest: Option<i64>, time: i64) -> Decoded {
        Decoded { left: Some(Left { records: 1, time: EventTime(time) }), ..decoded(latest) }
    }

    #[test]
    fn split_that_is_ahead_leaves_what_is_ahead_and_is_not_idle() {
        let mut splits = two_splits(TIMEOUT).aligned(Alignment::new(Duration::from_secs(1)));
        splits.align();
        assert_eq!(splits.hold(0).spare, SPARE, "some have to say how far it is");
        splits.on_end_for_now(0);
        splits.on_decoded(0, left(Some(160), 200), 1);
        splits.align();
        assert_eq!((splits.hold(0).leaves(EventTime(200)), splits.is_held(0), splits.is_held(1)), (true, true, false));
        splits.on_time_passed(TIMEOUT * 2);
        assert_eq!(splits.progress(), active(i64::MIN), "the other has not been read yet");
        splits.on_decoded(1, decoded(Some(-850)), 1);
        splits.align();
        assert!(splits.is_held(0), "200 is still ahead");
        assert!(!splits.hold(0).leaves(EventTime(150)), "what is not, need not wait");
        splits.on_decoded(1, decoded(Some(-840)), 2);
        splits.align();
        assert_eq!((splits.is_held(0), splits.progress()), (false, active(-840)));
    }

    #[test]
    fn split_that_was_idle_and_leaves_a_record_holds_event_time_again() {
        let mut splits = two_splits(TIMEOUT).aligned(Alignment::new(Duration::from_secs(1)));
        for (split, latest) in [(0, 5_000), (1, 100)] {
            splits.on_decoded(split, decoded(Some(latest)), 1);
        }
        splits.on_end_for_now(0);
        splits.on_time_passed(TIMEOUT);
        assert_eq!(splits.progress(), active(100));
        splits.on_decoded(
            0,
            Decoded { latest: None, events: 0, bad: 0, left: Some(Left { records: 1, time: EventTime(9_000) }) },
            1,
        );
        splits.on_decoded(1, decoded(Some(20_000)), 2);
        assert_eq!(splits.progress(), active(5_000), "the record of 9,000 is still to come");
    }

    #[test]
    fn event_with_a_wrong_clock_holds_up_nothing_behind_it() {
        let mut splits = two_splits(TIMEOUT).aligned(Alignment::new(Duration::from_secs(1)));
        splits.on_decoded(0, decoded(Some(100)), 1);
        splits.on_decoded(1, decoded(Some(1_000_000)), 1);
        splits.align();
        let mut hold = splits.hold(1);
        assert!(!hold.leaves(EventTime(150)) && hold.leaves(EventTime(1_000_000)));
    }

    #[test]
    fn splits_are_all_held_only_by_those_of_others() {
        let mut splits = two_splits(TIMEOUT).aligned(Alignment::new(Duration::from_secs(1)));
        assert!(!splits.are_held());
        splits.on_finished(1);
        splits.on_decoded(0, left(Some(100), 101), 1);
        splits.alignment().set_elsewhere(Watermark(-1000));
        splits.align();
        assert!(splits.are_held());
        splits.on_finished(0);
        assert!(!splits.are_held(), "there is none to be read");
    }

    #[test]
    fn progress_is_due_at_each_quarter_of_the_drift() {
        let mut splits = two_splits(TIMEOUT).aligned(Alignment::new(Duration::from_millis(400)));
        assert!(!splits.is_progress_due(Watermark::NONE));
        splits.on_decoded(0, decoded(Some(100)), 1);
        splits.on_decoded(1, decoded(Some(200)), 1);
        assert!(splits.is_progress_due(Watermark::NONE));
        assert!(splits.is_progress_due(Watermark(-1)) && !splits.is_progress_due(Watermark(0)));
        let mut splits = splits.aligned(Alignment::default());
        assert!(!splits.is_progress_due(Watermark::NONE), "where there is no drift it goes by the clock alone");
    }

    #[test]
    fn zero_timeout_means_never() {
        let mut splits = two_splits(Duration::ZERO);
        splits.on_decoded(0, decoded(Some(100)), 1);
        splits.on_end_for_now(1);
        splits.on_time_passed(TIMEOUT * 1000);
        assert_eq!(splits.progress(), active(i64::MIN));
    }

    #[test]
    fn finished_splits_end_event_time() {
        let mut splits = two_splits(TIMEOUT);
        splits.on_finished(0);
        assert!(!splits.are_finished());
        splits.on_finished(1);
        assert!(splits.are_finished());
        assert_eq!(splits.progress(), Progress::Active(Watermark::END));
        assert!(!SourceSplits::new(0, Idleness::default()).are_finished());
    }

    #[test]
    fn known_splits_are_not_taken_twice() {
        let splits = two_splits(TIMEOUT);
        let new = |id: &str| Split { id: SplitId(id.to_owned()), start: 0, end: None };
        assert_eq!(splits.unknown(vec![new("topic/1"), new("topic/2")]), [new("topic/2")]);
    }

    #[test]
    fn report_shows_every_split() {
        let mut splits = two_splits(TIMEOUT);
        splits.on_known_end(0, 50);
        splits.on_decoded(0, decoded(Some(7)), 12);
        let mut progress = Vec::new();
        splits.report(&mut progress);
        splits.report(&mut progress);
        assert_eq!(progress.len(), 2);
        assert_eq!((progress[0].position, progress[0].known_end), (12, Some(50)));
        assert_eq!((progress[0].watermark, progress[1].watermark), (Some(Watermark(7)), None));
    }
}
