//! Looking at open windows from outside, a few at a time, so that looking never holds up the events.

use std::ops::Range;

use super::store::Entry;
use super::{Fired, Windows};
use crate::key_group::KeyHash;

impl Windows {
    /// The windows of a key that have not fired; none for a key of another subtask.
    pub fn open_of_key(&self, hash: KeyHash, key: &[u8]) -> impl Iterator<Item = Fired<'_>> {
        let of_key = self.store.owns(hash).then(|| self.store.of_key(hash, key));
        of_key.into_iter().flatten().filter(|entry| !entry.has_fired).map(Entry::as_fired)
    }

    /// The windows that have not fired, of the keys that lie at these places; see [`Windows::places`]. A key keeps its place for
    /// as long as its first window lives.
    pub fn open_at_places(&self, places: Range<usize>) -> impl Iterator<Item = Fired<'_>> {
        self.store.at_places(places).filter(|entry| !entry.has_fired).map(Entry::as_fired)
    }

    /// How many places there are in the store: whoever looks at `0..places` has looked at every window, a slice at a time.
    pub fn places(&self) -> usize {
        self.store.places()
    }
}
