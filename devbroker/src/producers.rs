//! What a partition remembers of idempotent producers, so that a batch sent twice is stored once.
//!
//! The rules are those of Kafka's `ProducerAppendInfo` and `ProducerStateEntry`, without transactions. Nothing is
//! written to disk: the batches themselves carry it, and recovery replays them. Tested beside the code.

use std::collections::{BTreeMap, VecDeque};

use thiserror::Error;

use crate::batch::Header;

/// How many batches of a producer are remembered: a client may have five requests in flight.
const REMEMBERED_BATCHES: usize = 5;
/// How many producers of a partition are remembered; beyond that the one silent for longest is forgotten.
const REMEMBERED_PRODUCERS: usize = 1_000;

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// It is stored already, there.
    Duplicate {
        base_offset: i64,
    },
}

/// Why a batch of an idempotent producer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("producer epoch `{epoch}` is older than `{current}`")]
    StaleEpoch { epoch: i16, current: i16 },
    #[error("sequence number `{sequence}` does not follow; `{expected}` was expected")]
    OutOfOrder { sequence: i32, expected: i32 },
}

/// The idempotent producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    recent: VecDeque<Stored>,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

impl Producers {
    /// Judges a batch before it is appended.
    pub(crate) fn check(&self, batch: &Header) -> Result<Verdict, Refusal> {
        let Some(producer) = self.by_id.get(&batch.producer_id) else {
            // Not idempotent (-1); or forgotten, and then Kafka too takes any sequence number.
            return Ok(Verdict::Append);
        };
        let (epoch, current) = (batch.producer_epoch, producer.epoch);
        if epoch < current {
            return Err(Refusal::StaleEpoch { epoch, current });
        }
        let sequence = batch.base_sequence;
        if epoch > current {
            return if sequence == 0 {
                Ok(Verdict::Append)
            } else {
                Err(Refusal::OutOfOrder { sequence, expected: 0 })
            };
        }
        let last = last_sequence(batch);
        let same = |s: &&Stored| s.first_sequence == sequence && s.last_sequence == last;
        if let Some(stored) = producer.recent.iter().find(same) {
            return Ok(Verdict::Duplicate { base_offset: stored.base_offset });
        }
        let expected = producer.recent.back().map_or(0, |s| after(s.last_sequence, 1));
        if sequence == expected { Ok(Verdict::Append) } else { Err(Refusal::OutOfOrder { sequence, expected }) }
    }

    /// Remembers a batch that was appended at its base offset.
    pub(crate) fn remember(&mut self, batch: &Header) {
        if batch.producer_id < 0 {
            return;
        }
        let fresh = || Producer { epoch: batch.producer_epoch, recent: VecDeque::new() };
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(fresh);
        if producer.epoch != batch.producer_epoch {
            *producer = fresh();
        }
        if producer.recent.len() == REMEMBERED_BATCHES {
            producer.recent.pop_front();
        }
        producer.recent.push_back(Stored {
            first_sequence: batch.base_sequence,
            last_sequence: last_sequence(batch),
            base_offset: batch.base_offset,
        });
        if self.by_id.len() > REMEMBERED_PRODUCERS {
            self.forget_the_most_silent();
        }
    }

    fn forget_the_most_silent(&mut self) {
        let last_offset = |p: &Producer| p.recent.back().map(|s| s.base_offset);
        if let Some(id) = self.by_id.iter().min_by_key(|(_, p)| last_offset(p)).map(|(id, _)| *id) {
            self.by_id.remove(&id);
        }
    }
}

fn last_sequence(batch: &Header) -> i32 {
    after(batch.base_sequence, batch.last_offset_delta)
}

/// Sequence numbers go on from 0 after `i32::MAX`.
fn after(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{ProducedBy, batch_by};

    fn batch(epoch: i16, sequence: i32, records: usize, base_offset: i64) -> Header {
        let header = Header::parse(&batch_by(ProducedBy(7, epoch, sequence), records)).unwrap();
        Header { base_offset, ..header }
    }

    #[test]
    fn a_repeated_batch_is_found_among_the_last_five() {
        let mut producers = Producers::default();
        for i in 0..6 {
            let next = batch(0, i * 10, 10, i64::from(i) * 10);
            assert_eq!(producers.check(&next), Ok(Verdict::Append));
            producers.remember(&next);
        }
        assert_eq!(producers.check(&batch(0, 10, 10, 0)), Ok(Verdict::Duplicate { base_offset: 10 }));
        assert_eq!(producers.check(&batch(0, 0, 10, 0)), Err(Refusal::OutOfOrder { sequence: 0, expected: 60 }));
    }

    #[test]
    fn a_gap_is_refused_and_a_new_epoch_starts_at_zero() {
        let mut producers = Producers::default();
        producers.remember(&batch(1, 0, 3, 0));
        assert_eq!(producers.check(&batch(1, 5, 1, 0)), Err(Refusal::OutOfOrder { sequence: 5, expected: 3 }));
        assert_eq!(producers.check(&batch(2, 3, 1, 0)), Err(Refusal::OutOfOrder { sequence: 3, expected: 0 }));
        assert_eq!(producers.check(&batch(2, 0, 1, 0)), Ok(Verdict::Append));
        assert_eq!(producers.check(&batch(0, 3, 1, 0)), Err(Refusal::StaleEpoch { epoch: 0, current: 1 }));
    }

    #[test]
    fn sequence_numbers_wrap_to_zero() {
        let mut producers = Producers::default();
        producers.remember(&batch(0, i32::MAX - 1, 2, 0));
        assert_eq!(producers.check(&batch(0, 0, 1, 0)), Ok(Verdict::Append));
        producers.remember(&batch(0, i32::MAX - 1, 3, 0));
        assert_eq!(producers.check(&batch(0, 1, 1, 0)), Ok(Verdict::Append));
    }
}
