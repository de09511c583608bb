//! Places for windows, in blocks that never move: a store that grows copies nothing, and one that shrinks gives blocks back.
//!
//! A new window takes a free place of the block that the last one went into, and if that is full of the lowest block that has one, so that
//! the higher ones empty. An empty block is given back when the owner says so, since the list of changed places may name its places
//! until then.

use std::ops::{Index, IndexMut};

use super::entry::{Entry, NO_PLACE};

/// Places in a block: 256 KiB, so that what is given back is near to what is free.
const BLOCK: usize = 1 << BLOCK_BITS;
const BLOCK_BITS: u32 = 12;

#[derive(Debug)]
pub(super) struct Slab {
    blocks: Vec<Block>,
    /// A bit for each block: whether it has a free place.
    rooms: Vec<u64>,
    /// No word of `rooms` before this one has any.
    lowest: usize,
    /// The block that the last window went into.
    current: usize,
    used: usize,
    /// Blocks that became empty, each once; they may be in use again.
    empty: Vec<u32>,
}

#[derive(Debug)]
struct Block {
    /// Up to [`BLOCK`]; none of a block that was given back.
    entries: Vec<Entry>,
    /// The first free place, from which the others follow.
    free: u32,
    used: u32,
    /// Whether its number is in [`Slab::empty`].
    is_noted: bool,
}

impl Block {
    const NEW: Block = Block { entries: Vec::new(), free: NO_PLACE, used: 0, is_noted: false };

    fn has_room(&self) -> bool {
        (self.used as usize) < BLOCK
    }
}

impl Slab {
    pub(super) fn new() -> Self {
        Slab { blocks: Vec::new(), rooms: Vec::new(), lowest: 0, current: 0, used: 0, empty: Vec::new() }
    }

    /// How many places are in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// One more than the highest place that there is.
    pub(super) fn places(&self) -> usize {
        let last = self.blocks.last().map_or(0, |block| block.entries.len());
        self.blocks.len().saturating_sub(1) * BLOCK + last
    }

    /// A place, unless its block was given back.
    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&Entry> {
        self.blocks.get(place as usize / BLOCK)?.entries.get(place as usize % BLOCK)
    }

    /// A free place, which is in use from now on.
    pub(super) fn take(&mut self) -> u32 {
        if !self.blocks.get(self.current).is_some_and(Block::has_room) {
            self.current = self.block_with_room();
        }
        let block = &mut self.blocks[self.current];
        let within = match block.free {
            NO_PLACE => {
                // The first block of a small store grows with it.
                if block.entries.capacity() == 0 && self.current > 0 {
                    block.entries.reserve_exact(BLOCK);
                }
                block.entries.push(Entry::FREE);
                block.entries.len() - 1
            }
            free => {
                block.free = block.entries[free as usize].next;
                free as usize
            }
        };
        block.used += 1;
        self.used += 1;
        if !block.has_room() {
            self.rooms[self.current / 64] &= !(1 << (self.current % 64));
        }
        u32::try_from(self.current * BLOCK + within)
            .ok()
            .filter(|&place| place != NO_PLACE)
            .expect("fewer than 2^32 windows fit in memory")
    }

    /// A place is free again.
    pub(super) fn free(&mut self, place: u32) {
        let (number, within) = (place as usize / BLOCK, place as usize % BLOCK);
        let block = &mut self.blocks[number];
        block.entries[within].free();
        block.entries[within].next = std::mem::replace(&mut block.free, within as u32);
        block.used -= 1;
        self.used -= 1;
        if block.used == 0 && !std::mem::replace(&mut block.is_noted, true) {
            self.empty.push(number as u32);
        }
        self.has_room(number);
    }

    /// How many blocks may be there to be given back.
    pub(super) fn empty_blocks(&self) -> usize {
        self.empty.len()
    }

    /// Gives one back, if one is empty: what was known of its places, marks among it, is forgotten.
    pub(super) fn give_back(&mut self) {
        let Some(number) = self.empty.pop() else { return };
        let block = &mut self.blocks[number as usize];
        block.is_noted = false;
        if block.used == 0 {
            *block = Block::NEW;
        }
        while let Some(block) = self.blocks.last()
            && block.used == 0
            && block.entries.is_empty()
        {
            self.blocks.pop();
            let last = self.blocks.len();
            self.rooms[last / 64] &= !(1 << (last % 64));
        }
        if self.blocks.is_empty() {
            *self = Slab::new();
        }
    }

