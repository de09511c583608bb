//! What every store of checkpoints keeps, whichever kind it is; S3 is `moto`'s. And what S3 says when it is not what it
//! should be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use connectors::RealStores;
use e2e::cluster::readable_dir;
use e2e::object_server::ObjectServer;
use localcluster::deadline::Deadline;
use localcluster::ports;
use stream_core::random::SplitMix64;
use stream_runtime::store::{MemoryStore, ObjectStore, StoreError, StoreErrorKind, Stores};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Longer than what S3 takes in one request, and no whole number of parts.
const LARGE: usize = (20 << 20) + 7;
/// A client gives up on a server that is not there by then.
const PATIENCE: Duration = Duration::from_secs(25);

/// Stores of one kind.
struct Kind {
    name: &'static str,
    stores: Arc<dyn Stores>,
    root: String,
    /// Its folder.
    _dir: Option<TempDir>,
    server: Option<ObjectServer>,
}

impl Kind {
    fn open(&self, place: &str) -> Arc<dyn ObjectStore> {
        self.stores.open(&format!("{}/{place}", self.root)).unwrap()
    }
}

fn s3() -> Result<Option<Kind>> {
    if !ObjectServer::is_available_for("stores in S3") {
        return Ok(None);
    }
    let dir = readable_dir()?;
    let server = ObjectServer::start(dir.path())?;
    let stores = Arc::new(RealStores::with_variables(server.variables()));
    Ok(Some(Kind { name: "s3", stores, root: server.uri("contract"), _dir: Some(dir), server: Some(server) }))
}

/// Every kind that has places which are apart.
fn real_kinds() -> Result<Vec<Kind>> {
    let dir = readable_dir()?;
    let root = dir.path().to_str().context("a path that is text")?.to_owned();
    let folder = Kind { name: "folder", stores: Arc::new(RealStores::default()), root, _dir: Some(dir), server: None };
    Ok([Some(folder), s3()?].into_iter().flatten().collect())
}

fn kinds() -> Result<Vec<Kind>> {
    let stores = Arc::new(MemoryStore::default());
    let mut kinds = vec![Kind { name: "memory", stores, root: "memory:".to_owned(), _dir: None, server: None }];
    kinds.extend(real_kinds()?);
    Ok(kinds)
}

fn kind_of<T: std::fmt::Debug>(result: Result<T, StoreError>) -> StoreErrorKind {
    result.unwrap_err().kind
}

