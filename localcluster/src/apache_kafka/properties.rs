//! `server.properties` of a single KRaft node.

use std::fmt::Write;
use std::path::Path;

use super::certificate::{Certificate, STORE_PASSWORD};
use super::{SASL_PASSWORD, SASL_USER};

/// The ports of a node, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listeners {
    /// For clients, without TLS or login.
    pub plaintext: u16,
    /// Broker and controller are one process, and still talk over a socket.
    pub controller: u16,
    /// For clients, with TLS and user and password.
    pub sasl_ssl: Option<u16>,
}

/// A single node has no second one to copy to, and its tests do not wait for group members who may still come. It keeps
/// what it was given: by default records of an old time, as recorded traffic has it, are gone half a minute after the start.
const SINGLE_NODE: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
auto.create.topics.enable=false
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.bytes=67108864
log.retention.ms=-1
";

pub(super) fn server_properties(listeners: &Listeners, data: &Path, certificate: Option<&Certificate>) -> String {
    let clients = match listeners.sasl_ssl {
        Some(port) => format!("PLAINTEXT://127.0.0.1:{},SASL_SSL://127.0.0.1:{port}", listeners.plaintext),
        None => format!("PLAINTEXT://127.0.0.1:{}", listeners.plaintext),
    };
    let controller = listeners.controller;
    let mut text = SINGLE_NODE.to_owned();
    text += &format!("listeners={clients},CONTROLLER://127.0.0.1:{controller}\n");
    text += &format!("advertised.listeners={clients}\n");
    text += &format!("controller.quorum.voters=1@127.0.0.1:{controller}\n");
    text += &format!("log.dirs={}\n", data.display());
    if let Some(certificate) = certificate {
        write!(
            text,
            "sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{SASL_USER}=\"{SASL_PASSWORD}\";\n\
             ssl.keystore.type=PKCS12\n\
             ssl.keystore.password={STORE_PASSWORD}\n\
             ssl.keystore.location={}\n",
            certificate.key_store.display()
        )
        .expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_node_has_no_tls_settings() {
        let listeners = Listeners { plaintext: 1, controller: 2, sasl_ssl: None };
        let text = server_properties(&listeners, Path::new("/d"), None);
        assert!(text.contains("listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n"));
        assert!(text.contains("log.dirs=/d\n"));
        assert!(!text.contains("ssl.keystore"));
    }

    #[test]
    fn a_node_with_sasl_ssl_advertises_it() {
        let listeners = Listeners { plaintext: 1, controller: 2, sasl_ssl: Some(3) };
        let certificate = Certificate { key_store: "/k".into(), pem: "/p".into() };
        let text = server_properties(&listeners, Path::new("/d"), Some(&certificate));
        assert!(text.contains("advertised.listeners=PLAINTEXT://127.0.0.1:1,SASL_SSL://127.0.0.1:3\n"));
        assert!(text.contains("user_web=\"secret\";\n"));
        assert!(text.contains("ssl.keystore.location=/k\n"));
    }
}
