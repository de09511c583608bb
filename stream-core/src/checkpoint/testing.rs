//! Manifests, an attempt and its acknowledgements, for tests.

use std::time::Duration;

use super::manifest::{
    Accounts, FORMAT_VERSION, FileRef, Manifest, OperatorSnapshot, SealedEpoch, SplitSnapshot, TaskSnapshot,
};
use super::{Attempt, Coordinator, Cost, Effect, Event, Settings};
use crate::ids::{AttemptNumber, CheckpointId, JobId, Nonce, SplitId, StageIndex, SubtaskId, SubtaskIndex, Token};
use crate::key_group::{KeyGroupRange, MaxParallelism};
use crate::pipeline::Split;
use crate::table::RowCounts;
use crate::time::Timestamp;
use crate::watermark::Watermark;

pub(crate) fn id(sequence: u32) -> CheckpointId {
    CheckpointId::new(Token(0), sequence)
}

pub(crate) fn epoch(prev: u32, epoch: u32) -> SealedEpoch {
    SealedEpoch {
        epoch: id(epoch),
        prev: id(prev),
        files: Vec::new(),
        rows: RowCounts::of_result(1),
        accounts: Accounts::default(),
        cut: None,
    }
}

pub(crate) fn manifest(checkpoint: u32, pending: &[(u32, u32)]) -> Manifest {
    Manifest {
        version: FORMAT_VERSION,
        job_id: JobId(1),
        checkpoint: id(checkpoint),
        attempt: AttemptNumber(1),
        token: Token(0),
        nonce: Nonce(0),
        triggered: Timestamp(0),
        completed: Timestamp(0),
        is_savepoint: false,
        parallelism: 1,
        max_parallelism: MaxParallelism::DEFAULT,
        splits: Vec::new(),
        operators: Vec::new(),
        pending: pending.iter().map(|&(prev, this)| epoch(prev, this)).collect(),
        accounts: Accounts::default(),
    }
}

pub(crate) fn settings() -> Settings {
    Settings { interval: Duration::from_secs(1), timeout: Duration::from_secs(60), retention: Duration::from_secs(600) }
}

/// Two sources, two operators and a committer under token 3.
pub(crate) fn attempt() -> Attempt {
    Attempt {
        job_id: JobId(1),
        attempt: AttemptNumber(2),
        token: Token(3),
        nonce: Nonce(4),
        parallelism: 2,
        max_parallelism: MaxParallelism::DEFAULT,
        sources: vec![subtask(0, 0), subtask(0, 1)],
        operators: vec![subtask(1, 0), subtask(1, 1)],
        sink: subtask(2, 0),
        last_epoch: CheckpointId::ROOT,
        pending: Vec::new(),
        base: Accounts::default(),
        splits: Vec::new(),
        stored: Vec::new(),
        last_sequence: 0,
        wall_offset_ms: 5_000_000,
    }
}

pub(crate) fn subtask(stage: u32, index: u32) -> SubtaskId {
    SubtaskId { stage: StageIndex(stage), index: SubtaskIndex(index) }
}

pub(crate) fn file(name: &str) -> FileRef {
    FileRef { name: name.to_owned(), bytes: 1, checksum: 2 }
}

pub(crate) fn source_ack(index: u32) -> TaskSnapshot {
    let split = Split { id: SplitId(format!("topic/{index}")), start: 7, end: None };
    let splits = vec![SplitSnapshot::unread(split)];
    TaskSnapshot::Source { splits, events: 10, bad: 1 }
}

pub(crate) fn operator_state(index: u32) -> OperatorSnapshot {
    OperatorSnapshot {
        subtask: subtask(1, index),
        key_groups: KeyGroupRange::of_subtask(MaxParallelism::DEFAULT, 2, SubtaskIndex(index)),
        watermark: Watermark(0),
        by_clock: Watermark::NONE,
        files: vec![file(&format!("state-{index}"))],
    }
}

pub(crate) fn operator_ack(index: u32) -> TaskSnapshot {
    TaskSnapshot::Operator { state: operator_state(index), late: 1, fired: 3, open: 6 }
}

pub(crate) fn sink_ack() -> TaskSnapshot {
    TaskSnapshot::Sink { files: vec![file("rows")], rows: RowCounts::of_result(2) }
}

/// Every task of [`attempt`] acknowledges; what follows.
pub(crate) fn ack_all(coordinator: &mut Coordinator, now: Timestamp, checkpoint: CheckpointId) -> Vec<Effect> {
    let acks = [
        (subtask(0, 0), source_ack(0)),
        (subtask(0, 1), source_ack(1)),
        (subtask(1, 0), operator_ack(0)),
        (subtask(1, 1), operator_ack(1)),
        (subtask(2, 0), sink_ack()),
    ];
    let ack = |(subtask, snapshot)| Event::Acknowledged { checkpoint, subtask, snapshot, cost: Cost::default() };
    acks.map(ack).into_iter().flat_map(|event| coordinator.on(now, event)).collect()
}
