//! What a taskmanager does with peers that do not keep to the protocol.
#![allow(clippy::unwrap_used)]

mod harness;

use harness::memory::Memory;
use harness::{Cluster, pipeline};
use proto::v1;
use proto::v1::data_exchange_client::DataExchangeClient;
use proto::v1::frame::Frame;
use stream_core::ids::JobId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

const JOB: JobId = JobId(1);
const CHANNEL_BYTES: usize = 64 << 10;

/// A cluster that believes in a second taskmanager, which is this test: it holds `source[1]` and `count[1]`.
struct Fixture {
    cluster: Cluster,
    exchange: String,
}

async fn fixture() -> Fixture {
    let mut cluster = Cluster::start(1, &Memory::default(), CHANNEL_BYTES).await;
    let exchange = cluster.jobmanager.wait_for_registrations(1).await.registrations[0].exchange_address.clone();
    let mut deploy = v1::Deploy {
        job_id: JOB.to_string(),
        attempt: 3,
        pipeline: Some((&pipeline("count", 2, false)).into()),
        nonce: proto::nonce_bytes(stream_core::ids::Nonce(3)),
        ..v1::Deploy::default()
    };
    // Nobody listens where the test claims to: the real taskmanager's own streams are not what is tested.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (stage, index) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)] {
        let subtask = Some(v1::SubtaskId { stage, index });
        let (taskmanager_id, exchange_address) = match (stage, index) {
            (1, 0) => ("tm-0".to_owned(), exchange.clone()),
            _ => ("tm-9".to_owned(), silent.local_addr().unwrap().to_string()),
        };
        deploy.locations.push(v1::TaskLocation { subtask, taskmanager_id, exchange_address });
    }
    let key_groups = Some(v1::KeyGroupRange { start: 0, end: 64 });
    let subtask = Some(v1::SubtaskId { stage: 1, index: 0 });
    deploy.tasks.push(v1::TaskDeployment { subtask, slot: 0, key_groups, splits: Vec::new() });
    cluster.jobmanager.send("tm-0", v1::job_manager_message::Message::Deploy(deploy)).await;
    cluster.jobmanager.wait_for_running(JOB, 3, 1).await;
    // Kept open, so that connecting there neither fails nor answers.
    Box::leak(Box::new(silent));
    Fixture { cluster, exchange }
}

impl Fixture {
    /// Sends frames and keeps the stream open until the other side ends it, unless `hangs_up`.
    async fn open(&self, frames: Vec<Frame>, hangs_up: bool) -> Result<tonic::Streaming<v1::Credit>, Status> {
        let (sender, queued) = mpsc::channel(frames.len() + 1);
        for frame in frames {
            sender.send(v1::Frame { frame: Some(frame) }).await.unwrap();
        }
        let mut client = DataExchangeClient::connect(format!("http://{}", self.exchange)).await.unwrap();
        if !hangs_up {
            Box::leak(Box::new(sender));
        }
        client.open(ReceiverStream::new(queued)).await.map(tonic::Response::into_inner)
    }

    /// The causes of the task's failure.
    async fn failure(mut self) -> Vec<String> {
        let tasks = self.cluster.jobmanager.wait_for_end(JOB, 3, 1).await;
        let causes = tasks.into_values().next().unwrap().causes;
        self.cluster.stop().await;
        causes
    }
}

fn open_frame() -> v1::OpenChannel {
    v1::OpenChannel {
        version: proto::VERSION.to_owned(),
        job_id: JOB.to_string(),
        attempt: 3,
        from: Some(v1::SubtaskId { stage: 0, index: 1 }),
        to: Some(v1::SubtaskId { stage: 1, index: 0 }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_another_version_or_attempt_is_refused() {
    let f = fixture().await;
    let refused = async |open: v1::OpenChannel| f.open(vec![Frame::Open(open)], false).await.unwrap_err();
    let status = refused(v1::OpenChannel { version: "9.9.9".to_owned(), ..open_frame() }).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    let expected = format!(
        "version `9.9.9` cannot exchange data with version `{}`: run one version in the whole cluster",
        proto::VERSION
    );
    assert_eq!(status.message(), expected);
    let status = refused(v1::OpenChannel { attempt: 2, ..open_frame() }).await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "attempt 3 of the job has replaced this one here")
    );
    let status = refused(v1::OpenChannel { job_id: "x".to_owned(), ..open_frame() }).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = f.open(vec![Frame::End(v1::Unit {})], false).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "the first frame must be `open`"));
    f.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_stream_for_a_channel_is_refused() {
    let f = fixture().await;
    let _first = f.open(vec![Frame::Open(open_frame())], false).await.unwrap();
    let status = f.open(vec![Frame::Open(open_frame())], false).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::AlreadyExists, "the channel is open already"));
    f.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_fails_the_task_and_names_the_sender() {
    for (garbage, expected) in [
        (Frame::Events(b"\x07garbage".as_slice().into()), "event batch has format `7`, this build reads `3`"),
        (
            Frame::Rows(v1::Rows { table: 9, rows: b"x".as_slice().into() }),
            "rows came for table 9, which the sink does not have",
        ),
        (Frame::Open(open_frame()), "the channel was opened a second time"),
    ] {
        let f = fixture().await;
        let _credits = f.open(vec![Frame::Open(open_frame()), garbage], false).await.unwrap();
        let causes = f.failure().await;
        assert_eq!(causes, ["the upstream source[1] on `tm-9` sent what cannot be read", expected]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_that_hangs_up_before_its_end_is_lost() {
    let f = fixture().await;
    let _credits = f.open(vec![Frame::Open(open_frame()), Frame::WatermarkMs(1)], true).await.unwrap();
    assert_eq!(f.failure().await, ["lost the upstream source[1] on `tm-9`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_is_granted_once_at_first_and_the_end_is_confirmed() {
    let f = fixture().await;
    let (sender, frames) = mpsc::channel(3);
    let send = async |frame| sender.send(v1::Frame { frame: Some(frame) }).await.unwrap();
    send(Frame::Open(open_frame())).await;
    let mut client = DataExchangeClient::connect(format!("http://{}", f.exchange)).await.unwrap();
    let mut credits = client.open(ReceiverStream::new(frames)).await.unwrap().into_inner();
    // A sender has nothing to spend before the first grant, so it waits for it.
    let first = credits.message().await.unwrap().unwrap().bytes;
    assert_eq!(first, CHANNEL_BYTES as u64);
    send(Frame::WatermarkMs(i64::MAX)).await;
    send(Frame::End(v1::Unit {})).await;
    drop(sender);
    let mut returned = 0;
    while let Some(credit) = credits.message().await.unwrap() {
        returned += credit.bytes;
    }
    assert!(returned <= 128, "{returned}: no more than the two messages cost");
    f.cluster.stop().await;
}
