//! Keyed state as a file.
//!
//! ```text
//! kind u8 (0 full, 1 delta) | watermark i64 | sections u16 | (key group u16 | records u64 | bytes u64)… | the sections' bytes…
//! ```
//!
//! Numbers are little-endian. What stands in a section is the operator's business.

use stream_core::key_group::{KeyGroup, KeyGroupRange};
use stream_core::snapshot::{KeyedSnapshot, Section, SnapshotKind};
use stream_core::watermark::Watermark;

use super::frame::{self, Kind};
use super::{StoredError, content};

/// A snapshot as a file.
pub fn encode_state(snapshot: &KeyedSnapshot) -> Vec<u8> {
    let bytes: usize = snapshot.sections.iter().map(|section| section.bytes.len()).sum();
    let mut out = Vec::with_capacity(bytes + 18 * snapshot.sections.len() + 11);
    out.push(match snapshot.kind {
        SnapshotKind::Full => 0,
        SnapshotKind::Delta => 1,
    });
    out.extend_from_slice(&snapshot.watermark.0.to_le_bytes());
    let sections = u16::try_from(snapshot.sections.len()).expect("at most one for each of 32,768 key groups");
    out.extend_from_slice(&sections.to_le_bytes());
    for section in &snapshot.sections {
        out.extend_from_slice(&section.group.0.to_le_bytes());
        out.extend_from_slice(&section.records.to_le_bytes());
        out.extend_from_slice(&(section.bytes.len() as u64).to_le_bytes());
    }
    for section in &snapshot.sections {
        out.extend_from_slice(&section.bytes);
    }
    frame::encode(Kind::State, &out)
}

/// The sections of the key groups `range` of what [`encode_state`] wrote.
///
/// # Errors
/// If the bytes are anything else.
pub fn decode_state(file: &str, bytes: &[u8], range: KeyGroupRange) -> Result<KeyedSnapshot, StoredError> {
    let payload = frame::decode(file, Kind::State, bytes)?;
    Reader { bytes: &payload }.snapshot(range).ok_or_else(|| content(file, &"its sections do not fit its directory"))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn snapshot(mut self, range: KeyGroupRange) -> Option<KeyedSnapshot> {
        let kind = match self.take::<1>()? {
            [0] => SnapshotKind::Full,
            [1] => SnapshotKind::Delta,
            _ => return None,
        };
        let watermark = Watermark(i64::from_le_bytes(self.take()?));
        let count = u16::from_le_bytes(self.take()?);
        let mut directory = Vec::with_capacity(count.into());
        for _ in 0..count {
            let group = KeyGroup(u16::from_le_bytes(self.take()?));
            let records = u64::from_le_bytes(self.take()?);
            directory.push((group, records, usize::try_from(u64::from_le_bytes(self.take()?)).ok()?));
        }
        let mut sections = Vec::new();
        for (group, records, length) in directory {
            let bytes = self.split(length)?;
            if range.contains(group) {
                sections.push(Section { group, records, bytes: bytes.to_vec() });
            }
        }
        self.bytes.is_empty().then_some(KeyedSnapshot { kind, watermark, sections })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.split(N)?.try_into().ok()
    }

    fn split(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(part)
    }
}
