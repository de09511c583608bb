//! Where the windows lie: a slab of entries, and for each key group a hash table that finds a key's first one.
//!
//! Nearly every key has one window; the rare others hang behind it in a list. The hash was computed at the source and is
//! stored, so that neither a look-up nor a growing table hashes a key again.

use hashbrown::HashTable;

use super::{Fired, Span};
use crate::key_group::{KeyGroupRange, KeyHash, MaxParallelism};
use crate::time::EventTime;

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
    pub(super) has_fired: bool,
    hash: u64,
    key: Box<[u8]>,
    next: Option<SessionRef>,
    stamp: u32,
}

impl Entry {
    /// `timer_at` of a window that has no timer yet.
    pub(super) const NO_TIMER: i64 = i64::MIN;

    pub(super) fn new(span: Span) -> Self {
        Entry { span, timer_at: Self::NO_TIMER, has_fired: false, hash: 0, key: Box::default(), next: None, stamp: 0 }
    }

    /// The next window of the same key.
    pub(super) fn next(&self) -> Option<SessionRef> {
        self.next
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
}

impl Store {
    pub(super) fn new(range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        let groups = (0..range.len()).map(|_| HashTable::new()).collect();
        Store { range, max_parallelism, groups, entries: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The first window of a key.
    pub(super) fn first(&self, hash: KeyHash, key: &[u8]) -> Option<SessionRef> {
        let entries = &self.entries;
        self.groups[self.group(hash)].find(hash.0, |at| is_of_key(entries, *at, hash, key)).copied()
    }

    /// Adds a window of a key, in front of those that the key has.
    pub(super) fn insert(&mut self, hash: KeyHash, key: &[u8], entry: Entry) -> SessionRef {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::new(entry.span));
            u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 windows fit in memory")
        });
        let stamp = self.entries[index as usize].stamp;
        let session = SessionRef { index, stamp };
        self.entries[index as usize] = Entry { hash: hash.0, key: key.into(), stamp, ..entry };
        let group = self.group(hash);
        let entries = &mut self.entries;
        match self.groups[group].find_mut(hash.0, |at| is_of_key(entries, *at, hash, key)) {
            Some(first) => entries[index as usize].next = Some(std::mem::replace(first, session)),
            None => {
                self.groups[group].insert_unique(hash.0, session, |at| entries[at.index as usize].hash);
            }
        }
        session
    }

    /// Forgets a window.
    pub(super) fn remove(&mut self, session: SessionRef) {
        let entry = self.entry_mut(session);
        let (hash, next) = (KeyHash(entry.hash), entry.next.take());
        entry.stamp = entry.stamp.wrapping_add(1);
        let key = std::mem::take(&mut entry.key);
        let group = self.group(hash);
        let entries = &mut self.entries;
        let first = self.groups[group].find_entry(hash.0, |at| *at == session || is_of_key(entries, *at, hash, &key));
        let Ok(mut first) = first else { unreachable!("a window in the store is found by its key") };
        if *first.get() == session {
            match next {
                Some(next) => *first.get_mut() = next,
                None => drop(first.remove()),
            }
        } else {
            let mut at = *first.get();
            while let Some(following) = entries[at.index as usize].next.filter(|&following| following != session) {
                at = following;
            }
            entries[at.index as usize].next = next;
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
        let Entry { span, key, .. } = self.get(session);
        Fired { key, start: EventTime(span.start), end: EventTime(span.end), count: span.count }
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

fn is_of_key(entries: &[Entry], at: SessionRef, hash: KeyHash, key: &[u8]) -> bool {
    let entry = &entries[at.index as usize];
    entry.hash == hash.0 && *entry.key == *key
}
