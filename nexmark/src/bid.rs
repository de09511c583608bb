//! The bid that an event is, by its number.
//!
//! Each rule is that of Nexmark's `BidGenerator`, `PersonGenerator` and `AuctionGenerator` with their default settings; what they
//! call an event's id is its number here.

use stream_core::random::SplitMix64;
use stream_core::time::EventTime;

use crate::plan::Plan;

/// Of 50 events one is a person, three are auctions, the others bids, in this order.
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const ALL: u64 = 50;

/// Ids begin here, so that small inputs find matches, too.
const FIRST_PERSON_ID: u64 = 1000;
const FIRST_AUCTION_ID: u64 = 1000;
/// One of so many persons, and of auctions, is hot.
const HOT_OF: u64 = 100;
/// One of so many bids is not by the hot bidder.
const COLD_BIDDER_ONE_OF: u64 = 4;
/// One of so many bids is not for the hot auction.
const COLD_AUCTION_ONE_OF: u64 = 2;
/// The latest persons, who may bid.
const ACTIVE_PERSONS: u64 = 1000;
/// The latest auctions, which may be bidden for.
const OPEN_AUCTIONS: u64 = 100;
/// Persons and auctions yet to come, who may be in a bid already.
const LEAD: u64 = 10;
/// Prices spread evenly over so many powers of ten.
const MAGNITUDES: u64 = 6;

/// A bid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bid {
    /// When.
    pub time: EventTime,
    /// For what.
    pub auction: u64,
    /// Whose.
    pub bidder: u64,
    /// How much, in cents.
    pub price: u64,
    /// What channel, URL and padding are drawn from.
    pub(crate) random: SplitMix64,
}

impl Plan {
    /// The bid that an event is; none if it is a person or an auction.
    #[inline]
    pub fn bid(&self, event: u64) -> Option<Bid> {
        let (round, place) = (event / ALL, event % ALL);
        if place < PERSONS + AUCTIONS {
            return None;
        }
        let mut random = SplitMix64::new(SplitMix64::new(self.stream.wrapping_add(event)).bits());
        let last_person = round * PERSONS + PERSONS - 1;
        let last_auction = round * AUCTIONS + AUCTIONS - 1;
        let auction = match below(&mut random, COLD_AUCTION_ONE_OF) {
            0 => {
                let first = last_auction.saturating_sub(OPEN_AUCTIONS);
                first + below(&mut random, last_auction - first + 1 + LEAD)
            }
            _ => last_auction / HOT_OF * HOT_OF,
        };
        let bidder = match below(&mut random, COLD_BIDDER_ONE_OF) {
            0 => {
                let persons = last_person + 1;
                let active = persons.min(ACTIVE_PERSONS);
                persons - active + below(&mut random, active + LEAD)
            }
            // The second of them, so that the hot bidder is not the hot seller.
            _ => last_person / HOT_OF * HOT_OF + 1,
        };
        let least = 100 * 10_u64.pow(u32::try_from(below(&mut random, MAGNITUDES)).unwrap_or(0));
        let price = least + below(&mut random, 9 * least);
        let (auction, bidder) = (auction + FIRST_AUCTION_ID, bidder + FIRST_PERSON_ID);
        Some(Bid { time: self.time(event), auction, bidder, price, random })
    }
}

/// A number from 0 to `limit` − 1.
pub(crate) fn below(random: &mut SplitMix64, limit: u64) -> u64 {
    u64::try_from((u128::from(random.bits()) * u128::from(limit)) >> 64).expect("less than the limit")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn bids(events: u64) -> Vec<Bid> {
        let plan = Plan::of_events(events).expect("valid");
        (0..events).filter_map(|event| plan.bid(event)).collect()
    }

    #[test]
    fn of_fifty_events_46_are_bids() {
        assert_eq!(bids(50).len(), 46);
        assert_eq!(bids(5_000).len(), 4_600);
        assert_eq!(bids(4).len(), 0);
    }

    #[test]
    fn three_of_four_bids_are_by_the_hot_bidder() {
        // Within 100 persons, which is 5,000 events, it is one and the same.
        let bids = bids(5_000);
        let hot = bids.iter().filter(|bid| bid.bidder == FIRST_PERSON_ID + 1).count();
        let share = 100 * hot / bids.len();
        assert!((73..=78).contains(&share), "{share} % of the bids are the hot bidder's");
    }

    #[test]
    fn others_are_by_the_latest_persons_and_a_few_to_come() {
        let plan = Plan::of_events(1_000_000).expect("valid");
        let mut seen = BTreeMap::new();
        for event in 900_000..1_000_000 {
            let Some(bid) = plan.bid(event) else { continue };
            let last = event / ALL;
            let bidder = bid.bidder - FIRST_PERSON_ID;
            assert!(bidder + ACTIVE_PERSONS > last && bidder <= last + LEAD, "person {bidder} of {last} bids");
            assert!((100..100_000_000).contains(&bid.price));
            *seen.entry(bidder).or_insert(0) += 1;
        }
        // Of the 3,000 who were among the latest at some time, those of the ends not for long.
        assert!(seen.len() > 2_700, "only {} bidders", seen.len());
    }

    #[test]
    fn events_are_pinned() {
        let bid = Plan::of_events(100).expect("valid").bid(99).expect("a bid");
        let Bid { time, auction, bidder, price, .. } = bid;
        assert_eq!((time.to_string().as_str(), auction, bidder, price), PINNED);
    }

    /// Whoever measured with these events must be able to have them again.
    const PINNED: (&str, u64, u64, u64) = ("2015-07-15 00:00:00.009", 1010, 1001, 129_540);
}
