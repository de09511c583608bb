//! The one source of chance.

use stream_core::random::SplitMix64;

/// A generator of numbers that look random.
#[derive(Clone, Debug)]
pub struct Random(SplitMix64);

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Random(SplitMix64::new(seed))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    /// A number from `least` to `most`.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        least + (self.bits() % (most - least + 1).unsigned_abs()) as i64
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.bits() % 100 < chance
    }

    /// One of some; nothing where there is none.
    pub fn pick<T: Copy>(&mut self, some: &[T]) -> Option<T> {
        let place = self.bits() % some.len().max(1) as u64;
        some.get(place as usize).copied()
    }
}
