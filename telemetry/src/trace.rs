//! Which trace and span a thing is: derived from the thing itself.
//!
//! The trace of a checkpoint is a hash of job and checkpoint, that of an attempt a hash of job and attempt. So a taskmanager that is
//! told of a barrier knows whose child its spans are, a jobmanager that was started anew continues the trace of the old one, and
//! somebody who has a job's id can compute where to look. Job ids are random and checkpoint ids are never used twice.

use stream_core::ids::{AttemptNumber, CheckpointId, JobId, SplitId, SubtaskId};
use xxhash_rust::xxh3::xxh3_128;

/// A span's place: its trace and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanRef {
    /// The trace.
    pub trace: u128,
    /// The span.
    pub span: u64,
}

impl SpanRef {
    /// The root of a checkpoint's trace.
    pub fn of_checkpoint(job: JobId, checkpoint: CheckpointId) -> Self {
        Self::root("checkpoint", job, checkpoint.0)
    }

    /// The root of an attempt's trace: from the submission, or the failure before it, until it works.
    pub fn of_attempt(job: JobId, attempt: AttemptNumber) -> Self {
        Self::root("attempt", job, u64::from(attempt.0))
    }

    /// The root of a record's trace that brings none along.
    pub fn of_record(job: JobId, split: &SplitId, offset: u64) -> Self {
        Self::root(&split.0, job, offset)
    }

    /// A record's span in the trace that it brings along: a producer may send many records within one span of its own.
    #[must_use]
    pub fn child_for_record(self, split: &SplitId, offset: u64) -> Self {
        self.child_of(&split.0, offset)
    }

    /// A span of the same trace that there is once.
    #[must_use]
    pub fn child(self, name: &str) -> Self {
        self.child_of(name, u64::MAX)
    }

    /// A span of the same trace that there is once for each subtask.
    #[must_use]
    pub fn child_at(self, name: &str, subtask: SubtaskId) -> Self {
        self.child_of(name, u64::from(subtask.stage.0) << 32 | u64::from(subtask.index.0))
    }

    fn root(kind: &str, job: JobId, number: u64) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(&job.0.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        let trace = xxh3_128(&bytes).max(1);
        SpanRef { trace, span: span_id(trace) }
    }

    fn child_of(self, name: &str, number: u64) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&self.span.to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        SpanRef { trace: self.trace, span: span_id(xxh3_128(&bytes)) }
    }
}

/// Any 64 of the bits but 0, which means that there is none.
#[allow(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
fn span_id(hash: u128) -> u64 {
    (hash as u64 ^ (hash >> 64) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{StageIndex, SubtaskIndex, Token};

    use super::*;

    #[test]
    fn every_process_finds_the_same_place_and_no_two_things_share_one() {
        let (job, other_job) = (JobId(7), JobId(8));
        let checkpoint = CheckpointId::new(Token(1), 3);
        let root = SpanRef::of_checkpoint(job, checkpoint);
        assert_eq!(root, SpanRef::of_checkpoint(job, checkpoint));
        let subtask = |stage, index| SubtaskId { stage: StageIndex(stage), index: SubtaskIndex(index) };
        let mut places = vec![
            root,
            SpanRef::of_checkpoint(other_job, checkpoint),
            SpanRef::of_checkpoint(job, CheckpointId::new(Token(1), 4)),
            SpanRef::of_attempt(job, AttemptNumber(1)),
            root.child("store manifest"),
            root.child_at("snapshot", subtask(1, 0)),
            root.child_at("snapshot", subtask(0, 1)),
            root.child_at("align", subtask(1, 0)),
            root.child_for_record(&SplitId("t/0".to_owned()), 7),
            root.child_for_record(&SplitId("t/0".to_owned()), 8),
            root.child_for_record(&SplitId("t/1".to_owned()), 7),
        ];
        let count = places.len();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), count);
        assert_eq!(root.child("x").trace, root.trace);
    }
}
