use proptest::prelude::*;

use super::*;

fn keys() -> Keys {
    Keys::new(|key| usize::from(key.first().copied().unwrap_or(0)))
}

fn bytes(key: KeyBytes<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.write(&mut bytes);
    bytes
}

/// The first byte says how long the head is. Of tails there are few.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop::sample::select(vec![0_usize, 1, 15, 20, 40]).prop_map(|length| vec![b'h'; length]);
    (prop::collection::vec(0_u8..50, 0..40), tail).prop_map(|(head, tail)| [head, tail].concat())
}

proptest! {
    #[test]
    fn keys_are_their_bytes_and_order_as_these_do(all in prop::collection::vec(key(), 1..30)) {
        let mut keys = keys();
        let stored: Vec<StoredKey> = all.iter().map(|key| keys.put(key)).collect();
        for (one, key) in stored.iter().zip(&all) {
            prop_assert_eq!(&bytes(keys.get(one)), key);
            let mut buffer = vec![7];
            prop_assert_eq!(keys.get(one).joined(&mut buffer), key);
            prop_assert_eq!(keys.get(one).len(), key.len());
            for (other, bytes) in stored.iter().zip(&all) {
                prop_assert_eq!(keys.is(one, bytes), key == bytes);
                prop_assert_eq!(keys.get(one).cmp(&keys.get(other)), key.cmp(bytes));
                prop_assert_eq!(keys.get(one) == keys.get(other), key == bytes);
            }
        }
        // As many as go are forgotten; those that stay are as they were.
        let (gone, left) = stored.split_at(stored.len() / 2);
        gone.iter().for_each(|key| keys.remove(*key));
        for (one, key) in left.iter().zip(&all[gone.len()..]) {
            prop_assert_eq!(&bytes(keys.get(one)), key);
        }
        left.iter().for_each(|key| keys.remove(*key));
        let left = (keys.by_bytes.capacity(), keys.tails.capacity(), keys.long.capacity());
        prop_assert_eq!(left, (0, 0, 0), "without keys nothing is held");
    }
}

#[test]
fn tails_are_shared_up_to_a_number_and_again_once_one_is_gone() {
    let mut keys = Keys::new(|_| 4);
    let key = |tail: usize| format!("head{tail:030}").into_bytes();
    let stored: Vec<StoredKey> = (0..MAX_TAILS).map(|tail| keys.put(&key(tail))).collect();
    assert!(stored.iter().all(|key| key.form == SHARED | 4));
    assert_eq!(keys.put(&key(MAX_TAILS)).form, LONG);
    assert_eq!(keys.put(&key(7)).form, SHARED | 4, "one that is shared already");
    keys.remove(stored[9]);
    assert_eq!(keys.put(&key(MAX_TAILS)).form, SHARED | 4);
    assert_eq!(keys.tails.len(), MAX_TAILS);
}
