//! Where events come from.

use std::collections::BTreeMap;
use std::time::Duration;

use connectors::kafka::{MAY_COME_LATER, ON_DATA_LOSS};
use stream_core::pipeline::{SourceSpec, StartPosition};
use stream_core::secret::Secret;
use stream_core::time::EventTime;

use super::uri::{self, Uri};
use super::{Given, Place};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

/// The broker and topic of `make up`.
const LOCAL_KAFKA: &str = "127.0.0.1:9092";
const LOCAL_TOPIC: &str = "bootcamp-events-prod";
const KAFKA_PORT: u16 = 9092;
const SCHEMES: &str = "`kafka://HOST:PORT/TOPIC`, `file:PATH` or `stdin:`";

/// How far event time is believed, and how a source's watermark is made.
#[derive(Default)]
pub(super) struct Times {
    pub(super) watermark_delay: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_future: Duration,
    pub(super) max_drift: Duration,
    pub(super) close_when_idle: Duration,
}

/// The source of a job of type `job`.
///
/// # Errors
/// If a value cannot be.
pub(super) fn spec(
    args: &args::Source,
    environment: &Environment,
    place: Place,
    job: &str,
    times: Times,
) -> Result<SourceSpec, Failure> {
    let from = from(args, environment)?;
    let until_latest = until_latest(args, environment)?;
    let mut source = SourceSpec {
        uri: String::new(),
        from: from.as_ref().map_or(StartPosition::Earliest, |(_, position)| *position),
        is_bounded: until_latest,
        watermark_delay: times.watermark_delay,
        idle_timeout: times.idle_timeout,
        max_future: times.max_future,
        max_drift: times.max_drift,
        close_when_idle: times.close_when_idle,
        properties: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    let Some(Asked { given, protocol }) = asked(args, environment, place)? else {
        let topic = environment.get("KAFKA_TOPIC").unwrap_or(LOCAL_TOPIC);
        let hosts = Given { text: LOCAL_KAFKA.to_owned(), name: "--source".to_owned() };
        kafka(&mut source, &hosts, &format!("{LOCAL_KAFKA}/{topic}"), job, args, environment)?;
        return Ok(source);
    };
    if let Some(rest) = given.text.strip_prefix("kafka://") {
        source.properties.extend(protocol.map(|protocol| ("security.protocol".to_owned(), protocol)));
        kafka(&mut source, &given, rest, job, args, environment)?;
        return Ok(source);
    }
    if let Some((from, position)) = from
        && position != StartPosition::Earliest
    {
        return Err(from.not("where a file begins", "leave it out, or read from Kafka"));
    }
    source.is_bounded = true;
    source.uri = match given.text.split_once(':') {
        Some(("file", "" | "//")) => return Err(given.not("a file", "write `file:PATH`")),
        Some(("file", paths)) => format!("file:{}", uri::absolute(paths, &environment.folder)),
        Some(("stdin", _)) if place == Place::Cluster => {
            return Err(given.not("known to a cluster", "use `jobctl run`, or put the events into Kafka or a file"));
        }
        Some(("stdin", "" | "//")) => "stdin:".to_owned(),
        // The bids of a benchmark.
        Some(("nexmark", _)) => given.text.clone(),
        _ => return Err(unknown(&given)),
    };
    Ok(source)
}

/// A source that the user named.
struct Asked {
    given: Given,
    /// The client's `security.protocol`, where an address says it.
    protocol: Option<String>,
}

/// What was asked for; none for the local cluster's topic.
fn asked(args: &args::Source, environment: &Environment, place: Place) -> Result<Option<Asked>, Failure> {
    if let Some(given) = Given::find("--source", &args.source, environment) {
        return Ok(Some(Asked { given, protocol: None }));
    }
    match (Given::variable("KAFKA_URL", environment), place) {
        (Some(given), _) => {
            let (scheme, hosts) = given.text.split_once("://").unwrap_or(("kafka", &given.text));
            let protocol = match scheme.to_ascii_uppercase().as_str() {
                // With credentials the connector's own choice is SASL_SSL.
                "KAFKA" | "PLAINTEXT" | "SASL_SSL" => None,
                other @ ("SSL" | "SASL_PLAINTEXT") => Some(other.to_owned()),
                _ => {
                    let shown = uri::shown(&given.text);
                    let message = format!("KAFKA_URL: `{shown}` is not an address of Kafka: write `HOST:PORT`");
                    return Err(Failure::usage(message));
                }
            };
            let given = Given { text: format!("kafka://{hosts}"), name: given.name };
            Ok(Some(Asked { given, protocol }))
        }
        (None, Place::Cluster) => Ok(None),
        (None, Place::Here) => Err(Failure::usage(format!("no source: pass `--source` with {SCHEMES}"))),
    }
}

/// `rest` is what follows `kafka://`.
fn kafka(
    source: &mut SourceSpec,
    given: &Given,
    rest: &str,
    job: &str,
    args: &args::Source,
    environment: &Environment,
) -> Result<(), Failure> {
    let refuse = |what: &str| Failure::usage(format!("{}: `{}` {what}", given.name, uri::shown(&given.text)));
    let Uri { hosts, path, credentials, query } = Uri::parse(rest);
    let hosts = uri::with_port(&hosts, KAFKA_PORT);
    if hosts.is_empty() {
        return Err(refuse("names no broker: write `kafka://HOST:PORT/TOPIC`"));
    }
    if !query.is_empty() {
        return Err(refuse("has settings after a `?`: pass them with `--kafka-property NAME=VALUE`"));
    }
    let topic = if path.is_empty() { environment.get("KAFKA_TOPIC").unwrap_or_default() } else { &path };
    if topic.is_empty() {
        return Err(refuse("names no topic: write `kafka://HOST:PORT/TOPIC`, or set KAFKA_TOPIC"));
    }
    source.uri = format!("kafka://{hosts}/{topic}");
    // Under which `--from committed` looks.
    let group = environment.get("KAFKA_GROUP").map_or_else(|| format!("gapwise-{job}"), str::to_owned);
    source.properties.insert("group.id".to_owned(), group);
    let of_flink = (environment.get("KAFKA_WEB_TRAFFIC_KEY"), environment.get("KAFKA_WEB_TRAFFIC_SECRET"));
    match (credentials.user, credentials.password, of_flink) {
        (Some(user), Some(password), _) => sasl(source, user, password),
        (_, _, (Some(key), Some(secret))) => sasl(source, key.to_owned(), Secret::new(secret)),
        _ => {}
    }
    what_may_be_missing(source, args, environment)?;
    kafka_properties(source, args, environment)
}

/// What is to be done about records that are gone, and a topic that is not there yet.
fn what_may_be_missing(source: &mut SourceSpec, args: &args::Source, environment: &Environment) -> Result<(), Failure> {
    if let Some(given) = Given::find("--on-data-loss", &args.on_data_loss, environment) {
        if !["fail", "earliest"].contains(&given.text.as_str()) {
            return Err(given.not("a policy for records that are gone", "choose `fail` or `earliest`"));
        }
        source.properties.insert(ON_DATA_LOSS.to_owned(), given.text);
    }
    if let Some(given) = Given::find("--wait-for-topic", &args.wait_for_topic, environment)
        && given.switch()?
    {
        if source.is_bounded {
            return Err(given.not("of use with `--until latest`", "leave one of them out"));
        }
        source.properties.insert(MAY_COME_LATER.to_owned(), "true".to_owned());
    }
    Ok(())
}

/// With both set, the connector speaks SASL_SSL with PLAIN.
fn sasl(source: &mut SourceSpec, user: String, password: Secret) {
    source.properties.insert("sasl.username".to_owned(), user);
    source.secrets.insert("sasl.password".to_owned(), password);
}

/// Which settings are allowed is the connector's to say; here they are only told apart from secrets.
fn kafka_properties(source: &mut SourceSpec, args: &args::Source, environment: &Environment) -> Result<(), Failure> {
    let of_variable = environment.get("GAPWISE_KAFKA_PROPERTY").filter(|_| args.kafka_property.is_empty());
    let of_variable = of_variable.into_iter().flat_map(|list| list.split(';')).map(str::trim);
    let typed = args.kafka_property.iter().map(String::as_str);
    for property in typed.chain(of_variable.filter(|property| !property.is_empty())) {
        let Some((name, value)) = property.split_once('=') else {
            return Err(Failure::usage(
                "--kafka-property: a setting without `=`: write `NAME=VALUE`, such as `fetch.min.bytes=1`",
            ));
        };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        let lower = name.to_ascii_lowercase();
        if ["password", "secret", "token", "pem"].iter().any(|word| lower.contains(word)) {
            source.secrets.insert(name, Secret::new(value));
        } else {
            source.properties.insert(name, value);
        }
    }
    Ok(())
}

fn from(args: &args::Source, environment: &Environment) -> Result<Option<(Given, StartPosition)>, Failure> {
    let Some(given) = Given::find("--from", &args.from, environment) else { return Ok(None) };
    let position = match given.text.as_str() {
        "earliest" => StartPosition::Earliest,
        "latest" => StartPosition::Latest,
        "committed" => StartPosition::Committed,
        text => match text.parse::<EventTime>() {
            Ok(time) => StartPosition::At(time),
            Err(_) => {
                let remedy = "write `earliest`, `latest`, `committed`, or a time such as `2025-01-14T17:00:00Z`";
                return Err(given.not("a position", remedy));
            }
        },
    };
    Ok(Some((given, position)))
}

fn until_latest(args: &args::Source, environment: &Environment) -> Result<bool, Failure> {
    match Given::find("--until", &args.until, environment) {
        None => Ok(false),
        Some(given) if given.text == "latest" => Ok(true),
        Some(given) => Err(given.not("a position to stop at", "write `latest`, or leave it out to run on")),
    }
}

fn unknown(given: &Given) -> Failure {
    let shown = uri::shown(&given.text);
    let remedy = if shown.contains(':') { SCHEMES.to_owned() } else { format!("`file:{shown}`, or {SCHEMES}") };
    Failure::usage(format!("{}: `{shown}` is no source that is known: write {remedy}", given.name))
}
