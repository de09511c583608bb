//! The progress of event time: for each split, over a source's splits, and over a subtask's inputs.
//!
//! A watermark `W` promises that no record with event time ≤ `W` will come. It never goes back. The rules are Flink's:
//! bounded out-of-orderness without the DataStream generator's extra millisecond (`WatermarkAssignerOperator`), the
//! minimum over a reader's splits (`WatermarkOutputMultiplexer`), and the minimum over the inputs of a subtask
//! (`StatusWatermarkValve`). Reading no clock, nothing here decides *when* a split is idle, or how time passes then; it is told.

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// A promise about event time; [`Watermark::NONE`] promises nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Watermark(pub i64);

impl Default for Watermark {
    /// [`Watermark::NONE`].
    fn default() -> Self {
        Watermark::NONE
    }
}

impl Watermark {
    /// Before any event: nothing is promised, nothing is late.
    pub const NONE: Watermark = Watermark(i64::MIN);
    /// The end of a bounded input: every window closes.
    pub const END: Watermark = Watermark(i64::MAX);
}

/// What a source subtask, or one input of a subtask, says of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It promises this much.
    Active(Watermark),
    /// It has nothing to read and must not hold others back. Should nobody have, then event time goes on by the clock, and this
    /// is how far it has come here; [`Watermark::NONE`] where the clock does not count.
    Idle(Watermark),
}

/// The watermarks of one source subtask's splits and their minimum.
#[derive(Debug)]
pub struct SplitWatermarks {
    delay_ms: i64,
    splits: Vec<SplitState>,
    /// The least watermark of the active splits, if it is known: there may be a thousand of them, and mostly it is another that moves.
    least: Option<Option<Watermark>>,
    combined: Watermark,
}

#[derive(Clone, Copy, Debug)]
struct SplitState {
    watermark: Watermark,
    activity: Activity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Active,
    Idle,
    Finished,
}

impl SplitWatermarks {
    /// No splits yet; watermarks will run `delay_ms` behind the highest event time of each.
    pub fn new(delay_ms: i64) -> Self {
        SplitWatermarks { delay_ms, splits: Vec::new(), least: None, combined: Watermark::NONE }
    }

    /// Adds a split and returns its number. It holds everything back until its first event, as in Flink.
    pub fn add_split(&mut self) -> usize {
        self.add_split_at(None)
    }

    /// Adds a split that was read up to a checkpoint, with the watermark that it had there, if it had one; returns its number.
    /// Without one it holds everything back as a new split does. It is active: whether it is idle shows again in its time.
    pub fn add_split_at(&mut self, watermark: Option<Watermark>) -> usize {
        let watermark = watermark.unwrap_or(Watermark::NONE);
        self.splits.push(SplitState { watermark, activity: Activity::Active });
        self.least = None;
        self.splits.len() - 1
    }

    /// A split delivered events, the latest of them at `latest`. An idle split counts again at once.
    pub fn observe(&mut self, split: usize, latest: EventTime) {
        let state = &mut self.splits[split];
        let (watermark, was_active) = (state.watermark, state.activity == Activity::Active);
        state.watermark = watermark.max(Watermark(latest.0.saturating_sub(self.delay_ms)));
        state.activity = Activity::Active;
        if !was_active || self.least == Some(Some(watermark)) {
            self.least = None;
        }
    }

    /// A split has had nothing to deliver for the idle timeout: it no longer holds the others back.
    pub fn mark_idle(&mut self, split: usize) {
        if self.splits[split].activity == Activity::Active {
            self.splits[split].activity = Activity::Idle;
            self.least = None;
        }
    }

    /// A split delivered a record again that raised no time (a bad record): it is not idle.
    pub fn mark_active(&mut self, split: usize) {
        if self.splits[split].activity == Activity::Idle {
            self.splits[split].activity = Activity::Active;
            self.least = None;
        }
    }

    /// A bounded split has ended and stops counting.
    pub fn finish(&mut self, split: usize) {
        self.splits[split].activity = Activity::Finished;
        self.least = None;
    }

