//! What happened, as a hash over all of it and the last lines to show.

use std::collections::VecDeque;

const SHOWN: usize = 60;

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    tail: VecDeque<String>,
    steps: u64,
}

impl Trace {
    /// Adds a line.
    pub fn add(&mut self, now: i64, line: &str) {
        let line = format!("{now:>7} {line}");
        for byte in line.bytes() {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.steps += 1;
        if self.tail.len() == SHOWN {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Of everything.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The last lines.
    pub fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }
}
