//! Memory that snapshots are copied into.
//!
//! A thread that touches memory for the first time stands still until the system has given it, for a huge page of a virtual machine
//! milliseconds. So it is touched in the background, and used again.

use std::sync::{Mutex, PoisonError};

use stream_core::snapshot::{BLOCK_BYTES, touched_block};

/// How many blocks are kept for the next snapshots: 8 MiB, one for each key group of any subtask. What a large one took beyond that
/// is given back to the system.
const KEPT: usize = 128;

/// Blocks of [`BLOCK_BYTES`] that are not in use.
#[derive(Default)]
pub(super) struct Blocks(Mutex<Vec<Vec<u8>>>);

impl Blocks {
    /// So many empty ones, whose memory is there. May take long.
    pub(super) fn take(&self, count: usize) -> Vec<Vec<u8>> {
        let mut blocks = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let from = kept.len().saturating_sub(count);
            kept.split_off(from)
        };
        blocks.resize_with(count, touched_block);
        blocks
    }

    /// Takes back what was written, or not needed. What is of another size was never lent.
    pub(super) fn give_back(&self, blocks: impl Iterator<Item = Vec<u8>>) {
        let blocks = blocks.filter(|block| block.capacity() == BLOCK_BYTES).map(|mut block| {
            block.clear();
            block
        });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(kept.len());
        kept.extend(blocks.take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_empty_and_only_so_many_are_kept() {
        let pool = Blocks::default();
        let mut blocks = pool.take(KEPT + 2);
        assert!(blocks.iter().all(|block| block.is_empty() && block.capacity() == BLOCK_BYTES));
        blocks.iter_mut().for_each(|block| block.push(7));
        let last_kept = blocks[KEPT - 1].as_ptr();
        pool.give_back(blocks.into_iter().chain([Vec::with_capacity(10)]));
        assert_eq!(pool.0.lock().expect("no test panicked").len(), KEPT);
        let again = pool.take(1);
        assert_eq!((again[0].as_ptr(), again[0].len(), pool.take(KEPT).len()), (last_kept, 0, KEPT));
    }
}
