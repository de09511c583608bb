//! Moments, each with how many things it stands for: what a latency is measured from, once it is known until when.
//!
//! A million rows become a few hundred moments, and those a few hundred samples of a histogram: a quantile is right to half a percent,
//! and no row costs more than an addition to a batch's count.

use std::collections::BTreeMap;

use stream_core::time::Timestamp;

use crate::instruments::Histogram;

/// Moments, coarser the further apart they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Things by the number of the interval that they lie in.
    intervals: BTreeMap<i64, u64>,
    /// The length of an interval is 2 to the power of this, in milliseconds.
    coarseness: u32,
}

/// Intervals that are kept apart.
const INTERVALS: usize = 512;
/// How many samples stand for all things.
const SAMPLES: u64 = 256;

impl Spread {
    /// Adds things of one moment.
    pub fn add(&mut self, moment: Timestamp, things: u64) {
        if things == 0 {
            return;
        }
        *self.intervals.entry(moment.0 >> self.coarseness).or_default() += things;
        while self.intervals.len() > INTERVALS {
            self.coarseness += 1;
            let finer = std::mem::take(&mut self.intervals);
            for (interval, things) in finer {
                *self.intervals.entry(interval >> 1).or_default() += things;
            }
        }
    }

    /// The moments, and how many things each stands for.
    pub fn moments(&self) -> impl Iterator<Item = (Timestamp, u64)> {
        self.intervals.iter().map(|(interval, things)| (Timestamp(interval << self.coarseness), *things))
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Spread) {
        other.moments().for_each(|(moment, things)| self.add(moment, things));
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Records the time from each moment until `until`: a moment with many things often, 256 times in all at most.
    pub fn record(&self, histogram: &Histogram, until: Timestamp, attributes: &[(&'static str, &str)]) {
        for (moment, samples) in self.samples() {
            let ms = u32::try_from(until.0.saturating_sub(moment).max(0)).unwrap_or(u32::MAX);
            (0..samples).for_each(|_| histogram.record(f64::from(ms) / 1000.0, attributes));
        }
    }

    /// Moments in milliseconds, and how many samples each gets.
    fn samples(&self) -> impl Iterator<Item = (i64, u64)> {
        let total: u64 = self.intervals.values().sum();
        let samples = total.min(SAMPLES);
        let share = move |things: u64| (u128::from(things) * u128::from(samples)).div_ceil(u128::from(total.max(1)));
        self.intervals.iter().scan(0, move |before: &mut u64, (interval, things)| {
            let after = *before + things;
            let samples = u64::try_from(share(after) - share(*before)).unwrap_or(0);
            *before = after;
            Some((interval << self.coarseness, samples))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_things_are_all_recorded_and_many_in_proportion() {
        let mut spread = Spread::default();
        spread.add(Timestamp(1000), 3);
        spread.add(Timestamp(2000), 1);
        assert_eq!(spread.samples().collect::<Vec<_>>(), [(1000, 3), (2000, 1)]);
        spread.add(Timestamp(1000), 2997);
        spread.add(Timestamp(2000), 999);
        assert_eq!(spread.samples().collect::<Vec<_>>(), [(1000, 192), (2000, 64)]);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost() {
        let mut spread = Spread::default();
        (0..1_000_000).for_each(|ms| spread.add(Timestamp(ms * 7), 1));
        assert!(spread.intervals.len() <= INTERVALS);
        assert_eq!(spread.intervals.values().sum::<u64>(), 1_000_000);
        assert_eq!(spread.samples().map(|(_, samples)| samples).sum::<u64>(), SAMPLES);
        assert_eq!(Spread::default().samples().count(), 0);
    }
}
