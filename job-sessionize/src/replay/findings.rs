//! What a comparison found.

use stream_core::time::EventTime;

use crate::key::Key;

/// Differences that are listed; the others are counted.
pub const LISTED_DIFFERENCES: usize = 20;

/// What was found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Sessions that are closed at the cut, each of which the table should hold.
    pub closed: u64,
    /// Events in these.
    pub closed_events: u64,
    /// Sessions that are open at the cut.
    pub open: u64,
    /// Events in these.
    pub open_events: u64,
    /// Rows of the table.
    pub rows: u64,
    /// Rows that are as computed, each once.
    pub equal: u64,
    /// Sessions that may stand in parts, and do.
    pub in_parts: u64,
    /// Their rows.
    pub parts: u64,
    /// Events that are missing in these: the late ones.
    pub not_in_parts: u64,
    /// Events that no row holds: late ones, and open ones.
    pub in_no_row: u64,
    /// Sessions in parts whose rows do not tell how many events they hold: none of these count in `in_no_row`.
    pub untold: u64,
    /// Sessions that are not in the table.
    pub missing: u64,
    /// Rows that are there more often than computed.
    pub duplicate: u64,
    /// Rows that should not be there.
    pub unexpected: u64,
    /// The first differences, by `ip`, `host` and `event_hour`; at most [`LISTED_DIFFERENCES`].
    pub first: Vec<Difference>,
}

/// A row that is missing, or should not be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Whose session.
    pub ip: Option<String>,
    /// The host that was asked.
    pub host: Option<String>,
    /// When it began.
    pub event_hour: Option<EventTime>,
    /// How many events it holds.
    pub num_hits: Option<i64>,
    /// What is wrong.
    pub kind: DifferenceKind,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// It should be in the table.
    Missing,
    /// It is there more often than it should.
    Duplicate,
    /// It should not be there.
    Unexpected,
}

impl Findings {
    /// Rows that differ.
    pub fn differences(&self) -> u64 {
        self.missing + self.duplicate + self.unexpected
    }

    pub(super) fn differ(
        &mut self,
        kind: DifferenceKind,
        key: &[u8],
        event_hour: Option<EventTime>,
        num_hits: Option<i64>,
    ) {
        match kind {
            DifferenceKind::Missing => self.missing += 1,
            DifferenceKind::Duplicate => self.duplicate += 1,
            DifferenceKind::Unexpected => self.unexpected += 1,
        }
        let Key { ip, host } = Key::decode(key).unwrap_or(Key { ip: None, host: None });
        let (ip, host) = (ip.map(str::to_owned), host.map(str::to_owned));
        let difference = Difference { ip, host, event_hour, num_hits, kind };
        let place = self.first.partition_point(|listed| *listed <= difference);
        if place < LISTED_DIFFERENCES {
            self.first.insert(place, difference);
            self.first.truncate(LISTED_DIFFERENCES);
        }
    }
}
