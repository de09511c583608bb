//! Tells the consumer group how far a completed checkpoint has read, so that Kafka's own tools show the lag.

use stream_core::pipeline::{SourceSpec, Split};
use stream_runtime::connector::ConnectorError;

use super::discover::partition_of;
use super::error::Error;
use super::lookup::{Lookup, Offsets};
use super::settings::TopicSettings;

/// Commits the positions by a client of its own, never through one that reads: see `batch_queue`. Without a
/// `group.id` of the user's there is no group to tell. Blocks for some seconds at most if the cluster is silent.
///
/// # Errors
/// If the cluster does not take them.
pub fn commit(spec: &SourceSpec, positions: &[Split]) -> Result<(), ConnectorError> {
    if !spec.properties.contains_key("group.id") || positions.is_empty() {
        return Ok(());
    }
    let TopicSettings { client, topic, .. } = TopicSettings::from_spec(spec).map_err(Error::from)?;
    let offset = |split: &Split| Ok((partition_of(&split.id, &topic)?, split.start));
    let offsets = positions.iter().map(offset).collect::<Result<Offsets, Error>>()?;
    Ok(Lookup::new(&client)?.commit(&topic, &offsets)?)
}