    /// The lowest one.
    fn block_with_room(&mut self) -> usize {
        while let Some(&word) = self.rooms.get(self.lowest) {
            if word != 0 {
                return self.lowest * 64 + word.trailing_zeros() as usize;
            }
            self.lowest += 1;
        }
        let number = self.blocks.len();
        self.blocks.push(Block::NEW);
        self.has_room(number);
        number
    }

    fn has_room(&mut self, number: usize) {
        let word = number / 64;
        if word >= self.rooms.len() {
            self.rooms.resize(word + 1, 0);
        }
        self.rooms[word] |= 1 << (number % 64);
        self.lowest = self.lowest.min(word);
    }
}

impl Index<u32> for Slab {
    type Output = Entry;

    #[inline]
    fn index(&self, place: u32) -> &Entry {
        &self.blocks[place as usize / BLOCK].entries[place as usize % BLOCK]
    }
}

impl IndexMut<u32> for Slab {
    #[inline]
    fn index_mut(&mut self, place: u32) -> &mut Entry {
        &mut self.blocks[place as usize / BLOCK].entries[place as usize % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn places_are_given_out_once_until_they_are_free_and_the_lowest_blocks_first() {
        let mut slab = Slab::new();
        let all: BTreeSet<u32> = (0..3 * BLOCK + 7).map(|_| slab.take()).collect();
        assert_eq!((all.len(), slab.used(), slab.places()), (3 * BLOCK + 7, 3 * BLOCK + 7, 3 * BLOCK + 7));
        (0..BLOCK as u32).for_each(|place| slab.free(place));
        let rest = (0..BLOCK - 7).map(|_| slab.take() as usize / BLOCK);
        assert!(rest.eq(std::iter::repeat_n(3, BLOCK - 7)), "where the last one went");
        assert!((0..BLOCK).all(|_| slab.take() < BLOCK as u32));
        assert_eq!(slab.take() as usize, 4 * BLOCK);
    }

    #[test]
    fn empty_blocks_are_given_back_unless_they_are_in_use_again() {
        let mut slab = Slab::new();
        for _ in 0..3 * BLOCK {
            slab.take();
        }
        (0..3 * BLOCK as u32).filter(|place| *place != 5).for_each(|place| slab.free(place));
        assert_eq!(slab.empty_blocks(), 2);
        slab[BLOCK as u32].mark = 9;
        let again = slab.take();
        for _ in 0..3 {
            slab.free(again);
            assert_eq!(slab.take(), again);
        }
        assert_eq!(slab.empty_blocks(), 2, "one that empties again and again is noted once");
        slab.give_back();
        slab.give_back();
        assert_eq!(slab.empty_blocks(), 0);
        assert!(slab.get(again).is_some() && slab.get(5).is_some());
        assert_eq!(slab.places(), 3 * BLOCK, "the last block is the one in use");
        assert!(slab.get(BLOCK as u32).is_none());
        slab.free(again);
        slab.free(5);
        while slab.empty_blocks() > 0 {
            slab.give_back();
        }
        assert_eq!((slab.places(), slab.take()), (0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_and_goes_a_place_is_one_windows(seed in any::<u64>(), phases in prop::collection::vec(0_u64..100, 1..8)) {
            let (mut slab, mut random, mut held) = (Slab::new(), SplitMix64::new(seed), Vec::new());
            for likely_to_take in phases {
                for _ in 0..4 * BLOCK {
                    if random.bits() % 100 < likely_to_take {
                        let place = slab.take();
                        prop_assert_eq!(slab[place].group, 0, "it is free");
                        slab[place].group = 1;
                        held.push(place);
                    } else if !held.is_empty() {
                        let place = held.swap_remove(random.bits() as usize % held.len());
                        slab.free(place);
                    }
                    if random.bits().is_multiple_of(1000) {
                        slab.give_back();
                    }
                }
                prop_assert_eq!(slab.used(), held.len());
                prop_assert!(held.iter().all(|place| slab[*place].group == 1));
            }
        }
    }
}
