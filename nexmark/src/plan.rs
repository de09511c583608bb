//! How many events there are, and where each stands.

use stream_core::random::SplitMix64;
use stream_core::time::EventTime;

/// The first event's time, that of Apache Beam's generator: 2015-07-15T00:00:00Z.
pub const BASE_TIME: EventTime = EventTime(1_436_918_400_000);
/// Events of a second of event time, as in Nexmark's own default.
const DEFAULT_RATE: u64 = 10_000;
const DEFAULT_SPLITS: u32 = 4;
const DEFAULT_SEED: u64 = 1;
/// The most events: their times in milliseconds fit into 64 bits many times over.
const MAX_EVENTS: u64 = 1_000_000_000_000_000;
/// The most splits, far more than there are cores.
const MAX_SPLITS: u32 = 1024;

/// All events of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    events: u64,
    rate: u64,
    splits: u32,
    seed: u64,
    /// What the events' own seeds are counted from.
    pub(crate) stream: u64,
}

/// A text that is no plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nobody could read them all.
    #[error("it does not say how many events: write `nexmark:events=10000000`")]
    NoEvents,
    /// Not `NAME=NUMBER`, or no name of ours.
    #[error("`{0}` is none of `events=N`, `rate=EVENTS-A-SECOND`, `splits=N` and `seed=N`")]
    Unknown(String),
    /// Out of range.
    #[error("`{name}` is not between {min} and {max}")]
    Range {
        /// Of the setting.
        name: &'static str,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

impl Plan {
    /// So many events, with the defaults for all else.
    ///
    /// # Errors
    /// If they are too many.
    pub fn of_events(events: u64) -> Result<Self, PlanError> {
        Self::new(events, DEFAULT_RATE, DEFAULT_SPLITS, DEFAULT_SEED)
    }

    /// `events` of all kinds, `rate` of them in a second of event time, dealt out to `splits`.
    ///
    /// # Errors
    /// If one of them is out of range.
    pub fn new(events: u64, rate: u64, splits: u32, seed: u64) -> Result<Self, PlanError> {
        let range = |name, value: u64, min, max| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(PlanError::Range { name, min, max }) }
        };
        range("events", events, 0, MAX_EVENTS)?;
        range("rate", rate, 1, MAX_EVENTS)?;
        range("splits", splits.into(), 1, MAX_SPLITS.into())?;
        Ok(Plan { events, rate, splits, seed, stream: SplitMix64::new(seed).bits() })
    }

    /// Reads `events=N[,rate=N][,splits=N][,seed=N]`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let (mut events, mut rate, mut splits, mut seed) = (None, DEFAULT_RATE, DEFAULT_SPLITS, DEFAULT_SEED);
        for setting in text.split(',').filter(|setting| !setting.is_empty()) {
            let unknown = || PlanError::Unknown(setting.to_owned());
            let (name, value) = setting.split_once('=').ok_or_else(unknown)?;
            let number = || value.parse::<u64>().map_err(|_| unknown());
            match name {
                "events" => events = Some(number()?),
                "rate" => rate = number()?,
                "splits" => splits = u32::try_from(number()?).unwrap_or(u32::MAX),
                "seed" => seed = number()?,
                _ => return Err(unknown()),
            }
        }
        Self::new(events.ok_or(PlanError::NoEvents)?, rate, splits, seed)
    }

    /// Events of all kinds, of which 46 in 50 are bids.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Splits that the events are dealt out to, in turn.
    pub fn splits(&self) -> u32 {
        self.splits
    }

    /// How many events a split has.
    pub fn split_events(&self, split: u32) -> u64 {
        self.events.saturating_sub(split.into()).div_ceil(self.splits.into())
    }

    /// The number of the event at `offset` of a split.
    pub fn event(&self, split: u32, offset: u64) -> u64 {
        offset * u64::from(self.splits) + u64::from(split)
    }

    /// When an event happens.
    pub fn time(&self, event: u64) -> EventTime {
        let ms = u128::from(event) * 1000 / u128::from(self.rate);
        BASE_TIME.saturating_add_ms(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_what_differs_from_the_defaults() {
        assert_eq!(Plan::parse("events=7"), Plan::of_events(7));
        assert_eq!(Plan::parse("events=7,rate=2,splits=3,seed=9"), Plan::new(7, 2, 3, 9));
    }

    #[test]
    fn other_texts_are_told_what_to_write() {
        let refused = |text| Plan::parse(text).expect_err(text).to_string();
        assert_eq!(refused(""), "it does not say how many events: write `nexmark:events=10000000`");
        for text in ["events", "events=x", "events=-1", "events=1,tps=3"] {
            assert!(refused(text).contains("is none of `events=N`"), "{text}");
        }
        assert_eq!(refused("events=1,rate=0"), "`rate` is not between 1 and 1000000000000000");
        assert_eq!(refused("events=1,splits=0"), "`splits` is not between 1 and 1024");
    }

    #[test]
    fn every_event_is_in_one_split() {
        for (events, splits) in [(0, 1), (1, 3), (10, 3), (12, 4), (13, 4)] {
            let plan = Plan::new(events, 1000, splits, 1).expect("valid");
            let mut all: Vec<u64> = (0..splits)
                .flat_map(|split| (0..plan.split_events(split)).map(move |offset| (split, offset)))
                .map(|(split, offset)| plan.event(split, offset))
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..events).collect::<Vec<_>>());
        }
    }

    #[test]
    fn events_are_as_far_apart_as_the_rate_says() {
        let plan = Plan::new(100, 2000, 1, 1).expect("valid");
        let times: Vec<i64> = (0..5).map(|event| plan.time(event).0 - BASE_TIME.0).collect();
        assert_eq!(times, [0, 0, 1, 1, 2]);
        assert_eq!(BASE_TIME.to_string(), "2015-07-15 00:00:00.000");
    }
}