fn noise(bytes: usize) -> Bytes {
    let mut random = SplitMix64::new(7);
    let mut noise: Vec<u8> = std::iter::repeat_with(|| random.bits().to_le_bytes()).flatten().take(bytes).collect();
    noise.iter_mut().zip(0..=u8::MAX).for_each(|(byte, value)| *byte = value);
    noise.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_keeps_the_contract() -> Result<()> {
    for kind in kinds()? {
        eprintln!("{}", kind.name);
        kind.open("checked").check().await.unwrap();
        objects_are_created_once_and_read_as_they_were_written(&*kind.open("once")).await;
        what_is_missing_is_told_by_its_kind(&*kind.open("missing")).await;
        a_list_is_in_order_and_only_of_what_is_below(&*kind.open("list")).await;
        of_many_writers_of_one_name_one_wins(&kind.open("race")).await;
        whoever_takes_over_gets_a_number_of_its_own(&kind.open("fence")).await;
        if let Some(server) = &kind.server {
            let left = server.hidden()?;
            ensure!(left.is_empty(), "{left:?} is left");
        }
    }
    Ok(())
}

async fn objects_are_created_once_and_read_as_they_were_written(store: &dyn ObjectStore) {
    for (name, bytes) in [("a/empty", Bytes::new()), ("a/small", noise(300)), ("a/large", noise(LARGE))] {
        store.create(name, bytes.clone()).await.unwrap();
        assert_eq!(kind_of(store.create(name, noise(3)).await), StoreErrorKind::Exists, "{name}");
        assert!(store.read(name).await.unwrap() == bytes, "{name} is not what was written");
        assert_eq!(store.length(name).await.unwrap(), Some(bytes.len() as u64), "{name}");
        assert_eq!(kind_of(store.create(name, noise(LARGE)).await), StoreErrorKind::Exists, "{name}");
        assert!(store.read(name).await.unwrap() == bytes, "{name} was written over");
        store.delete(name).await.unwrap();
        store.delete(name).await.unwrap();
        assert_eq!(store.length(name).await.unwrap(), None, "{name} is still there");
        store.create(name, noise(5)).await.unwrap();
        assert_eq!(store.read(name).await.unwrap(), noise(5), "a name may be used again once it was deleted");
    }
    assert_eq!(store.list("").await.unwrap(), ["a/empty", "a/large", "a/small"], "nothing else is left");
    for name in ["a/empty", "a/small", "a/large"] {
        store.delete(name).await.unwrap();
    }
}

async fn what_is_missing_is_told_by_its_kind(store: &dyn ObjectStore) {
    assert_eq!(kind_of(store.read("jobs/a").await), StoreErrorKind::NotFound);
    assert_eq!(store.length("jobs/a").await.unwrap(), None);
    assert_eq!(store.list("jobs/").await.unwrap(), [""; 0]);
    store.delete("jobs/a").await.unwrap();
}

async fn a_list_is_in_order_and_only_of_what_is_below(store: &dyn ObjectStore) {
    let names = ["b/2", "a-b/1", "a/z", "a/b/c", "a/b.d", "a/10", "ab"];
    for name in names {
        store.create(name, Bytes::new()).await.unwrap();
    }
    assert_eq!(store.list("a/").await.unwrap(), ["a/10", "a/b.d", "a/b/c", "a/z"]);
    assert_eq!(store.list("a/b/").await.unwrap(), ["a/b/c"]);
    assert_eq!(store.list("").await.unwrap().len(), 7);
    for name in names {
        store.delete(name).await.unwrap();
    }
    // More than a server tells at once.
    let mut writes = Vec::new();
    for number in 0..1_100 {
        writes.push(format!("many/{number:08x}"));
    }
    for name in &writes {
        store.create(name, Bytes::new()).await.unwrap();
    }
    assert_eq!(store.list("many/").await.unwrap(), writes);
    for name in &writes {
        store.delete(name).await.unwrap();
    }
}

async fn of_many_writers_of_one_name_one_wins(store: &Arc<dyn ObjectStore>) {
    for (name, length) in [("a/small", 1_000), ("a/large", LARGE)] {
        let mut writers = JoinSet::new();
        for writer in 0..8_u8 {
            let store = Arc::clone(store);
            writers.spawn(async move { (writer, store.create(name, Bytes::from(vec![writer; length])).await) });
        }
        let outcomes = writers.join_all().await;
        let winners: Vec<u8> =
            outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|&(writer, _)| writer).collect();
        let mut lost = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
        assert!(lost.all(|error| error.kind == StoreErrorKind::Exists), "{outcomes:?}");
        assert_eq!(winners.len(), 1, "{name}: {outcomes:?}");
        assert!(store.read(name).await.unwrap() == vec![winners[0]; length], "{name} is not what its writer wrote");
        store.delete(name).await.unwrap();
    }
}

/// As jobmanagers do it: the number behind the highest, or the next if somebody was faster.
async fn whoever_takes_over_gets_a_number_of_its_own(store: &Arc<dyn ObjectStore>) {
    let mut jobmanagers = JoinSet::new();
    for _ in 0..6 {
        let store = Arc::clone(store);
        jobmanagers.spawn(async move {
            loop {
                let taken = store.list("leader/").await.unwrap();
                let next = taken.last().map_or(1, |name| name["leader/".len()..].parse::<u32>().unwrap() + 1);
                match store.create(&format!("leader/{next:08}"), Bytes::new()).await {
                    Ok(()) => return next,
                    Err(error) => assert_eq!(error.kind, StoreErrorKind::Exists, "{error}"),
                }
            }
        });
    }
    let numbers: BTreeSet<u32> = jobmanagers.join_all().await.into_iter().collect();
    assert_eq!(numbers, (1..=6).collect());
    for number in numbers {
        store.delete(&format!("leader/{number:08}")).await.unwrap();
    }
}

