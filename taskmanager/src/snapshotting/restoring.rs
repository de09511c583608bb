//! An operator's state from the files of every subtask that had a part of its key groups.

use std::collections::BTreeMap;

use stream_core::checkpoint::{OperatorSnapshot, SplitSnapshot};
use stream_core::key_group::{KeyGroup, KeyGroupRange};
use stream_core::operator::Operator;
use stream_core::snapshot::Section;
use stream_core::time::millis;
use stream_core::watermark::Watermark;
use stream_runtime::clock::Clock;
use stream_runtime::fail_point::{self, Point};

use crate::snapshotting::JobFiles;
use crate::subtask::TaskError;

/// Gives `operator`, which owns `key_groups`, its part of what the subtasks of its stage had; returns their watermark, and how
/// much of that the clock had made. Nothing where the stage has no state yet.
///
/// # Errors
/// If a file cannot be read, or does not hold what this operator writes.
pub(crate) fn restore(
    operator: &mut dyn Operator,
    key_groups: KeyGroupRange,
    states: &[OperatorSnapshot],
    splits: &[SplitSnapshot],
    files: &JobFiles,
    clock: &dyn Clock,
) -> Result<Option<(Watermark, Watermark)>, TaskError> {
    // Equal for all; the least loses nothing in any case.
    let Some(watermark) = states.iter().map(|state| state.watermark).min() else { return Ok(None) };
    if watermark == Watermark::END {
        let watermark = behind_drain(splits);
        operator.restore(watermark, &[])?;
        return Ok(Some((watermark, Watermark::NONE)));
    }
    let began = clock.monotonic();
    let mut groups = BTreeMap::<KeyGroup, Vec<Section>>::new();
    let overlaps = |range: KeyGroupRange| range.start < key_groups.end && key_groups.start < range.end;
    let newest_first =
        || states.iter().filter(|state| overlaps(state.key_groups)).flat_map(|state| state.files.iter().rev());
    for sections in files.read_states(newest_first(), key_groups) {
        for section in sections? {
            groups.entry(section.group).or_default().push(section);
        }
        fail_point::reach(Point::RestoreBegun);
    }
    let read = clock.monotonic();
    let records: u64 = groups.values().flatten().map(|section| section.records).sum();
    // What it owns none of has a watermark, too.
    operator.restore(watermark, &[])?;
    for (_, sections) in groups {
        operator.restore(watermark, &sections.iter().collect::<Vec<_>>())?;
    }
    tracing::info!(
        files = newest_first().count(),
        bytes = newest_first().map(|file| file.bytes).sum::<u64>(),
        records,
        reading_ms = millis(read.saturating_sub(began)),
        rebuilding_ms = millis(clock.monotonic().saturating_sub(read)),
        "state restored"
    );
    let by_clock = states.iter().map(|state| state.by_clock).max().unwrap_or_default();
    operator.on_clock_watermark(by_clock);
    Ok(Some((watermark, by_clock)))
}

/// The watermark of a job that goes on from a savepoint for which event time was ended (`stop --drain`). Every window was
/// closed then; but that was the user's word, not the splits', and taking it for event time would make all that follows
/// late. So it is what the splits that go on have seen, and a split that has seen nothing promises nothing.
fn behind_drain(splits: &[SplitSnapshot]) -> Watermark {
    let going_on = splits.iter().filter(|split| !split.is_finished);
    let seen = going_on.map(|split| split.watermark.unwrap_or(Watermark::NONE));
    seen.min().unwrap_or(Watermark::END)
}

#[cfg(test)]
mod tests {
    use stream_core::ids::SplitId;
    use stream_core::pipeline::Split;

    use super::*;

    #[test]
    fn behind_a_drain_event_time_is_that_of_the_splits_that_go_on() {
        let split = |watermark: Option<i64>, is_finished| SplitSnapshot {
            split: Split { id: SplitId(String::new()), start: 0, end: None },
            watermark: watermark.map(Watermark),
            is_finished,
            begun: vec![0],
        };
        assert_eq!(behind_drain(&[split(Some(7), false), split(Some(9), false), split(Some(1), true)]), Watermark(7));
        assert_eq!(behind_drain(&[split(Some(7), false), split(None, false)]), Watermark::NONE);
        assert_eq!(behind_drain(&[split(Some(7), true)]), Watermark::END);
    }
}
