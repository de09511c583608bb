//! How long nothing new was published after a fault, from what an auditor saw.

use std::time::Duration;

/// An epoch became the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// When that was first seen.
    pub at: Duration,
    /// The epoch: the attempt's token in its upper half, a sequence number in its lower one.
    pub epoch: u64,
}

impl Publication {
    fn token(&self) -> u64 {
        self.epoch >> 32
    }
}

/// From a fault to the first epoch that was published in spite of it. The one epoch that may have been on its way when the
/// fault came does not count: an epoch of a new attempt does, any once the fault was over, and the second after it began,
/// for faults that hit nothing that the job needs. `None` if there was none.
pub fn recovery(began: Duration, over: Duration, publications: &[Publication]) -> Option<Duration> {
    let behind = publications.partition_point(|publication| publication.at <= began);
    let (before, after) = publications.split_at(behind);
    let token = before.last().map_or(0, Publication::token);
    let is_new = |(number, publication): &(usize, &Publication)| {
        *number > 0 || publication.at > over || publication.token() > token
    };
    let (_, recovered) = after.iter().enumerate().find(is_new)?;
    Some(recovered.at - began)
}

/// Which of these faults, each from when it began until it was over and recovered from, had no other beside it: what they
/// took is theirs alone.
pub fn alone(faults: &[(Duration, Duration)]) -> Vec<bool> {
    let overlap = |a: &(Duration, Duration), b: &(Duration, Duration)| a.0 <= b.1 && b.0 <= a.1;
    let is_alone = |(place, fault)| {
        let mut others = faults.iter().enumerate().filter(|(other, _)| *other != place);
        others.all(|(_, other)| !overlap(fault, other))
    };
    faults.iter().enumerate().map(is_alone).collect()
}

/// The value that so many per cent do not exceed (nearest rank).
pub fn percentile(mut times: Vec<Duration>, percent: usize) -> Option<Duration> {
    times.sort();
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn published(at_s: u64, token: u64, sequence: u64) -> Publication {
        Publication { at: Duration::from_secs(at_s), epoch: token << 32 | sequence }
    }

    fn recovered(began_s: u64, over_s: u64, publications: &[Publication]) -> Option<u64> {
        let found = recovery(Duration::from_secs(began_s), Duration::from_secs(over_s), publications);
        found.map(|time| time.as_secs())
    }

    #[test]
    fn an_epoch_that_was_on_its_way_is_no_recovery() {
        let publications = [published(1, 1, 1), published(11, 1, 2), published(16, 1, 3)];
        assert_eq!(recovered(10, 15, &publications), Some(6));
        assert_eq!(recovered(10, 15, &publications[..2]), None);
        assert_eq!(recovered(10, 10, &publications), Some(1));
    }

    #[test]
    fn a_new_attempt_has_recovered_even_while_what_died_is_still_away() {
        assert_eq!(recovered(10, 30, &[published(1, 1, 1), published(11, 1, 2), published(13, 2, 1)]), Some(3));
    }

    #[test]
    fn a_fault_that_stops_nothing_is_over_with_the_next_epoch_that_began_behind_it() {
        assert_eq!(recovered(10, 30, &[published(1, 1, 1), published(11, 1, 2), published(12, 1, 3)]), Some(2));
    }

    #[test]
    fn a_fault_is_alone_if_no_other_lasted_beside_it() {
        let seconds = |from, to| (Duration::from_secs(from), Duration::from_secs(to));
        assert_eq!(
            alone(&[seconds(0, 3), seconds(2, 4), seconds(5, 9), seconds(6, 7), seconds(10, 11)]),
            [false, false, false, false, true]
        );
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<Duration> = (1..=100).rev().map(Duration::from_secs).collect();
        assert_eq!(percentile(times.clone(), 50), Some(Duration::from_secs(50)));
        assert_eq!(percentile(times, 99), Some(Duration::from_secs(99)));
        assert_eq!(percentile(vec![Duration::from_secs(3)], 99), Some(Duration::from_secs(3)));
        assert_eq!(percentile(Vec::new(), 50), None);
    }
}
