//! Where stored files lie, relative to the store's root.
//!
//! ```text
//! JOB/chk/TOKEN-SEQUENCE/manifest         a checkpoint; it exists once this is there
//! JOB/state/TOKEN-SEQUENCE-STAGE-SUBTASK   keyed state, named after the checkpoint that it was written for
//! JOB/rows/TOKEN-SEQUENCE-NUMBER           rows, named after the epoch in which they were gathered
//! ```
//!
//! Numbers are eight hexadecimal digits, so that a list in ascending order is one by age. A name is used once: no other
//! attempt has the token, and an attempt never counts backwards.

use stream_core::ids::{CheckpointId, JobId, SubtaskId, Token};

/// The folder of a job's manifests.
pub fn manifests(job: JobId) -> String {
    format!("{job}/chk/")
}

/// The manifest of a checkpoint.
pub fn manifest(job: JobId, checkpoint: CheckpointId) -> String {
    format!("{job}/chk/{}/manifest", id(checkpoint))
}

/// The checkpoint whose manifest has this name; none for other names.
pub fn checkpoint_of(name: &str) -> Option<CheckpointId> {
    let id = name.strip_suffix("/manifest")?.rsplit('/').next()?;
    let (token, sequence) = id.split_once('-')?;
    let number = |text: &str| u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8);
    Some(CheckpointId::new(Token(number(token)?), number(sequence)?))
}

/// The state that an operator subtask wrote for a checkpoint.
pub fn state(job: JobId, checkpoint: CheckpointId, subtask: SubtaskId) -> String {
    format!("{job}/state/{}-{}-{}", id(checkpoint), subtask.stage, subtask.index)
}

/// The `number`-th file of rows that a committer gathered behind a checkpoint.
pub fn rows(job: JobId, behind: CheckpointId, number: u64) -> String {
    format!("{job}/rows/{}-{number:08x}", id(behind))
}

fn id(checkpoint: CheckpointId) -> String {
    format!("{:08x}-{:08x}", checkpoint.token().0, checkpoint.sequence())
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{StageIndex, SubtaskIndex};

    use super::*;

    #[test]
    fn names_are_pinned_sort_by_age_and_read_back() {
        let job = JobId(0xab);
        let checkpoint = CheckpointId::new(Token(2), 17);
        let name = manifest(job, checkpoint);
        assert_eq!(name, "000000000000000000000000000000ab/chk/00000002-00000011/manifest");
        assert_eq!(checkpoint_of(&name), Some(checkpoint));
        assert_eq!(checkpoint_of("ab/chk/2-11/manifest"), None);
        let subtask = SubtaskId { stage: StageIndex(1), index: SubtaskIndex(3) };
        assert_eq!(state(job, checkpoint, subtask), "000000000000000000000000000000ab/state/00000002-00000011-1-3");
        assert_eq!(rows(job, checkpoint, 4), "000000000000000000000000000000ab/rows/00000002-00000011-00000004");
        assert!(manifest(job, CheckpointId::new(Token(2), 255)) < manifest(job, CheckpointId::new(Token(16), 0)));
    }
}
