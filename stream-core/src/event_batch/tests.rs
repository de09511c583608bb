use proptest::prelude::*;

use super::wire::{ENTRY_BYTES, HEADER_BYTES};
use super::*;
use crate::key_group::hash_key;
use crate::origin;

fn batch(events: &[(Vec<u8>, i64, u32)]) -> EventBatch {
    let mut batch = EventBatch::default();
    for (index, (key, time, count)) in events.iter().enumerate() {
        let origin = Origin { split: *count % 3, offset: index as u64 };
        batch.push(KeyedEvent { hash: hash_key(key), time: EventTime(*time), count: *count, key, origin });
    }
    batch
}

#[test]
fn another_batch_has_room_for_as_much() {
    let one = batch(&[(b"a".to_vec(), 1, 1), (b"longer".to_vec(), 2, 1)]);
    let another = one.another();
    assert!(another.is_empty() && another.hashes.capacity() >= 2 && another.keys.capacity() >= 7);
    assert_eq!(EventBatch::default().another(), EventBatch::default());
}

/// The events with every one of them in the entry of the one before of its key, if it is within the gap.
fn put_together(events: &[(u8, i64)], gap_ms: i64) -> EventBatch {
    let (mut batch, mut last_entries) = (EventBatch::default(), std::collections::BTreeMap::new());
    for (offset, &(key, time)) in (0..).zip(events) {
        let (key, origin) = ([key], Origin { split: 1, offset });
        let event = KeyedEvent { hash: hash_key(&key), time: EventTime(time), count: 1, key: &key, origin };
        let entry = last_entries.get(&key).copied().unwrap_or(usize::MAX);
        if !batch.try_follow(entry, &event, gap_ms) {
            last_entries.insert(key, batch.len());
            batch.push(event);
        }
    }
    batch
}

proptest! {
    #[test]
    fn batch_put_together_has_the_same_events_each_keys_in_order(
        events in prop::collection::vec((0_u8..4, 0_i64..100), 0..100), gap_ms in 1_i64..40,
    ) {
        let batch = put_together(&events, gap_ms);
        let bytes = batch.encode();
        prop_assert_eq!(bytes.len(), batch.bytes());
        let batch = EventBatch::decode(&bytes).expect("own bytes");
        prop_assert_eq!(&batch, &put_together(&events, gap_ms));
        prop_assert_eq!((batch.events(), batch.len() + batch.followers()), (events.len() as u64, events.len()));
        let mut by_key: Vec<_> = batch.iter().map(|event| (event.key[0], event.time.0, event.origin.offset, event.count)).collect();
        by_key.sort_by_key(|event| event.0);
        let mut expected: Vec<_> = (0..).zip(&events).map(|(offset, &(key, time))| (key, time, offset, 1)).collect();
        expected.sort_by_key(|event| event.0);
        prop_assert_eq!(by_key, expected);
    }

    #[test]
    fn events_of_an_entry_are_one_session_of_their_own(
        events in prop::collection::vec((0_u8..4, 0_i64..100), 0..100), gap_ms in 1_i64..40,
    ) {
        let batch = put_together(&events, gap_ms);
        let mut one_by_one = batch.iter();
        for Together { event, last } in batch.together(|_| true) {
            let mut times: Vec<i64> = one_by_one.by_ref().take(event.count as usize).map(|one| one.time.0).collect();
            times.sort_unstable();
            prop_assert_eq!((times.first(), times.last()), (Some(&event.time.0), Some(&last.0)));
            prop_assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= gap_ms), "{:?}", times);
        }
    }
    #[test]
    fn decode_reads_what_encode_wrote(events in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), any::<i64>(), any::<u32>()), 0..50)) {
        let batch = batch(&events);
        let bytes = batch.encode();
        prop_assert_eq!(bytes.len(), batch.bytes());
        prop_assert_eq!(EventBatch::decode(&bytes).expect("own bytes"), batch);
    }

    #[test]
    fn decode_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = EventBatch::decode(&bytes);
    }
}

#[test]
fn decode_refuses_what_is_cut_off_or_from_another_version() {
    let bytes = batch(&[(b"key".to_vec(), 5, 1)]).encode();
    for end in 0..bytes.len() {
        assert!(EventBatch::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut other = bytes;
    other[0] = 9;
    assert_eq!(EventBatch::decode(&other), Err(DecodeBatchError::Format(9)));
}

#[test]
fn event_that_follows_costs_ten_bytes() {
    let (one, two) = (put_together(&[(1, 0)], 5), put_together(&[(1, 0), (1, 5)], 5));
    assert_eq!((one.len(), two.len(), two.followers()), (1, 1, 1));
    // And a run of origins.
    assert_eq!(two.bytes() - one.bytes(), 10 + origin::RUN_BYTES);
}

#[test]
fn event_too_far_from_the_others_or_of_another_key_has_its_own_entry() {
    for (time, followers) in [(5, 1), (-5, 1), (6, 0), (-6, 0)] {
        assert_eq!(put_together(&[(1, 0), (1, time)], 5).followers(), followers, "{time}");
    }
    let far = i64::from(i32::MAX) + 1;
    assert_eq!(put_together(&[(1, 0), (1, far)], i64::MAX).followers(), 0, "distances are of 32 bits");
    let mut batch = put_together(&[(1, 0)], 5);
    let other = KeyedEvent { hash: hash_key(&[1]), time: EventTime(0), count: 1, key: &[2], origin: Origin::default() };
    assert!(!batch.try_follow(0, &other, 5), "a hash is not a key");
    assert!(!batch.try_follow(1, &KeyedEvent { key: &[1], ..other }, 5), "no such entry");
}

#[test]
fn decode_refuses_an_event_that_follows_none() {
    let batch = put_together(&[(1, 0), (1, 5)], 5);
    let mut bytes = batch.encode();
    let entry = HEADER_BYTES + ENTRY_BYTES + origin::RUN_BYTES;
    assert_eq!(bytes[entry..entry + 2], [0, 0]);
    bytes[entry] = 1;
    assert!(matches!(EventBatch::decode(&bytes), Err(DecodeBatchError::Damaged(_))));
}
