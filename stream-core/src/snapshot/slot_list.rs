//! A list of slots in chunks that never move. One that doubled would hold up the event that makes it full, at millions of slots for
//! milliseconds, and once more where it is dropped; of this one a chunk is dropped when its last slot is taken.

/// Slots in a chunk: 16 KiB.
const CHUNK: usize = 1 << 12;

#[derive(Debug, Default)]
pub(super) struct SlotList {
    /// None is empty.
    chunks: Vec<Vec<u32>>,
    len: usize,
}

impl SlotList {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, slot: u32) {
        self.len += 1;
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(slot),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(slot);
                self.chunks.push(chunk);
            }
        }
    }

    /// Takes the slot that was listed last.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let chunk = self.chunks.last_mut()?;
        let slot = chunk.pop()?;
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.pop();
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_taken_once_and_its_chunk_goes_with_the_last() {
        let mut list = SlotList::default();
        let slots = 0..3 * CHUNK as u32 + 1;
        slots.clone().for_each(|slot| list.push(slot));
        assert_eq!((list.len(), list.chunks.len()), (slots.len(), 4));
        assert!(list.chunks.iter().all(|chunk| chunk.capacity() == CHUNK));
        for slot in slots.rev() {
            assert_eq!(list.pop(), Some(slot));
            assert_eq!((list.len(), list.chunks.len()), (slot as usize, (slot as usize).div_ceil(CHUNK)));
        }
        assert_eq!(list.pop(), None);
    }
}
