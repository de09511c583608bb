//! Bids of the Nexmark benchmark, made here, and the naive answer to its query 11.
//!
//! | module | holds |
//! |---|---|
//! | [`plan`] | how many events, how dense in time, in how many splits: `events=10000000,rate=10000,splits=4,seed=1` |
//! | [`bid`] | the bid that an event is, by its number |
//! | [`record`] | a bid as a line of JSON |
//! | [`q11`] | the sessions of all bidders, computed the naive way |
//!
//! The shape is that of Nexmark's own generator (<https://github.com/nexmark/nexmark>, `generator/model/BidGenerator.java`, itself of
//! Apache Beam): of 50 events the first is a person, three are auctions and 46 are bids; three of four bids come from one *hot* bidder,
//! who changes with each 100 persons, the others from the 1,000 latest persons and a few who are yet to come; every event is later than the
//! one before by one part of the rate. The numbers are not Nexmark's: it draws them from an unseeded generator, here each event is a function
//! of the seed and its own number. So a split can be read again from any position, and the events are the same in however many splits.
//!
//! Persons and auctions are numbered but not made: query 11 reads bids only.
//!
//! Deliberately absent: clocks and I/O, the other queries.

pub mod bid;
pub mod plan;
pub mod q11;
pub mod record;

pub use bid::Bid;
pub use plan::Plan;
