//! What is known of the ips that came by last: a map with a bound, out of which falls what was not asked for the longest.
//!
//! The entries lie in one vector and are chained from the one used last to the one used first; the table finds an entry's place
//! by the hash that came with the event. A hit hashes nothing and allocates nothing.

use std::num::NonZeroU32;

use hashbrown::HashTable;
use stream_core::key_group::KeyHash;

/// Locations by ip.
#[derive(Debug)]
pub struct Cache {
    places: HashTable<u32>,
    entries: Vec<Entry>,
    capacity: NonZeroU32,
    /// The entry used last and the one used first; [`NONE`] without any.
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    ip: Box<str>,
    location: Box<str>,
    newer: u32,
    older: u32,
}

/// No entry: there are never so many.
const NONE: u32 = u32::MAX;

impl Cache {
    /// An empty one for so many ips.
    pub fn new(capacity: NonZeroU32) -> Self {
        Cache { places: HashTable::new(), entries: Vec::new(), capacity, newest: NONE, oldest: NONE }
    }

    /// What is known of an ip, which is the one used last from now on.
    pub fn get(&mut self, hash: KeyHash, ip: &str) -> Option<&str> {
        let entries = &self.entries;
        let place = *self.places.find(hash.0, |&place| *entries[place as usize].ip == *ip)?;
        if place != self.newest {
            self.unlink(place);
            self.link(place);
        }
        Some(&self.entries[place as usize].location)
    }

    /// Keeps what is known of an ip.
    pub fn insert(&mut self, hash: KeyHash, ip: &str, location: &str) {
        if self.get(hash, ip).is_some() {
            self.entries[self.newest as usize].location = location.into();
            return;
        }
        let entry = Entry { hash: hash.0, ip: ip.into(), location: location.into(), newer: NONE, older: NONE };
        let place = if self.entries.len() < self.capacity.get() as usize {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("below a 32-bit capacity")
        } else {
            let place = self.oldest;
            self.unlink(place);
            let gone = std::mem::replace(&mut self.entries[place as usize], entry);
            let found = self.places.find_entry(gone.hash, |&other| other == place);
            found.expect("every entry is in the table").remove();
            place
        };
        let entries = &self.entries;
        self.places.insert_unique(hash.0, place, |&place| entries[place as usize].hash);
        self.link(place);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Cache::new(self.capacity);
    }

    fn unlink(&mut self, place: u32) {
        let Entry { newer, older, .. } = self.entries[place as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }

    /// Makes an entry that is not in the chain its newest.
    fn link(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.newest, place);
        let entry = &mut self.entries[place as usize];
        (entry.newer, entry.older) = (NONE, before);
        match before {
            NONE => self.oldest = place,
            before => self.entries[before as usize].newer = place,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::hash_ip;

    fn cache(capacity: u32) -> Cache {
        Cache::new(NonZeroU32::new(capacity).expect("not zero"))
    }

    #[test]
    fn what_was_not_asked_for_the_longest_falls_out() {
        let mut cache = cache(2);
        cache.insert(hash_ip("a"), "a", "A");
        cache.insert(hash_ip("b"), "b", "B");
        assert_eq!(cache.get(hash_ip("a"), "a"), Some("A"));
        cache.insert(hash_ip("c"), "c", "C");
        assert_eq!(cache.get(hash_ip("b"), "b"), None);
        assert_eq!(cache.get(hash_ip("a"), "a"), Some("A"));
        cache.clear();
        assert_eq!(cache.get(hash_ip("a"), "a"), None);
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn cache_holds_what_a_list_of_the_last_used_holds(
            capacity in 1_u32..6,
            uses in prop::collection::vec((0_u8..10, any::<bool>()), 0..80),
        ) {
            let mut cache = cache(capacity);
            let mut list = Vec::<(String, String)>::new();
            for (step, (ip, is_insert)) in uses.into_iter().enumerate() {
                let ip = ip.to_string();
                // The same hash for several ips.
                let hash = KeyHash(u64::from(ip.as_bytes()[0] % 3));
                let known = list.iter().position(|(key, _)| *key == ip).map(|at| list.remove(at));
                if is_insert {
                    let location = step.to_string();
                    cache.insert(hash, &ip, &location);
                    list.push((ip, location));
                    if list.len() > capacity as usize {
                        list.remove(0);
                    }
                } else {
                    prop_assert_eq!(cache.get(hash, &ip), known.as_ref().map(|(_, location)| location.as_str()));
                    list.extend(known);
                }
            }
        }
    }
}
