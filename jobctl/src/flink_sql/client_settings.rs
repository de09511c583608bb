//! Settings of the Kafka client: ours is librdkafka, Flink's is Kafka's own, with other names and defaults.

use std::collections::BTreeMap;

use stream_core::pipeline::SourceSpec;

use super::Passwords;

/// What both call the same.
const SAME: [&str; 16] = [
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "group.id",
    "isolation.level",
    "max.partition.fetch.bytes",
    "metadata.max.age.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "sasl.mechanism",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
];

/// What Kafka's own client calls otherwise.
const RENAMED: [(&str, &str); 8] = [
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("fetch.wait.max.ms", "fetch.max.wait.ms"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("socket.receive.buffer.bytes", "receive.buffer.bytes"),
    ("socket.send.buffer.bytes", "send.buffer.bytes"),
    ("socket.timeout.ms", "request.timeout.ms"),
    ("ssl.ca.location", "ssl.truststore.location"),
    ("topic.metadata.refresh.interval.ms", "metadata.max.age.ms"),
];

/// Kafka's classes as they are called in the connector's jar for SQL.
const SHADED: &str = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security";

/// The settings as options of a table, each with `properties.` before it. What Kafka's own client does not have is noted.
pub(super) fn client_settings(
    source: &SourceSpec,
    passwords: Passwords,
    notes: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        settings.insert(format!("properties.{name}"), value.to_owned());
    };
    // librdkafka's default. That of Kafka's own client shows what a transaction took back.
    set("isolation.level", "read_committed");
    if let Some(password) = source.secrets.get("sasl.password") {
        let user = source.properties.get("sasl.username").map_or("", String::as_str);
        let given = ["sasl.mechanism", "sasl.mechanisms"].into_iter().find_map(|name| source.properties.get(name));
        let is_scram = given.is_some_and(|mechanism| mechanism.starts_with("SCRAM"));
        let module = if is_scram { "scram.ScramLoginModule" } else { "plain.PlainLoginModule" };
        let (user, password) = (quoted(user), quoted(passwords.text(password)));
        set("security.protocol", "SASL_SSL");
        set("sasl.mechanism", "PLAIN");
        set("sasl.jaas.config", &format!("{SHADED}.{module} required username={user} password={password};"));
    }
    for (name, value) in source.properties.iter().filter(|(name, _)| *name != "sasl.username") {
        let renamed = RENAMED.iter().find(|(ours, _)| ours == name).map(|(_, theirs)| *theirs);
        match renamed.or_else(|| SAME.into_iter().find(|same| same == name)) {
            Some("ssl.truststore.location") => {
                set("ssl.truststore.type", "PEM");
                set("ssl.truststore.location", value);
            }
            Some("security.protocol") => set("security.protocol", &value.to_ascii_uppercase()),
            Some(name) => set(name, value),
            None => notes.push(format!("Kafka's own client has no setting `{name}`, which is left out")),
        }
    }
    settings
}

/// As a JAAS configuration quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// What stands between the quotes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
