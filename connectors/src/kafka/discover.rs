//! From a source's wish (`--from`, `--until`) to partitions with offsets, asked once at submit.

use std::ops::Range;

use stream_core::ids::SplitId;
use stream_core::pipeline::{SourceSpec, Split, StartPosition};

use super::error::Error;
use super::lookup::{Lookup, Offsets};
use super::settings::TopicSettings;

/// The topic's partitions as splits, named `TOPIC/PARTITION`. Blocks for some seconds at most if the cluster is silent.
///
/// # Errors
/// If there is no such topic, the cluster cannot be reached or refuses the credentials, or a setting may not be set.
pub fn discover(spec: &SourceSpec) -> Result<Vec<Split>, stream_runtime::connector::ConnectorError> {
    let TopicSettings { client, topic, may_come_later, .. } = TopicSettings::from_spec(spec).map_err(Error::from)?;
    let lookup = Lookup::new(&client)?;
    let partitions = match lookup.partitions(&topic) {
        // Whoever reads on for ever is told of its partitions once it is there.
        Err(Error::NoTopic { .. }) if may_come_later && !spec.is_bounded => Vec::new(),
        answer => answer?,
    };
    let starts = match spec.from {
        StartPosition::Earliest | StartPosition::Latest => Offsets::new(),
        StartPosition::Committed => lookup.committed(&topic, &partitions)?,
        StartPosition::At(time) => lookup.offsets_for_time(&topic, &partitions, time)?,
    };
    let available = lookup.all_watermarks(&topic, &partitions)?;
    let split = |(partition, available): (i32, Range<u64>)| {
        let id = split_name(&topic, partition);
        let start = start(spec.from, starts.get(&partition).copied(), &available, &id);
        Split { id, start, end: spec.is_bounded.then_some(available.end) }
    };
    Ok(available.into_iter().map(split).collect())
}

/// The name of a partition as a split.
pub(super) fn split_name(topic: &str, partition: i32) -> SplitId {
    SplitId(format!("{topic}/{partition}"))
}

/// The partition that a split's name names.
pub(super) fn partition_of(split: &SplitId, topic: &str) -> Result<i32, Error> {
    let foreign = || Error::ForeignSplit { split: split.0.clone(), topic: topic.to_owned() };
    let (named, partition) = split.0.rsplit_once('/').ok_or_else(foreign)?;
    let partition = partition.parse().ok().filter(|&partition: &i32| partition >= 0);
    partition.filter(|_| named == topic).ok_or_else(foreign)
}

fn start(from: StartPosition, found: Option<u64>, available: &Range<u64>, split: &SplitId) -> u64 {
    match from {
        StartPosition::Earliest => available.start,
        StartPosition::Latest => available.end,
        StartPosition::At(_) => found.unwrap_or(available.end),
        StartPosition::Committed => match found {
            // The offset that follows the last record is a good place to wait.
            Some(committed) if (available.start..=available.end).contains(&committed) => committed,
            Some(committed) => {
                tracing::warn!(split = %split.0, committed, start = available.start,
                    "the committed offset is not in the topic (any more); starting at the earliest");
                available.start
            }
            None => available.start,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream_core::time::EventTime;

    #[test]
    fn the_start_is_what_was_asked_for() {
        let split = SplitId("t/0".to_owned());
        let at = |from, found| start(from, found, &(10..20), &split);
        assert_eq!(at(StartPosition::Earliest, None), 10);
        assert_eq!(at(StartPosition::Latest, None), 20);
        assert_eq!(at(StartPosition::At(EventTime(1)), Some(15)), 15);
        assert_eq!(at(StartPosition::At(EventTime(1)), None), 20, "no record is that young");
        assert_eq!(at(StartPosition::Committed, Some(12)), 12);
        assert_eq!(at(StartPosition::Committed, Some(20)), 20);
        assert_eq!(at(StartPosition::Committed, None), 10);
        assert_eq!(at(StartPosition::Committed, Some(9)), 10, "deleted since");
        assert_eq!(at(StartPosition::Committed, Some(21)), 10, "of a topic of the same name");
    }

    #[test]
    fn split_names_read_back_and_foreign_ones_are_refused() {
        assert_eq!(partition_of(&split_name("a.b-c", 12), "a.b-c").ok(), Some(12));
        for name in ["t", "t/", "t/x", "t/-1", "u/1", "t/1/2", "/1"] {
            assert!(partition_of(&SplitId(name.to_owned()), "t").is_err(), "{name}");
        }
    }
}
