//! What a channel costs: CPU time of each thread at each side of it, for each event.
//!
//! One subtask's thread sends batches as a source makes them, another takes them. Over gRPC each side has a runtime with one thread of its
//! own, so that what is not the subtask's work is counted where it is done. The copy of the batch that a sender makes here, and a source does
//! not, is measured alone and taken off.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::thread;

use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::key_group::hash_key;
use stream_core::origin::Origin;
use stream_core::time::EventTime;
use tokio::runtime::{Builder, Runtime};

use super::{local, over_grpc};

/// The default of a taskmanager.
const CHANNEL_BYTES: usize = 1 << 20;
/// What keys of any length begin with: one byte for the length of a visitor's address, and that.
const ADDRESS_BYTES: usize = 16;

/// How a channel's sides are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Within a process, by pointer.
    Local,
    /// Over gRPC, through this machine's loopback.
    Grpc,
}

/// Nanoseconds of CPU for each event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side {
    /// The subtask's thread.
    pub thread: f64,
    /// The connection's.
    pub connection: f64,
}

/// Both sides of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Who sends.
    pub sender: Side,
    /// Who receives.
    pub receiver: Side,
}

impl Side {
    /// Both threads.
    pub fn all(self) -> f64 {
        self.thread + self.connection
    }
}

impl Cost {
    /// Both sides.
    pub fn all(self) -> f64 {
        self.sender.all() + self.receiver.all()
    }
}

/// A batch of so many events with keys of so many bytes each, 16 at least, as those of visitors of web sites are.
pub fn batch(events: u32, key_bytes: usize) -> EventBatch {
    let mut batch = EventBatch::default();
    for index in 0..u64::from(events) {
        let mut key = format!("\u{e}{:03}.{:03}.{:03}.77", index % 251, index / 7 % 251, index % 97).into_bytes();
        key.resize(ADDRESS_BYTES, b'w');
        key.extend((ADDRESS_BYTES..key_bytes).map(|_| b'h'));
        let time = EventTime(1_700_000_000_000 + i64::from(u32::try_from(index).unwrap_or(0)));
        let origin = Origin { split: 0, offset: index };
        batch.push(KeyedEvent { hash: hash_key(&key), time, count: 1, key: &key, origin });
    }
    batch
}

/// What it costs to send this batch so many times.
///
/// # Errors
/// If there is no free port, or no thread.
///
/// # Panics
/// If an event does not arrive.
pub fn cost(way: Way, batch: &EventBatch, batches: usize) -> io::Result<Cost> {
    let (sending, receiving) = (runtime("send-io")?, runtime("receive-io")?);
    let (mut sender, receiver) = match way {
        Way::Local => local(CHANNEL_BYTES),
        Way::Grpc => over_grpc(CHANNEL_BYTES, sending.handle(), receiving.handle())?,
    };
    let before = cpu_by_thread()?;
    let copies = batch.clone();
    let copying = spawn("copy", move || {
        (0..batches).for_each(|_| drop(std::hint::black_box(copies.clone())));
        own_cpu()
    })?;
    let copying = joined(copying);
    let copies = batch.clone();
    let sending_thread = spawn("send", move || {
        (0..batches).for_each(|_| sender.send(copies.clone()));
        sender.finish();
        own_cpu()
    })?;
    let receiving_thread = spawn("receive", move || {
        let mut events = 0;
        while let Some(batch) = receiver.receive() {
            events += batch.len();
        }
        (events, own_cpu())
    })?;
    let sent = joined(sending_thread);
    let (events, received) = joined(receiving_thread);
    assert_eq!(events, batches * batch.len(), "every event arrives once");

    let after = cpu_by_thread()?;
    let of = |name: &str| {
        let spent = |all: &BTreeMap<String, u64>| all.get(name).copied().unwrap_or(0);
        spent(&after).saturating_sub(spent(&before))
    };
    let each = |ns: u64| ns as f64 / events.max(1) as f64;
    Ok(Cost {
        sender: Side { thread: each(sent.saturating_sub(copying)), connection: each(of("send-io")) },
        receiver: Side { thread: each(received), connection: each(of("receive-io")) },
    })
}

fn runtime(name: &str) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn joined<T>(thread: thread::JoinHandle<T>) -> T {
    thread.join().expect("only an event that got lost panics, which is what this must tell")
}

/// Nanoseconds of CPU that the calling thread has used.
fn own_cpu() -> u64 {
    on_cpu("/proc/thread-self")
}

/// The same of every thread of this process, by its name.
fn cpu_by_thread() -> io::Result<BTreeMap<String, u64>> {
    let mut spent = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task")?.flatten() {
        let task = task.path().display().to_string();
        if let Ok(name) = fs::read_to_string(format!("{task}/comm")) {
            *spent.entry(name.trim_end().to_owned()).or_default() += on_cpu(&task);
        }
    }
    Ok(spent)
}

fn on_cpu(task: &str) -> u64 {
    let schedstat = fs::read_to_string(format!("{task}/schedstat")).unwrap_or_default();
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_batch_has_the_length_that_was_asked_for() {
        let (short, long) = (batch(100, 30), batch(100, 130));
        assert_eq!((short.len(), long.len()), (100, 100));
        assert_eq!(long.bytes() - short.bytes(), 100 * 100);
    }

    #[test]
    fn both_sides_of_a_connection_are_charged_and_of_a_pointer_nearly_nothing() {
        let batch = batch(256, 30);
        let (local, grpc) = (cost(Way::Local, &batch, 400).unwrap(), cost(Way::Grpc, &batch, 400).unwrap());
        assert!(grpc.sender.all() > 0.0 && grpc.receiver.connection > 0.0, "{grpc:?}");
        assert!(local.sender.connection + local.receiver.connection < grpc.all(), "{local:?} {grpc:?}");
    }
}
