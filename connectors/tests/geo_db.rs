//! Locations from database files that `scripts/make-geo-db` made, and what happens when a file changes.
#![cfg(feature = "geo")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use connectors::RealConnectors;
use stream_core::operator::Answer;
use stream_core::pipeline::LookupSpec;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, Connectors};
use stream_runtime::lookup::{Answers, Lookup};
use tokio::runtime::Handle;

/// A database answers at once, so nobody listens.
struct Nobody;

impl Answers for Nobody {
    fn answer(&self, _key: Vec<u8>, answer: Answer) {
        panic!("{answer:?}");
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/geo").join(name)
}

fn spec(path: &Path) -> LookupSpec {
    LookupSpec { uri: format!("mmdb:{}", path.display()), properties: [].into(), secrets: [].into() }
}

fn open(path: &Path) -> Result<Box<dyn Lookup>, ConnectorError> {
    RealConnectors::new(Handle::current()).open_lookup(&spec(path), NonZeroU32::MIN, Arc::new(Nobody))
}

fn location(lookup: &mut dyn Lookup, ip: &str) -> Option<String> {
    match lookup.ask(ip.as_bytes()) {
        Some(Answer::Found(location)) => Some(location),
        Some(Answer::Nothing) => None,
        other => panic!("{other:?}"),
    }
}

fn place(country: &str, state: &str, city: &str) -> Option<String> {
    Some(format!(r#"{{"country":"{country}","state":"{state}","city":"{city}"}}"#))
}

#[tokio::test]
async fn ip_is_where_its_narrowest_network_is() {
    let mut lookup = open(&data("places.mmdb")).unwrap();
    for (ip, expected) in [
        ("192.0.2.1", place("DE", "Land Berlin", "Berlin")),
        ("192.0.2.127", place("DE", "Land Berlin", "Berlin")),
        ("192.0.2.128", place("US", "California", "Mountain View")),
        ("198.51.100.7", place("FR", "Île-de-France", "Paris")),
        ("203.0.113.1", place("JP", "", "Tokyo")),
        ("203.0.113.200", place("JP", "", "")),
        ("::ffff:192.0.2.1", place("DE", "Land Berlin", "Berlin")),
        ("2001:db8::1", place("BR", "São Paulo", "São Paulo")),
        ("192.0.3.1", None),
        ("2001:db9::1", None),
        ("not an ip", None),
        ("", None),
    ] {
        assert_eq!(location(lookup.as_mut(), ip), expected, "{ip}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_changes_is_read_again_and_one_that_is_none_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("geo.mmdb");
    std::fs::copy(data("places.mmdb"), &path).unwrap();
    let mut lookup = open(&path).unwrap();
    assert!(!lookup.has_changed());

    let new = folder.path().join("new");
    std::fs::copy(data("moved.mmdb"), &new).unwrap();
    std::fs::rename(&new, &path).unwrap();
    wait_for_a_change(lookup.as_mut()).await;
    assert!(!lookup.has_changed(), "told once");
    assert_eq!(location(lookup.as_mut(), "192.0.2.1"), place("DE", "Hamburg", "Hamburg"));
    assert_eq!(location(lookup.as_mut(), "198.51.100.7"), None);

    // Half a file, then none, then a whole one: only that one is a change.
    let whole = std::fs::read(data("places.mmdb")).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    tokio::time::sleep(connectors::geo::mmdb::LOOK_EVERY * 2).await;
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(connectors::geo::mmdb::LOOK_EVERY * 2).await;
    assert!(!lookup.has_changed());
    assert_eq!(location(lookup.as_mut(), "192.0.2.1"), place("DE", "Hamburg", "Hamburg"));
    std::fs::write(&path, &whole).unwrap();
    wait_for_a_change(lookup.as_mut()).await;
    assert_eq!(location(lookup.as_mut(), "192.0.2.1"), place("DE", "Land Berlin", "Berlin"));
}

async fn wait_for_a_change(lookup: &mut dyn Lookup) {
    let changed = async {
        while !lookup.has_changed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), changed).await.expect("the new file is noticed");
}

#[tokio::test]
async fn file_that_is_missing_or_no_database_is_refused_at_submit() {
    let connectors = RealConnectors::new(Handle::current());
    connectors.check_lookup(&spec(&data("places.mmdb"))).await.unwrap();
    let missing = connectors.check_lookup(&spec(Path::new("/no/such.mmdb"))).await.unwrap_err();
    assert_eq!(missing.kind, ConnectorErrorKind::NotFound);
    assert!(missing.message.contains("`/no/such.mmdb`: it must be at this path on every machine"), "{missing}");
    let csv = connectors.check_lookup(&spec(&data("places.csv"))).await.unwrap_err();
    assert_eq!(csv.kind, ConnectorErrorKind::Invalid);
    assert!(csv.message.contains("is no database in MaxMind's format"), "{csv}");
    let unknown = LookupSpec { uri: "dns:x".to_owned(), ..spec(Path::new("")) };
    let unknown = connectors.check_lookup(&unknown).await.unwrap_err();
    assert_eq!(unknown.message, "`dns:x` names no look-up: write `mmdb:PATH` or `ip2location:URL`");
}

#[test]
fn databases_of_the_tests_are_what_the_script_makes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/make-geo-db");
    let folder = tempfile::tempdir().unwrap();
    for name in ["places", "moved"] {
        let made = folder.path().join(name);
        let run = Command::new("python3").arg(&script).arg(data(&format!("{name}.csv"))).arg(&made).status();
        let Ok(status) = run else {
            eprintln!("skipped: there is no python3");
            return;
        };
        assert!(status.success());
        assert_eq!(std::fs::read(&made).unwrap(), std::fs::read(data(&format!("{name}.mmdb"))).unwrap(), "{name}");
    }
}
