//! What the exchange costs: CPU time of each thread at each side of a channel, for each event, within a process and over gRPC.
//!
//! One subtask's thread sends batches as a source makes them (2,048 events, keys of 30 bytes), another takes them. Over gRPC each side has a
//! runtime with one thread of its own, so that what is not the subtask's work is counted where it is done. The copy of the batch that a sender
//! makes here, and a source does not, is measured alone and taken off.
#![allow(clippy::print_stdout, reason = "it is what a benchmark is for")]

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use stream_core::collector::BATCH_EVENTS;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::key_group::hash_key;
use stream_core::origin::Origin;
use stream_core::time::EventTime;
use taskmanager::measuring::{ReceivingEnd, SendingEnd, local, over_grpc};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The default of a taskmanager.
const CHANNEL_BYTES: usize = 1 << 20;
const RUNS: usize = 5;

fn main() {
    let batches: usize = std::env::var("BATCHES").ok().and_then(|given| given.parse().ok()).unwrap_or(4_000);
    let batch = batch();
    println!("{} events of {} bytes in {batches} batches, {RUNS} runs", batch.len(), batch.bytes() / batch.len());
    println!("ns of CPU for each event; a side is its subtask's thread and its connection's");
    for _ in 0..RUNS {
        let (sender, receiver) = local(CHANNEL_BYTES);
        print("local", &run(sender, receiver, &batch, batches));
        let (sending, receiving) = (runtime("send-io"), runtime("receive-io"));
        let (sender, receiver) = over_grpc(CHANNEL_BYTES, sending.handle(), receiving.handle()).expect("a port");
        print("gRPC", &run(sender, receiver, &batch, batches));
    }
}

/// Nanoseconds of CPU for each event, by thread.
fn run(mut sender: SendingEnd, receiver: ReceivingEnd, batch: &EventBatch, batches: usize) -> BTreeMap<String, f64> {
    let before = cpu_by_thread();
    let copying = spawn("copy", {
        let batch = batch.clone();
        move || {
            (0..batches).for_each(|_| drop(std::hint::black_box(batch.clone())));
            own_cpu()
        }
    });
    let copying = copying.join().expect("it does not panic");
    let sending = spawn("send", {
        let batch = batch.clone();
        move || {
            (0..batches).for_each(|_| sender.send(batch.clone()));
            sender.finish();
            own_cpu()
        }
    });
    let receiving = spawn("receive", move || {
        let mut events = 0;
        while let Some(batch) = receiver.receive() {
            events += batch.len();
        }
        (events, own_cpu())
    });
    let sent = sending.join().expect("it does not panic");
    let (events, received) = receiving.join().expect("it does not panic");
    assert_eq!(events, batches * batch.len(), "every event arrives once");

    let mut spent: BTreeMap<String, u64> = cpu_by_thread();
    spent.retain(|name, _| name.ends_with("-io"));
    for (name, spent) in &mut spent {
        *spent -= before.get(name).copied().unwrap_or(0);
    }
    spent.insert("send".to_owned(), sent.saturating_sub(copying));
    spent.insert("receive".to_owned(), received);
    spent.into_iter().map(|(name, ns)| (name, ns as f64 / events as f64)).collect()
}

fn print(what: &str, spent: &BTreeMap<String, f64>) {
    let of = |name: &str| spent.get(name).copied().unwrap_or(0.0);
    let (sender, receiver) = (of("send") + of("send-io"), of("receive") + of("receive-io"));
    println!(
        "{what:<6} sender {sender:6.1} (thread {:.1}, connection {:.1})   receiver {receiver:6.1} (thread {:.1}, connection {:.1})",
        of("send"),
        of("send-io"),
        of("receive"),
        of("receive-io"),
    );
}

fn batch() -> EventBatch {
    let mut batch = EventBatch::default();
    for index in 0..BATCH_EVENTS as u64 {
        let key = format!(
            "\u{e}{:03}.{:03}.{:03}.77www{}.techcreator.io",
            index % 251,
            index / 7 % 251,
            index % 97,
            index % 7
        );
        let time = EventTime(1_700_000_000_000 + i64::try_from(index).expect("small"));
        let origin = Origin { split: 0, offset: index };
        batch.push(KeyedEvent { hash: hash_key(key.as_bytes()), time, count: 1, key: key.as_bytes(), origin });
    }
    batch
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().expect("a thread")
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread")
}

/// Nanoseconds of CPU that the calling thread has used.
fn own_cpu() -> u64 {
    on_cpu("/proc/thread-self")
}

/// The same of every thread of this process, by its name.
fn cpu_by_thread() -> BTreeMap<String, u64> {
    let mut spent = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let task = task.path().display().to_string();
        if let Ok(name) = fs::read_to_string(format!("{task}/comm")) {
            *spent.entry(name.trim_end().to_owned()).or_default() += on_cpu(&task);
        }
    }
    spent
}

fn on_cpu(task: &str) -> u64 {
    let schedstat = fs::read_to_string(format!("{task}/schedstat")).unwrap_or_default();
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}
