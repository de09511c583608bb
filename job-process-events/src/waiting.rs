//! The events whose ip is being looked up: the job's keyed state.
//!
//! The events of an ip lie end to end, in their order, each with its time and its length in front. The same bytes, ip behind
//! ip, are a section of a snapshot. The format must not change:
//!
//! ```text
//! time: i64, ms, little-endian | length of the record: u32, little-endian | the record, as `record` writes it
//! ```

use std::collections::BTreeMap;

use hashbrown::HashTable;
use stream_core::key_group::{KeyGroup, KeyHash, MaxParallelism};
use stream_core::snapshot::{DecodeSnapshotError, Section};
use stream_core::time::EventTime;

use crate::record::{Record, hash_ip};

/// Events by ip.
#[derive(Debug, Default)]
pub struct Waiting {
    queues: HashTable<Queue>,
    events: u64,
    bytes: usize,
}

/// The events of one ip.
#[derive(Debug)]
struct Queue {
    hash: KeyHash,
    ip: Box<str>,
    events: Vec<u8>,
    count: u64,
}

/// What waited for one ip.
#[derive(Debug, PartialEq, Eq)]
pub struct Released {
    /// How many events.
    pub count: u64,
    events: Vec<u8>,
}

/// Time and length.
const HEADER_BYTES: usize = 8 + 4;
/// What a queue costs beside its events, about.
const QUEUE_BYTES: usize = 128;

impl Waiting {
    /// The ips.
    pub fn ips(&self) -> u64 {
        self.queues.len() as u64
    }

    /// The events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The memory that they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any event of that ip waits.
    pub fn contains(&self, hash: KeyHash, ip: &str) -> bool {
        !self.queues.is_empty() && self.queues.find(hash.0, |queue| *queue.ip == *ip).is_some()
    }

    /// Puts an event behind those of its ip; whether it is the first.
    pub fn push(&mut self, hash: KeyHash, ip: &str, time: EventTime, record: &[u8]) -> bool {
        let length = u32::try_from(record.len()).expect("a record is bounded by its source");
        let entry = self.queues.entry(hash.0, |queue| *queue.ip == *ip, |queue| queue.hash.0);
        let mut is_first = false;
        let mut entry = entry.or_insert_with(|| {
            is_first = true;
            Queue { hash, ip: ip.into(), events: Vec::new(), count: 0 }
        });
        let queue = entry.get_mut();
        queue.events.extend_from_slice(&time.0.to_le_bytes());
        queue.events.extend_from_slice(&length.to_le_bytes());
        queue.events.extend_from_slice(record);
        queue.count += 1;
        self.events += 1;
        self.bytes += HEADER_BYTES + record.len() + if is_first { QUEUE_BYTES + ip.len() } else { 0 };
        is_first
    }

    /// Takes out the events of an ip.
    pub fn release(&mut self, ip: &str) -> Option<Released> {
        let entry = self.queues.find_entry(hash_ip(ip).0, |queue| *queue.ip == *ip).ok()?;
        let (Queue { events, count, .. }, _) = entry.remove();
        self.events -= count;
        self.bytes -= events.len() + QUEUE_BYTES + ip.len();
        Some(Released { count, events })
    }

    /// Everything, by key group.
    pub fn sections(&self, max_parallelism: MaxParallelism) -> Vec<Section> {
        let mut sections = BTreeMap::<KeyGroup, Section>::new();
        for queue in &self.queues {
            let group = queue.hash.key_group(max_parallelism);
            let section = sections.entry(group).or_insert_with(|| Section { group, records: 0, bytes: Vec::new() });
            section.records += queue.count;
            section.bytes.extend_from_slice(&queue.events);
        }
        sections.into_values().collect()
    }

