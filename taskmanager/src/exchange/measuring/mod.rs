//! For `benches/exchange.rs` and `make bench-scaling`, and for nobody else: one channel between two subtasks, driven as subtasks drive it.

pub mod cost;

use std::sync::Arc;
use std::time::Duration;

use stream_core::event_batch::EventBatch;
use stream_core::ids::{AttemptNumber, JobId, StageIndex, SubtaskId, SubtaskIndex};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::exchange::directory::{ChannelKey, DEPLOY_WAIT, Directory, Inlet, Payload};
use crate::exchange::error::Peer;
use crate::exchange::gate::{Gate, Input};
use crate::exchange::grpc::downstream;
use crate::exchange::grpc::health::Health;
use crate::exchange::grpc::upstream::{Link, Peers, carry};
use crate::exchange::message::Message;
use crate::exchange::outputs::{Flushed, Outputs, Sender};
use crate::exchange::remote::RemoteChannel;

const WAIT: Duration = Duration::from_millis(50);

/// The upstream subtask's end.
struct SendingEnd(Outputs);

/// The downstream subtask's end.
struct ReceivingEnd(Arc<Gate>);

/// A channel within a process.
fn local(channel_bytes: usize) -> (SendingEnd, ReceivingEnd) {
    let gate = Arc::new(Gate::new(1, channel_bytes));
    (SendingEnd(Outputs::new(vec![Sender::Local(Arc::clone(&gate), 0)])), ReceivingEnd(gate))
}

/// A channel over gRPC, whose ends use these runtimes.
///
/// # Errors
/// If no port can be had.
fn over_grpc(
    channel_bytes: usize,
    sending: &Handle,
    receiving: &Handle,
) -> std::io::Result<(SendingEnd, ReceivingEnd)> {
    let listener = receiving.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let address = listener.local_addr()?.to_string();
    let subtask = |stage| SubtaskId { stage: StageIndex(stage), index: SubtaskIndex(0) };
    let key = ChannelKey { job_id: JobId(1), attempt: AttemptNumber(1), from: subtask(0), to: subtask(1) };
    let peer = |subtask: &str| Peer { subtask: subtask.to_owned(), taskmanager: "bench".to_owned() };

    let gate = Arc::new(Gate::new(1, channel_bytes));
    let inlet = Inlet {
        gate: Arc::clone(&gate),
        channel: 0,
        payload: Payload { has_events: true, schemas: Arc::default() },
        upstream: peer("source[0]"),
        stop: CancellationToken::new(),
    };
    let directory = Arc::new(Directory::new(DEPLOY_WAIT));
    directory.add([(key, inlet)]);
    let serve = async move {
        let (_health, service) = Health::new().await;
        // It ends with its runtime.
        drop(downstream::serve(listener, directory, service, CancellationToken::new()).await);
    };
    drop(receiving.spawn(serve));

    let channel = Arc::new(RemoteChannel::default());
    let link =
        Link { channel: Arc::clone(&channel), key, from: "source[0]".to_owned(), to: peer("window[0]"), address };
    drop(sending.spawn(async move { carry(link, &Peers::default()).await }));
    Ok((SendingEnd(Outputs::new(vec![Sender::Remote(channel)])), ReceivingEnd(gate)))
}

impl SendingEnd {
    /// Sends a batch, and waits until it is taken.
    ///
    /// # Panics
    /// If the channel breaks.
    fn send(&mut self, batch: EventBatch) {
        self.0.send(0, Message::Events(batch));
        self.flush();
    }

    /// Sends the end, and waits until the other side has everything.
    ///
    /// # Panics
    /// If the channel breaks.
    fn finish(mut self) {
        self.0.send_end();
        self.flush();
        while !self.0.are_delivered() {
            self.0.wait(WAIT);
        }
    }

    fn flush(&mut self) {
        while self.0.flush().expect("nothing breaks the channel") == Flushed::Backpressured {
            self.0.wait(WAIT);
        }
    }
}

impl ReceivingEnd {
    /// The next batch; `None` once the other side has ended.
    ///
    /// # Panics
    /// If the channel breaks.
    fn receive(&self) -> Option<EventBatch> {
        loop {
            match self.0.try_pop().expect("nothing breaks the channel") {
                Input::Message(_, Message::Events(batch)) => return Some(batch),
                Input::Message(_, Message::End) | Input::Closed => return None,
                Input::Message(..) => {}
                Input::Empty => self.0.wait_for_input(WAIT),
            }
        }
    }
}
