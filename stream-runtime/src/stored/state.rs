//! The payload of a file of state; the module above has its layout.

use std::io::Write;

use stream_core::key_group::{KeyGroup, KeyGroupRange};
use stream_core::snapshot::{KeyedSnapshot, Section, SnapshotKind};
use stream_core::watermark::Watermark;

use super::frame::{Framing, StoredError};

const BROKEN: StoredError = StoredError::Payload("sections of state");

pub(super) fn write(snapshot: &KeyedSnapshot, out: &mut Framing) {
    let mut put = |bytes: &[u8]| out.write_all(bytes).expect("memory takes every write");
    put(&[match snapshot.kind {
        SnapshotKind::Full => 0,
        SnapshotKind::Delta => 1,
    }]);
    put(&snapshot.watermark.0.to_le_bytes());
    let sections = u32::try_from(snapshot.sections.len()).expect("each of 64 KiB, or the only one of its key group");
    put(&sections.to_le_bytes());
    for section in &snapshot.sections {
        put(&section.group.0.to_le_bytes());
        put(&section.records.to_le_bytes());
        put(&(section.bytes.len() as u64).to_le_bytes());
        put(&section.bytes);
    }
}

pub(super) fn read(mut payload: &[u8], range: KeyGroupRange) -> Result<KeyedSnapshot, StoredError> {
    let kind = match take::<1>(&mut payload)? {
        [0] => SnapshotKind::Full,
        [1] => SnapshotKind::Delta,
        _ => return Err(BROKEN),
    };
    let watermark = Watermark(i64::from_le_bytes(take(&mut payload)?));
    let count = u32::from_le_bytes(take(&mut payload)?);
    let mut sections = Vec::new();
    let mut last = None;
    for _ in 0..count {
        let group = KeyGroup(u16::from_le_bytes(take(&mut payload)?));
        let records = u64::from_le_bytes(take(&mut payload)?);
        let length = usize::try_from(u64::from_le_bytes(take(&mut payload)?)).map_err(|_| BROKEN)?;
        let (bytes, rest) = payload.split_at_checked(length).ok_or(BROKEN)?;
        if last.replace(group) > Some(group) {
            return Err(BROKEN);
        }
        payload = rest;
        if range.contains(group) {
            sections.push(Section { group, records, bytes: bytes.to_vec() });
        }
    }
    payload.is_empty().then_some(KeyedSnapshot { kind, watermark, sections, spare_blocks: Vec::new() }).ok_or(BROKEN)
}

fn take<const N: usize>(payload: &mut &[u8]) -> Result<[u8; N], StoredError> {
    let (taken, rest) = payload.split_first_chunk().ok_or(BROKEN)?;
    *payload = rest;
    Ok(*taken)
}
