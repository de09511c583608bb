//! What the exchange costs: CPU time of each thread at each side of a channel, for each event, within a process and over gRPC, for batches as
//! a source makes them (2,048 events, keys of 30 bytes).
#![allow(clippy::print_stdout, reason = "it is what a benchmark is for")]

use taskmanager::measuring::cost::{Cost, Way, batch, cost};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH_EVENTS: u32 = 2048;
const RUNS: usize = 5;

fn main() {
    let batches: usize = std::env::var("BATCHES").ok().and_then(|given| given.parse().ok()).unwrap_or(4_000);
    let batch = batch(BATCH_EVENTS, 30);
    println!("{} events of {} bytes in {batches} batches, {RUNS} runs", batch.len(), batch.bytes() / batch.len());
    println!("ns of CPU for each event; a side is its subtask's thread and its connection's");
    for _ in 0..RUNS {
        for (name, way) in [("local", Way::Local), ("gRPC", Way::Grpc)] {
            print(name, cost(way, &batch, batches).expect("a port and threads"));
        }
    }
}

fn print(what: &str, Cost { sender, receiver }: Cost) {
    println!(
        "{what:<6} sender {:6.1} (thread {:.1}, connection {:.1})   receiver {:6.1} (thread {:.1}, connection {:.1})",
        sender.all(),
        sender.thread,
        sender.connection,
        receiver.all(),
        receiver.thread,
        receiver.connection,
    );
}