    /// Takes in what [`Waiting::sections`] gave out for one key group; tells the ips that were not there.
    ///
    /// # Errors
    /// If the bytes are anything else, or of another key group.
    pub fn restore(
        &mut self,
        section: &Section,
        max_parallelism: MaxParallelism,
        mut on_ip: impl FnMut(&str),
    ) -> Result<(), DecodeSnapshotError> {
        let mut rest = section.bytes.as_slice();
        while !rest.is_empty() {
            let error = DecodeSnapshotError { group: section.group, at: section.bytes.len() - rest.len() };
            let (time, record) = take(&mut rest).ok_or(error)?;
            let ip = Record::decode(record).and_then(|record| record.ip).ok_or(error)?;
            let hash = hash_ip(ip);
            if hash.key_group(max_parallelism) != section.group {
                return Err(error);
            }
            if self.push(hash, ip, time, record) {
                on_ip(ip);
            }
        }
        Ok(())
    }
}

impl Released {
    /// The events, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (EventTime, &[u8])> {
        let mut rest = self.events.as_slice();
        std::iter::from_fn(move || take(&mut rest))
    }
}

/// Takes the next event off; none if that is not all there.
fn take<'a>(rest: &mut &'a [u8]) -> Option<(EventTime, &'a [u8])> {
    let (&time, tail) = rest.split_first_chunk()?;
    let (&length, tail) = tail.split_first_chunk()?;
    let (record, tail) = tail.split_at_checked(u32::from_le_bytes(length) as usize)?;
    *rest = tail;
    Some((EventTime(i64::from_le_bytes(time)), record))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: MaxParallelism = MaxParallelism::DEFAULT;

    fn push(waiting: &mut Waiting, ip: &str, time: i64) -> bool {
        let mut bytes = Vec::new();
        let hash = Record { ip: Some(ip), ..Record::default() }.encode(&mut bytes);
        waiting.push(hash, ip, EventTime(time), &bytes)
    }

    fn times(released: Option<Released>) -> Vec<i64> {
        released.iter().flat_map(Released::iter).map(|(time, _)| time.0).collect()
    }

    #[test]
    fn events_of_an_ip_come_out_in_their_order_and_leave_nothing_behind() {
        let mut waiting = Waiting::default();
        assert!(push(&mut waiting, "a", 3) && push(&mut waiting, "b", 2) && !push(&mut waiting, "a", 1));
        assert_eq!((waiting.ips(), waiting.events()), (2, 3));
        assert_eq!(times(waiting.release("a")), [3, 1]);
        assert_eq!(waiting.release("a"), None);
        assert_eq!(times(waiting.release("b")), [2]);
        assert_eq!((waiting.ips(), waiting.events(), waiting.bytes()), (0, 0, 0));
    }

    #[test]
    fn sections_restore_what_they_were_made_of() {
        let mut before = Waiting::default();
        for event in 0..200 {
            push(&mut before, &format!("ip{}", event % 40), event);
        }
        let mut after = Waiting::default();
        let mut asked = Vec::new();
        for section in before.sections(MAX) {
            after.restore(&section, MAX, |ip| asked.push(ip.to_owned())).expect("own bytes");
        }
        assert_eq!((after.ips(), after.events(), after.bytes()), (before.ips(), before.events(), before.bytes()));
        assert_eq!(asked.len(), 40);
        for ip in asked {
            assert_eq!(times(after.release(&ip)), times(before.release(&ip)));
        }
    }

    #[test]
    fn sections_that_are_cut_off_or_of_another_group_are_refused() {
        let mut waiting = Waiting::default();
        push(&mut waiting, "a", 3);
        let [section] = waiting.sections(MAX).try_into().expect("one key, one section");
        let refused = |section: &Section| Waiting::default().restore(section, MAX, |_| {}).is_err();
        for end in 1..section.bytes.len() {
            assert!(refused(&Section { bytes: section.bytes[..end].to_vec(), ..section.clone() }), "cut at {end}");
        }
        assert!(refused(&Section { group: KeyGroup(section.group.0 ^ 1), ..section }));
    }
}
