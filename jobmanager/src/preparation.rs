//! What comes before an attempt is planned, in the order that makes it safe (`docs/design/0002-exactly-once.md`): the sink is
//! taken over first; only then, when no older attempt's epoch can become visible any more, the checkpoints are listed
//! and the one that continues the sink is chosen.
//!
//! Runs beside the service's loop. Repeating it fences the preparation before it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_core::checkpoint::{
    Accounts, Choice, Manifest, Refusal, SealedEpoch, choose, choose_savepoint, is_token_new,
};
use stream_core::ids::{CheckpointId, JobId, Nonce, Token};
use stream_core::pipeline::{Pipeline, Split};
use stream_runtime::connector::{Anchor, Claim, ConnectorError, ConnectorErrorKind, Connectors, cause_chain};
use stream_runtime::fail_point::{self, Point};
use stream_runtime::store::{StoreError, StoreErrorKind};

use crate::checkpoint_store::{CheckpointStore, Listing};
use crate::redaction::redact;

/// How long the store may take to list and read the manifests.
const STORE_TIMEOUT: Duration = Duration::from_secs(60);

/// What an attempt begins with; the same for all its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Its right to publish.
    pub(crate) token: Token,
    /// The token's random companion.
    pub(crate) nonce: Nonce,
    /// The epoch that the sink published last.
    pub(crate) last_epoch: CheckpointId,
    /// The checkpoint; none for a job that begins.
    pub(crate) restored: Option<Manifest>,
    /// Epochs to be published first, oldest first.
    pub(crate) pending: Vec<SealedEpoch>,
}

/// A savepoint that a job was submitted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Savepoint {
    /// What it holds; its files are in the checkpoint store.
    pub(crate) manifest: Manifest,
    /// Whether it may be older than what is published.
    pub(crate) accept_duplicates: bool,
    /// The token of the first attempt that began with it: a checkpoint under that or a later one follows on the savepoint.
    pub(crate) since: Option<Token>,
}

/// An attempt that can begin.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What it begins with.
    pub(crate) start: Start,
    /// Every manifest that is stored, oldest first.
    pub(crate) stored: Vec<Manifest>,
}

/// An attempt that cannot begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotPrepared {
    /// Why, outermost first, without secrets.
    pub(crate) causes: Vec<String>,
    /// Whether trying again cannot help.
    pub(crate) is_final: bool,
}

/// All that preparing an attempt takes.
pub(crate) struct Preparation {
    /// The sink is among them.
    pub(crate) connectors: Arc<dyn Connectors>,
    /// `None` where nothing is stored.
    pub(crate) store: Option<CheckpointStore>,
    /// How long the sink may take.
    pub(crate) sink_timeout: Duration,
    /// The job.
    pub(crate) job: JobId,
    /// What it runs.
    pub(crate) pipeline: Arc<Pipeline>,
    /// The attempt's own.
    pub(crate) nonce: Nonce,
    /// What the job was submitted with, until it has a checkpoint of its own.
    pub(crate) savepoint: Option<Savepoint>,
    /// Stored files that a task could not read.
    pub(crate) damaged: BTreeSet<String>,
}

impl Preparation {
    /// Carries it out.
    ///
    /// # Errors
    /// With what is wrong; the sink may be taken over all the same.
    pub(crate) async fn run(self) -> Result<Prepared, NotPrepared> {
        let outcome = self.prepare().await;
        outcome.map_err(|mut not_prepared| {
            let redacted = |cause| redact(cause, &self.pipeline);
            not_prepared.causes = not_prepared.causes.into_iter().map(redacted).collect();
            not_prepared
        })
    }

