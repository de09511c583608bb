//! A window in 64 bytes, a line of the cache, with its key and all that finds it.
//!
//! Times are kept as distances from the start, and what nearly always follows from the rest is not kept. What does not fit is none the
//! less exact: such a window is kept whole beside the entries ([`Window`], `Store::whole`).

use super::key::StoredKey;
use crate::session::Span;
use crate::snapshot::pages::{Mark, NO_MARK};

/// What the rules need to know of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct Window {
    pub(in crate::session) span: Span,
    /// The time of the one timer that counts for it, or [`NO_TIMER`].
    pub(in crate::session) timer_at: i64,
    /// Whether it has fired and is not open again.
    pub(in crate::session) has_fired: bool,
}

/// `timer_at` of a window that has no timer.
pub(in crate::session) const NO_TIMER: i64 = i64::MIN;

/// The place of no window.
pub(super) const NO_PLACE: u32 = u32::MAX;

/// A place for a window.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    start: i64,
    /// To the end.
    length_ms: u32,
    /// From the start to the timer, or [`NO_TIMER_AFTER`].
    timer_after_ms: u32,
    count: u32,
    /// See `table_hash`.
    pub(super) hash: u32,
    /// The place of the next window of the same key; of a free place, of the next free one in its block. [`NO_PLACE`] if there is none.
    pub(super) next: u32,
    /// Of a first window, its key's. It stays when a window goes: the place may be on the list of changed ones.
    pub(super) mark: Mark,
    /// Which of the range's.
    pub(super) group: u16,
    flags: u8,
    pub(super) key: StoredKey,
}

const NO_TIMER_AFTER: u32 = u32::MAX;

const _: () = assert!(size_of::<Entry>() == 64);

/// A window lies here.
const IS_USED: u8 = 1;
/// It is the first of its key.
const IS_FIRST: u8 = 2;
const HAS_FIRED: u8 = 4;
/// It is kept elsewhere, and only what finds it is here.
const IS_WHOLE_ELSEWHERE: u8 = 8;

impl Entry {
    /// A place that nothing was put into yet.
    pub(super) const FREE: Entry = Entry {
        start: 0,
        length_ms: 0,
        timer_after_ms: NO_TIMER_AFTER,
        count: 0,
        hash: 0,
        next: NO_PLACE,
        mark: NO_MARK,
        group: 0,
        flags: 0,
        key: StoredKey::NONE,
    };

    /// Nothing lies here any more, but for the mark.
    pub(super) fn free(&mut self) {
        *self = Entry { mark: self.mark, ..Entry::FREE };
    }

    /// The first window of a key lies here; what it is is put next.
    pub(super) fn begin(&mut self, hash: u32, group: u16, key: StoredKey) {
        (self.hash, self.group, self.key) = (hash, group, key);
        self.next = NO_PLACE;
        self.flags = IS_USED | IS_FIRST;
    }

    pub(super) fn is_used(&self) -> bool {
        self.flags & IS_USED != 0
    }

    pub(super) fn is_first(&self) -> bool {
        self.flags & IS_FIRST != 0
    }

    pub(super) fn set_first(&mut self, is_first: bool) {
        self.set(IS_FIRST, is_first);
    }

    pub(super) fn has_fired(&self) -> bool {
        self.flags & HAS_FIRED != 0
    }

    pub(super) fn is_whole_elsewhere(&self) -> bool {
        self.flags & IS_WHOLE_ELSEWHERE != 0
    }

    /// The window, unless it is kept elsewhere.
    #[inline]
    pub(super) fn window(&self) -> Window {
        let (start, count, has_fired) = (self.start, u64::from(self.count), self.has_fired());
        // What has fired was reported whole, and what was never fired not at all: anything else is kept elsewhere.
        let reported = if has_fired { count } else { 0 };
        let end = start.wrapping_add(self.length_ms.into());
        let timer_at = match self.timer_after_ms {
            NO_TIMER_AFTER => NO_TIMER,
            after => start.wrapping_add(after.into()),
        };
        Window { span: Span { start, end, count, reported }, timer_at, has_fired }
    }

