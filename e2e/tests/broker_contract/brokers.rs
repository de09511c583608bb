//! The brokers under test, and what they are known to do differently.

use devbroker::{Error, Options};
use localcluster::apache_kafka::ApacheKafka;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A known, documented difference of a broker from Apache Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It has no transactions.
    Transactions,
    /// It has no consumer groups, only their committed offsets.
    ConsumerGroups,
}

/// A running broker.
pub(crate) trait Broker {
    /// Where clients connect; the same after a restart.
    fn bootstrap_servers(&self) -> String;

    /// Stops it in good order and starts it on the same data.
    fn restart(&mut self);

    /// Whether it is known to differ so.
    fn has(&self, difference: Difference) -> bool;
}

impl Broker for ApacheKafka {
    fn bootstrap_servers(&self) -> String {
        ApacheKafka::bootstrap_servers(self)
    }

    fn restart(&mut self) {
        ApacheKafka::restart(self).unwrap();
    }

    fn has(&self, _: Difference) -> bool {
        false
    }
}

/// A devbroker in this process, on threads of its own.
pub(crate) struct InProcessDevbroker {
    dir: TempDir,
    runtime: Runtime,
    options: Options,
    shutdown: CancellationToken,
    running: JoinSet<Result<(), Error>>,
}

impl InProcessDevbroker {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Self {
            options: Options::in_dir(dir.path()),
            dir,
            runtime: Runtime::new().unwrap(),
            shutdown: CancellationToken::new(),
            running: JoinSet::new(),
        };
        broker.run();
        broker
    }

    fn run(&mut self) {
        let broker = self.runtime.block_on(devbroker::Broker::bind(self.options.clone())).unwrap();
        // A restart must come back on the same port.
        self.options.listen = broker.local_addr();
        self.shutdown = CancellationToken::new();
        self.running.spawn_on(broker.run(self.shutdown.clone()), self.runtime.handle());
    }
}

impl Broker for InProcessDevbroker {
    fn bootstrap_servers(&self) -> String {
        self.options.listen.to_string()
    }

    fn restart(&mut self) {
        self.shutdown.cancel();
        self.runtime.block_on(self.running.join_next()).unwrap().unwrap().unwrap();
        assert!(self.dir.path().join("topics").is_dir());
        self.run();
    }

    fn has(&self, difference: Difference) -> bool {
        match difference {
            Difference::Transactions | Difference::ConsumerGroups => true,
        }
    }
}
