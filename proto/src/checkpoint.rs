//! Between the wire's messages about checkpoints and `stream-core`'s types.

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Accounts, Cut, FileRef, OperatorSnapshot, SealedEpoch, SplitSnapshot, TaskSnapshot};
use stream_core::ids::{CheckpointId, Nonce};
use stream_core::table::RowCounts;
use stream_core::time::Timestamp;
use stream_core::watermark::Watermark;

use crate::convert::{InvalidMessage, required};
use crate::v1;

impl From<Barrier> for v1::Barrier {
    fn from(barrier: Barrier) -> Self {
        v1::Barrier {
            checkpoint_id: barrier.checkpoint.0,
            timestamp_ms: barrier.triggered.0,
            prev: barrier.prev.0,
            is_full: barrier.is_full,
            is_last: barrier.is_last,
        }
    }
}

impl From<v1::Barrier> for Barrier {
    fn from(barrier: v1::Barrier) -> Self {
        Barrier {
            checkpoint: CheckpointId(barrier.checkpoint_id),
            prev: CheckpointId(barrier.prev),
            triggered: Timestamp(barrier.timestamp_ms),
            is_full: barrier.is_full,
            is_last: barrier.is_last,
        }
    }
}

impl From<Accounts> for v1::Accounts {
    fn from(accounts: Accounts) -> Self {
        let Accounts { read, bad, late, in_sessions, open } = accounts;
        v1::Accounts { read, bad, late, in_sessions, open }
    }
}

impl From<v1::Accounts> for Accounts {
    fn from(accounts: v1::Accounts) -> Self {
        let v1::Accounts { read, bad, late, in_sessions, open } = accounts;
        Accounts { read, bad, late, in_sessions, open }
    }
}

impl From<&FileRef> for v1::FileRef {
    fn from(file: &FileRef) -> Self {
        v1::FileRef { name: file.name.clone(), bytes: file.bytes, checksum: file.checksum }
    }
}

impl From<v1::FileRef> for FileRef {
    fn from(file: v1::FileRef) -> Self {
        FileRef { name: file.name, bytes: file.bytes, checksum: file.checksum }
    }
}

impl From<&SplitSnapshot> for v1::SplitSnapshot {
    fn from(split: &SplitSnapshot) -> Self {
        v1::SplitSnapshot {
            split: Some((&split.split).into()),
            watermark_ms: split.watermark.map(|watermark| watermark.0),
            is_finished: split.is_finished,
            begun: split.begun.clone(),
        }
    }
}

impl TryFrom<v1::SplitSnapshot> for SplitSnapshot {
    type Error = InvalidMessage;

    fn try_from(split: v1::SplitSnapshot) -> Result<Self, Self::Error> {
        Ok(SplitSnapshot {
            split: required(split.split, "split_snapshot.split")?.into(),
            watermark: split.watermark_ms.map(Watermark),
            is_finished: split.is_finished,
            begun: split.begun,
        })
    }
}

