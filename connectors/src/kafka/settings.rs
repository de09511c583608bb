//! How to reach a Kafka cluster: addresses, credentials, and the client settings that a user may turn.
//!
//! Settings come from whoever may submit a job, and librdkafka has some that load code, run commands or read files. So
//! there is a list of those that are allowed, and every other one is refused by name.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use stream_core::pipeline::SourceSpec;
use stream_core::secret::Secret;

use crate::uri::{SourceUri, UriError};

/// Whether this build speaks TLS with Kafka.
pub const HAS_TLS: bool = cfg!(any(feature = "kafka-ssl", feature = "kafka-ssl-vendored"));

/// The librdkafka settings that may be given, besides `sasl.password`, which is a secret. Left out are, above all,
/// `plugin.library.paths` and `ssl.engine.location` (load code), `sasl.kerberos.*` and `sasl.oauthbearer.*` (run commands,
/// fetch URLs), keys and keystores by path (read files), `debug` (may log secrets), and what the reader relies on.
pub const ALLOWED_SETTINGS: &[&str] = &[
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.type",
    "connections.max.idle.ms",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "isolation.level",
    "linger.ms",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "topic.metadata.refresh.interval.ms",
];

/// The group whose name the client carries if none is given.
const DEFAULT_GROUP: &str = "gapwise";

/// SASL mechanisms that need no more than a name and a password.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// How to reach a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    brokers: String,
    properties: BTreeMap<String, String>,
    password: Option<Secret>,
}

/// A topic, and how to reach the cluster that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// The cluster.
    pub client: ClientSettings,
    /// The topic's name.
    pub topic: String,
    /// What follows if records are gone that were to be read.
    pub on_data_loss: OnDataLoss,
    /// Whether the topic may come later.
    pub may_come_later: bool,
}

/// What follows if records are gone that were to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDataLoss {
    /// The job fails.
    #[default]
    Fail,
    /// The partition is read on from the first record that is there and was not read: from its end, if that lies before what was read.
    Earliest,
}

/// A source's property: `fail` or `earliest`, see [`OnDataLoss`].
pub const ON_DATA_LOSS: &str = "on.data.loss";

/// A source's property: `true` where the topic may come later.
pub const MAY_COME_LATER: &str = "topic.may.come.later";

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// See there.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// No topic, or no broker.
    #[error("`{0}` names no topic; write `kafka://HOST:PORT/TOPIC`")]
    NoTopic(String),
    /// A name that Kafka does not take.
    #[error("`{0}` is no name of a topic; it has 1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`")]
    TopicName(String),
    /// A broker that is not `HOST:PORT`.
    #[error("`{0}` is no address of a Kafka broker; write `HOST:PORT`, or several with commas between them")]
    Broker(String),
    /// Not on the list.
    #[error("kafka setting `{0}` may not be set; allowed are {allowed}", allowed = allowed_settings())]
    NotAllowed(String),
    /// On the list but for upper case or blanks, which librdkafka would take for another setting or none.
    #[error("kafka setting `{given}` is to be written `{written}`")]
    Spelling {
        /// As given.
        given: String,
        /// As it should be.
        written: String,
    },
    /// A password where everyone can see it.
    #[error("kafka setting `{0}` is a secret; pass it as one, for instance in `KAFKA_WEB_TRAFFIC_SECRET`")]
    NotHidden(String),
    /// A secret that we have no use for.
    #[error("kafka secret `{0}` is unknown; there is `sasl.password`")]
    UnknownSecret(String),
    /// One of the two without the other.
    #[error("`sasl.username` and `sasl.password` belong together; give both or none")]
    HalfCredentials,
    /// A property of ours with a value that it does not have.
    #[error("source property `{name}` is {allowed}, not `{given}`")]
    Value {
        /// Which.
        name: &'static str,
        /// What it may be.
        allowed: &'static str,
        /// What it is.
        given: String,
    },
    /// Anything beyond name and password.
    #[error("sasl mechanism `{0}` is not supported; choose `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`")]
    Mechanism(String),
    /// TLS in a build without it.
    #[error(
        "`security.protocol` `{0}` needs TLS for Kafka, which this build does not have; \
         install the OpenSSL headers and pkg-config, then build with the cargo feature `kafka-ssl`"
    )]
    NoTls(String),
}

