//! The points there are, in the order in which a checkpoint and then a recovery come by.

/// A place at which a process can be made to die. The phases are those of a checkpoint (P0 to P16) and of a recovery (P17 to
/// P19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// P0, both managers: a heartbeat was sent, or heard. No phase of a checkpoint decides when.
    Heartbeat,
    /// P1, jobmanager: a checkpoint has its id, and no source has heard of it.
    CheckpointTriggered,
    /// P2, source task: it has heard of a checkpoint and sent no barrier; other sources may have.
    TriggerReceived,
    /// P3, window and sink tasks: a barrier came, and not yet on every input.
    AlignmentBegun,
    /// P4, window and sink tasks: what belongs to the checkpoint is serialised and was handed to no store.
    SnapshotTaken,
    /// P5, both managers, by kind of object: half of it is written, under a name that does not count.
    ObjectHalfWritten,
    /// P5 and P10, both managers, by kind of object: it is written and durable, and has not its name yet.
    ObjectWritten,
    /// P6 and P11, both managers, by kind of object: it is there, and who wrote it has not heard so.
    ObjectStored,
    /// P6, all tasks: their part of the checkpoint is stored and not acknowledged.
    AcknowledgementDue,
    /// P7, taskmanager, by task: the acknowledgement is on its way, or lost.
    AcknowledgementSent,
    /// P7, jobmanager: an acknowledgement came and was not taken in.
    AcknowledgementReceived,
    /// P8, jobmanager: all tasks but one have acknowledged.
    OneAcknowledgementMissing,
    /// P9, jobmanager: every task has acknowledged, and nothing of the manifest is written.
    AllAcknowledged,
    /// P11, jobmanager: the manifest is stored, and nobody has heard so.
    ManifestStored,
    /// P12, sink task: it has heard that the checkpoint is complete, and has begun nothing.
    CompletionReceived,
    /// P13, sink task: the epoch's rows for an outlet are in a transaction of Kafka that is open, or in a file whose register does
    /// not know of them.
    OutletRowsSent,
    /// P13, sink task: an outlet has the epoch, with its register, and the sink nothing of it.
    OutletCommitted,
    /// P13, sink task: the epoch's rows are in a transaction of Postgres that is open.
    RowsSent,
    /// P14, sink task: Postgres has committed; who asked for it has not heard so.
    PublicationCommitted,
    /// P15, sink task: it knows that the epoch is published, and still has it as pending.
    PublicationKnown,
    /// P15, jobmanager: it was told that the epoch is published, and still has it as pending.
    PublicationReported,
    /// P16, jobmanager: of the checkpoints that may go the first manifest is removed.
    DiscardBegun,
    /// P16, jobmanager: it knows which files of older attempts no manifest names, and has removed none.
    SweepBegun,
    /// P17, jobmanager: the sink is taken over, and no checkpoint is looked for yet.
    SinkFenced,
    /// P18, jobmanager: a taskmanager was sent its tasks, perhaps the first of several.
    DeploymentSent,
    /// P18, window task: it has read a file of its state, perhaps the first of several.
    RestoreBegun,
    /// P19, sink task: an epoch that an earlier attempt had sealed is published, perhaps the first of several.
    EarlierEpochPublished,
}

impl Point {
    /// Each of them.
    pub const ALL: [Point; 27] = [
        Point::Heartbeat,
        Point::CheckpointTriggered,
        Point::TriggerReceived,
        Point::AlignmentBegun,
        Point::SnapshotTaken,
        Point::ObjectHalfWritten,
        Point::ObjectWritten,
        Point::ObjectStored,
        Point::AcknowledgementDue,
        Point::AcknowledgementSent,
        Point::AcknowledgementReceived,
        Point::OneAcknowledgementMissing,
        Point::AllAcknowledged,
        Point::ManifestStored,
        Point::CompletionReceived,
        Point::OutletRowsSent,
        Point::OutletCommitted,
        Point::RowsSent,
        Point::PublicationCommitted,
        Point::PublicationKnown,
        Point::PublicationReported,
        Point::DiscardBegun,
        Point::SweepBegun,
        Point::SinkFenced,
        Point::DeploymentSent,
        Point::RestoreBegun,
        Point::EarlierEpochPublished,
    ];

    /// As it is written in the environment. It stays: scripts rely on it.
    pub const fn name(self) -> &'static str {
        match self {
            Point::Heartbeat => "heartbeat",
            Point::CheckpointTriggered => "checkpoint-triggered",
            Point::TriggerReceived => "trigger-received",
            Point::AlignmentBegun => "alignment-begun",
            Point::SnapshotTaken => "snapshot-taken",
            Point::ObjectHalfWritten => "object-half-written",
            Point::ObjectWritten => "object-written",
            Point::ObjectStored => "object-stored",
            Point::AcknowledgementDue => "acknowledgement-due",
            Point::AcknowledgementSent => "acknowledgement-sent",
            Point::AcknowledgementReceived => "acknowledgement-received",
            Point::OneAcknowledgementMissing => "one-acknowledgement-missing",
            Point::AllAcknowledged => "all-acknowledged",
            Point::ManifestStored => "manifest-stored",
            Point::CompletionReceived => "completion-received",
            Point::OutletRowsSent => "outlet-rows-sent",
            Point::OutletCommitted => "outlet-committed",
            Point::RowsSent => "rows-sent",
            Point::PublicationCommitted => "publication-committed",
            Point::PublicationKnown => "publication-known",
            Point::PublicationReported => "publication-reported",
            Point::DiscardBegun => "discard-begun",
            Point::SweepBegun => "sweep-begun",
            Point::SinkFenced => "sink-fenced",
            Point::DeploymentSent => "deployment-sent",
            Point::RestoreBegun => "restore-begun",
            Point::EarlierEpochPublished => "earlier-epoch-published",
        }
    }
}
