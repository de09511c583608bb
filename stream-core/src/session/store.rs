//! Where the windows lie: in blocks of entries (`slab`, `entry`), which for each key group a hash table finds by key.
//!
//! Nearly every key has one window; the rare others hang behind it in a list. 32 bits of the hash that was computed at the source are
//! stored, so that neither a look-up nor a growing table hashes a key again.
//!
//! A key's first window also carries the key's mark, by which snapshots know what to copy (`snapshot::pages`, `copy`). What is told of
//! the windows beside the rows, if anything is, lies apart from them (`told`): who does not ask for it does not carry it.
//!
//! Millions of windows are held, so an entry, its place in the table and its timer are kept small: `cargo bench -p stream-core --bench
//! memory` says how small. What windows that are gone took is given back with the next snapshots (`tidy`).

mod copy;
mod entry;
mod key;
mod slab;
mod tidy;
mod told;

use std::collections::BTreeMap;
use std::ops::Range;

use hashbrown::HashTable;

use crate::key_group::{KeyGroupRange, KeyHash, MaxParallelism, hash_key};
use crate::snapshot::pages::Pages;
use entry::{Entry, NO_PLACE};
pub(super) use entry::{NO_TIMER, Window};
pub(super) use key::KeyBytes;
use key::Keys;
use slab::Slab;
use told::Told;

#[derive(Debug)]
pub(super) struct Store {
    range: KeyGroupRange,
    max_parallelism: MaxParallelism,
    /// For each key group of the range, the place of each key's first window.
    groups: Vec<HashTable<u32>>,
    slab: Slab,
    keys: Keys,
    /// Those that no entry is large enough for, by their places.
    whole: BTreeMap<u32, Window>,
    pub(super) pages: Pages,
    /// Groups whose table is to become smaller.
    too_large: Vec<u16>,
    /// Nothing where only rows tell of windows.
    told: Option<Told>,
}

impl Store {
    pub(super) fn new(range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Store {
            range,
            max_parallelism,
            groups: (0..range.len()).map(|_| HashTable::new()).collect(),
            slab: Slab::new(),
            keys: Keys::new(<[u8]>::len),
            whole: BTreeMap::new(),
            pages: Pages::new(),
            too_large: Vec::new(),
            told: None,
        }
    }

    /// Keys of which only so many bytes are their own share the rest. To be called before anything else.
    pub(super) fn share_tails(&mut self, head_bytes: fn(&[u8]) -> usize) {
        self.keys = Keys::new(head_bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.slab.used()
    }

    /// The place of a key's first window.
    #[inline]
    pub(super) fn first(&self, hash: KeyHash, key: &[u8]) -> Option<u32> {
        let (group, hash) = (self.group(hash), table_hash(hash));
        let Store { slab, keys, .. } = self;
        self.groups[group].find(spread(hash), |&place| is_of_key(&slab[place], keys, hash, key)).copied()
    }

    /// Whether a key's first window is there, which was when it was looked for before.
    #[inline]
    pub(super) fn is_first(&self, place: u32, hash: KeyHash, key: &[u8]) -> bool {
        let entry = self.slab.get(place);
        entry.is_some_and(|entry| entry.is_first() && is_of_key(entry, &self.keys, table_hash(hash), key))
    }

    /// The next window of the same key.
    #[inline]
    pub(super) fn next(&self, place: u32) -> Option<u32> {
        Some(self.slab[place].next).filter(|&next| next != NO_PLACE)
    }

    /// Makes place for a window of a key, in front of those that the key has, the first of which is at `first`, and notes that the key
    /// changed. What it is is to be put there.
    pub(super) fn insert(&mut self, hash: KeyHash, key: &[u8], first: Option<u32>) -> u32 {
        debug_assert_eq!(hash, hash_key(key), "a stored key is found again by the hash of its bytes");
        let (group, hash) = (self.group(hash), table_hash(hash));
        let place = self.slab.take();
        let key = self.keys.put(key);
        self.slab[place].begin(hash, group as u16, key);
        match first {
            Some(old_first) => {
                self.will_change(old_first);
                self.slab[old_first].set_first(false);
                self.slab[place].next = old_first;
                self.replace_first(group, hash, old_first, place);
            }
            None => {
                let slab = &self.slab;
                self.groups[group].insert_unique(spread(hash), place, |&place| spread(slab[place].hash));
            }
        }
        self.mark_changed(place);
        self.list(place);
        place
    }

    /// Forgets a window.
    pub(super) fn remove(&mut self, place: u32) {
        let first = self.first_of(place);
        self.copy_if_waiting(first);
        self.hide(place);
        let Entry { hash, mark, next, group, key, .. } = self.slab[place];
        if self.slab[place].is_whole_elsewhere() {
            self.whole.remove(&place);
        }
        if first != place {
            let mut at = first;
            while self.slab[at].next != place {
                at = self.slab[at].next;
            }
            self.slab[at].next = next;
        } else if next == NO_PLACE {
            let Ok(found) = self.groups[usize::from(group)].find_entry(spread(hash), |&at| at == place) else {
                unreachable!("a key's first window is in the table")
            };
            found.remove();
        } else {
            self.replace_first(group.into(), hash, place, next);
            self.slab[next].set_first(true);
            self.hand_on_mark(mark, next);
        }
        self.keys.remove(key);
        self.slab.free(place);
        self.tidy_unlisted();
    }

    /// The window at a place.
    #[inline]
    pub(super) fn window(&self, place: u32) -> Window {
        let entry = &self.slab[place];
        debug_assert!(entry.is_used(), "a window lies there");
        if entry.is_whole_elsewhere() { self.whole[&place] } else { entry.window() }
    }

    /// The window at a place, if there is still one.
    #[inline]
    pub(super) fn find(&self, place: u32) -> Option<Window> {
        self.slab.get(place).filter(|entry| entry.is_used()).map(|_| self.window(place))
    }

    /// Changes a window. Its key is to be one that was noted as changed, unless only time is what changed the window.
    #[inline]
    pub(super) fn put(&mut self, place: u32, window: &Window) {
        let entry = &mut self.slab[place];
        let was_elsewhere = entry.is_whole_elsewhere();
        let fits = entry.put(window);
        if !fits {
            self.whole.insert(place, *window);
        } else if was_elsewhere {
            self.whole.remove(&place);
        }
    }

    /// No timer counts for a window any more.
    pub(super) fn forget_timer(&mut self, place: u32) {
        if let Some(window) = self.whole.get_mut(&place) {
            window.timer_at = NO_TIMER;
        } else {
            self.slab[place].forget_timer();
        }
    }

    /// The key of the window at a place.
    pub(super) fn key(&self, place: u32) -> KeyBytes<'_> {
        self.keys.get(&self.slab[place].key)
    }