/// The object whose writer left something, and died or lived.
const LEFT: &str = "7/state/00000001-00000002/1-0";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_left_is_listed_by_the_object_that_it_was_to_be_and_removed() -> Result<()> {
    let memory = MemoryStore::default();
    memory.leave_unfinished(LEFT);
    rests_are_listed_and_removed(&memory).await;

    let dir = readable_dir()?;
    let folder = RealStores::default().open(dir.path().to_str().context("a path that is text")?)?;
    // As a process leaves it that is killed; `kill_points` really kills one.
    std::fs::write(dir.path().join(".unfinished/7!state!00000001-00000002!1-0!0123456789abcdef-0"), "half")?;
    std::fs::write(dir.path().join(".unfinished/0123456789abcdef-1"), "of a build that did not tell")?;
    rests_are_listed_and_removed(&*folder).await;

    let Some(kind) = s3()? else { return Ok(()) };
    let server = kind.server.as_ref().context("a server")?;
    let mut proxies = JoinSet::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut variables = server.variables();
    variables.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", listener.local_addr()?));
    proxies.spawn(without(listener, server.port(), b"DELETE ", b"DELETE"));
    let uri = server.uri("rests");
    // It wrote a large object and could not clean up behind itself.
    RealStores::with_variables(variables).open(&uri)?.create(LEFT, noise(LARGE)).await?;
    let store = kind.stores.open(&uri)?;
    assert_eq!(server.hidden()?.len(), 1, "{:?}", server.hidden()?);
    rests_are_listed_and_removed(&*store).await;
    assert_eq!(server.hidden()?, [""; 0]);
    assert!(store.read(LEFT).await? == noise(LARGE), "the object itself went");
    Ok(())
}

