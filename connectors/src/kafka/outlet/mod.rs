//! A topic as an outlet: the rows of a side table as records, each epoch by one transaction.
//!
//! The register is the offset that a consumer group of the job's own has committed for partition 0 of the topic: it is no place
//! in the topic but the id of the epoch that was published last, and moves in the same transaction as the epoch's records. Who
//! publishes holds the job's transactional id, and with it the register: whoever takes that over aborts what is open, and
//! whoever had it cannot commit any more. So what was read of the register when the id was taken over holds until then.
//!
//! After any error the client is dropped, and the next try takes the id over again and reads the register.

mod check;
mod records;
mod session;

use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::{CheckpointId, Token};
use stream_core::outlet::{OutletSpec, Turn, turn};
use stream_core::pipeline::SideTable;
use stream_runtime::connector::{ConnectorError, Grant, PublishError, RowChunks};

use super::error::Error;
use super::settings::{ClientSettings, SettingsError};
use crate::outlets::Outlet;
use crate::rows::misfit;
pub(crate) use check::check;
use records::Records;
use session::Session;

/// Publishes into a topic.
pub(crate) struct TopicOutlet {
    target: Target,
    records: Records,
    /// The attempt's.
    token: Token,
    session: Option<Session>,
}

/// A topic, and who publishes into it.
#[derive(Clone, Debug)]
struct Target {
    client: ClientSettings,
    topic: String,
    /// The transactional id, and the group whose offset is the register.
    id: String,
}

impl Target {
    fn new(spec: &OutletSpec, id: String) -> Result<Self, SettingsError> {
        let (client, topic) = ClientSettings::of_topic(&spec.uri, &spec.properties, &spec.secrets)?;
        let client = client.with_property("group.id", &id)?;
        // The register must not be read past a transaction that is about to move it.
        let client = client.with_property("isolation.level", "read_committed")?;
        Ok(Target { client, topic, id })
    }
}

impl TopicOutlet {
    /// An outlet; it connects when it first publishes, and again whenever something failed.
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub(crate) fn open(table: &SideTable, spec: &OutletSpec, grant: Grant) -> Result<Self, ConnectorError> {
        let target = Target::new(spec, format!("gapwise-{}-{}", grant.job_id, table.name)).map_err(Error::from)?;
        Ok(TopicOutlet { target, records: Records::of(table), token: grant.token, session: None })
    }

    fn send(&self, session: &mut Session, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<(), PublishError> {
        session.begin().map_err(publish_error)?;
        while let Some(chunk) = rows.next_chunk()? {
            let mut sent = Ok(());
            let read = self.records.each(epoch.epoch, &chunk, |record| {
                sent = session.send(record);
                sent.is_ok()
            });
            read.map_err(misfit)?;
            sent.map_err(publish_error)?;
        }
        session.commit(epoch.epoch).map_err(publish_error)
    }
}

impl TopicOutlet {
    /// The first epoch of an attempt makes the register; nobody else can have published what this attempt has sealed.
    fn is_register_lost(&self, session: &Session, epoch: &SealedEpoch) -> bool {
        let is_of_earlier_attempt = epoch.epoch.token() < self.token && epoch.prev != CheckpointId::ROOT;
        session.last_epoch().is_none() && is_of_earlier_attempt
    }

    fn passed(&self, last: CheckpointId, epoch: &SealedEpoch) -> Error {
        let (topic, group) = (self.target.topic.clone(), self.target.id.clone());
        Error::OutletPassed { topic, group, last, epoch: epoch.epoch, prev: epoch.prev }
    }
}

impl Outlet for TopicOutlet {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<(), PublishError> {
        let session = self.session.take();
        let mut session = session.map_or_else(|| Session::open(&self.target), Ok).map_err(publish_error)?;
        match turn(session.last_epoch(), epoch) {
            Turn::Passed(last) => return Err(publish_error(self.passed(last, epoch))),
            Turn::Published => {}
            Turn::Due => {
                if self.is_register_lost(&session, epoch) {
                    tracing::warn!(
                        topic = self.target.topic,
                        group = self.target.id,
                        "the group has no offset that tells which epoch the topic has: publishing; if the job died as it published, \
                         and was away for longer than `offsets.retention.minutes`, the topic has this epoch twice"
                    );
                }
                if let Err(error) = self.send(&mut session, epoch, rows) {
                    session.abort();
                    return Err(error);
                }
            }
        }
        self.session = Some(session);
        Ok(())
    }
}

/// Whether trying again may help: what needs somebody to do something does not pass by itself.
fn publish_error(error: Error) -> PublishError {
    match error {
        Error::Unreachable { .. } | Error::NotPublished { .. } | Error::Client { .. } => {
            PublishError::Passing(error.into())
        }
        _ => PublishError::Final(error.into()),
    }
}
