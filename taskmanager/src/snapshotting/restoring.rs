//! An operator's state from the files of every subtask that had a part of its key groups.

use std::collections::BTreeMap;

use stream_core::checkpoint::OperatorSnapshot;
use stream_core::key_group::{KeyGroup, KeyGroupRange};
use stream_core::operator::Operator;
use stream_core::snapshot::Section;
use stream_core::watermark::Watermark;

use crate::snapshotting::JobFiles;
use crate::subtask::TaskError;

/// Gives `operator`, which owns `key_groups`, its part of what the subtasks of its stage had; returns their watermark.
/// Nothing where the stage has no state yet.
///
/// # Errors
/// If a file cannot be read, or does not hold what this operator writes.
pub(crate) fn restore(
    operator: &mut dyn Operator,
    key_groups: KeyGroupRange,
    states: &[OperatorSnapshot],
    files: &JobFiles,
) -> Result<Option<Watermark>, TaskError> {
    // Equal for all; the least loses nothing in any case.
    let Some(watermark) = states.iter().map(|state| state.watermark).min() else { return Ok(None) };
    let mut groups = BTreeMap::<KeyGroup, Vec<Section>>::new();
    let overlaps = |range: KeyGroupRange| range.start < key_groups.end && key_groups.start < range.end;
    for state in states.iter().filter(|state| overlaps(state.key_groups)) {
        for file in state.files.iter().rev() {
            for section in files.read_state(file, key_groups)? {
                groups.entry(section.group).or_default().push(section);
            }
        }
    }
    // What it owns none of has a watermark, too.
    operator.restore(watermark, &[])?;
    for (_, sections) in groups {
        operator.restore(watermark, &sections.iter().collect::<Vec<_>>())?;
    }
    Ok(Some(watermark))
}
