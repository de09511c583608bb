//! Where the windows lie: a slab of entries, and for each key group a hash table that finds a key's first one.
//!
//! Nearly every key has one window; the rare others hang behind it in a list. The hash was computed at the source and is
//! stored, so that neither a look-up nor a growing table hashes a key again.
//!
//! A key's first window also carries the key's mark, by which snapshots know what to copy (`snapshot::pages`, `copy`). What is told of
//! the windows beside the rows, if anything is, lies apart from them (`told`): who does not ask for it does not carry it.

mod copy;
mod told;

use std::ops::Range;

use hashbrown::HashTable;

use super::{Fired, Span};
use crate::key_group::{KeyGroupRange, KeyHash, MaxParallelism, hash_key};
use crate::snapshot::pages::{Mark, NO_MARK, Pages};
use crate::time::EventTime;
use told::Told;

/// A window in the store. Its stamp tells a window from an earlier one at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionRef {
    index: u32,
    stamp: u32,
}

/// A window with what the rules need to know of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) span: Span,
    /// The time of the one timer that counts for it.
    pub(super) timer_at: i64,
    /// Whether it has fired and is not open again; so of a free place, too, where nothing is open.
    pub(super) has_fired: bool,
    /// Whether it is the first window of its key; not so of a free place.
    is_first: bool,
    hash: u64,
    key: Box<[u8]>,
    /// The place of the next window of the same key, or [`NO_NEXT`].
    next: u32,
    stamp: u32,
    /// Of a first window, its key's.
    mark: Mark,
}

const NO_NEXT: u32 = u32::MAX;

/// Millions of them are held; what is added has to fit where there was padding.
const _: () = assert!(size_of::<Entry>() <= 80);

impl Entry {
    /// `timer_at` of a window that has no timer yet.
    pub(super) const NO_TIMER: i64 = i64::MIN;

    /// The window as the outside sees it when it fires.
    pub(super) fn as_fired(&self) -> Fired<'_> {
        let Entry { span, key, .. } = self;
        Fired { key, start: EventTime(span.start), end: EventTime(span.end), count: span.count }
    }

    pub(super) fn new(span: Span) -> Self {
        Entry {
            span,
            timer_at: Self::NO_TIMER,
            has_fired: false,
            is_first: false,
            hash: 0,
            key: Box::default(),
            next: NO_NEXT,
            stamp: 0,
            mark: NO_MARK,
        }
    }
}

#[derive(Debug)]
pub(super) struct Store {
    range: KeyGroupRange,
    max_parallelism: MaxParallelism,
    /// For each key group of the range, the index of each key's first entry.
    groups: Vec<HashTable<SessionRef>>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    pub(super) pages: Pages,
    /// Nothing where only rows tell of windows.
    told: Option<Told>,
}

