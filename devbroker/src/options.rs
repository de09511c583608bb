//! What a user may choose.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How a [`crate::Broker`] is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one, see [`crate::Broker::local_addr`].
    pub listen: SocketAddr,
    /// The host and port that clients are told to use; by default where it listens (127.0.0.1 if that is every address).
    pub advertise: Option<(String, u16)>,
    /// The data directory, made if missing. One process at a time may use it.
    pub dir: PathBuf,
    /// Whether each write is on the disk before it is acknowledged. Without it a power cut may lose records, a kill does not.
    pub fsync: bool,
    /// With how many partitions a topic is made when a client first asks for it; `None`: it is not.
    pub auto_create_partitions: Option<i32>,
    /// How many clients may be connected; more are turned away.
    pub max_connections: usize,
}

impl Options {
    /// The defaults, on a free port of 127.0.0.1 and with data in `dir`: what a test wants.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            dir: dir.into(),
            fsync: false,
            auto_create_partitions: None,
            max_connections: Self::DEFAULT_MAX_CONNECTIONS,
        }
    }

    /// Enough for a cluster on one machine (a client opens two or three), and within the usual 1,024 open files.
    pub const DEFAULT_MAX_CONNECTIONS: usize = 500;
}