/// One is there, of [`LEFT`].
async fn rests_are_listed_and_removed(store: &dyn ObjectStore) {
    store.create("7/whole", noise(3)).await.unwrap();
    let rests = store.list_unfinished("7/").await.unwrap();
    assert_eq!(rests.iter().map(|rest| rest.object.as_str()).collect::<Vec<_>>(), [LEFT]);
    assert_eq!(store.list_unfinished("").await.unwrap(), rests);
    assert!(store.list_unfinished("8/").await.unwrap().is_empty());
    for _ in 0..2 {
        store.delete_unfinished(&rests[0]).await.unwrap();
        assert!(store.list_unfinished("7/").await.unwrap().is_empty());
    }
    assert!(store.list("7/").await.unwrap().contains(&"7/whole".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_beside_each_other_do_not_see_each_other() -> Result<()> {
    for kind in real_kinds()? {
        let (one, other, below) = (kind.open("place"), kind.open("place-2"), kind.open("place/below"));
        one.create("a/1", noise(1)).await.unwrap();
        other.create("a/2", noise(2)).await.unwrap();
        below.create("b", noise(3)).await.unwrap();
        assert_eq!(one.list("").await.unwrap(), ["a/1", "below/b"], "{}", kind.name);
        assert_eq!(other.list("").await.unwrap(), ["a/2"], "{}", kind.name);
        assert_eq!(kind_of(other.read("a/1").await), StoreErrorKind::NotFound);
        other.delete("a/1").await.unwrap();
        assert_eq!(one.read("below/b").await.unwrap(), noise(3), "{}", kind.name);
        assert_eq!(kind.open("place/").read("a/1").await.unwrap(), noise(1), "a `/` at the end changes nothing");
        for name in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "A", "a b", "a\0"] {
            assert_eq!(kind_of(one.create(name, Bytes::new()).await), StoreErrorKind::Invalid, "{name:?}");
            assert_eq!(kind_of(one.read(name).await), StoreErrorKind::Invalid, "{name:?}");
            assert_eq!(kind_of(one.delete(name).await), StoreErrorKind::Invalid, "{name:?}");
        }
        assert_eq!(kind_of(one.list("../").await), StoreErrorKind::Invalid);
        assert_eq!(kind_of(one.list("a").await), StoreErrorKind::Invalid, "a prefix ends at a `/`");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_says_what_is_wrong_and_what_to_do() -> Result<()> {
    let Some(kind) = s3()? else { return Ok(()) };
    let server = kind.server.as_ref().context("a server")?;
    let says = |error: StoreError, kind: StoreErrorKind, words: &[&str]| {
        assert_eq!(error.kind, kind, "{error}");
        assert!(words.iter().all(|word| error.message.contains(word)), "{error}");
        assert!(!error.message.contains("hunter2") && !error.message.contains('\n'), "{error}");
    };

    let elsewhere = kind.stores.open("s3://no-such-bucket/jobs").unwrap();
    let words = ["no bucket `no-such-bucket`", "AWS_ENDPOINT_URL"];
    says(elsewhere.check().await.unwrap_err(), StoreErrorKind::Unavailable, &words);
    says(elsewhere.read("a").await.unwrap_err(), StoreErrorKind::Unavailable, &words);
    says(elsewhere.length("a").await.unwrap_err(), StoreErrorKind::Unavailable, &words);
    says(elsewhere.list("").await.unwrap_err(), StoreErrorKind::Unavailable, &words);

    let mut variables = server.variables();
    variables.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://127.0.0.1:{}", ports::free()?));
    let nowhere = RealStores::with_variables(variables).open(&server.uri("a"))?;
    let waiting = Deadline::after(PATIENCE);
    says(nowhere.check().await.unwrap_err(), StoreErrorKind::Unavailable, &["refused", "AWS_ENDPOINT_URL"]);
    ensure!(!waiting.has_passed(), "it took {:?} to give up", waiting.elapsed());

    server.take_away();
    says(kind.open("a").create("b", noise(3)).await.unwrap_err(), StoreErrorKind::Unavailable, &["AWS_ENDPOINT_URL"]);
    server.bring_back();
    kind.open("a").create("b", noise(3)).await.unwrap();

    let dir = readable_dir()?;
    let locked = ObjectServer::start_locked(dir.path())?;
    let stranger = RealStores::with_variables(locked.variables()).open(&locked.uri("a"))?;
    says(stranger.check().await.unwrap_err(), StoreErrorKind::Unavailable, &["not allowed", "AWS_ACCESS_KEY_ID"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_writes_over_objects_is_refused() -> Result<()> {
    let Some(kind) = s3()? else { return Ok(()) };
    let server = kind.server.as_ref().context("a server")?;
    // The first creates small objects, the second puts large ones together.
    for method in ["PUT ", "POST "] {
        let mut forgetful = JoinSet::new();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut variables = server.variables();
        variables.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", listener.local_addr()?));
        forgetful.spawn(without(listener, server.port(), method.as_bytes(), b"if-none-match"));
        let checked = RealStores::with_variables(variables).open(&server.uri("a"))?.check().await;
        let error = checked.err().with_context(|| format!("{method}without conditions is taken"))?;
        ensure!(error.kind == StoreErrorKind::Invalid, "{error}");
        ensure!(error.message.contains("conditional puts"), "{error}");
        let left = server.hidden()?;
        ensure!(left.is_empty(), "the probe leaves {left:?}");
    }
    Ok(())
}

/// Hands everything over to a server, with this word spoilt in one kind of request.
async fn without(listener: TcpListener, port: u16, method: &'static [u8], word: &'static [u8]) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let requests = async {
                let mut chunk = vec![0; 64 << 10];
                loop {
                    // The head of a small request comes in one piece.
                    let read = from_client.read(&mut chunk).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    let at = chunk[..read].windows(word.len()).position(|bytes| bytes == word);
                    if let Some(at) = at.filter(|_| chunk.starts_with(method)) {
                        // A letter still, so that it is a method or a header of nobody's.
                        chunk[at] = if word[0].is_ascii_uppercase() { b'X' } else { b'x' };
                    }
                    if to_server.write_all(&chunk[..read]).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = requests => {}
                _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
            }
        });
    }
}
