//! Looking at open windows from outside, a few at a time, so that looking never holds up the events.

use std::ops::Range;

use super::{Fired, Windows, fired};
use crate::key_group::KeyHash;

impl Windows {
    /// The windows of a key that have not fired; none for a key of another subtask.
    pub fn open_of_key<'a>(&'a self, hash: KeyHash, key: &'a [u8]) -> impl Iterator<Item = Fired<'a>> {
        let of_key = self.store.owns(hash).then(|| self.store.of_key(hash, key));
        let windows = of_key.into_iter().flatten().map(|place| self.store.window(place));
        windows.filter(|window| !window.has_fired).map(move |window| fired(key, &window.span))
    }

    /// Shows the windows that have not fired, of the keys that lie at these places; see [`Windows::places`]. A key keeps its place for
    /// as long as its first window lives.
    pub fn show_open(&self, places: Range<usize>, mut show: impl FnMut(Fired<'_>)) {
        let mut buffer = Vec::new();
        for place in self.store.at_places(places) {
            let window = self.store.window(place);
            if !window.has_fired {
                show(fired(self.store.joined_key(place, &mut buffer), &window.span));
            }
        }
    }

    /// How many places there are in the store: whoever looks at `0..places` has looked at every window, a slice at a time.
    pub fn places(&self) -> usize {
        self.store.places()
    }
}
