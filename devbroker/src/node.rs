//! The broker's state: what every request handler works on.

use std::path::Path;

use kafka_protocol::protocol::StrBytes;

use crate::disk::DiskError;
use crate::group_offsets::GroupOffsets;
use crate::producer_ids::ProducerIds;
use crate::topics::Topics;

/// The one broker there is.
pub(crate) const NODE_ID: i32 = 1;

/// Topics, offsets and ids of the single node, and the address it tells its clients.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: StrBytes,
    pub(crate) port: u16,
    pub(crate) auto_create_partitions: Option<i32>,
    pub(crate) topics: Topics,
    pub(crate) group_offsets: GroupOffsets,
    pub(crate) producer_ids: ProducerIds,
}

impl Node {
    /// Opens what is in `dir`.
    pub(crate) fn open(
        dir: &Path,
        fsync: bool,
        (host, port): (String, u16),
        auto_create_partitions: Option<i32>,
    ) -> Result<Self, DiskError> {
        Ok(Self {
            host: StrBytes::from_string(host),
            port,
            auto_create_partitions,
            topics: Topics::open(dir, fsync)?,
            group_offsets: GroupOffsets::open(dir, fsync)?,
            producer_ids: ProducerIds::open(dir, fsync)?,
        })
    }
}