    /// Puts a window here; whether it fits. If not, it has to be kept elsewhere.
    #[inline]
    pub(super) fn put(&mut self, window: &Window) -> bool {
        let Window { span: Span { start, end, count, reported }, timer_at, has_fired } = *window;
        let length_ms = end.wrapping_sub(start).cast_unsigned();
        let none = u64::from(NO_TIMER_AFTER);
        let timer_after_ms = if timer_at == NO_TIMER { none } else { timer_at.wrapping_sub(start).cast_unsigned() };
        let is_short = (length_ms | timer_after_ms | count) >> u32::BITS == 0;
        let has_no_timer = timer_after_ms == none;
        let follows = reported == if has_fired { count } else { 0 };
        let fits = is_short && follows && has_no_timer == (timer_at == NO_TIMER);
        self.start = start;
        (self.length_ms, self.timer_after_ms, self.count) = (length_ms as u32, timer_after_ms as u32, count as u32);
        let fired = if has_fired { HAS_FIRED } else { 0 };
        let elsewhere = if fits { 0 } else { IS_WHOLE_ELSEWHERE };
        self.flags = self.flags & !(HAS_FIRED | IS_WHOLE_ELSEWHERE) | fired | elsewhere;
        fits
    }

    /// No timer counts for the window that is here.
    pub(super) fn forget_timer(&mut self) {
        self.timer_after_ms = NO_TIMER_AFTER;
    }

    fn set(&mut self, flag: u8, is_set: bool) {
        self.flags = if is_set { self.flags | flag } else { self.flags & !flag };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instant() -> impl Strategy<Value = i64> {
        let near = (-3_i64..3, any::<i64>()).prop_map(|(by, around)| around.saturating_add(by));
        prop_oneof![0_i64..100, 1_736_874_000_000_i64..1_736_984_000_000, near, Just(i64::MIN), Just(i64::MAX)]
    }

    fn length() -> impl Strategy<Value = i64> {
        let edge = i64::from(u32::MAX);
        prop_oneof![0_i64..100, edge - 2..edge + 2, any::<i64>()]
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..100, u64::from(u32::MAX) - 2..u64::from(u32::MAX) + 2, any::<u64>()]
    }

    proptest! {
        #[test]
        fn a_window_that_fits_is_read_as_it_was_put(
            start in instant(), length in length(), timer in prop_oneof![Just(None), length().prop_map(Some)], count in number(),
            reported in number(), has_fired in any::<bool>(), is_reported in any::<bool>(),
        ) {
            let reported = if is_reported { reported } else if has_fired { count } else { 0 };
            let timer_at = timer.map_or(NO_TIMER, |after| start.saturating_add(after));
            let span = Span { start, end: start.saturating_add(length), count, reported };
            let window = Window { span, timer_at, has_fired };
            let mut entry = Entry::FREE;
            let fits = entry.put(&window);
            prop_assert_eq!((entry.is_whole_elsewhere(), entry.has_fired()), (!fits, has_fired));
            if fits {
                prop_assert_eq!(entry.window(), window);
            }
        }
    }

    #[test]
    fn windows_of_forty_nine_days_and_four_billion_events_fit() {
        let edge = u32::MAX;
        let span = Span { start: -5, end: -5 + i64::from(edge), count: edge.into(), reported: 0 };
        let window = Window { span, timer_at: -6 + i64::from(edge), has_fired: false };
        let mut entry = Entry::FREE;
        assert!(entry.put(&window));
        assert_eq!(entry.window(), window);
        assert!(
            !entry.put(&Window { timer_at: -5 + i64::from(edge), ..window }),
            "that distance means that there is none"
        );
        assert!(!entry.put(&Window { span: Span { end: span.end + 1, ..span }, ..window }));
        assert!(!entry.put(&Window { span: Span { count: span.count + 1, ..span }, ..window }));
        assert!(!entry.put(&Window { span: Span { reported: 1, ..span }, ..window }));
    }
}
