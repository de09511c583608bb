//! Kafka as the homework has it: SASL_SSL with PLAIN, key and secret from the environment.

use anyhow::{Result, ensure};
use e2e::{cluster::repository_file, programs};
use localcluster::apache_kafka::{self, ApacheKafka, Options};

#[test]
fn key_and_secret_open_the_topic_and_a_wrong_secret_does_not() -> Result<()> {
    if let Err(missing) = apache_kafka::available() {
        eprintln!("SKIPPED: Kafka over SASL_SSL, which needs Apache Kafka: {missing}");
        return Ok(());
    }
    if !connectors::kafka::HAS_TLS {
        eprintln!("SKIPPED: Kafka over SASL_SSL, which this build does not have: OpenSSL's headers were missing");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let kafka = ApacheKafka::start(dir.path(), &Options { sasl_ssl: true })?;
    let events = repository_file("demo/events.jsonl")?;
    let plain = kafka.bootstrap_servers();
    let load = ["load", events.to_str().unwrap(), "--topic", "events", "--create", "3"];
    programs::run("localcluster", &load, &[("KAFKA_URL", &plain)])?.ok()?;

    let tls = kafka.sasl_ssl().unwrap();
    let authority = format!("ssl.ca.location={}", tls.ca_location.display());
    let run = |secret: &str| {
        let args = ["run", "sessionize", "--until", "latest", "--sink", "stdout:", "--kafka-property", &authority];
        let env = [
            ("KAFKA_URL", tls.bootstrap_servers.as_str()),
            ("KAFKA_TOPIC", "events"),
            ("KAFKA_WEB_TRAFFIC_KEY", tls.username),
            ("KAFKA_WEB_TRAFFIC_SECRET", secret),
        ];
        programs::run("jobctl", &args, &env)
    };
    let sessions = run(tls.password)?.ok()?;
    ensure!(sessions.lines().count() == 1 + 54, "{sessions}");

    let refused = run("wrong-hunter2")?;
    ensure!(refused.code == Some(7), "{refused:?}");
    ensure!(refused.err.contains("refuses the credentials") && !refused.err.contains("hunter2"), "{refused:?}");
    Ok(())
}
