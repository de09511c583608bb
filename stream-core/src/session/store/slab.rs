//! Places for windows, which never move: what grows is a list of blocks.
//!
//! One vector of them all would have to move every window to a larger one each time that it is full, while events wait: a fifth
//! of a second where there are two million. A block more takes the same short time however many there are.

use std::ops::{Index, IndexMut};

use super::{Entry, NO_NEXT};

/// Windows in a block, as a power of two: 320 KiB of them, touched only as they are filled.
const BLOCK_BITS: u32 = 12;
const BLOCK: usize = 1 << BLOCK_BITS;

/// The windows by their place. A place that was given back is used again before a new one is made.
#[derive(Debug)]
pub(super) struct Slab {
    blocks: Vec<Vec<Entry>>,
    /// Places, the free ones included.
    places: u32,
    /// The first free place, or [`NO_NEXT`]; each names the next one in its `next`.
    first_free: u32,
    free: u32,
}

impl Slab {
    pub(super) fn new() -> Self {
        Slab { blocks: Vec::new(), places: 0, first_free: NO_NEXT, free: 0 }
    }

    /// How many windows there are.
    pub(super) fn len(&self) -> usize {
        (self.places - self.free) as usize
    }

    /// How many places there are, the free ones included.
    pub(super) fn places(&self) -> u32 {
        self.places
    }

    /// A place for a window, which keeps the stamp and the mark that it had.
    pub(super) fn take(&mut self, entry: Entry) -> u32 {
        let place = self.first_free;
        if place == NO_NEXT {
            return self.push(entry);
        }
        let old = &mut self[place];
        let next_free = old.next;
        *old = Entry { stamp: old.stamp, mark: old.mark, ..entry };
        self.first_free = next_free;
        self.free -= 1;
        place
    }

    /// Gives a place back. What is in it is nobody's any more, but for its stamp and mark.
    pub(super) fn give_back(&mut self, place: u32) {
        self[place].next = self.first_free;
        self.first_free = place;
        self.free += 1;
    }

    /// Every place, the free ones included.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.blocks.iter().flatten()
    }

    fn push(&mut self, entry: Entry) -> u32 {
        let place = self.places;
        assert!(place < NO_NEXT, "fewer than 2^32 windows fit in memory");
        match self.blocks.last_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => block.push(entry),
            None => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(entry);
                self.blocks.push(block);
            }
        }
        self.places += 1;
        place
    }
}

impl Index<u32> for Slab {
    type Output = Entry;

    #[inline]
    fn index(&self, place: u32) -> &Entry {
        &self.blocks[(place >> BLOCK_BITS) as usize][place as usize % BLOCK]
    }
}

impl IndexMut<u32> for Slab {
    #[inline]
    fn index_mut(&mut self, place: u32) -> &mut Entry {
        &mut self.blocks[(place >> BLOCK_BITS) as usize][place as usize % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Span;

    fn entry(start: i64) -> Entry {
        Entry::new(Span { start, end: start + 1, count: 1, reported: 0 })
    }

    #[test]
    fn windows_stay_where_they_are_however_many_come() {
        let mut slab = Slab::new();
        let first = slab.take(entry(0));
        let before = std::ptr::from_ref(&slab[first]);
        (1..3 * BLOCK as i64).for_each(|start| {
            let place = slab.take(entry(start));
            assert_eq!(i64::from(place), start);
        });
        assert!(std::ptr::eq(before, &slab[first]));
        assert!(slab.iter().zip(0..).all(|(entry, start)| entry.span.start == start));
        assert_eq!((slab.len(), slab.places(), slab.blocks.len()), (3 * BLOCK, 3 * BLOCK as u32, 3));
    }

    #[test]
    fn a_place_that_was_given_back_is_used_again_with_its_stamp_and_mark() {
        let mut slab = Slab::new();
        let places: Vec<u32> = (0..4).map(|start| slab.take(entry(start))).collect();
        (slab[places[1]].stamp, slab[places[1]].mark) = (7, 9);
        slab.give_back(places[1]);
        slab.give_back(places[3]);
        assert_eq!((slab.len(), slab.places()), (2, 4));
        assert_eq!([slab.take(entry(10)), slab.take(entry(11)), slab.take(entry(12))], [places[3], places[1], 4]);
        let again = &slab[places[1]];
        assert_eq!((again.span.start, again.stamp, again.mark, again.next), (11, 7, 9, NO_NEXT));
        assert_eq!((slab.len(), slab.places()), (5, 5));
    }
}
