//! Which windows are to be told next, and what those that were told are called.
//!
//! It lies beside the entries and by their places, so that it costs nothing where nothing is told. An id is a part of its key's
//! record: before one changes, the record is copied into a snapshot that waits for it, like before any other change.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Entry, SessionRef, Store};
use crate::session::changes::{Change, Restored, WindowId};
use crate::time::EventTime;

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
}

impl Store {
    pub(in crate::session) fn tell_changes_with(&mut self, salt: u64, restored: Restored) {
        let (ids, is_listed, changed, gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        self.told = Some(Told { salt, given: 0, restored, ids, is_listed, changed, gone });
    }

    pub(in crate::session) fn tell_changes(&mut self, mut tell: impl FnMut(Change<'_>)) {
        let Some(told) = &mut self.told else { return };
        let changed = std::mem::take(&mut told.changed);
        told.gone.drain(..).for_each(|id| tell(Change::Gone(id)));
        for &place in &changed {
            let Some(id) = self.take_listed(place) else { continue };
            let Entry { span, key, .. } = &self.entries[place as usize];
            let (start, end) = (EventTime(span.start), EventTime(span.end));
            tell(Change::Open { id, key, start, end, events: span.unreported() });
        }
        if let Some(told) = &mut self.told {
            told.changed = changed;
            told.changed.clear();
        }
    }

    /// Takes a place off the list; the id of the open window there, which has one from now on.
    fn take_listed(&mut self, place: u32) -> Option<WindowId> {
        let told = self.told.as_mut()?;
        let was_listed = told.set_listed(place, false);
        let entry = &self.entries[place as usize];
        if !was_listed || entry.has_fired {
            return None;
        }
        if let Some(id) = told.id(place) {
            return Some(id);
        }
        let first = self.first_of(SessionRef { index: place, stamp: entry.stamp });
        self.will_change(first);
        let told = self.told.as_mut()?;
        let id = told.next_id(&self.entries[place as usize]);
        told.ids[place as usize] = Some(id);
        Some(id)
    }

    /// A window changed, or opened.
    #[inline]
    pub(super) fn list(&mut self, session: SessionRef) {
        if let Some(told) = &mut self.told
            && !told.set_listed(session.index, true)
        {
            told.changed.push(session.index);
        }
    }

    /// A window is open no more.
    pub(in crate::session) fn hide(&mut self, session: SessionRef) {
        if let Some(told) = &mut self.told {
            let id = told.take_id(session.index);
            told.gone.extend(id);
        }
    }

    /// A window becomes a part of another one of its key, which is about to change and to be listed. The id of the earlier one stays.
    pub(in crate::session) fn absorb(&mut self, keeper: SessionRef, absorbed: SessionRef) {
        let start = self.get(absorbed).span.start;
        let kept = &mut self.entry_mut(keeper).span;
        let is_earlier = start < kept.start;
        kept.start = kept.start.min(start);
        if let Some(told) = &mut self.told
            && let Some(id) = told.take_id(absorbed.index)
        {
            let own = &mut told.ids[keeper.index as usize];
            let gone = if own.is_none() || is_earlier { own.replace(id) } else { Some(id) };
            told.gone.extend(gone);
        }
        self.remove(absorbed);
    }

    /// A window that was restored has this id.
    pub(in crate::session) fn recall(&mut self, session: SessionRef, id: WindowId) {
        let Some(told) = &mut self.told else { return };
        told.ids[session.index as usize] = Some(id);
        if told.restored == Restored::Told {
            // It was put last, and so listed last.
            told.changed.pop_if(|last| *last == session.index);
            told.set_listed(session.index, false);
        }
    }
}

impl Told {
    /// The id of the window at a place, if it was told.
    pub(super) fn id(&self, place: u32) -> Option<WindowId> {
        self.ids.get(place as usize).copied().flatten()
    }

    fn take_id(&mut self, place: u32) -> Option<WindowId> {
        self.ids.get_mut(place as usize)?.take()
    }

    /// Sets whether a place is listed; whether it was.
    fn set_listed(&mut self, place: u32, is_listed: bool) -> bool {
        let place = place as usize;
        if place >= self.ids.len() {
            self.ids.resize(place + 1, None);
            self.is_listed.resize(place / 64 + 1, 0);
        }
        let (word, bit) = (&mut self.is_listed[place / 64], 1 << (place % 64));
        let was_listed = *word & bit != 0;
        *word = if is_listed { *word | bit } else { *word & !bit };
        was_listed
    }

    /// The next id, which two windows that are open at once do not share: they differ in their key or in their number, and a hash of 63 bits
    /// of it all is the same for two of ten million with a chance of one in 180,000.
    fn next_id(&mut self, Entry { hash, span, .. }: &Entry) -> WindowId {
        self.given += 1;
        let parts = [self.salt, self.given, span.start.cast_unsigned(), span.end.cast_unsigned()];
        let bytes = parts.map(u64::to_le_bytes);
        let number = xxh3_64_with_seed(bytes.as_flattened(), *hash) >> 1;
        WindowId::new(number.max(1)).expect("at least 1")
    }
}
