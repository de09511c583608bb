//! Splits are read in step in event time: one whose watermark is too far ahead of the slowest leaves what is ahead as well for later.
//!
//! Without it a backfill of a topic whose partitions are hours apart opens the sessions of all those hours at once, since none
//! can end before the slowest partition comes to it. Flink calls it watermark alignment (`withWatermarkAlignment`); here it is
//! `--max-drift`. Within a subtask it is immediate; several source subtasks tell the jobmanager how far their slowest
//! splits are, and hear how far the slowest of all is, at each quarter of the drift and not by the clock.

use std::time::Duration;

use crate::time::millis;
use crate::watermark::Watermark;

/// How a split stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Its watermark; [`Watermark::NONE`] before its first event.
    pub watermark: Watermark,
    /// Whether the others are to wait for it: neither idle nor finished.
    pub is_waited_for: bool,
    /// Whether there is nothing to read just now.
    pub is_at_end: bool,
}

/// How far the splits of a source subtask may be read.
#[derive(Debug)]
pub struct Alignment {
    max_drift: Duration,
    /// How far the slowest split of the other source subtasks is.
    elsewhere: Watermark,
    /// How far a split may be.
    limit: Watermark,
    /// How far the slowest split here was when it was last told, if it was.
    told: Option<Watermark>,
}

impl Default for Alignment {
    /// Any split may be as far as it likes.
    fn default() -> Self {
        Alignment::new(Duration::ZERO)
    }
}

impl Alignment {
    /// A split waits while it is more than `max_drift` of event time ahead of the slowest; zero: it never does.
    pub fn new(max_drift: Duration) -> Self {
        Alignment { max_drift, elsewhere: Watermark::END, limit: Watermark::END, told: None }
    }

    /// The slowest split of the other source subtasks is here; [`Watermark::END`] if nobody is to be waited for, or nobody knows.
    pub fn set_elsewhere(&mut self, elsewhere: Watermark) {
        self.elsewhere = elsewhere;
    }

    /// How far the slowest split here is, if the others are to be told: the first time, and when it has moved on by a quarter of the
    /// drift. [`Watermark::END`] if nobody has to wait for any.
    pub fn news(&mut self, paces: impl Iterator<Item = Pace>) -> Option<Watermark> {
        let slowest = slowest(paces).unwrap_or(Watermark::END);
        let is_news = self.told.is_none_or(|told| self.is_far(told, slowest));
        is_news.then(|| *self.told.insert(slowest))
    }

    /// Whether two watermarks are further apart than a quarter of the drift; never where there is none.
    pub fn is_far(&self, one: Watermark, other: Watermark) -> bool {
        !self.max_drift.is_zero() && one.0.saturating_sub(other.0).saturating_abs() > millis(self.max_drift / 4)
    }

    /// Nobody remembers what was told: it is to be told again.
    pub fn forget_told(&mut self) {
        self.told = None;
    }

    /// The furthest watermark with which a split need not wait, as of the last [`Alignment::align`].
    pub fn limit(&self) -> Watermark {
        self.limit
    }

    /// Looks at all splits.
    ///
    /// A split that is waited for and has had no event is the slowest of all, unless it is at its end: that one is empty, and
    /// nobody knows when that will change. A split at its end with an event is waited for until it is idle, as its watermark holds
    /// that of all.
    pub fn align(&mut self, paces: impl Iterator<Item = Pace>) {
        if !self.max_drift.is_zero() {
            let slowest = slowest(paces).map_or(self.elsewhere, |here| here.min(self.elsewhere));
            self.limit = Watermark(slowest.0.saturating_add(millis(self.max_drift)));
        }
    }
}

