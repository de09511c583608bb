//! The servers that other tests lean on: each starts from nothing in a folder of its own, and leaves nothing behind.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use localcluster::apache_kafka::{self, ApacheKafka};
use localcluster::deadline::Deadline;
use localcluster::ports;
use localcluster::postgres::{Download, Installation, Postgres};

#[test]
fn postgres_starts_survives_a_kill_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut postgres = Postgres::start(dir.path()).unwrap();
    let port = postgres.port();
    assert!(ports::accepts(port));
    assert_eq!(postgres.url(), format!("postgres://postgres:postgres@127.0.0.1:{port}/postgres"));

    postgres.kill();
    assert!(gone(port));
    postgres.restart().unwrap();
    assert!(ports::accepts(port));

    drop(postgres);
    assert!(gone(port));
}

/// Runs where an archive was put on the machine beforehand; it is what a machine without Postgres or network does.
#[test]
fn postgres_starts_from_an_archive() {
    let Some(archive) = std::env::var_os("GAPWISE_POSTGRES_ARCHIVE") else {
        eprintln!("skipped: GAPWISE_POSTGRES_ARCHIVE names no archive");
        return;
    };
    let cache = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(cache.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let download = Download::from_archive(cache.path(), Path::new(&archive));
    let unpacked = download.installation().unwrap();
    assert_ne!(Some(&unpacked), Installation::on_this_machine().as_ref());
    let dir = tempfile::tempdir().unwrap();
    let postgres = Postgres::start_with(unpacked.clone(), dir.path()).unwrap();
    assert!(ports::accepts(postgres.port()));
    assert_eq!(
        Download::from_archive(cache.path(), Path::new("/nonexistent")).installation().unwrap(),
        unpacked,
        "kept"
    );
}

#[test]
fn apache_kafka_starts_survives_a_kill_and_leaves_nothing() {
    if let Err(missing) = apache_kafka::available() {
        eprintln!("skipped: {missing}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut kafka = ApacheKafka::start(dir.path(), &apache_kafka::Options { sasl_ssl: true }).unwrap();
    let plain = port_of(&kafka.bootstrap_servers());
    let sasl_ssl = kafka.sasl_ssl().unwrap().clone();
    assert!(ports::accepts(port_of(&sasl_ssl.bootstrap_servers)));
    assert!(std::fs::read_to_string(&sasl_ssl.ca_location).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));

    kafka.kill();
    assert!(gone(plain));
    kafka.restart().unwrap();
    drop(kafka);
    assert!(gone(plain));
    assert!(gone(port_of(&sasl_ssl.bootstrap_servers)));
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn gone(port: u16) -> bool {
    Deadline::after(Duration::from_secs(10)).wait_until(|| !ports::accepts(port))
}
