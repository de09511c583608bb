//! Event-time timers: what is due when the watermark reaches a time.
//!
//! A calendar queue: timers lie unsorted in buckets of `BUCKET_MS`. Those of the time ahead of the watermark are a ring, where
//! setting a timer costs one push whatever the number of timers; what lies further off, or behind, is found by a search. Only
//! what falls due is looked at. A timer is never cancelled: whoever set it sees, when it comes up, whether it still means
//! anything.

use std::collections::{BTreeMap, VecDeque};

use crate::watermark::Watermark;

/// Timers that carry a `T` each.
#[derive(Debug)]
pub struct Timers<T> {
    /// The buckets from `first` on, without those behind the last that holds anything.
    near: VecDeque<Bucket<T>>,
    /// The bucket that the watermark was last seen in.
    first: i64,
    /// Those that were not near when their first timer was set.
    far: BTreeMap<i64, Bucket<T>>,
    len: usize,
}

type Bucket<T> = Vec<(i64, T)>;

/// Wide enough that a five-minute gap spans few thousand buckets, narrow enough that the one bucket which a watermark
/// cuts through, and which is looked through at each step, is small.
const BUCKET_MS: i64 = 64;

/// So many buckets are near: 70 minutes, more than a session's gap in most jobs. They take 1.5 MB at most.
const NEAR_BUCKETS: i64 = 1 << 16;

impl<T> Timers<T> {
    /// No timers.
    pub fn new() -> Self {
        Timers { near: VecDeque::new(), first: 0, far: BTreeMap::new(), len: 0 }
    }

    /// Sets a timer for the moment that the watermark reaches `at`.
    pub fn set(&mut self, at: i64, timer: T) {
        self.bucket(at.div_euclid(BUCKET_MS)).push((at, timer));
        self.len += 1;
    }

    /// Moves every timer with `at <= watermark` into `due`, as `(at, timer)`, in no particular order.
    pub fn take_due(&mut self, watermark: Watermark, due: &mut Vec<(i64, T)>) {
        let before = due.len();
        let cut = watermark.0.div_euclid(BUCKET_MS);
        while self.first < cut
            && let Some(mut bucket) = self.near.pop_front()
        {
            due.append(&mut bucket);
            self.first += 1;
        }
        if self.near.is_empty() {
            self.first = cut;
        }
        if self.first == cut
            && let Some(bucket) = self.near.front_mut()
        {
            due.extend(bucket.extract_if(.., |(at, _)| *at <= watermark.0));
        }
        while let Some(mut bucket) = self.far.first_entry()
            && *bucket.key() <= cut
        {
            due.extend(bucket.get_mut().extract_if(.., |(at, _)| *at <= watermark.0));
            if !bucket.get().is_empty() {
                break;
            }
            bucket.remove();
        }
        self.len -= due.len() - before;
    }

    /// The number of timers set and not yet due, those that mean nothing any more included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bucket(&mut self, number: i64) -> &mut Bucket<T> {
        let ahead = number - self.first;
        if !(0..NEAR_BUCKETS).contains(&ahead) {
            return self.far.entry(number).or_default();
        }
        let ahead = ahead as usize;
        if ahead >= self.near.len() {
            self.near.resize_with(ahead + 1, Vec::new);
        }
        &mut self.near[ahead]
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gives_what_a_sorted_list_would(
            rounds in prop::collection::vec((prop::collection::vec(distance(), 0..20), distance()), 0..20),
            start in prop_oneof![Just(0), Just(1_736_874_000_000), Just(-600)],
        ) {
            let mut timers = Timers::new();
            let (mut watermark, mut number) = (start, 0);
            let mut expected: Vec<(i64, usize)> = Vec::new();
            for (distances, step) in rounds {
                for distance in distances {
                    timers.set(watermark + distance, number);
                    expected.push((watermark + distance, number));
                    number += 1;
                }
                // A watermark may also stand still, or be one that was passed already.
                watermark += step.max(-100);
                let mut due = Vec::new();
                timers.take_due(Watermark(watermark), &mut due);
                due.sort_unstable();
                let mut expected_due: Vec<_> = expected.extract_if(.., |(at, _)| *at <= watermark).collect();
                expected_due.sort_unstable();
                prop_assert_eq!(due, expected_due);
                prop_assert_eq!(timers.len(), expected.len());
            }
        }
    }

    /// Near, a gap away, further away than what is near, and behind.
    fn distance() -> impl Strategy<Value = i64> {
        let near = NEAR_BUCKETS * BUCKET_MS;
        prop_oneof![4 => -100..500_i64, 4 => 0..400_000_i64, 1 => near - 100..near + 100, 1 => -near..3 * near]
    }

    #[test]
    fn ring_is_given_back_as_time_goes_by() {
        let mut timers = Timers::new();
        let mut due = Vec::new();
        timers.take_due(Watermark(0), &mut due);
        for at in 0..1_000_000 {
            timers.set(at + 300_000, ());
            timers.take_due(Watermark(at), &mut due);
            due.clear();
        }
        assert!(timers.far.is_empty() && timers.near.len() < 5_000, "{} buckets", timers.near.len());
        timers.take_due(Watermark(10_000_000), &mut due);
        assert_eq!((timers.len(), timers.near.len()), (0, 0));
    }

    #[test]
    fn the_ends_of_time_are_ordinary_times() {
        let mut timers = Timers::new();
        timers.set(i64::MAX, 'z');
        timers.set(i64::MIN, 'a');
        let mut due = Vec::new();
        timers.take_due(Watermark::NONE, &mut due);
        assert_eq!(due, [(i64::MIN, 'a')]);
        timers.take_due(Watermark::END, &mut due);
        assert_eq!(due, [(i64::MIN, 'a'), (i64::MAX, 'z')]);
    }
}