impl ClientSettings {
    /// A cluster without credentials. `brokers` is `HOST:PORT`, or several between commas; a `kafka://` before it is let
    /// pass, since `KAFKA_URL` has been seen with one.
    ///
    /// # Errors
    /// If an address is none.
    pub fn new(brokers: &str) -> Result<Self, SettingsError> {
        let brokers = brokers.trim();
        let brokers = brokers.strip_prefix("kafka://").unwrap_or(brokers).trim_end_matches('/');
        check_brokers(brokers)?;
        Ok(ClientSettings { brokers: brokers.to_owned(), properties: BTreeMap::new(), password: None })
    }

    /// The same with SASL credentials; over TLS unless `security.protocol` is set.
    #[must_use]
    pub fn with_credentials(mut self, username: &str, password: Secret) -> Self {
        self.properties.insert("sasl.username".to_owned(), username.to_owned());
        self.password = Some(password);
        self
    }

    /// The same with a client setting.
    ///
    /// # Errors
    /// If it is not one of [`ALLOWED_SETTINGS`].
    pub fn with_property(mut self, name: &str, value: &str) -> Result<Self, SettingsError> {
        check_name(name)?;
        self.properties.insert(name.to_owned(), value.to_owned());
        Ok(self)
    }

    /// The cluster of a topic's URI, by what its spec says, and the topic.
    ///
    /// # Errors
    /// If it is not Kafka's URI, or a setting may not be set.
    pub(super) fn of_topic<'a>(
        uri: &str,
        properties: impl IntoIterator<Item = (&'a String, &'a String)>,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<(Self, String), SettingsError> {
        let no_topic = || SettingsError::NoTopic(uri.to_owned());
        let SourceUri::Kafka(rest) = SourceUri::parse(uri)? else { return Err(no_topic()) };
        let (brokers, topic) = rest.split_once('/').ok_or_else(no_topic)?;
        if topic.is_empty() || brokers.is_empty() {
            return Err(no_topic());
        }
        check_topic(topic)?;
        let mut client = ClientSettings::new(brokers)?;
        for (name, value) in properties {
            client = client.with_property(name, value)?;
        }
        for (name, secret) in secrets {
            match name.as_str() {
                "sasl.password" => client.password = Some(secret.clone()),
                "sasl.username" => client = client.with_property(name, secret.expose())?,
                _ => return Err(SettingsError::UnknownSecret(name.clone())),
            }
        }
        client.client_config()?;
        Ok((client, topic.to_owned()))
    }

    /// The addresses as given, for messages.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Checks the settings together and gives them to librdkafka, with the defaults that every client of ours shares.
    pub(super) fn client_config(&self) -> Result<ClientConfig, SettingsError> {
        let username = self.properties.get("sasl.username");
        if username.is_some() != self.password.is_some() {
            return Err(SettingsError::HalfCredentials);
        }
        let mut config = ClientConfig::new();
        // What a connection dies of is only in the log; by default the level is that of a logger we do not use.
        config.set_log_level(RDKafkaLogLevel::Info);
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "gapwise")
            .set("group.id", DEFAULT_GROUP)
            // A broker may close idle connections; that is no news.
            .set("log.connection.close", "false")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true");
        if cfg!(feature = "kafka-ssl-vendored") {
            // An OpenSSL of our own does not know where this system keeps its certificates.
            config.set("ssl.ca.location", "probe");
        }
        if let Some(password) = &self.password {
            config.set("security.protocol", "SASL_SSL").set("sasl.mechanism", "PLAIN");
            config.set("sasl.password", password.expose());
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        self.check_security(&config)?;
        Ok(config)
    }

    fn check_security(&self, config: &ClientConfig) -> Result<(), SettingsError> {
        let protocol = config.get("security.protocol").unwrap_or("plaintext");
        if protocol.to_ascii_lowercase().ends_with("ssl") && !HAS_TLS {
            return Err(SettingsError::NoTls(protocol.to_owned()));
        }
        let given = ["sasl.mechanism", "sasl.mechanisms"].into_iter().find_map(|name| self.properties.get(name));
        match given {
            Some(mechanism) if !MECHANISMS.contains(&mechanism.as_str()) => {
                Err(SettingsError::Mechanism(mechanism.clone()))
            }
            _ => Ok(()),
        }
    }
}

