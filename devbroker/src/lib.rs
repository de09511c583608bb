//! A small Kafka broker for development and tests. **Not for production**: one node, plaintext, no replication, no
//! retention, and without `--fsync` nothing is forced to the disk.
//!
//! It keeps topics with many partitions in files, serves producers (idempotent ones too), consumers that assign their
//! own partitions, committed offsets, lookup by time, and the topic side of the admin API. It deliberately has no
//! consumer groups, no transactions, no compaction, no authentication: a client that asks for those gets a clear
//! refusal. Record batches are stored as producers packed them and never repacked.
//!
//! ```no_run
//! # async fn example() -> Result<(), devbroker::Error> {
//! let broker = devbroker::Broker::bind(devbroker::Options::in_dir("/tmp/kafka")).await?;
//! println!("bootstrap.servers={}", broker.local_addr());
//! broker.run(tokio_util::sync::CancellationToken::new()).await
//! # }
//! ```
//!
//! Reading order: [`Broker`], `connection` (frames), `dispatch` (requests), `api` (handlers), `topics` and `log`
//! (storage), `batch` and `records` (Kafka's format). The storage is tested beside the code, hostile clients in
//! `tests/`; that it behaves as Apache Kafka does is shown by the broker contract test in `e2e`, run against both.

mod api;
mod batch;
mod connection;
mod disk;
mod dispatch;
mod group_offsets;
mod layout;
mod log;
mod node;
mod options;
mod producer_ids;
mod producers;
mod records;
#[cfg(test)]
mod testing;
mod topics;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use disk::DiskError;
pub use options::Options;

use node::Node;

/// How long a stop waits for requests that have begun.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept, so that a lack of file handles does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the broker did not start or stopped.
#[derive(Debug, Error)]
pub enum Error {
    /// Another process listens there.
    #[error("port `{}` of `{}` is taken; stop the other process, or pass `--listen {}:PORT` with a free port", addr.port(), addr.ip(), addr.ip())]
    AddressTaken {
        /// Where it was to listen.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on `{addr}`; pass `--listen` with an address of this machine and a port above 1023")]
    Listen {
        /// Where it was to listen.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Loading the data directory panicked, which is our bug.
    #[error("the data directory could not be loaded")]
    Panicked(#[from] task::JoinError),
}

/// A broker that has its port and its data, and serves once it is [run](Broker::run).
#[derive(Debug)]
pub struct Broker {
    listener: TcpListener,
    local_addr: SocketAddr,
    max_connections: usize,
    node: Arc<Node>,
    /// Held until the end; see [`disk::lock`].
    _lock: File,
}

impl Broker {
    /// Takes the port, locks the data directory and loads it. Clients that connect from now on are served by `run`.
    ///
    /// # Errors
    /// The port is taken or not usable; the directory is in use by another broker or not usable.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let addr = options.listen;
        let listener = TcpListener::bind(addr).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => Error::AddressTaken { addr },
            _ => Error::Listen { addr, source },
        })?;
        let local_addr = listener.local_addr().map_err(|source| Error::Listen { addr, source })?;
        let advertised = options.advertise.clone().unwrap_or_else(|| {
            let ip = if local_addr.ip().is_unspecified() { [127, 0, 0, 1].into() } else { local_addr.ip() };
            (ip.to_string(), local_addr.port())
        });
        let max_connections = options.max_connections;
        let load = move || {
            let lock = disk::lock(&options.dir)?;
            Ok::<_, DiskError>((Node::open(&options, advertised)?, lock))
        };
        let (node, lock) = task::spawn_blocking(load).await??;
        Ok(Self { listener, local_addr, max_connections, node: Arc::new(node), _lock: lock })
    }

    /// Where it listens, with the port it got if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves clients until `shutdown` is called; then answers what has begun, and puts the data on the disk.
    ///
    /// # Errors
    /// None today; a client's fault closes its connection and no more.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                // A connection logs its own end, and cannot take others with it.
                Some(_ended) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &mut connections, &shutdown),
                    Err(e) => {
                        warn!(error = %e, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        info!(connections = connections.len(), "stopping");
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            warn!("connections were cut off while a request was being answered");
            connections.shutdown().await;
        }
        let node = Arc::clone(&self.node);
        Ok(task::spawn_blocking(move || node.topics.sync()).await?)
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>, shutdown: &CancellationToken) {
        if connections.len() >= self.max_connections {
            warn!(%peer, limit = self.max_connections, "turned away: too many connections, see `--max-connections`");
            return;
        }
        connections.spawn(connection::serve(stream, peer, Arc::clone(&self.node), shutdown.clone()));
    }
}
