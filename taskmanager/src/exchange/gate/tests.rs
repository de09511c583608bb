#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::task::Waker;

use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::key_group::hash_key;
use stream_core::origin::Origin;
use stream_core::time::EventTime;
use stream_core::watermark::{Progress, Watermark};

use super::*;
use crate::exchange::error::Peer;

const DEADLINE: Duration = Duration::from_secs(10);

fn events(key_bytes: usize) -> Message {
    let key = vec![b'k'; key_bytes];
    let mut batch = EventBatch::default();
    batch.push(KeyedEvent { hash: hash_key(&key), time: EventTime(0), count: 1, key: &key, origin: Origin::default() });
    Message::Events(batch)
}

fn watermark(ms: i64) -> Message {
    Message::Progress(Progress::Active(Watermark(ms)))
}

fn pop(gate: &Gate) -> Option<(usize, Message)> {
    match gate.try_pop().unwrap() {
        Input::Message(channel, message) => Some((channel, message)),
        Input::Empty | Input::Closed => None,
    }
}

fn credit(gate: &Gate, channel: usize) -> Poll<Credit> {
    gate.poll_credit(channel, &mut Context::from_waker(Waker::noop()))
}

#[test]
fn channels_are_taken_in_turn() {
    let gate = Gate::new(3, 1000);
    for ms in 0..3 {
        gate.try_push(0, watermark(ms)).unwrap();
    }
    gate.try_push(2, watermark(10)).unwrap();
    let order: Vec<_> = std::iter::from_fn(|| pop(&gate)).collect();
    assert_eq!(order, [(0, watermark(0)), (2, watermark(10)), (0, watermark(1)), (0, watermark(2))]);
}

#[test]
fn full_channel_gives_the_message_back_and_leaves_the_others_open() {
    let gate = Gate::new(2, 300);
    gate.try_push(0, events(200)).unwrap();
    assert_eq!(gate.try_push(0, events(200)), Err(Rejected::Full(events(200))));
    gate.try_push(1, events(200)).unwrap();
    pop(&gate).unwrap();
    gate.try_push(0, events(200)).unwrap();
}

#[test]
fn message_above_the_bound_passes_an_empty_channel_only() {
    let gate = Gate::new(1, 100);
    gate.try_push(0, events(5000)).unwrap();
    assert_eq!(gate.try_push(0, watermark(1)), Err(Rejected::Full(watermark(1))));
    assert_eq!(gate.queued_bytes(), 100);
    pop(&gate).unwrap();
    gate.try_push(0, watermark(1)).unwrap();
    assert!(matches!(gate.try_push(0, events(5000)), Err(Rejected::Full(_))));
}

#[test]
fn watermarks_count_against_the_bound() {
    let gate = Gate::new(1, 10 * crate::exchange::message::CONTROL_BYTES);
    let taken = (0..1000).take_while(|&ms| gate.try_push(0, watermark(ms)).is_ok()).count();
    assert_eq!(taken, 10);
}

#[test]
fn blocked_channel_keeps_its_messages_until_it_is_unblocked() {
    let gate = Gate::new(2, 1000);
    gate.block(0);
    gate.try_push(0, watermark(1)).unwrap();
    assert_eq!(pop(&gate), None);
    gate.try_push(1, watermark(2)).unwrap();
    assert_eq!(pop(&gate), Some((1, watermark(2))));
    gate.unblock_all();
    assert_eq!(pop(&gate), Some((0, watermark(1))));
}

#[test]
fn closing_wakes_both_sides_and_turns_them_away() {
    let gate = Arc::new(Gate::new(1, 100));
    gate.try_push(0, events(5000)).unwrap();
    let producer = std::thread::spawn({
        let gate = Arc::clone(&gate);
        move || {
            gate.wait_for_room(0, &events(1), DEADLINE);
            gate.try_push(0, events(1))
        }
    });
    gate.close();
    assert_eq!(producer.join().unwrap(), Err(Rejected::Closed));
    assert_eq!(gate.try_pop().unwrap(), Input::Closed);
}

#[test]
fn waiting_consumer_wakes_for_a_message_and_waiting_producer_for_room() {
    let gate = Arc::new(Gate::new(1, 100));
    let producer = std::thread::spawn({
        let gate = Arc::clone(&gate);
        move || {
            for _ in 0..100 {
                while gate.try_push(0, events(500)).is_err() {
                    gate.wait_for_room(0, &events(500), DEADLINE);
                }
            }
        }
    });
    for _ in 0..100 {
        gate.wait_for_input(DEADLINE);
        assert!(pop(&gate).is_some());
    }
    producer.join().unwrap();
}

#[test]
fn lost_upstream_is_told_to_the_consumer() {
    let gate = Gate::new(1, 100);
    let peer = Peer { subtask: "source[1]".to_owned(), taskmanager: "tm-2".to_owned() };
    gate.fail(ExchangeError::LostUpstream { peer, cause: None });
    assert_eq!(gate.try_pop().unwrap_err().to_string(), "lost the upstream source[1] on `tm-2`");
}

#[test]
fn credit_is_first_the_whole_channel_then_what_the_consumer_takes() {
    let gate = Gate::new(1, 1000);
    gate.attach_remote(0).unwrap();
    assert_eq!(gate.attach_remote(0), Err(AlreadyAttached));
    assert_eq!(credit(&gate, 0), Poll::Ready(Credit::Grant(1000)));
    assert_eq!(credit(&gate, 0), Poll::Pending);
    let bytes = events(400).bytes();
    gate.try_push(0, events(400)).unwrap();
    gate.try_push(0, events(400)).unwrap();
    assert_eq!(credit(&gate, 0), Poll::Pending, "nothing was taken yet");
    pop(&gate).unwrap();
    assert_eq!(credit(&gate, 0), Poll::Ready(Credit::Grant(bytes)));
    pop(&gate).unwrap();
    assert_eq!(credit(&gate, 0), Poll::Ready(Credit::Grant(bytes)));
}

#[test]
fn small_returns_are_granted_once_the_channel_is_empty() {
    let gate = Gate::new(1, 10_000);
    gate.attach_remote(0).unwrap();
    assert_eq!(credit(&gate, 0), Poll::Ready(Credit::Grant(10_000)));
    gate.try_push(0, watermark(1)).unwrap();
    gate.try_push(0, watermark(2)).unwrap();
    pop(&gate).unwrap();
    assert_eq!(credit(&gate, 0), Poll::Pending);
    pop(&gate).unwrap();
    assert_eq!(credit(&gate, 0), Poll::Ready(Credit::Grant(128)));
}

#[test]
fn ended_channel_needs_no_more_credit() {
    let gate = Gate::new(1, 1000);
    gate.attach_remote(0).unwrap();
    gate.try_push(0, Message::End).unwrap();
    assert_eq!(credit(&gate, 0), Poll::Ready(Credit::Ended));
}
