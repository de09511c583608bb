//! Query 11, user sessions, the naive way: how many bids each bidder made in each session, which a gap of 10 seconds ends.
//!
//! It reads the bids in the order of their times, where the engine reads records by splits; so it needs no watermark and no
//! merging. This is what results are compared with.

use std::collections::BTreeMap;

use stream_core::time::EventTime;

use crate::plan::Plan;

/// The gap, in milliseconds: `SESSION(dateTime, INTERVAL '10' SECOND)`.
pub const GAP_MS: i64 = 10_000;

/// A row of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// Whose.
    pub bidder: u64,
    /// The first bid's time.
    pub start: EventTime,
    /// The last bid's time plus the gap.
    pub end: EventTime,
    /// How many bids.
    pub bids: u64,
}

/// Every session, in order.
pub fn sessions(plan: &Plan) -> Vec<Session> {
    let mut open: BTreeMap<u64, Session> = BTreeMap::new();
    let mut sessions = Vec::new();
    for bid in (0..plan.events()).filter_map(|event| plan.bid(event)) {
        let end = bid.time.saturating_add_ms(GAP_MS);
        let new = Session { bidder: bid.bidder, start: bid.time, end, bids: 1 };
        let Some(session) = open.get_mut(&bid.bidder) else {
            open.insert(bid.bidder, new);
            continue;
        };
        // Bids just one gap apart share a session, as in Flink.
        if bid.time <= session.end {
            session.end = end;
            session.bids += 1;
        } else {
            sessions.push(std::mem::replace(session, new));
        }
    }
    sessions.extend(open.into_values());
    sessions.sort_unstable();
    sessions
}