    /// Whether every split has ended; true where there is none.
    pub fn is_finished(&self) -> bool {
        self.splits.iter().all(|split| split.activity == Activity::Finished)
    }

    /// A split's own watermark, for showing who holds the others back.
    pub fn split_watermark(&self, split: usize) -> Watermark {
        self.splits[split].watermark
    }

    /// The latest event time that makes a watermark no higher than this.
    pub fn latest_at(&self, watermark: Watermark) -> EventTime {
        EventTime(watermark.0.saturating_add(self.delay_ms))
    }

    /// Whether a split is left out of the minimum.
    pub fn is_idle(&self, split: usize) -> bool {
        self.splits[split].activity == Activity::Idle
    }

    /// Whether there are splits, and none of them is active, but not because all have ended.
    pub fn are_idle(&self) -> bool {
        let is = |activity| self.splits.iter().any(|split| split.activity == activity);
        is(Activity::Idle) && !is(Activity::Active)
    }

    /// The highest watermark of any split.
    pub fn highest(&self) -> Watermark {
        self.splits.iter().map(|split| split.watermark).max().unwrap_or_default()
    }

    /// The least watermark of the active splits; `None` if no split is active.
    pub fn least(&mut self) -> Option<Watermark> {
        let active = self.splits.iter().filter(|split| split.activity == Activity::Active);
        *self.least.get_or_insert_with(|| active.map(|split| split.watermark).min())
    }

    /// The least watermark of the active splits, never less than it was; idle if no split is active.
    pub fn progress(&mut self) -> Progress {
        match self.least() {
            None => Progress::Idle(Watermark::NONE),
            Some(least) => {
                self.combined = self.combined.max(least);
                Progress::Active(self.combined)
            }
        }
    }
}

/// Combines the progress of a subtask's inputs: the minimum over those that are active and have caught up.
#[derive(Debug)]
pub struct Valve {
    inputs: Vec<InputState>,
    combined: Watermark,
    by_clock: Watermark,
    was_idle: bool,
}

#[derive(Clone, Copy, Debug)]
struct InputState {
    watermark: Watermark,
    is_idle: bool,
    /// How far the clock has come there while it is idle.
    by_clock: Watermark,
    /// An input that wakes up behind the combined watermark does not count until it has caught up.
    is_aligned: bool,
}

impl Valve {
    /// A valve over `inputs` inputs, none of which has promised anything.
    pub fn new(inputs: usize) -> Self {
        Self::restored(inputs, Watermark::NONE, Watermark::NONE)
    }

    /// A valve over `inputs` inputs whose subtask was restored at `combined`, of which the clock had made `by_clock`.
    ///
    /// Until it speaks, each input counts as active, aligned and at `combined`, whatever it was at the checkpoint: there may be
    /// other inputs now, and splits lie elsewhere. The combined watermark does not fall, so what was late stays late. Nor
    /// does it rise before every input has promised more, or said that it is idle, so what was not late does not become so.
    /// For the second the inputs have to start aligned: one that is not is left out of the minimum, and the first to speak would
    /// raise the watermark alone, past the events of those that still read up on what they had read before.
    pub fn restored(inputs: usize, combined: Watermark, by_clock: Watermark) -> Self {
        let input = InputState { watermark: combined, is_idle: false, by_clock: Watermark::NONE, is_aligned: true };
        Valve { inputs: vec![input; inputs], combined, by_clock, was_idle: false }
    }

    /// The combined watermark so far.
    pub fn watermark(&self) -> Watermark {
        self.combined
    }

    /// The highest combined watermark that the clock made, and not events: a promise that an event may break.
    pub fn by_clock(&self) -> Watermark {
        self.by_clock
    }

    /// Takes one input's progress; returns what changed for the subtask, if anything did.
    pub fn on_progress(&mut self, input: usize, progress: Progress) -> Option<Progress> {
        let state = &mut self.inputs[input];
        match progress {
            Progress::Idle(by_clock) => {
                state.is_idle = true;
                state.by_clock = by_clock;
                state.is_aligned = false;
            }
            Progress::Active(watermark) => {
                state.is_idle = false;
                state.watermark = state.watermark.max(watermark);
                state.is_aligned |= state.watermark >= self.combined;
            }
        }
        self.combine()
    }

