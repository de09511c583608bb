//! A window as the rules see it: bounds and counts, without its key.

/// A window's bounds and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) count: u64,
    /// How many of `count` it, or one that it absorbed, was fired with.
    pub(super) reported: u64,
}

impl Span {
    /// Overlapping or touching, Flink's `TimeWindow.intersects`.
    pub(super) fn touches(&self, other: &Span) -> bool {
        self.start <= other.end && self.end >= other.start
    }

    /// Becomes the window that covers both.
    pub(super) fn absorb(&mut self, other: Span) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.count = self.count.saturating_add(other.count);
        self.reported = self.reported.saturating_add(other.reported);
    }

    /// What tells windows of one key apart, as far as it matters which is which.
    pub(super) fn order(&self) -> (i64, i64, u64, u64) {
        (self.start, self.end, self.count, self.reported)
    }

    /// Events that no window was fired with.
    pub(super) fn unreported(&self) -> u64 {
        self.count.saturating_sub(self.reported)
    }

    /// The watermark at which it fires.
    pub(super) fn last_instant(&self) -> i64 {
        self.end - 1
    }
}
