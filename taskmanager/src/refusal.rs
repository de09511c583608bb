//! Why a deployment is not carried out.

use crate::deployment::DeploymentError;
use crate::slot::SlotError;

/// A deployment that this taskmanager refuses; nothing of it was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// A job type that was not built into this taskmanager.
    #[error("this taskmanager knows no job `{job}`: it knows `{known}`")]
    UnknownJob {
        /// Asked for.
        job: String,
        /// What there is, with backticks between.
        known: String,
    },
    /// A slot that is not there or not free.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// Parts that do not fit each other.
    #[error("the deployment cannot be run")]
    Deployment(#[from] DeploymentError),
    /// The system refuses further threads.
    #[error("no thread could be started")]
    Thread(#[source] std::io::Error),
}
