//! Keys as they lie in memory: short ones within the entry, and of longer ones the tail, which many share, once for all of them.
//!
//! A web event's key is an ip and a host, and of hosts there are few: with the head (the ip) in the entry and a number for the tail a key
//! takes no memory of its own. Where the tail begins is the job's to say; to this module keys are bytes. So that a job whose tails are
//! as many as its keys does not pay for it, only the first [`MAX_TAILS`] are shared. A tail is forgotten with its last key.
//!
//! This is a form in memory only: what is stored, compared and handed out are the bytes.

use std::cmp::Ordering;

use hashbrown::HashTable;

use crate::key_group::hash_key;

/// The bytes of a key that are in the entry, so that with the rest it fills a cache line.
const OWN_BYTES: usize = 28;
/// Of these, the number of a tail or of a long key.
const NUMBER_BYTES: usize = 4;
/// So many tails can be shared at a time; a look-up of one stays in the caches.
const MAX_TAILS: usize = 1 << 16;

/// Form of a key whose tail is shared; the lower bits are the length of its head. Below it, a form is the length of a whole key.
const SHARED: u8 = 0x40;
/// Form of a key that lies elsewhere.
const LONG: u8 = 0x80;

/// A key in an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredKey {
    form: u8,
    bytes: [u8; OWN_BYTES],
}

/// What the keys in entries refer to.
#[derive(Debug)]
pub(super) struct Keys {
    head_bytes: fn(&[u8]) -> usize,
    tails: Vec<Tail>,
    /// The numbers of the tails, by their bytes.
    by_bytes: HashTable<u32>,
    free_tails: Vec<u32>,
    long: Vec<Box<[u8]>>,
    free_long: Vec<u32>,
}

#[derive(Debug, Default)]
struct Tail {
    bytes: Box<[u8]>,
    keys: u32,
}

/// The bytes of a key, in two parts.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct KeyBytes<'a> {
    head: &'a [u8],
    tail: &'a [u8],
}

impl StoredKey {
    /// That of a free place.
    pub(super) const NONE: StoredKey = StoredKey { form: 0, bytes: [0; OWN_BYTES] };

    fn whole(key: &[u8]) -> Option<Self> {
        let mut bytes = [0; OWN_BYTES];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(StoredKey { form: key.len() as u8, bytes })
    }

    fn numbered(form: u8, number: u32, head: &[u8]) -> Self {
        let mut bytes = [0; OWN_BYTES];
        bytes[..NUMBER_BYTES].copy_from_slice(&number.to_le_bytes());
        bytes[NUMBER_BYTES..][..head.len()].copy_from_slice(head);
        StoredKey { form, bytes }
    }

    fn number(&self) -> usize {
        let [a, b, c, d, ..] = self.bytes;
        u32::from_le_bytes([a, b, c, d]) as usize
    }

    /// The head of a key whose tail is shared.
    fn head(&self) -> &[u8] {
        &self.bytes[NUMBER_BYTES..][..usize::from(self.form ^ SHARED)]
    }
}

impl Keys {
    /// Of every key only what `head_bytes` says is its own; at most as long as the key.
    pub(super) fn new(head_bytes: fn(&[u8]) -> usize) -> Self {
        Keys {
            head_bytes,
            tails: Vec::new(),
            by_bytes: HashTable::new(),
            free_tails: Vec::new(),
            long: Vec::new(),
            free_long: Vec::new(),
        }
    }

    /// Takes a key in.
    pub(super) fn put(&mut self, key: &[u8]) -> StoredKey {
        if let Some(stored) = StoredKey::whole(key) {
            return stored;
        }
        let (head, tail) = key.split_at((self.head_bytes)(key).min(key.len()));
        if head.len() <= OWN_BYTES - NUMBER_BYTES
            && !tail.is_empty()
            && let Some(number) = self.share(tail)
        {
            return StoredKey::numbered(SHARED | head.len() as u8, number, head);
        }
        let number = free_or_next(&mut self.free_long, &mut self.long);
        self.long[number as usize] = key.into();
        StoredKey::numbered(LONG, number, &[])
    }

