//! A broker for one test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Listeners, Node, SASL_PASSWORD, SASL_USER};
use crate::deadline::Deadline;
use crate::process::{Launch, OwnedChild};
use crate::{cache, kafka_probe, ports};

/// Starting takes 4.5 s on an idle machine; tests run on busy ones.
const START_LIMIT: Duration = Duration::from_secs(120);

/// What a test wants of its broker.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A second listener with TLS, and the user [`SASL_USER`] with [`SASL_PASSWORD`].
    pub sasl_ssl: bool,
}

/// What a client needs for the SASL_SSL listener (mechanism PLAIN).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaslSsl {
    /// Where clients connect.
    pub bootstrap_servers: String,
    /// Its user.
    pub username: &'static str,
    /// The user's password.
    pub password: &'static str,
    /// The certificate to trust, PEM: librdkafka's `ssl.ca.location`.
    pub ca_location: PathBuf,
}

/// An Apache Kafka on free ports that is stopped when the value is dropped. Its data stays in the folder it was given.
///
/// ```no_run
/// use localcluster::apache_kafka::{ApacheKafka, Options, available};
///
/// if let Err(missing) = available() {
///     eprintln!("skipped: {missing}");
///     return Ok(());
/// }
/// let dir = tempfile::tempdir()?;
/// let kafka = ApacheKafka::start(dir.path(), &Options { sasl_ssl: true })?;
/// println!("{}", kafka.bootstrap_servers()); // 127.0.0.1:43210
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ApacheKafka {
    child: OwnedChild,
    launch: Launch,
    listeners: Listeners,
    sasl_ssl: Option<SaslSsl>,
}

impl ApacheKafka {
    /// Makes a node in `dir` (an empty folder, or one of an earlier node), starts it on free ports and waits until it
    /// serves. Fetches Kafka's jars the first time on a machine.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(dir: &Path, options: &Options) -> Result<ApacheKafka, Error> {
        let free = || ports::free().map_err(Error::NoPort);
        let sasl_ssl = if options.sasl_ssl { Some(free()?) } else { None };
        let listeners = Listeners { plaintext: free()?, controller: free()?, sasl_ssl };
        let node = Node::prepare(&cache::dir(), &dir.join("kafka"), &listeners)?;
        let launch = node.launch(&dir.join("kafka.log"));
        let sasl_ssl = sasl_ssl.zip(node.ca_location()).map(|(port, ca_location)| SaslSsl {
            bootstrap_servers: format!("127.0.0.1:{port}"),
            username: SASL_USER,
            password: SASL_PASSWORD,
            ca_location: ca_location.to_owned(),
        });
        let mut kafka = ApacheKafka { child: OwnedChild::start(&launch)?, launch, listeners, sasl_ssl };
        kafka.wait_until_ready()?;
        Ok(kafka)
    }

    /// Where clients connect without TLS or login.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.listeners.plaintext)
    }

    /// The listener with TLS and login, if it was asked for.
    #[must_use]
    pub fn sasl_ssl(&self) -> Option<&SaslSsl> {
        self.sasl_ssl.as_ref()
    }

    /// `kill -9`. [`ApacheKafka::restart`] brings it back with its data.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Stops it if it runs, and starts it again on the same ports and data.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn restart(&mut self) -> Result<(), Error> {
        if !self.child.has_ended() {
            self.child.stop();
        }
        self.child = OwnedChild::start(&self.launch)?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let (child, port) = (&mut self.child, self.listeners.plaintext);
        Deadline::after(START_LIMIT).wait_until(|| child.has_ended() || kafka_probe::is_ready(port));
        if kafka_probe::is_ready(self.listeners.plaintext) {
            return Ok(());
        }
        Err(Error::NotReady { log: self.launch.log.clone(), last_words: self.launch.last_words() })
    }
}
