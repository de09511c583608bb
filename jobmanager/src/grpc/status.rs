//! Errors as gRPC statuses: the code tells a program what to do, the message tells a person.

use stream_core::slot::NoFreeSlot;
use stream_runtime::connector::ConnectorErrorKind;
use stream_runtime::store::StoreErrorKind;
use tonic::{Code, Status};

use crate::handle::{AcceptError, CancelError, CheckpointError, ShuttingDown};
use crate::jobs::FindJobError;
use crate::queries::QueryStateError;
use crate::submit::SubmitError;

impl From<ShuttingDown> for Status {
    fn from(error: ShuttingDown) -> Self {
        Status::unavailable(error.to_string())
    }
}

impl From<FindJobError> for Status {
    fn from(error: FindJobError) -> Self {
        let code = match &error {
            FindJobError::Unknown(_) => Code::NotFound,
            FindJobError::Ambiguous { .. } => Code::InvalidArgument,
        };
        Status::new(code, error.to_string())
    }
}

impl From<CancelError> for Status {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Find(error) => error.into(),
            CancelError::Ended { .. } => Status::failed_precondition(error.to_string()),
            CancelError::ShuttingDown(error) => error.into(),
        }
    }
}

impl From<CheckpointError> for Status {
    fn from(error: CheckpointError) -> Self {
        let code = match error {
            CheckpointError::Find(error) => return error.into(),
            CheckpointError::ShuttingDown(error) => return error.into(),
            CheckpointError::NotRunning { .. } | CheckpointError::NoStore => Code::FailedPrecondition,
            CheckpointError::Parallelism { .. } => Code::InvalidArgument,
            CheckpointError::NoFreeSlot(_) => Code::ResourceExhausted,
            CheckpointError::Failed(_) => Code::Aborted,
        };
        Status::new(code, error.to_string())
    }
}

impl From<QueryStateError> for Status {
    fn from(error: QueryStateError) -> Self {
        let code = match error {
            QueryStateError::Find(error) => return error.into(),
            QueryStateError::ShuttingDown(error) => return error.into(),
            QueryStateError::NotRunning { .. } => Code::FailedPrecondition,
            QueryStateError::Refused(_) => Code::InvalidArgument,
            QueryStateError::Timeout { .. } => Code::Unavailable,
        };
        Status::new(code, error.to_string())
    }
}

impl From<SubmitError> for Status {
    fn from(error: SubmitError) -> Self {
        let code = match &error {
            SubmitError::Name(_) | SubmitError::Pipeline(_) | SubmitError::CredentialsInUri(_) => Code::InvalidArgument,
            SubmitError::MaxParallelism { .. } => Code::InvalidArgument,
            SubmitError::NoStore => Code::FailedPrecondition,
            SubmitError::Savepoint { error, .. } => match error.kind {
                StoreErrorKind::NotFound => Code::NotFound,
                StoreErrorKind::Invalid => Code::InvalidArgument,
                StoreErrorKind::Unavailable => Code::Unavailable,
                StoreErrorKind::Exists | StoreErrorKind::Damaged => Code::FailedPrecondition,
            },
            SubmitError::Connector { kind, .. } => code_of(*kind),
            SubmitError::Timeout { .. } | SubmitError::ShuttingDown(ShuttingDown) => Code::Unavailable,
            SubmitError::NoFreeSlot(NoFreeSlot { .. }) => Code::ResourceExhausted,
            SubmitError::Accept(error) => match error {
                AcceptError::NoFreeSlot(_) => Code::ResourceExhausted,
                AcceptError::Live(_) => Code::FailedPrecondition,
                AcceptError::Store(_) => Code::Unavailable,
                AcceptError::JobId(_) => Code::Internal,
                AcceptError::ShuttingDown(_) => Code::Unavailable,
            },
        };
        Status::new(code, error.to_string())
    }
}

fn code_of(kind: ConnectorErrorKind) -> Code {
    match kind {
        ConnectorErrorKind::Invalid => Code::InvalidArgument,
        ConnectorErrorKind::NotFound => Code::NotFound,
        ConnectorErrorKind::Denied => Code::PermissionDenied,
        ConnectorErrorKind::Mismatch => Code::FailedPrecondition,
        ConnectorErrorKind::DataLoss => Code::DataLoss,
        ConnectorErrorKind::Unreachable => Code::Unavailable,
        ConnectorErrorKind::Failed => Code::Internal,
    }
}
