//! Which windows are to be told next, and what those that were told are called.
//!
//! It lies beside the entries and by their places, so that it costs nothing where nothing is told. An id is a part of its key's
//! record: before one changes, the record is copied into a snapshot that waits for it, like before any other change.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Store;
use crate::key_group::hash_key;
use crate::session::Span;
use crate::session::changes::{Change, Restored, WindowId};
use crate::time::EventTime;

/// Lists with room for no more than this stay as they are.
const FEW: usize = 4096;

/// What is told beside the rows.
#[derive(Debug)]
pub(super) struct Told {
    /// In every id, with how many ids there were before it.
    salt: u64,
    given: u64,
    restored: Restored,
    /// By place, of the window there.
    ids: Vec<Option<WindowId>>,
    /// By place, a bit each: whether it is among `changed`.
    is_listed: Vec<u64>,
    /// The places of windows that changed, each once, so never more than there are places. What lies there now may be another
    /// window, or none.
    changed: Vec<u32>,
    /// What was told and is no more.
    gone: Vec<WindowId>,
    /// A key in a row.
    key: Vec<u8>,
}

impl Store {
    pub(in crate::session) fn tell_changes_with(&mut self, salt: u64, restored: Restored) {
        let (ids, is_listed, changed, gone, key) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        self.told = Some(Told { salt, given: 0, restored, ids, is_listed, changed, gone, key });
    }

    pub(in crate::session) fn tell_changes(&mut self, mut tell: impl FnMut(Change<'_>)) {
        let Some(told) = &mut self.told else { return };
        let (changed, mut buffer) = (std::mem::take(&mut told.changed), std::mem::take(&mut told.key));
        told.gone.drain(..).for_each(|id| tell(Change::Gone(id)));
        for &place in &changed {
            let Some(id) = self.take_listed(place) else { continue };
            let (span, key) = (self.window(place).span, self.joined_key(place, &mut buffer));
            let (start, end) = (EventTime(span.start), EventTime(span.end));
            tell(Change::Open { id, key, start, end, events: span.unreported() });
        }
        if let Some(told) = &mut self.told {
            (told.changed, told.key) = (changed, buffer);
            told.changed.clear();
        }
    }

    /// Takes a place off the list; the id of the open window there, which has one from now on.
    fn take_listed(&mut self, place: u32) -> Option<WindowId> {
        let told = self.told.as_mut()?;
        let was_listed = told.unlist(place);
        let is_open = self.slab.get(place).is_some_and(|entry| entry.is_used() && !entry.has_fired());
        if !was_listed || !is_open {
            return None;
        }
        if let Some(id) = told.id(place) {
            return Some(id);
        }
        self.will_change(self.first_of(place));
        let (span, mut key) = (self.window(place).span, Vec::new());
        self.key(place).write(&mut key);
        let told = self.told.as_mut()?;
        let id = told.next_id(&key, span);
        told.ids[place as usize] = Some(id);
        Some(id)
    }

    /// A window changed, or opened.
    #[inline]
    pub(in crate::session) fn list(&mut self, place: u32) {
        if let Some(told) = &mut self.told {
            told.list(place);
        }
    }

    /// A window is open no more.
    pub(in crate::session) fn hide(&mut self, place: u32) {
        if let Some(told) = &mut self.told {
            let id = told.take_id(place);
            told.gone.extend(id);
        }
    }

    /// A window becomes a part of another one of its key, which is about to change and to be listed. The id of the earlier one stays.
    pub(in crate::session) fn absorb(&mut self, keeper: u32, absorbed: u32) {
        let (start, mut kept) = (self.window(absorbed).span.start, self.window(keeper));
        let is_earlier = start < kept.span.start;
        kept.span.start = kept.span.start.min(start);
        self.put(keeper, &kept);
        if let Some(told) = &mut self.told
            && let Some(id) = told.take_id(absorbed)
        {
            let own = &mut told.ids[keeper as usize];
            let gone = if own.is_none() || is_earlier { own.replace(id) } else { Some(id) };
            told.gone.extend(gone);
        }
        self.remove(absorbed);
    }

    /// A window that was restored has this id.
    pub(in crate::session) fn recall(&mut self, place: u32, id: WindowId) {
        let Some(told) = &mut self.told else { return };
        told.ids[place as usize] = Some(id);
        if told.restored == Restored::Told {
            // It was put last, and so listed last.
            told.changed.pop_if(|last| *last == place);
            told.unlist(place);
        }
    }
}

impl Told {
    /// The id of the window at a place, if it was told.
    pub(super) fn id(&self, place: u32) -> Option<WindowId> {
        self.ids.get(place as usize).copied().flatten()
    }

    /// There are only so many places now. What is listed is told first.
    pub(super) fn shrink_to(&mut self, places: usize) {
        self.ids.truncate(places);
        shrink(&mut self.ids, places);
        if self.changed.is_empty() {
            self.is_listed.truncate(places.div_ceil(64));
            shrink(&mut self.is_listed, places / 64);
            shrink(&mut self.changed, places);
        }
        if self.gone.is_empty() {
            shrink(&mut self.gone, places);
        }
    }

    fn take_id(&mut self, place: u32) -> Option<WindowId> {
        self.ids.get_mut(place as usize)?.take()
    }

    fn list(&mut self, place: u32) {
        let (number, bit) = word_and_bit(place);
        if place as usize >= self.ids.len() {
            self.ids.resize(place as usize + 1, None);
        }
        if number >= self.is_listed.len() {
            self.is_listed.resize(number + 1, 0);
        }
        if self.is_listed[number] & bit == 0 {
            self.is_listed[number] |= bit;
            self.changed.push(place);
        }
    }

    /// A place is listed no more; whether it was.
    fn unlist(&mut self, place: u32) -> bool {
        let (number, bit) = word_and_bit(place);
        let was_listed = self.is_listed[number] & bit != 0;
        self.is_listed[number] &= !bit;
        was_listed
    }

    /// The next id, which two windows that are open at once do not share: they differ in their key or in their number, and a hash of 63 bits
    /// of it all is the same for two of ten million with a chance of one in 180,000.
    fn next_id(&mut self, key: &[u8], span: Span) -> WindowId {
        self.given += 1;
        let parts = [self.salt, self.given, span.start.cast_unsigned(), span.end.cast_unsigned()];
        let bytes = parts.map(u64::to_le_bytes);
        let number = xxh3_64_with_seed(bytes.as_flattened(), hash_key(key).0) >> 1;
        WindowId::new(number.max(1)).expect("at least 1")
    }
}

/// Where a place's bit is.
fn word_and_bit(place: u32) -> (usize, u64) {
    (place as usize / 64, 1 << (place % 64))
}

/// Gives back memory if there is much more of it than so many items need.
fn shrink<T>(list: &mut Vec<T>, items: usize) {
    if list.capacity() > FEW.max(2 * items) {
        list.shrink_to(items);
    }
}
