//! Where events come from: split and offset of each entry of a batch, at four bytes an entry.
//!
//! A source decodes slices of splits, so that neighbours nearly always come from one split and stand close together. They
//! make a *run*: the split, and an offset from which the distance of each is kept.

/// Where the record of an event stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// [`SplitId::number`](crate::ids::SplitId::number) of its split.
    pub split: u32,
    /// Its place there: a Kafka offset, a line of a file.
    pub offset: u64,
}

/// The origins of a batch, in the order of its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origins {
    runs: Vec<Run>,
    distances: Vec<u32>,
}

/// Entries of one split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// The place of its first entry in the batch.
    first: u32,
    split: u32,
    /// The offset that distances are counted from.
    base: u64,
}

/// The bytes of an encoded entry, and of an encoded run.
pub(crate) const ENTRY_BYTES: usize = 4;
pub(crate) const RUN_BYTES: usize = 4 + 4 + 8;

impl Origins {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        Origins { runs: Vec::new(), distances: Vec::with_capacity(entries) }
    }

    #[inline]
    pub(crate) fn push(&mut self, origin: Origin) {
        let of_last_run = self.runs.last().filter(|run| run.split == origin.split);
        // An offset before the run's comes to more than any distance.
        let distance = of_last_run.map_or(u64::MAX, |run| origin.offset.wrapping_sub(run.base));
        let distance = u32::try_from(distance).unwrap_or_else(|_| self.begin_run(origin));
        self.distances.push(distance);
    }

    #[cold]
    fn begin_run(&mut self, origin: Origin) -> u32 {
        let first = u32::try_from(self.distances.len()).expect("a batch is flushed before 4 Gi entries");
        self.runs.push(Run { first, split: origin.split, base: origin.offset });
        0
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.distances.clear();
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Origin> {
        let mut runs = self.runs.iter().peekable();
        let mut run = Run { first: 0, split: 0, base: 0 };
        (0_u32..).zip(&self.distances).map(move |(entry, &distance)| {
            if let Some(next) = runs.next_if(|next| next.first == entry) {
                run = *next;
            }
            Origin { split: run.split, offset: run.base + u64::from(distance) }
        })
    }

    /// Distances, then runs; little-endian.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.distances.iter().flat_map(|distance| distance.to_le_bytes()));
        for run in &self.runs {
            out.extend_from_slice(&run.first.to_le_bytes());
            out.extend_from_slice(&run.split.to_le_bytes());
            out.extend_from_slice(&run.base.to_le_bytes());
        }
    }

    /// Reads what [`Origins::encode`] wrote of so many entries; none if it is anything else. The caller has checked the lengths.
    pub(crate) fn decode(distances: &[u8], runs: &[u8]) -> Option<Self> {
        let distances: Vec<u32> = distances.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        let read = |bytes: &[u8; RUN_BYTES]| {
            let [first, split, low, high] = *bytes.as_chunks::<4>().0 else { return None };
            let base = u64::from(u32::from_le_bytes(low)) | u64::from(u32::from_le_bytes(high)) << 32;
            // Below that no distance can overflow.
            base.checked_add(u64::from(u32::MAX))?;
            Some(Run { first: u32::from_le_bytes(first), split: u32::from_le_bytes(split), base })
        };
        let runs: Vec<Run> = runs.as_chunks().0.iter().map(read).collect::<Option<_>>()?;
        let begins = runs.first().map(|run| run.first) == (!distances.is_empty()).then_some(0);
        let rises = runs.is_sorted_by(|a, b| a.first < b.first);
        let ends = runs.last().is_none_or(|run| (run.first as usize) < distances.len());
        (begins && rises && ends).then_some(Origins { runs, distances })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn origins_come_back_as_they_were_and_over_the_wire(
            all in prop::collection::vec((0_u32..3, prop_oneof![0_u64..100, 1_u64 << 33..(1 << 33) + 100]), 0..100))
        {
            let all: Vec<Origin> = all.into_iter().map(|(split, offset)| Origin { split, offset }).collect();
            let mut origins = Origins::default();
            all.iter().for_each(|&origin| origins.push(origin));
            prop_assert_eq!(origins.iter().collect::<Vec<_>>(), all);
            let mut bytes = Vec::new();
            origins.encode(&mut bytes);
            let (distances, runs) = bytes.split_at(origins.distances.len() * ENTRY_BYTES);
            prop_assert_eq!(Origins::decode(distances, runs), Some(origins));
        }

        #[test]
        fn other_bytes_are_refused_or_harmless(
            distances in prop::collection::vec(any::<u8>(), 0..40), runs in prop::collection::vec(any::<u8>(), 0..64))
        {
            if let Some(origins) = Origins::decode(&distances, &runs) {
                prop_assert_eq!(origins.iter().count(), distances.len() / ENTRY_BYTES);
            }
        }
    }

    #[test]
    fn neighbours_share_a_run() {
        let mut origins = Origins::default();
        (100..2000).for_each(|offset| origins.push(Origin { split: 7, offset }));
        assert_eq!(origins.runs(), 1);
        origins.push(Origin { split: 7, offset: 3 });
        origins.push(Origin { split: 8, offset: 4 });
        assert_eq!(origins.runs(), 3);
    }
}