impl Store {
    pub(super) fn new(range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        let groups = (0..range.len()).map(|_| HashTable::new()).collect();
        let (entries, free) = (Vec::new(), Vec::new());
        Store { range, max_parallelism, groups, entries, free, pages: Pages::new(), told: None }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The first window of a key.
    pub(super) fn first(&self, hash: KeyHash, key: &[u8]) -> Option<SessionRef> {
        let entries = &self.entries;
        self.groups[self.group(hash)].find(hash.0, |at| is_of_key(entries, *at, hash, key)).copied()
    }

    /// The next window of the same key.
    pub(super) fn next(&self, session: SessionRef) -> Option<SessionRef> {
        let index = self.get(session).next;
        (index != NO_NEXT).then(|| SessionRef { index, stamp: self.entries[index as usize].stamp })
    }

    /// Adds a window of a key, in front of those that the key has, and notes that the key changed.
    pub(super) fn insert(&mut self, hash: KeyHash, key: &[u8], entry: Entry) -> SessionRef {
        debug_assert_eq!(hash, hash_key(key), "a stored key is found again by the hash of its bytes");
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::new(entry.span));
            u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 windows fit in memory")
        });
        let Entry { stamp, mark, .. } = self.entries[index as usize];
        let session = SessionRef { index, stamp };
        self.entries[index as usize] = Entry { hash: hash.0, key: key.into(), stamp, mark, is_first: true, ..entry };
        let group = self.group(hash);
        let entries = &mut self.entries;
        match self.groups[group].find_mut(hash.0, |at| is_of_key(entries, *at, hash, key)) {
            Some(first) => {
                let old_first = std::mem::replace(first, session);
                self.will_change(old_first);
                self.entries[index as usize].next = old_first.index;
                self.entry_mut(old_first).is_first = false;
            }
            None => {
                self.groups[group].insert_unique(hash.0, session, |at| entries[at.index as usize].hash);
            }
        }
        self.mark_changed(index);
        self.list(session);
        session
    }

    /// Changes what a window holds.
    pub(super) fn set_span(&mut self, session: SessionRef, span: Span) {
        self.get_mut(session).span = span;
        self.list(session);
    }

    /// Forgets a window.
    pub(super) fn remove(&mut self, session: SessionRef) {
        let first = self.first_of(session);
        self.copy_if_waiting(first.index);
        self.hide(session);
        let entry = self.entry_mut(session);
        entry.stamp = entry.stamp.wrapping_add(1);
        entry.has_fired = true;
        entry.is_first = false;
        let (hash, mark) = (entry.hash, entry.mark);
        let next = std::mem::replace(&mut entry.next, NO_NEXT);
        entry.key = Box::default();
        if first != session {
            let mut at = first.index;
            while self.entries[at as usize].next != session.index {
                at = self.entries[at as usize].next;
            }
            self.entries[at as usize].next = next;
        } else {
            let group = self.group(KeyHash(hash));
            let Ok(mut found) = self.groups[group].find_entry(hash, |at| *at == session) else {
                unreachable!("a key's first window is in the table")
            };
            if next == NO_NEXT {
                found.remove();
            } else {
                *found.get_mut() = SessionRef { index: next, stamp: self.entries[next as usize].stamp };
                self.entries[next as usize].is_first = true;
                self.hand_on_mark(mark, next);
            }
        }
        self.free.push(session.index);
    }

    /// A window by a reference that may be out of date.
    pub(super) fn find_mut(&mut self, session: SessionRef) -> Option<&mut Entry> {
        let entry = self.entry_mut(session);
        (entry.stamp == session.stamp).then_some(entry)
    }

    pub(super) fn get(&self, session: SessionRef) -> &Entry {
        debug_assert_eq!(self.entries[session.index as usize].stamp, session.stamp, "a reference out of date");
        &self.entries[session.index as usize]
    }

    pub(super) fn get_mut(&mut self, session: SessionRef) -> &mut Entry {
        debug_assert_eq!(self.entries[session.index as usize].stamp, session.stamp, "a reference out of date");
        self.entry_mut(session)
    }

    pub(super) fn key(&self, session: SessionRef) -> &[u8] {
        &self.get(session).key
    }

    /// A window as the outside sees it when it fires.
    pub(super) fn fired(&self, session: SessionRef) -> Fired<'_> {
        self.get(session).as_fired()
    }

    /// Every window, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Fired<'_>> {
        self.at_places(0..self.entries.len()).map(Entry::as_fired)
    }

    /// The windows of the keys whose first window lies at one of these places; places that are not there hold none.
    pub(super) fn at_places(&self, places: Range<usize>) -> impl Iterator<Item = &Entry> {
        let end = places.end.min(self.entries.len());
        let places = places.start.min(end)..end;
        let firsts = places.filter(|&place| self.entries[place].is_first);
        firsts.flat_map(|first| of_key(&self.entries, first as u32))
    }

    /// The windows of a key.
    pub(super) fn of_key(&self, hash: KeyHash, key: &[u8]) -> impl Iterator<Item = &Entry> {
        let first = self.first(hash, key);
        first.into_iter().flat_map(|first| of_key(&self.entries, first.index))
    }

    /// Whether a key with this hash belongs here.
    pub(super) fn owns(&self, hash: KeyHash) -> bool {
        self.range.contains(hash.key_group(self.max_parallelism))
    }

    /// How many places there are, free ones among them.
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    /// The first window of a window's key.
    fn first_of(&self, session: SessionRef) -> SessionRef {
        let entry = self.get(session);
        if entry.is_first {
            return session;
        }
        self.first(KeyHash(entry.hash), &entry.key).expect("a window in the store is found by its key")
    }

    fn entry_mut(&mut self, session: SessionRef) -> &mut Entry {
        &mut self.entries[session.index as usize]
    }

    fn group(&self, hash: KeyHash) -> usize {
        let group = hash.key_group(self.max_parallelism);
        assert!(self.range.contains(group), "key group {} was routed to the owner of {:?}", group.0, self.range);
        usize::from(group.0 - self.range.start)
    }
}

/// The windows of the key whose first is at `first`.
fn of_key(entries: &[Entry], first: u32) -> impl Iterator<Item = &Entry> {
    places_of_key(entries, first).map(|place| &entries[place as usize])
}

/// Where they lie.
fn places_of_key(entries: &[Entry], first: u32) -> impl Iterator<Item = u32> + Clone {
    std::iter::successors(Some(first), |&place| Some(entries[place as usize].next).filter(|&next| next != NO_NEXT))
}

fn is_of_key(entries: &[Entry], at: SessionRef, hash: KeyHash, key: &[u8]) -> bool {
    let entry = &entries[at.index as usize];
    entry.hash == hash.0 && *entry.key == *key
}
