//! The windows of every kind as the tests see them.

use std::fmt::Debug;

use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{KeyGroupRange, KeyHash, MaxParallelism, hash_key};
use stream_core::session::{self, Added};
use stream_core::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use stream_core::tumbling;
use stream_core::watermark::Watermark;

/// What fired, or stands in state, in words.
pub(crate) type Row = String;

pub(crate) trait Windows: Sized {
    type Config: Copy + Debug;

    fn new(config: Self::Config, range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self;
    /// The bytes of a key, and the hash that routes it.
    fn key(number: u8) -> (Vec<u8>, KeyHash);
    fn add(&mut self, event: KeyedEvent<'_>, fired: &mut Vec<Row>) -> Added;
    fn advance(&mut self, watermark: Watermark, fired: &mut Vec<Row>);
    fn state(&self) -> Vec<Row>;
    fn watermark(&self) -> Watermark;
    fn open_events(&self) -> u64;
    fn fired_events(&self) -> u64;
    fn begin_snapshot(&mut self, kind: SnapshotKind);
    fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot>;
    fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError>;
}

/// The head of a key of the tumbling windows: of eight keys there are three.
pub(crate) fn head(key: &[u8]) -> &[u8] {
    &key[..1]
}

/// What both kinds of windows have under the same names.
macro_rules! delegated {
    () => {
        fn advance(&mut self, watermark: Watermark, fired: &mut Vec<Row>) {
            self.advance(watermark, |of| fired.push(format!("{of:?}")));
        }
        fn watermark(&self) -> Watermark {
            self.watermark()
        }
        fn open_events(&self) -> u64 {
            self.events()
        }
        fn fired_events(&self) -> u64 {
            self.fired_events()
        }
        fn begin_snapshot(&mut self, kind: SnapshotKind) {
            self.begin_snapshot(kind);
        }
        fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot> {
            self.continue_snapshot(keys)
        }
        fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
            self.restore(watermark, newest_first)
        }
    };
}

impl Windows for session::Windows {
    type Config = session::Config;

    /// Of every form that keys have in memory: whole, with a tail that others have too, and long.
    fn key(number: u8) -> (Vec<u8>, KeyHash) {
        let tail = [&[][..], &[7; 40], &[8; 40]][usize::from(number % 3)];
        let key = [&[number], tail].concat();
        let hash = hash_key(&key);
        (key, hash)
    }

    fn new(config: Self::Config, range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self::new(config, range, max_parallelism).sharing_tails(|key| if key.ends_with(&[8]) { key.len() } else { 1 })
    }

    fn state(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        self.for_each(|of| rows.push(format!("{of:?}")));
        rows
    }

    fn add(&mut self, event: KeyedEvent<'_>, fired: &mut Vec<Row>) -> Added {
        self.add(event, |of| fired.push(format!("{of:?}")))
    }

    delegated!();
}

impl Windows for tumbling::Windows {
    type Config = tumbling::Config;

    fn key(number: u8) -> (Vec<u8>, KeyHash) {
        (vec![number % 3, number], hash_key(&[number % 3]))
    }

    fn new(config: Self::Config, range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self::new(config, range, max_parallelism)
    }

    fn state(&self) -> Vec<Row> {
        self.iter().map(|of| format!("{of:?}")).collect()
    }

    fn add(&mut self, event: KeyedEvent<'_>, fired: &mut Vec<Row>) -> Added {
        self.add(&event, |of| fired.push(format!("{of:?}")))
    }

    delegated!();
}
