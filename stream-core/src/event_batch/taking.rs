//! Taking the events of a batch out of it: one by one, or those of an entry together.

use std::ops::Range;

use crate::event_batch::KeyedEvent;
use crate::event_batch::followers::{Follower, Followers};
use crate::time::EventTime;

/// An event, or several of one key of which each but the first is within the gap of one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Together<'a> {
    /// The event. Of several: the time of the earliest, how many they are, and the origin of the one that came first.
    pub event: KeyedEvent<'a>,
    /// The time of the latest.
    pub last: EventTime,
}

impl<'a> Together<'a> {
    /// One event by itself.
    #[inline]
    pub fn alone(event: KeyedEvent<'a>) -> Self {
        Together { event, last: event.time }
    }
}

/// Takes the entries in their order, each as a whole or apart.
pub(super) struct Taking<'a, Entries, MayBe> {
    entries: Entries,
    followers: Option<&'a Followers>,
    /// Whether events may be taken together, by the time of the earliest.
    may_be: MayBe,
    /// The followers by their entries, once one had to be taken apart.
    apart: Vec<Follower>,
    /// Those of the entry that is taken apart which are still to come.
    rest: Range<usize>,
    entry: Option<KeyedEvent<'a>>,
}

impl<'a, Entries, MayBe> Taking<'a, Entries, MayBe> {
    pub(super) fn new(entries: Entries, followers: Option<&'a Followers>, may_be: MayBe) -> Self {
        Taking { entries, followers, may_be, apart: Vec::new(), rest: 0..0, entry: None }
    }

    /// The first event of an entry by itself; the others are to follow.
    #[cold]
    fn take_apart(&mut self, number: usize, entry: KeyedEvent<'a>) -> KeyedEvent<'a> {
        if self.apart.is_empty() {
            self.apart = self.followers.map(Followers::by_entry).unwrap_or_default();
        }
        self.rest = Follower::of_entry(&self.apart, number);
        self.entry = Some(entry);
        let others = u32::try_from(self.rest.len()).unwrap_or(u32::MAX);
        KeyedEvent { count: entry.count.saturating_sub(others), ..entry }
    }
}

impl<'a, Entries, MayBe> Iterator for Taking<'a, Entries, MayBe>
where
    Entries: Iterator<Item = (usize, KeyedEvent<'a>)>,
    MayBe: Fn(EventTime) -> bool,
{
    type Item = Together<'a>;

    #[inline]
    fn next(&mut self) -> Option<Together<'a>> {
        if let Some(next) = self.rest.next()
            && let Some(entry) = self.entry
        {
            let (follower, count) = (self.apart[next], 1);
            let time = follower.time(entry.time);
            return Some(Together::alone(KeyedEvent { time, count, origin: follower.origin, ..entry }));
        }
        let (number, entry) = self.entries.next()?;
        let Some(reach) = self.followers.and_then(|followers| followers.reach(number)) else {
            return Some(Together::alone(entry));
        };
        let (earliest, last) = reach.times(entry.time);
        if (self.may_be)(earliest) {
            return Some(Together { event: KeyedEvent { time: earliest, ..entry }, last });
        }
        Some(Together::alone(self.take_apart(number, entry)))
    }
}