    async fn prepare(&self) -> Result<Prepared, NotPrepared> {
        let mut highest_token = match &self.store {
            Some(store) => in_time(store.highest_token()).await?,
            None => Token::default(),
        };
        if let Some(savepoint) = &self.savepoint {
            highest_token = highest_token.max(savepoint.manifest.token);
        }
        let anchor = self.fence(highest_token).await?;
        fail_point::reach(Point::SinkFenced);
        // Not one line earlier: a checkpoint whose epoch was published just before the fence must be among them.
        let listing = match &self.store {
            Some(store) => in_time(store.manifests()).await?.without(&self.damaged),
            None => Listing::default(),
        };
        for reason in &listing.left_out {
            tracing::warn!(job_id = %self.job, reason, "left a checkpoint out");
        }
        let Listing { whole, left_out } = listing;
        if !is_token_new(anchor.token, &whole) {
            return Err(token_not_new(anchor.token));
        }
        let choice = match &self.savepoint {
            Some(savepoint) if !savepoint.has_successor(&whole) => {
                let Savepoint { manifest, accept_duplicates, .. } = savepoint;
                if whole.iter().all(|stored| stored.checkpoint != manifest.checkpoint) {
                    return Err(savepoint_gone(manifest.checkpoint, left_out));
                }
                choose_savepoint(manifest.clone(), anchor.last_epoch, *accept_duplicates)
            }
            Some(_) | None => choose(whole.clone(), anchor.last_epoch),
        };
        let Choice { restored, pending } = choice.map_err(|refusal| refused(&refusal, left_out))?;
        let Anchor { token, last_epoch } = anchor;
        let start = Start { token, nonce: self.nonce, last_epoch, restored, pending };
        Ok(Prepared { start, stored: whole })
    }

    async fn fence(&self, highest_token: Token) -> Result<Anchor, NotPrepared> {
        let claim = Claim { job_id: self.job, highest_token, nonce: self.nonce };
        let fencing = self.connectors.fence_sink(&self.pipeline.sink, claim);
        match tokio::time::timeout(self.sink_timeout, fencing).await {
            Ok(anchor) => anchor.map_err(|error| not_fenced(&error)),
            Err(_) => {
                let cause =
                    format!("the sink `{}` did not answer within {:?}", self.pipeline.sink.uri, self.sink_timeout);
                Err(NotPrepared { causes: vec![cause], is_final: false })
            }
        }
    }
}

impl Savepoint {
    /// Whether one of these checkpoints was taken by a job that had begun with the savepoint.
    fn has_successor(&self, manifests: &[Manifest]) -> bool {
        self.since.is_some_and(|since| manifests.iter().any(|manifest| manifest.token >= since))
    }
}

impl Start {
    /// What was counted up to the cut.
    pub(crate) fn accounts(&self) -> Accounts {
        self.restored.as_ref().map(|manifest| manifest.accounts).unwrap_or_default()
    }

    /// The splits to read, each from where the checkpoint has it; one that it does not know, from its beginning.
    pub(crate) fn splits(&self, known: &[Split]) -> Vec<Split> {
        let restored: Vec<Split> = match &self.restored {
            Some(manifest) => manifest.splits.iter().map(|split| split.split.clone()).collect(),
            None => Vec::new(),
        };
        let is_new = |split: &&Split| !restored.iter().any(|old| old.id == split.id);
        let new: Vec<Split> = known.iter().filter(is_new).cloned().collect();
        restored.into_iter().chain(new).collect()
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, NotPrepared> {
    match tokio::time::timeout(STORE_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| NotPrepared {
            is_final: error.kind != StoreErrorKind::Unavailable,
            causes: vec!["cannot read the checkpoints".to_owned(), error.to_string()],
        }),
        Err(_) => {
            let cause = format!("the checkpoint store did not answer within {STORE_TIMEOUT:?}");
            Err(NotPrepared { causes: vec![cause], is_final: false })
        }
    }
}

fn not_fenced(error: &ConnectorError) -> NotPrepared {
    let is_final = match error.kind {
        ConnectorErrorKind::Unreachable | ConnectorErrorKind::Failed => false,
        ConnectorErrorKind::Invalid
        | ConnectorErrorKind::NotFound
        | ConnectorErrorKind::Denied
        | ConnectorErrorKind::DataLoss
        | ConnectorErrorKind::Mismatch => true,
    };
    let mut causes = vec!["cannot take the sink over".to_owned()];
    causes.extend(cause_chain(error));
    NotPrepared { causes, is_final }
}

/// See [`is_token_new`].
fn token_not_new(token: Token) -> NotPrepared {
    let cause = format!(
        "the sink gave token {token}, and an older attempt's checkpoint has that or a higher one: trying again"
    );
    NotPrepared { causes: vec![cause], is_final: false }
}

fn savepoint_gone(savepoint: CheckpointId, left_out: Vec<String>) -> NotPrepared {
    let cause =
        format!("savepoint {savepoint}, which the job was submitted with, is no longer whole: choose another one");
    NotPrepared { causes: std::iter::once(cause).chain(left_out).collect(), is_final: true }
}

fn refused(refusal: &Refusal, left_out: Vec<String>) -> NotPrepared {
    let causes = std::iter::once(refusal.to_string()).chain(left_out).collect();
    NotPrepared { causes, is_final: true }
}
