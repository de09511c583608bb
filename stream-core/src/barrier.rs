//! The barrier that cuts the stream into before and after a checkpoint, and its alignment over a subtask's inputs.
//!
//! An input whose barrier came is held back until the barrier has come on every other input; then the subtask's state is
//! exactly what lies before the cut (Flink: `SingleCheckpointBarrierHandler`). Who holds back an input is the exchange's
//! business, what a snapshot is the operator's.

use crate::ids::CheckpointId;
use crate::time::Timestamp;

/// The marker of a checkpoint, sent behind everything that belongs before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Which checkpoint it cuts, and which epoch it closes.
    pub checkpoint: CheckpointId,
    /// The last completed checkpoint: what was sealed after it belongs to this epoch.
    pub prev: CheckpointId,
    /// When it was triggered, by the jobmanager's clock.
    pub triggered: Timestamp,
    /// Whether state is to be written whole, for a savepoint.
    pub is_full: bool,
    /// Whether the sources end behind it.
    pub is_last: bool,
}