impl From<&Cut> for v1::Cut {
    fn from(cut: &Cut) -> Self {
        v1::Cut { watermark_ms: cut.watermark.0, splits: cut.splits.iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::Cut> for Cut {
    type Error = InvalidMessage;

    fn try_from(cut: v1::Cut) -> Result<Self, Self::Error> {
        let splits = cut.splits.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Cut { watermark: Watermark(cut.watermark_ms), splits })
    }
}

impl From<&OperatorSnapshot> for v1::OperatorSnapshot {
    fn from(state: &OperatorSnapshot) -> Self {
        v1::OperatorSnapshot {
            subtask: Some(state.subtask.into()),
            key_groups: Some(state.key_groups.into()),
            watermark_ms: state.watermark.0,
            by_clock_ms: (state.by_clock > Watermark::NONE).then_some(state.by_clock.0),
            files: state.files.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::OperatorSnapshot> for OperatorSnapshot {
    type Error = InvalidMessage;

    fn try_from(state: v1::OperatorSnapshot) -> Result<Self, Self::Error> {
        Ok(OperatorSnapshot {
            subtask: required(state.subtask, "operator_snapshot.subtask")?.into(),
            key_groups: required(state.key_groups, "operator_snapshot.key_groups")?.try_into()?,
            watermark: Watermark(state.watermark_ms),
            by_clock: state.by_clock_ms.map_or(Watermark::NONE, Watermark),
            files: state.files.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<&SealedEpoch> for v1::SealedEpoch {
    fn from(epoch: &SealedEpoch) -> Self {
        v1::SealedEpoch {
            epoch: epoch.epoch.0,
            prev: epoch.prev.0,
            files: epoch.files.iter().map(Into::into).collect(),
            rows: epoch.rows.result,
            side_rows: epoch.rows.side.clone(),
            accounts: Some(epoch.accounts.into()),
            cut: epoch.cut.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::SealedEpoch> for SealedEpoch {
    type Error = InvalidMessage;

    fn try_from(epoch: v1::SealedEpoch) -> Result<Self, Self::Error> {
        Ok(SealedEpoch {
            epoch: CheckpointId(epoch.epoch),
            prev: CheckpointId(epoch.prev),
            files: epoch.files.into_iter().map(Into::into).collect(),
            rows: RowCounts { result: epoch.rows, side: epoch.side_rows },
            accounts: required(epoch.accounts, "sealed_epoch.accounts")?.into(),
            cut: epoch.cut.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&TaskSnapshot> for v1::TaskSnapshot {
    fn from(snapshot: &TaskSnapshot) -> Self {
        use v1::task_snapshot::Snapshot;
        let snapshot = match snapshot {
            TaskSnapshot::Source { splits, events, bad } => Snapshot::Source(v1::SourceTaskSnapshot {
                splits: splits.iter().map(Into::into).collect(),
                events: *events,
                bad: *bad,
            }),
            TaskSnapshot::Operator { state, late, fired, open } => Snapshot::Operator(v1::OperatorTaskSnapshot {
                state: Some(state.into()),
                late: *late,
                fired: *fired,
                open: *open,
            }),
            TaskSnapshot::Sink { files, rows } => Snapshot::Sink(v1::SinkTaskSnapshot {
                files: files.iter().map(Into::into).collect(),
                rows: rows.result,
                side_rows: rows.side.clone(),
            }),
        };
        v1::TaskSnapshot { snapshot: Some(snapshot) }
    }
}

impl TryFrom<v1::TaskSnapshot> for TaskSnapshot {
    type Error = InvalidMessage;

    fn try_from(snapshot: v1::TaskSnapshot) -> Result<Self, Self::Error> {
        use v1::task_snapshot::Snapshot;
        Ok(match required(snapshot.snapshot, "task_snapshot.snapshot")? {
            Snapshot::Source(source) => TaskSnapshot::Source {
                splits: source.splits.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
                events: source.events,
                bad: source.bad,
            },
            Snapshot::Operator(operator) => TaskSnapshot::Operator {
                state: required(operator.state, "task_snapshot.operator.state")?.try_into()?,
                late: operator.late,
                fired: operator.fired,
                open: operator.open,
            },
            Snapshot::Sink(sink) => TaskSnapshot::Sink {
                files: sink.files.into_iter().map(Into::into).collect(),
                rows: RowCounts { result: sink.rows, side: sink.side_rows },
            },
        })
    }
}

/// A nonce as it goes over the wire.
pub fn nonce_bytes(nonce: Nonce) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&nonce.0.to_be_bytes())
}

/// Reads what [`nonce_bytes`] wrote.
///
/// # Errors
/// If it is not 16 bytes.
pub fn read_nonce(bytes: &[u8]) -> Result<Nonce, InvalidMessage> {
    let bytes = bytes.try_into().map_err(|_| InvalidMessage("a nonce has 16 bytes".to_owned()))?;
    Ok(Nonce(u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{SplitId, StageIndex, SubtaskId, SubtaskIndex, Token};
    use stream_core::key_group::KeyGroupRange;
    use stream_core::pipeline::Split;

    use super::*;

    fn file() -> FileRef {
        FileRef { name: "state/1.2/1-0".to_owned(), bytes: 7, checksum: u64::MAX }
    }

    #[test]
    fn snapshots_of_every_kind_survive_the_wire() {
        let split = Split { id: SplitId("topic/0".to_owned()), start: 5, end: Some(9) };
        let subtask = SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) };
        let state = OperatorSnapshot {
            subtask,
            key_groups: KeyGroupRange { start: 0, end: 64 },
            watermark: Watermark(-3),
            by_clock: Watermark(-4),
            files: vec![file()],
        };
        let splits = vec![SplitSnapshot { split, watermark: Some(Watermark(1)), is_finished: true, begun: vec![2, 4] }];
        let snapshots = [
            TaskSnapshot::Source { splits, events: 3, bad: 4 },
            TaskSnapshot::Operator { state, late: 1, fired: 2, open: 3 },
            TaskSnapshot::Sink { files: vec![file()], rows: RowCounts { result: 11, side: vec![0, 2] } },
        ];
        for snapshot in snapshots {
            assert_eq!(TaskSnapshot::try_from(v1::TaskSnapshot::from(&snapshot)), Ok(snapshot));
        }
    }

    #[test]
    fn barriers_epochs_and_nonces_survive_the_wire() {
        let checkpoint = CheckpointId::new(Token(2), 3);
        let barrier =
            Barrier { checkpoint, prev: CheckpointId::ROOT, triggered: Timestamp(4), is_full: true, is_last: false };
        assert_eq!(Barrier::from(v1::Barrier::from(barrier)), barrier);
        let accounts = Accounts { read: 10, bad: 1, late: 2, in_sessions: 3, open: 4 };
        let split = SplitSnapshot::unread(Split { id: SplitId("topic/0".to_owned()), start: 5, end: None });
        let cut = Some(Cut { watermark: Watermark::END, splits: vec![split] });
        let prev = CheckpointId::ROOT;
        let epoch = SealedEpoch {
            epoch: checkpoint,
            prev,
            files: vec![file()],
            rows: RowCounts { result: 1, side: vec![2] },
            accounts,
            cut,
        };
        assert_eq!(SealedEpoch::try_from(v1::SealedEpoch::from(&epoch)), Ok(epoch));
        assert_eq!(read_nonce(&nonce_bytes(Nonce(u128::MAX - 1))), Ok(Nonce(u128::MAX - 1)));
        assert!(read_nonce(b"short").is_err());
    }
}
