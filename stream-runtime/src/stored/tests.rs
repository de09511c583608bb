#![allow(clippy::unwrap_used)]

use stream_core::key_group::{KeyGroup, KeyGroupRange};
use stream_core::row::{Column, ColumnType, RowBatch};
use stream_core::snapshot::{KeyedSnapshot, Section, SnapshotKind};
use stream_core::watermark::Watermark;

use super::*;

const ALL: KeyGroupRange = KeyGroupRange { start: 0, end: 128 };

fn snapshot() -> KeyedSnapshot {
    let section = |group, byte, length| Section { group: KeyGroup(group), records: 3, bytes: vec![byte; length] };
    let sections = vec![section(3, 7, 300), section(64, 9, 1)];
    KeyedSnapshot { kind: SnapshotKind::Delta, watermark: Watermark(-5), sections }
}

fn columns() -> Vec<Column> {
    vec![Column { name: "ip".to_owned(), column_type: ColumnType::Text }]
}

fn rows() -> RowBatch {
    let mut rows = RowBatch::default();
    for _ in 0..50 {
        rows.row(1).text(Some("1.2.3.4"));
    }
    rows
}

#[test]
fn state_reads_back_whole_or_by_key_group() {
    let bytes = encode_state(&snapshot());
    assert!(bytes.len() < 300, "it is compressed");
    assert_eq!(decode_state("f", &bytes, ALL), Ok(snapshot()));
    let of_one = decode_state("f", &bytes, KeyGroupRange { start: 64, end: 65 }).unwrap();
    assert_eq!(of_one.sections, snapshot().sections[1..]);
}

#[test]
fn rows_and_records_read_back() {
    assert_eq!(decode_rows("f", &encode_rows(&rows()), &columns()), Ok(rows()));
    let record = vec!["a".to_owned()];
    let bytes = encode_json(Kind::Job, &record);
    assert!(bytes.ends_with(b"[\"a\"]"), "a person can read it");
    assert_eq!(decode_json("f", Kind::Job, &bytes), Ok(record));
}

/// The promise that nothing is silently skipped or misread.
#[test]
fn every_changed_byte_and_every_missing_one_is_noticed() {
    let state = encode_state(&snapshot());
    let rows = encode_rows(&rows());
    let job = encode_json(Kind::Job, &vec![1, 2, 3]);
    type Reads = fn(&[u8]) -> bool;
    let cases: [(&[u8], Reads); 3] = [
        (&state, |bytes| decode_state("f", bytes, ALL).is_ok()),
        (&rows, |bytes| decode_rows("f", bytes, &columns()).is_ok()),
        (&job, |bytes| decode_json::<Vec<i32>>("f", Kind::Job, bytes).is_ok()),
    ];
    for (whole, reads) in cases {
        assert!(reads(whole));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[at] ^= 1 << bit;
                assert!(!reads(&damaged), "bit {bit} of byte {at}");
            }
            assert!(!reads(&whole[..at]), "cut at {at}");
        }
        assert!(!reads(&[whole, b"\0"].concat()));
    }
}

#[test]
fn fault_is_named_with_the_file() {
    let bytes = encode_rows(&rows());
    let said = |bytes: &[u8]| decode_state("a/b", bytes, ALL).unwrap_err().to_string();
    assert_eq!(said(&bytes), "stored file `a/b` holds rows, expected state");
    assert_eq!(said(&bytes[..30]), format!("stored file `a/b` is cut off: 30 bytes of {}", bytes.len()));
    assert_eq!(said(b"hello"), "stored file `a/b` is not one of Gapwise's");
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(said(&newer), "stored file `a/b` is of format 2, which this version cannot read: use a newer one");
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(said(&damaged), "stored file `a/b` is damaged: its checksum is wrong");
}

#[test]
fn reference_means_these_bytes_and_no_others() {
    let file = file_ref("a", b"bytes");
    assert_eq!(verify(&file, b"bytes"), Ok(()));
    assert_eq!(verify(&file, b"bytez").unwrap_err().fault, Fault::Checksum);
    assert_eq!(verify(&file, b"byte").unwrap_err().fault, Fault::Truncated { has: 4, expected: 5 });
}

/// Files that the first version wrote. They are never written anew: a later version must read them.
#[test]
fn files_of_the_first_format_are_read() {
    assert_eq!(decode_state("state", include_bytes!("../../testdata/format-1/state"), ALL), Ok(snapshot()));
    assert_eq!(decode_rows("rows", include_bytes!("../../testdata/format-1/rows"), &columns()), Ok(rows()));
    let manifest: stream_core::checkpoint::Manifest =
        decode_json("manifest", Kind::Manifest, include_bytes!("../../testdata/format-1/manifest")).unwrap();
    assert_eq!(manifest.checkpoint.to_string(), "2.7");
    assert_eq!(manifest.pending[0].files[0].bytes, 812);
    assert!(manifest.accounts.balance());
}