impl TopicSettings {
    /// Reads a source's URI, settings and secrets.
    ///
    /// # Errors
    /// If it is not Kafka's URI, or a setting may not be set.
    pub fn from_spec(spec: &SourceSpec) -> Result<Self, SettingsError> {
        let ours = |name: &str| [ON_DATA_LOSS, MAY_COME_LATER].contains(&name);
        let of_client = spec.properties.iter().filter(|(name, _)| !ours(name));
        let (client, topic) = ClientSettings::of_topic(&spec.uri, of_client, &spec.secrets)?;
        let property = |name: &str| spec.properties.get(name);
        let on_data_loss = property(ON_DATA_LOSS).map_or(Ok(OnDataLoss::default()), |text| OnDataLoss::parse(text))?;
        let may_come_later = property(MAY_COME_LATER).map_or(Ok(false), |text| parse_switch(MAY_COME_LATER, text))?;
        Ok(TopicSettings { client, topic, on_data_loss, may_come_later })
    }
}

impl OnDataLoss {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        match text {
            "fail" => Ok(OnDataLoss::Fail),
            "earliest" => Ok(OnDataLoss::Earliest),
            _ => {
                let (name, allowed) = (ON_DATA_LOSS, "`fail` or `earliest`");
                Err(SettingsError::Value { name, allowed, given: text.to_owned() })
            }
        }
    }
}

fn parse_switch(name: &'static str, text: &str) -> Result<bool, SettingsError> {
    text.parse().map_err(|_| SettingsError::Value { name, allowed: "`true` or `false`", given: text.to_owned() })
}

fn allowed_settings() -> String {
    ALLOWED_SETTINGS.join(", ")
}

fn check_name(name: &str) -> Result<(), SettingsError> {
    if ALLOWED_SETTINGS.contains(&name) {
        return Ok(());
    }
    let written = name.trim().to_ascii_lowercase();
    if written == "sasl.password" {
        return Err(SettingsError::NotHidden(name.to_owned()));
    }
    if ALLOWED_SETTINGS.contains(&written.as_str()) {
        return Err(SettingsError::Spelling { given: name.to_owned(), written });
    }
    Err(SettingsError::NotAllowed(name.to_owned()))
}

fn check_topic(topic: &str) -> Result<(), SettingsError> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = (1..=249).contains(&topic.len()) && topic.bytes().all(is_legal) && topic != "." && topic != "..";
    if is_name { Ok(()) } else { Err(SettingsError::TopicName(topic.to_owned())) }
}

