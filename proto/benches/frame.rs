//! What an event costs on the wire between taskmanagers: a batch to the bytes of a frame, and back. Without the socket, and without
//! gRPC's own head. Figures are for each event of a full batch.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use prost::Message;
use proto::v1;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::key_group::hash_key;
use stream_core::origin::Origin;
use stream_core::time::EventTime;

/// As many events as a source's batch has.
const EVENTS: u64 = 2048;

fn main() {
    divan::main();
}

fn batch() -> EventBatch {
    let mut batch = EventBatch::default();
    for number in 0..EVENTS {
        let key = format!("\u{e}{}.{}.7.7www{}.techcreator.io", number % 251, number / 251, number % 7);
        let key = key.as_bytes();
        let time = EventTime(1_736_874_072_232 + number.cast_signed());
        batch.push(KeyedEvent { hash: hash_key(key), time, count: 1, key, origin: Origin::default() });
    }
    batch
}

fn encode(batch: &EventBatch) -> Vec<u8> {
    v1::Frame { frame: Some(v1::frame::Frame::Events(batch.encode().into())) }.encode_to_vec()
}

#[divan::bench]
fn to_frame(bencher: Bencher<'_, '_>) {
    let batch = batch();
    let bytes = BytesCount::new(encode(&batch).len());
    bencher.counter(ItemsCount::new(EVENTS)).counter(bytes).bench_local(|| encode(black_box(&batch)));
}

#[divan::bench]
fn from_frame(bencher: Bencher<'_, '_>) {
    let wire = bytes::Bytes::from(encode(&batch()));
    bencher.counter(ItemsCount::new(EVENTS)).counter(BytesCount::new(wire.len())).bench_local(|| {
        let frame = v1::Frame::decode(black_box(wire.clone())).expect("its own bytes");
        let Some(v1::frame::Frame::Events(events)) = frame.frame else { panic!("another frame") };
        EventBatch::decode(&events).expect("its own bytes")
    });
}
