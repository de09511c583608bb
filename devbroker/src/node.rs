//! The broker's state: what every request handler works on.

use kafka_protocol::protocol::StrBytes;

use crate::disk::DiskError;
use crate::group_offsets::GroupOffsets;
use crate::options::Options;
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
    /// Opens the data directory; host and port are what clients are told to use.
    pub(crate) fn open(options: &Options, (host, port): (String, u16)) -> Result<Self, DiskError> {
        let (dir, fsync) = (&options.dir, options.fsync);
        Ok(Self {
            host: StrBytes::from_string(host),
            port,
            auto_create_partitions: options.auto_create_partitions,
            topics: Topics::open(dir, fsync)?,
            group_offsets: GroupOffsets::open(dir, fsync)?,
            producer_ids: ProducerIds::open(dir, fsync)?,
        })
    }
}
