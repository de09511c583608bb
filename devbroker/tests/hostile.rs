//! Clients that mean harm, or are no Kafka clients at all: each loses its connection, and nobody else notices.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use devbroker::{Broker, Options};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

struct Running {
    addr: SocketAddr,
    shutdown: CancellationToken,
    tasks: JoinSet<Result<(), devbroker::Error>>,
    _dir: TempDir,
}

impl Running {
    async fn start(max_connections: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::bind(Options { max_connections, ..Options::in_dir(dir.path()) }).await.unwrap();
        let (addr, shutdown, mut tasks) = (broker.local_addr(), CancellationToken::new(), JoinSet::new());
        tasks.spawn(broker.run(shutdown.clone()));
        Self { addr, shutdown, tasks, _dir: dir }
    }

    /// Sends bytes, and no more after them if `then_close`; returns all that the broker says until it hangs up.
    async fn send(&self, bytes: &[u8], then_close: bool) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        // The broker may have hung up before the last byte is sent.
        let _ = stream.write_all(bytes).await;
        if then_close {
            let _ = stream.shutdown().await;
        }
        let mut answer = Vec::new();
        // A reset is a way of hanging up too.
        let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the broker hangs up");
        answer
    }

    /// The broker still answers a well-behaved client.
    async fn assert_alive(&self) {
        let answer = self.send(&api_versions(0), true).await;
        assert_eq!(answer[4..10], [0, 0, 0, 7, 0, 0], "correlation id and error code of {answer:?}");
    }
}

fn frame(request: &[u8]) -> Vec<u8> {
    let length = u32::try_from(request.len()).unwrap().to_be_bytes();
    [&length[..], request].concat()
}

/// ApiVersions with correlation id 7 and no client id.
fn api_versions(version: u8) -> Vec<u8> {
    frame(&[0, 18, 0, version, 0, 0, 0, 7, 0xff, 0xff])
}

#[tokio::test]
async fn what_is_no_request_closes_the_connection_and_nothing_else() {
    let broker = Running::start(10).await;
    let over_the_limit = (100 * 1024 * 1024 + 1_i32).to_be_bytes();
    let cases: [(&str, &[u8]); 7] = [
        ("http", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ("tls", &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
        ("negative length", &[0xff; 16]),
        ("length over the limit", &over_the_limit),
        ("empty frame", &frame(&[])),
        ("unknown api", &frame(&[0x7f, 0xff, 0, 0, 0, 0, 0, 7, 0xff, 0xff])),
        ("consumer group join, not offered", &frame(&[0, 11, 0, 0, 0, 0, 0, 7, 0xff, 0xff])),
    ];
    for (what, bytes) in cases {
        assert_eq!(broker.send(bytes, false).await, b"", "{what}");
        broker.assert_alive().await;
    }
}

#[tokio::test]
async fn a_frame_that_ends_early_closes_the_connection() {
    let broker = Running::start(10).await;
    let whole = api_versions(0);
    for length in 1..whole.len() {
        assert_eq!(broker.send(&whole[..length], true).await, b"", "{length} bytes");
    }
    // The most that may be claimed, and then nothing: memory is not reserved for a claim.
    assert_eq!(broker.send(&(100_i32 << 20).to_be_bytes(), true).await, b"");
    broker.assert_alive().await;
}

#[tokio::test]
async fn an_array_that_claims_two_billion_elements_is_not_believed() {
    let broker = Running::start(10).await;
    // Metadata, version 1, with an array of that many topics.
    let request = [0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff];
    assert_eq!(broker.send(&frame(&request), false).await, b"");
    broker.assert_alive().await;
}

#[tokio::test]
async fn a_client_of_the_future_is_told_which_versions_there_are() {
    let broker = Running::start(10).await;
    let answer = broker.send(&api_versions(99), true).await;
    assert_eq!(answer[4..10], [0, 0, 0, 7, 0, 35], "unsupported version, readable by any client");
    assert!(answer.len() > 50, "the list of versions follows");
}

#[tokio::test]
async fn a_client_too_many_is_turned_away_until_another_leaves() {
    let broker = Running::start(2).await;
    let mut first = TcpStream::connect(broker.addr).await.unwrap();
    let _second = TcpStream::connect(broker.addr).await.unwrap();
    // Accepted in order, so an answer to a third shows that the other two are in.
    assert_eq!(broker.send(&api_versions(0), false).await, b"");
    first.shutdown().await.unwrap();
    assert_eq!(timeout(LIMIT, first.read(&mut [0])).await.unwrap().unwrap(), 0);
    let answered = async { while broker.send(&api_versions(0), true).await.is_empty() {} };
    timeout(LIMIT, answered).await.expect("the place is free again");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_clients() {
    let mut broker = Running::start(10).await;
    let mut idle = TcpStream::connect(broker.addr).await.unwrap();
    broker.assert_alive().await;
    broker.shutdown.cancel();
    timeout(LIMIT, broker.tasks.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
}