fn check_brokers(brokers: &str) -> Result<(), SettingsError> {
    let is_address = |broker: &str| {
        let (host, port) = broker.rsplit_once(':').unwrap_or(("", ""));
        let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        let is_unambiguous = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        is_host && is_unambiguous && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    match brokers.split(',').find(|broker| !is_address(broker)) {
        Some(broker) => Err(SettingsError::Broker(broker.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;
    use stream_core::pipeline::StartPosition;

    fn spec(uri: &str, properties: &[(&str, &str)], secrets: &[(&str, &str)]) -> SourceSpec {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        SourceSpec {
            uri: uri.to_owned(),
            from: StartPosition::Earliest,
            is_bounded: false,
            watermark_delay: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            close_when_idle: Duration::ZERO,
            max_future: Duration::ZERO,
            max_drift: Duration::ZERO,
            properties: properties.iter().map(owned).collect(),
            secrets: secrets.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect(),
        }
    }

    #[test]
    fn a_uri_names_brokers_and_topic() {
        let settings = TopicSettings::from_spec(&spec("kafka://a:1,[::1]:2/web.events-1", &[], &[])).unwrap();
        assert_eq!((settings.client.brokers(), settings.topic.as_str()), ("a:1,[::1]:2", "web.events-1"));
        for uri in ["kafka://a:1", "kafka://a:1/", "kafka:///t", "kafka://a/t", "kafka://a:0/t", "kafka://a:1,/t"] {
            assert!(TopicSettings::from_spec(&spec(uri, &[], &[])).is_err(), "{uri}");
        }
        for topic in ["a b", "..", "a/b", "ä", &"x".repeat(250)] {
            let error = TopicSettings::from_spec(&spec(&format!("kafka://a:1/{topic}"), &[], &[])).unwrap_err();
            assert!(matches!(error, SettingsError::TopicName(_)), "{error}");
        }
    }

    #[test]
    fn settings_that_are_not_on_the_list_are_refused_by_name() {
        for name in [
            "plugin.library.paths",
            "Plugin.Library.Paths",
            " plugin.library.paths",
            "ssl.engine.location",
            "ssl.key.location",
            "ssl.certificate.location",
            "ssl.keystore.location",
            "ssl.crl.location",
            "ssl.providers",
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.keytab",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.token.endpoint.url",
            "enable.ssl.certificate.verification",
            "bootstrap.servers",
            "metadata.broker.list",
            "debug",
            "log.queue",
            "log_level",
            "enable.auto.commit",
            "auto.offset.reset",
            "enable.partition.eof",
            "offset.store.path",
            "statistics.interval.ms",
            "topic.blacklist",
            "builtin.features",
            "group.protocol",
            "",
        ] {
            let error = TopicSettings::from_spec(&spec("kafka://a:1/t", &[(name, "x")], &[])).unwrap_err();
            assert_eq!(error, SettingsError::NotAllowed(name.to_owned()));
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn an_odd_spelling_of_an_allowed_setting_is_refused_too() {
        for given in ["Group.Id", "group.id ", "\tgroup.id", "GROUP.ID"] {
            let error = TopicSettings::from_spec(&spec("kafka://a:1/t", &[(given, "x")], &[])).unwrap_err();
            assert_eq!(error, SettingsError::Spelling { given: given.to_owned(), written: "group.id".to_owned() });
        }
    }

    #[test]
    fn every_allowed_setting_is_librdkafkas_and_the_list_is_sorted() {
        assert!(ALLOWED_SETTINGS.is_sorted());
        let known = include_str!("settings_sample.txt");
        for name in ALLOWED_SETTINGS {
            let value = known.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
            let value = value.unwrap_or_else(|| panic!("no sample value for {name}"));
            let mut config = ClientConfig::new();
            config.set(*name, value);
            let needs_tls = name.starts_with("ssl.") || value.ends_with("ssl");
            if !needs_tls || cfg!(feature = "kafka-ssl") {
                config.create_native_config().unwrap_or_else(|error| panic!("{name}={value}: {error}"));
            }
        }
    }

    #[test]
    fn credentials_ask_for_tls_unless_told_otherwise() {
        let sasl = [("sasl.username", "web")];
        let secret = [("sasl.password", "hunter2")];
        let over_tls = TopicSettings::from_spec(&spec("kafka://a:1/t", &sasl, &secret));
        if cfg!(any(feature = "kafka-ssl", feature = "kafka-ssl-vendored")) {
            let config = over_tls.unwrap().client.client_config().unwrap();
            assert_eq!(config.get("security.protocol"), Some("SASL_SSL"));
            assert_eq!(config.get("sasl.mechanism"), Some("PLAIN"));
        } else {
            let error = over_tls.unwrap_err().to_string();
            assert!(error.contains("kafka-ssl"), "{error}");
        }
        let plain = [sasl[0], ("security.protocol", "sasl_plaintext")];
        let config = TopicSettings::from_spec(&spec("kafka://a:1/t", &plain, &secret)).unwrap().client.client_config();
        assert_eq!(config.unwrap().get("security.protocol"), Some("sasl_plaintext"));
    }

    #[test]
    fn credentials_are_complete_hidden_and_of_a_known_kind() {
        let error = |properties: &[(&str, &str)], secrets: &[(&str, &str)]| {
            TopicSettings::from_spec(&spec("kafka://a:1/t", properties, secrets)).unwrap_err()
        };
        assert_eq!(error(&[("sasl.username", "web")], &[]), SettingsError::HalfCredentials);
        assert_eq!(error(&[], &[("sasl.password", "x")]), SettingsError::HalfCredentials);
        assert_eq!(error(&[("sasl.password", "x")], &[]), SettingsError::NotHidden("sasl.password".to_owned()));
        assert_eq!(error(&[], &[("ssl.key.pem", "x")]), SettingsError::UnknownSecret("ssl.key.pem".to_owned()));
        assert_eq!(error(&[("sasl.mechanisms", "GSSAPI")], &[]), SettingsError::Mechanism("GSSAPI".to_owned()));
        let both = TopicSettings::from_spec(&spec("kafka://w:hunter2@a:1/t", &[], &[])).unwrap_err().to_string();
        assert!(!both.contains("hunter2"), "{both}");
    }
}
