//! Event-time timers: what is due when the watermark reaches a time.
//!
//! A calendar queue: timers lie unsorted in buckets of `BUCKET_MS`, the buckets in order of time. Setting a timer costs
//! one push whatever the number of timers; only what falls due is looked at. A timer is never cancelled: whoever set it
//! sees, when it comes up, whether it still means anything.

use std::collections::BTreeMap;

use crate::watermark::Watermark;

/// Timers that carry a `T` each.
#[derive(Debug)]
pub struct Timers<T> {
    buckets: BTreeMap<i64, Vec<(i64, T)>>,
    len: usize,
}

/// Wide enough that a five-minute gap spans few thousand buckets, narrow enough that the one bucket which a watermark
/// cuts through, and which is looked through at each step, is small.
const BUCKET_MS: i64 = 64;

impl<T> Timers<T> {
    /// No timers.
    pub fn new() -> Self {
        Timers { buckets: BTreeMap::new(), len: 0 }
    }

    /// Sets a timer for the moment that the watermark reaches `at`.
    pub fn set(&mut self, at: i64, timer: T) {
        self.buckets.entry(at.div_euclid(BUCKET_MS)).or_default().push((at, timer));
        self.len += 1;
    }

    /// Moves every timer with `at <= watermark` into `due`, as `(at, timer)`, in no particular order.
    pub fn take_due(&mut self, watermark: Watermark, due: &mut Vec<(i64, T)>) {
        let before = due.len();
        let cut = watermark.0.div_euclid(BUCKET_MS);
        while let Some(bucket) = self.buckets.first_entry() {
            if *bucket.key() > cut {
                break;
            }
            if *bucket.key() < cut {
                due.append(&mut bucket.remove());
                continue;
            }
            let mut bucket = bucket;
            due.extend(bucket.get_mut().extract_if(.., |(at, _)| *at <= watermark.0));
            if bucket.get().is_empty() {
                bucket.remove();
            }
            break;
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
        fn gives_what_a_sorted_list_would(times in prop::collection::vec(-500_i64..500, 0..60), mut steps in prop::collection::vec(-600_i64..600, 0..20)) {
            let mut timers = Timers::new();
            for &at in &times {
                timers.set(at, ());
            }
            steps.sort_unstable();
            let mut taken = 0;
            for step in steps {
                let mut due = Vec::new();
                timers.take_due(Watermark(step), &mut due);
                prop_assert!(due.iter().all(|&(at, ())| at <= step));
                taken += due.len();
                prop_assert_eq!(taken, times.iter().filter(|&&at| at <= step).count());
                prop_assert_eq!(timers.len(), times.len() - taken);
            }
        }
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