    fn combine(&mut self) -> Option<Progress> {
        if self.inputs.iter().all(|input| input.is_idle) {
            let became_idle = !self.was_idle && !self.inputs.is_empty();
            self.was_idle = true;
            // The furthest: where it was, the events are that ended sessions wait for. Every subtask has the same inputs, and so
            // comes to the same watermark at each barrier.
            let furthest = self.inputs.iter().map(|input| input.by_clock).max().unwrap_or_default();
            let rose = furthest > self.combined;
            if rose {
                (self.combined, self.by_clock) = (furthest, furthest);
            }
            return (became_idle || rose).then_some(Progress::Idle(self.by_clock));
        }
        let woke = std::mem::take(&mut self.was_idle);
        let aligned = self.inputs.iter().filter(|input| input.is_aligned && !input.is_idle);
        let least = aligned.map(|input| input.watermark).min().unwrap_or(self.combined);
        let rose = least > self.combined;
        self.combined = self.combined.max(least);
        (rose || woke).then_some(Progress::Active(self.combined))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDLE: Progress = Progress::Idle(Watermark::NONE);

    const fn active(ms: i64) -> Progress {
        Progress::Active(Watermark(ms))
    }

    fn two_splits() -> SplitWatermarks {
        let mut splits = SplitWatermarks::new(15_000);
        splits.add_split();
        splits.add_split();
        splits
    }

    #[test]
    fn watermark_is_the_highest_time_less_the_delay_and_never_falls() {
        let mut splits = SplitWatermarks::new(15_000);
        splits.add_split();
        splits.observe(0, EventTime(314_998));
        assert_eq!(splits.progress(), active(299_998));
        splits.observe(0, EventTime(0));
        assert_eq!(splits.progress(), active(299_998));
    }

    #[test]
    fn silent_split_holds_everything_back_until_it_is_idle_or_finished() {
        let mut splits = two_splits();
        splits.observe(0, EventTime(20_000));
        assert_eq!(splits.progress(), Progress::Active(Watermark::NONE));
        splits.mark_idle(1);
        assert_eq!(splits.progress(), active(5_000));
        splits.observe(1, EventTime(16_000));
        assert_eq!(splits.progress(), active(5_000), "an awakened split holds it, but does not take it back");
        splits.finish(1);
        splits.observe(0, EventTime(30_000));
        assert_eq!(splits.progress(), active(15_000));
    }

    #[test]
    fn no_active_split_is_idle() {
        let mut splits = two_splits();
        splits.mark_idle(0);
        splits.mark_idle(1);
        assert_eq!(splits.progress(), IDLE);
        assert_eq!(SplitWatermarks::new(0).progress(), IDLE);
        assert!(splits.are_idle() && !SplitWatermarks::new(0).are_idle());
        assert!(SplitWatermarks::new(0).is_finished());
    }

    #[test]
    fn valve_gives_the_minimum_over_its_inputs_once_it_rises() {
        let mut valve = Valve::new(2);
        assert_eq!(valve.on_progress(0, active(10)), None);
        assert_eq!(valve.on_progress(1, active(5)), Some(active(5)));
        assert_eq!(valve.on_progress(1, active(3)), None, "an input never goes back");
        assert_eq!(valve.on_progress(1, active(20)), Some(active(10)));
    }

    #[test]
    fn idle_input_is_left_out_and_counts_again_once_it_has_caught_up() {
        let mut valve = Valve::new(2);
        valve.on_progress(0, active(10));
        assert_eq!(valve.on_progress(1, IDLE), Some(active(10)));
        assert_eq!(valve.on_progress(1, active(5)), None, "behind: does not count yet");
        assert_eq!(valve.on_progress(0, active(20)), Some(active(20)));
        assert_eq!(valve.on_progress(1, active(25)), None);
        assert_eq!(valve.on_progress(0, active(30)), Some(active(25)), "caught up: counts again");
    }

    #[test]
    fn valve_is_idle_when_all_inputs_are_and_says_so_once() {
        let mut valve = Valve::new(2);
        assert_eq!(valve.on_progress(0, IDLE), None);
        assert_eq!(valve.on_progress(1, IDLE), Some(IDLE));
        assert_eq!(valve.on_progress(1, IDLE), None);
        assert_eq!(valve.on_progress(0, active(7)), Some(active(7)));
    }

    #[test]
    fn once_all_inputs_are_idle_the_furthest_clock_counts_until_one_wakes() {
        let idle = |ms| Progress::Idle(Watermark(ms));
        let mut valve = Valve::new(2);
        valve.on_progress(0, active(100));
        valve.on_progress(1, active(40));
        assert_eq!(valve.on_progress(0, idle(100)), None, "the other is active and holds it back");
        assert_eq!(valve.on_progress(1, idle(40)), Some(idle(100)), "as a later event of the first would");
        assert_eq!(valve.on_progress(1, idle(60)), None);
        assert_eq!(valve.on_progress(0, idle(130)), Some(idle(130)));
        assert_eq!((valve.watermark(), valve.by_clock()), (Watermark(130), Watermark(130)));
        assert_eq!(valve.on_progress(1, active(60)), Some(active(130)), "it wakes behind, and takes nothing back");
        assert_eq!(valve.on_progress(0, idle(500)), None, "one is awake: the clock does not count");
        assert_eq!(valve.on_progress(1, active(150)), Some(active(150)));
        assert_eq!((valve.watermark(), valve.by_clock()), (Watermark(150), Watermark(130)));
    }

    #[test]
    fn restored_split_goes_on_from_its_watermark_and_one_without_holds_back() {
        let mut splits = SplitWatermarks::new(15_000);
        splits.add_split_at(Some(Watermark(10_000)));
        assert_eq!(splits.progress(), active(10_000));
        splits.observe(0, EventTime(20_000));
        assert_eq!(splits.progress(), active(10_000), "5,000 is behind what was promised");
        let mut splits = SplitWatermarks::new(15_000);
        splits.add_split_at(Some(Watermark(10_000)));
        splits.add_split_at(None);
        assert_eq!(splits.progress(), Progress::Active(Watermark::NONE));
    }

    #[test]
    fn restored_valve_neither_falls_nor_rises_before_every_input_has_spoken() {
        let mut valve = Valve::restored(3, Watermark(100), Watermark::NONE);
        assert_eq!(valve.watermark(), Watermark(100));
        assert_eq!(valve.on_progress(0, active(40)), None, "a split that lagged behind does not take it back");
        assert_eq!(valve.on_progress(1, active(500)), None, "one input does not raise it past the others");
        assert_eq!(valve.on_progress(2, active(300)), None);
        assert_eq!(valve.on_progress(0, active(120)), Some(active(120)));
        let mut valve = Valve::restored(2, Watermark(100), Watermark::NONE);
        assert_eq!(valve.on_progress(0, active(500)), None);
        assert_eq!(valve.on_progress(1, IDLE), Some(active(500)), "an idle input holds nobody back");
    }

    proptest! {
        /// What is kept of the least is what looking at every split finds, whatever happens to them and whenever it is asked for.
        #[test]
        fn least_is_that_of_all_active_splits(
            steps in proptest::collection::vec((0_usize..5, 0_u8..7, -20_i64..20, any::<bool>()), 1..200)
        ) {
            let mut splits = SplitWatermarks::new(0);
            (0..4).for_each(|_| _ = splits.add_split());
            for (split, step, time, is_asked) in steps {
                let split = split.min(splits.splits.len() - 1);
                match step {
                    0..3 => splits.observe(split, EventTime(time)),
                    3 => splits.mark_idle(split),
                    4 => splits.mark_active(split),
                    5 => splits.finish(split),
                    _ => _ = splits.add_split_at(Some(Watermark(time))),
                }
                if is_asked {
                    let active = splits.splits.iter().filter(|split| split.activity == Activity::Active);
                    let least = active.map(|split| split.watermark).min();
                    prop_assert_eq!(splits.least(), least);
                }
            }
        }
    }
}