/// The least watermark of those that are waited for.
fn slowest(paces: impl Iterator<Item = Pace>) -> Option<Watermark> {
    let counts = |pace: &Pace| pace.is_waited_for && !(pace.is_at_end && pace.watermark == Watermark::NONE);
    paces.filter(counts).map(|pace| pace.watermark).min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DRIFT: Duration = Duration::from_millis(100);

    fn at(watermark: i64) -> Pace {
        Pace { watermark: Watermark(watermark), is_waited_for: true, is_at_end: false }
    }

    const UNREAD: Pace = Pace { watermark: Watermark::NONE, is_waited_for: true, is_at_end: false };

    fn held(alignment: &mut Alignment, paces: &[Pace]) -> Vec<usize> {
        alignment.align(paces.iter().copied());
        (0..paces.len()).filter(|&split| paces[split].watermark > alignment.limit()).collect()
    }

    #[test]
    fn split_too_far_ahead_is_held_until_the_slowest_has_come_near_enough() {
        let mut alignment = Alignment::new(DRIFT);
        assert_eq!(held(&mut alignment, &[at(0), at(100)]), [0; 0]);
        assert_eq!(held(&mut alignment, &[at(0), at(101)]), [1]);
        assert_eq!(held(&mut alignment, &[at(1), at(101)]), [0; 0]);
    }

    #[test]
    fn nobody_waits_for_what_is_idle_finished_or_empty() {
        let gone = Pace { is_waited_for: false, ..at(0) };
        let empty = Pace { is_at_end: true, ..UNREAD };
        assert_eq!(held(&mut Alignment::new(DRIFT), &[gone, empty, at(5000)]), [0; 0]);
        let at_end = Pace { is_at_end: true, ..at(0) };
        assert_eq!(held(&mut Alignment::new(DRIFT), &[at_end, UNREAD, at(5000)]), [0, 2]);
        assert_eq!(held(&mut Alignment::new(DRIFT), &[at_end, at(5000)]), [1]);
    }

    #[test]
    fn slowest_of_other_subtasks_counts_as_one_here_does() {
        let mut alignment = Alignment::new(DRIFT);
        alignment.set_elsewhere(Watermark::NONE);
        assert_eq!(held(&mut alignment, &[UNREAD]), [0; 0], "it may read its first event");
        assert_eq!(held(&mut alignment, &[at(0)]), [0]);
        alignment.set_elsewhere(Watermark(-100));
        assert_eq!(held(&mut alignment, &[at(0)]), [0; 0]);
    }

    #[test]
    fn others_are_told_at_each_quarter_of_the_drift() {
        let mut alignment = Alignment::new(DRIFT);
        let mut news = |pace: Pace| alignment.news([pace].into_iter());
        assert_eq!(news(UNREAD), Some(Watermark::NONE));
        assert_eq!(news(UNREAD), None);
        assert_eq!(news(at(0)), Some(Watermark(0)));
        assert_eq!(news(at(25)), None);
        assert_eq!(news(at(26)), Some(Watermark(26)));
        let finished = Pace { is_waited_for: false, ..at(26) };
        assert_eq!(news(finished), Some(Watermark::END));
        assert_eq!(news(finished), None);
        alignment.forget_told();
        assert_eq!(alignment.news([finished].into_iter()), Some(Watermark::END));
    }

    #[test]
    fn zero_means_no_limit() {
        assert_eq!(held(&mut Alignment::new(Duration::ZERO), &[at(0), at(i64::MAX)]), [0; 0]);
    }

    proptest! {
        /// Whatever the splits do, one that is waited for can be read: the slowest.
        #[test]
        fn never_are_all_held(rounds in proptest::collection::vec(
            proptest::collection::vec((-300_i64..300, any::<bool>(), any::<bool>(), any::<bool>()), 1..5), 1..20)
        ) {
            let mut alignment = Alignment::new(DRIFT);
            for round in rounds {
                let paces: Vec<Pace> = round.into_iter().map(|(watermark, is_unread, is_waited_for, is_at_end)| Pace {
                    watermark: if is_unread { Watermark::NONE } else { Watermark(watermark) },
                    is_waited_for,
                    is_at_end,
                }).collect();
                let held = held(&mut alignment, &paces);
                prop_assert!(held.len() < paces.len(), "{paces:?}");
            }
        }
    }
}