    /// The same in a row, in `buffer` if it is not so in the store.
    pub(super) fn joined_key<'a>(&'a self, place: u32, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        self.key(place).joined(buffer)
    }

    /// The places of the windows of the keys whose first window lies at one of these places; places that are not there hold none.
    pub(super) fn at_places(&self, places: Range<usize>) -> impl Iterator<Item = u32> {
        let end = places.end.min(self.places());
        let places = places.start.min(end) as u32..end as u32;
        let firsts = places.filter(|&place| self.slab.get(place).is_some_and(Entry::is_first));
        firsts.flat_map(|first| of_key(&self.slab, first))
    }

    /// The places of the windows of a key.
    pub(super) fn of_key(&self, hash: KeyHash, key: &[u8]) -> impl Iterator<Item = u32> {
        self.first(hash, key).into_iter().flat_map(|first| of_key(&self.slab, first))
    }

    /// Whether a key with this hash belongs here.
    pub(super) fn owns(&self, hash: KeyHash) -> bool {
        self.range.contains(hash.key_group(self.max_parallelism))
    }

    /// How many places there are, free ones among them.
    pub(super) fn places(&self) -> usize {
        self.slab.places()
    }

    pub(super) fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    /// The first window of a window's key.
    fn first_of(&self, place: u32) -> u32 {
        let entry = &self.slab[place];
        if entry.is_first() {
            return place;
        }
        let is_same = |&first: &u32| self.slab[first].hash == entry.hash && self.key(first) == self.key(place);
        let first = self.groups[usize::from(entry.group)].find(spread(entry.hash), is_same);
        *first.expect("a window in the store is found by its key")
    }

    /// The first window of a key is another one.
    fn replace_first(&mut self, group: usize, hash: u32, old: u32, new: u32) {
        let found = self.groups[group].find_mut(spread(hash), |&place| place == old);
        *found.expect("a key's first window is in the table") = new;
    }

    #[inline]
    fn group(&self, hash: KeyHash) -> usize {
        let group = hash.key_group(self.max_parallelism);
        assert!(self.range.contains(group), "key group {} was routed to the owner of {:?}", group.0, self.range);
        usize::from(group.0 - self.range.start)
    }
}

/// Where the windows of the key lie whose first is at `first`.
fn of_key(slab: &Slab, first: u32) -> impl Iterator<Item = u32> + Clone {
    std::iter::successors(Some(first), |&place| Some(slab[place].next).filter(|&next| next != NO_PLACE))
}

#[inline]
fn is_of_key(entry: &Entry, keys: &Keys, hash: u32, key: &[u8]) -> bool {
    entry.hash == hash && keys.is(&entry.key, key)
}

/// What an entry keeps of its key's hash: all but the bits 16 to 47, which are alike within a key group.
fn table_hash(KeyHash(hash): KeyHash) -> u32 {
    (hash >> 48 << 16 | hash & 0xffff) as u32
}

/// A hash table takes the place from the lowest bits and a tag from the seven highest.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
