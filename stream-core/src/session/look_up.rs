//! Finding the windows of many keys at once.
//!
//! Of a state that is larger than the caches, a look-up is three waits for memory, one after the other: the table, the place in it, the
//! window there. Those of several keys do not depend on each other, so the processor waits for them at the same time, if they are near
//! enough to each other in the program: they are looked up together before any of them is changed.

use super::{Added, Fired, Windows};
use crate::event_batch::Together;

/// Events that are looked up at once: what they touch stays in the first cache.
const AT_ONCE: usize = 64;

/// Fewer windows are in a cache anyway.
const WORTH_IT: usize = 1 << 14;

/// An event, or several that may be added together, and where their key's first window was if there was any. That is no more than a hint: an event before may change it.
#[derive(Clone, Copy, Debug)]
pub struct LookedUp<'a> {
    /// The event, or the events.
    pub events: Together<'a>,
    first: Option<u32>,
}

impl Windows {
    /// Looks up the next few events, which are to be added next, each by [`Windows::add_looked_up`]; whether there are any. Takes none
    /// where it is not worth it: what is left of the events is to be added as ever.
    ///
    /// # Panics
    /// If a key's group is not of this subtask's range: it was routed wrongly.
    pub fn look_up<'a>(
        &self,
        events: &mut impl Iterator<Item = Together<'a>>,
        looked_up: &mut Vec<LookedUp<'a>>,
    ) -> bool {
        looked_up.clear();
        if self.store.len() >= WORTH_IT {
            let look_up = |events: Together<'a>| LookedUp {
                events,
                first: self.store.first(events.event.hash, events.event.key),
            };
            looked_up.extend(events.by_ref().take(AT_ONCE).map(look_up));
        }
        !looked_up.is_empty()
    }

    /// The same as [`Windows::add_together`].
    ///
    /// # Panics
    /// If the key's group is not of this subtask's range: it was routed wrongly.
    pub fn add_looked_up(&mut self, looked_up: &LookedUp<'_>, fire: impl FnMut(Fired<'_>)) -> Added {
        let LookedUp { events, first } = looked_up;
        let Together { event, .. } = events;
        let first = first.filter(|&first| self.store.is_first(first, event.hash, event.key));
        let first = first.or_else(|| self.store.first(event.hash, event.key));
        self.add_to(first, events, fire)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event_batch::KeyedEvent;
    use crate::key_group::{KeyGroupRange, MaxParallelism, hash_key};
    use crate::origin::Origin;
    use crate::session::{Config, Limits};
    use crate::time::EventTime;
    use crate::watermark::Watermark;

    const GAP_MS: i64 = 30;

    /// As many windows as make it worth while, which stay open.
    fn many_windows(allowed_lateness_ms: i64) -> Windows {
        let max = MaxParallelism::DEFAULT;
        let config = Config { gap_ms: GAP_MS, allowed_lateness_ms, limits: Limits::NONE };
        let mut windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        for key in 0..WORTH_IT as u32 {
            add(&mut windows, &key.to_be_bytes(), 10_000);
        }
        windows
    }

    fn event(key: &[u8], time: i64) -> KeyedEvent<'_> {
        KeyedEvent { hash: hash_key(key), time: EventTime(time), count: 1, key, origin: Origin::default() }
    }

    fn add(windows: &mut Windows, key: &[u8], time: i64) -> (Added, Vec<String>) {
        let mut fired = Vec::new();
        (windows.add(event(key, time), |of| fired.push(format!("{of:?}"))), fired)
    }

    fn shown(windows: &Windows) -> Vec<String> {
        let mut shown = Vec::new();
        windows.for_each(|of| shown.push(format!("{of:?}")));
        shown.sort_unstable();
        shown
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn events_looked_up_together_become_what_they_become_one_by_one(
            batches in prop::collection::vec((prop::collection::vec((0_u8..6, 0_i64..300), 0..150), 0_i64..300), 1..8),
            allowed_lateness_ms in prop_oneof![Just(0), 0_i64..50],
        ) {
            let (mut one_by_one, mut together) = (many_windows(allowed_lateness_ms), many_windows(allowed_lateness_ms));
            for (events, watermark) in &batches {
                let keys: Vec<([u8; 1], i64)> = events.iter().map(|&(key, time)| ([key], time)).collect();
                let expected: Vec<_> = keys.iter().map(|(key, time)| add(&mut one_by_one, key, *time)).collect();
                let (mut actual, mut looked_up) = (Vec::new(), Vec::new());
                let mut rest = keys.iter().map(|(key, time)| Together::alone(event(key, *time)));
                while together.look_up(&mut rest, &mut looked_up) {
                    for event in &looked_up {
                        let mut fired = Vec::new();
                        let added = together.add_looked_up(event, |of| fired.push(format!("{of:?}")));
                        actual.push((added, fired));
                    }
                }
                actual.extend(rest.map(|of| add(&mut together, of.event.key, of.event.time.0)));
                prop_assert_eq!(actual, expected);
                one_by_one.advance(Watermark(*watermark), |_| ());
                together.advance(Watermark(*watermark), |_| ());
            }
            prop_assert_eq!(shown(&together), shown(&one_by_one));
        }
    }
}