    /// Forgets a key that was taken in.
    pub(super) fn remove(&mut self, key: StoredKey) {
        match key.form {
            LONG => {
                self.long[key.number()] = Box::default();
                self.free_long.push(key.number() as u32);
                // Their numbers are worth nothing once none is in use.
                if self.free_long.len() == self.long.len() {
                    (self.long, self.free_long) = (Vec::new(), Vec::new());
                }
            }
            form if form & SHARED != 0 => self.unshare(key.number()),
            _ => {}
        }
    }

    /// The bytes of a key that was taken in.
    pub(super) fn get<'a>(&'a self, key: &'a StoredKey) -> KeyBytes<'a> {
        let (head, tail): (&[u8], &[u8]) = match key.form {
            LONG => (&self.long[key.number()], &[]),
            form if form & SHARED != 0 => (key.head(), &self.tails[key.number()].bytes),
            form => (&key.bytes[..usize::from(form)], &[]),
        };
        KeyBytes { head, tail }
    }

    /// Whether a key that was taken in has these bytes.
    #[inline]
    pub(super) fn is(&self, key: &StoredKey, bytes: &[u8]) -> bool {
        if usize::from(key.form) <= OWN_BYTES {
            return key.bytes[..usize::from(key.form)] == *bytes;
        }
        let KeyBytes { head, tail } = self.get(key);
        bytes.split_at_checked(head.len()).is_some_and(|parts| parts == (head, tail))
    }

    /// A tail's number for one more key, if it is shared or may yet be.
    fn share(&mut self, tail: &[u8]) -> Option<u32> {
        let Keys { tails, by_bytes, free_tails, .. } = self;
        let hash = hash_key(tail).0;
        let found = by_bytes.find(hash, |&number| *tails[number as usize].bytes == *tail).copied();
        if found.is_none() && by_bytes.len() >= MAX_TAILS {
            return None;
        }
        let number = found.unwrap_or_else(|| {
            let number = free_or_next(free_tails, tails);
            tails[number as usize] = Tail { bytes: tail.into(), keys: 0 };
            by_bytes.insert_unique(hash, number, |&number| hash_key(&tails[number as usize].bytes).0);
            number
        });
        tails[number as usize].keys += 1;
        Some(number)
    }

    fn unshare(&mut self, number: usize) {
        let Tail { bytes, keys } = &mut self.tails[number];
        *keys -= 1;
        if *keys == 0 {
            let hash = hash_key(&std::mem::take(bytes)).0;
            if let Ok(found) = self.by_bytes.find_entry(hash, |&other| other as usize == number) {
                found.remove();
            }
            self.free_tails.push(number as u32);
            if self.by_bytes.is_empty() {
                (self.tails, self.by_bytes, self.free_tails) = (Vec::new(), HashTable::new(), Vec::new());
            }
        }
    }
}

/// The number of a free place in a list.
fn free_or_next<T: Default>(free: &mut Vec<u32>, list: &mut Vec<T>) -> u32 {
    free.pop().unwrap_or_else(|| {
        list.push(T::default());
        u32::try_from(list.len() - 1).expect("fewer than 2^32 keys fit in memory")
    })
}

impl<'a> KeyBytes<'a> {
    /// How many there are.
    pub(in crate::session) fn len(self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Appends them.
    pub(in crate::session) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head);
        out.extend_from_slice(self.tail);
    }

    /// All of them in a row, in `buffer` unless they are already.
    pub(super) fn joined(self, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        if self.tail.is_empty() {
            return self.head;
        }
        buffer.clear();
        self.write(buffer);
        buffer
    }
}

impl<'a> From<&'a [u8]> for KeyBytes<'a> {
    fn from(head: &'a [u8]) -> Self {
        KeyBytes { head, tail: &[] }
    }
}

impl Ord for KeyBytes<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.head.len() == other.head.len() {
            return (self.head, self.tail).cmp(&(other.head, other.tail));
        }
        self.head.iter().chain(self.tail).cmp(other.head.iter().chain(other.tail))
    }
}

impl PartialOrd for KeyBytes<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for KeyBytes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.cmp(other).is_eq()
    }
}

impl Eq for KeyBytes<'_> {}

#[cfg(test)]
mod tests;
