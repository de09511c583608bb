//! Errors as gRPC statuses: the code tells a program what to do, the message tells a person.

use stream_core::slot::NoFreeSlot;
use stream_runtime::connector::ConnectorErrorKind;
use tonic::{Code, Status};

use crate::handle::{AcceptError, CancelError, ShuttingDown};
use crate::jobs::FindJobError;
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

impl From<SubmitError> for Status {
    fn from(error: SubmitError) -> Self {
        let code = match &error {
            SubmitError::Name(_) | SubmitError::Pipeline(_) | SubmitError::CredentialsInUri(_) => Code::InvalidArgument,
            SubmitError::Connector { kind, .. } => code_of(*kind),
            SubmitError::Timeout { .. } | SubmitError::ShuttingDown(ShuttingDown) => Code::Unavailable,
            SubmitError::NoFreeSlot(NoFreeSlot { .. }) => Code::ResourceExhausted,
            SubmitError::Accept(error) => match error {
                AcceptError::NoFreeSlot(_) => Code::ResourceExhausted,
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
        ConnectorErrorKind::Unreachable => Code::Unavailable,
        ConnectorErrorKind::Failed => Code::Internal,
    }
}
