#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};

use stream_core::checkpoint::{Accounts, Cut, SealedEpoch, SplitSnapshot};
use stream_core::ids::{AttemptNumber, CheckpointId, JobId, Nonce, SplitId, TableIndex, Token};
use stream_core::key_group::{KeyGroup, MaxParallelism};
use stream_core::pipeline::Split;
use stream_core::row::{Column, ColumnType};
use stream_core::snapshot::{Section, SnapshotKind};
use stream_core::table::RowCounts;
use stream_core::time::{EventTime, Timestamp};
use stream_core::watermark::Watermark;

use super::*;
use crate::store::StoreErrorKind;

const ALL: KeyGroupRange = KeyGroupRange { start: 0, end: 128 };

fn snapshot() -> KeyedSnapshot {
    let section = |group, records, bytes: &[u8]| Section { group: KeyGroup(group), records, bytes: bytes.to_vec() };
    KeyedSnapshot {
        kind: SnapshotKind::Delta,
        watermark: Watermark(-5),
        sections: vec![section(0, 1, b"one"), section(3, 2, b"two, three"), section(127, 0, b"")],
        spare_blocks: Vec::new(),
    }
}

fn schemas() -> Schemas {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    let result =
        vec![column("t", ColumnType::Timestamp), column("s", ColumnType::Text), column("n", ColumnType::BigInt)];
    Schemas::new([result, vec![column("raw", ColumnType::Bytes)]])
}

fn rows() -> RowBatch {
    let mut rows = RowBatch::default();
    rows.row(3).timestamp(EventTime(1_736_874_072_232)).text(Some("www.a.io")).bigint(3);
    rows.row(3).timestamp(EventTime(-1)).text(None).bigint(-3);
    rows
}

fn manifest() -> Manifest {
    let epoch = CheckpointId::new(Token(3), 17);
    let accounts = Accounts { read: 10, bad: 1, late: 2, in_sessions: 3, open: 4 };
    let split = Split { id: SplitId("topic/0".to_owned()), start: 10, end: None };
    let split = SplitSnapshot { split, watermark: Some(Watermark::NONE), is_finished: false, begun: vec![4, 7] };
    Manifest {
        version: FORMAT_VERSION,
        job_id: JobId(7),
        checkpoint: epoch,
        attempt: AttemptNumber(2),
        token: Token(3),
        nonce: Nonce(u128::MAX),
        triggered: Timestamp(1),
        completed: Timestamp(2),
        is_savepoint: false,
        parallelism: 2,
        max_parallelism: MaxParallelism::DEFAULT,
        splits: vec![split.clone()],
        operators: Vec::new(),
        pending: vec![SealedEpoch {
            epoch,
            prev: CheckpointId::ROOT,
            files: vec![FileRef { name: "rows/1".to_owned(), bytes: 3, checksum: u64::MAX }],
            rows: RowCounts::of_result(2),
            accounts,
            cut: Some(Cut { watermark: Watermark(5), splits: vec![split] }),
        }],
        accounts,
    }
}

/// Each kind of file with its bytes and a reader that does not know its [`FileRef`].
type Read = fn(&[u8]) -> Result<(), StoredError>;
fn files() -> [(&'static str, Vec<u8>, Read); 4] {
    [
        ("state", encode_state(&snapshot()), |bytes| {
            frame::open(Kind::State, bytes).and_then(|payload| state::read(&payload, ALL)).map(drop)
        }),
        ("rows", encode_rows(&rows()), |bytes| frame::open(Kind::Rows, bytes).map(drop)),
        ("manifest", encode_manifest(&manifest()), |bytes| frame::open(Kind::Manifest, bytes).map(drop)),
        ("job", encode_job(&["a", "b"]), |bytes| frame::open(Kind::Job, bytes).map(drop)),
    ]
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1").join(name)
}

#[test]
fn files_read_back_what_was_written() {
    let (state, lines) = (encode_state(&snapshot()), encode_rows(&rows()));
    assert_eq!(decode_state(&file_ref("s", &state), &state, ALL), Ok(snapshot()));
    assert_eq!(decode_rows(&file_ref("r", &lines), &lines, &schemas()), Ok(rows()));
    assert_eq!(decode_manifest("m", &encode_manifest(&manifest())), Ok(manifest()));
    assert_eq!(decode_job::<Vec<String>>("j", &encode_job(&["a", "b"])), Ok(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn rows_of_a_side_table_come_back_as_such() {
    let mut side = RowBatch::of(TableIndex(1));
    side.row(1).bytes(Some(b"not json"));
    let bytes = encode_rows(&side);
    assert_eq!(decode_rows(&file_ref("r", &bytes), &bytes, &schemas()), Ok(side));
    let beyond = encode_rows(&RowBatch::of(TableIndex(2)));
    assert!(decode_rows(&file_ref("r", &beyond), &beyond, &schemas()).is_err());
}

#[test]
fn only_the_sections_of_the_range_are_read() {
    let bytes = encode_state(&snapshot());
    let read = decode_state(&file_ref("s", &bytes), &bytes, KeyGroupRange { start: 1, end: 127 }).unwrap();
    assert_eq!(read.sections, snapshot().sections[1..2]);
}

#[test]
fn a_key_group_may_have_several_sections_and_they_stay_in_their_order() {
    let mut several = snapshot();
    several.sections.insert(2, Section { group: KeyGroup(3), records: 1, bytes: b"four".to_vec() });
    let bytes = encode_state(&several);
    let read = decode_state(&file_ref("s", &bytes), &bytes, KeyGroupRange { start: 1, end: 127 }).unwrap();
    assert_eq!(read.sections, several.sections[1..3]);
    several.sections.swap(0, 1);
    let bytes = encode_state(&several);
    assert!(decode_state(&file_ref("s", &bytes), &bytes, ALL).is_err(), "groups out of order are no state");
}

#[test]
fn every_flipped_bit_is_detected_without_the_manifest() {
    for (name, bytes, read) in files() {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(read(&damaged).is_err(), "{name}, byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn every_truncation_and_every_byte_more_is_detected() {
    for (name, bytes, read) in files() {
        for end in 0..bytes.len() {
            let error = read(&bytes[..end]).unwrap_err();
            assert!(matches!(error, StoredError::Truncated { .. }), "{name}, cut at {end}: {error}");
        }
        assert!(matches!(read(&[&bytes[..], &[0]].concat()), Err(StoredError::TooLong { .. })), "{name}");
    }
}

#[test]
fn a_whole_file_that_is_not_the_one_meant_is_refused() {
    let mut other = snapshot();
    other.sections[0].bytes[0] ^= 1;
    let meant = file_ref("state/x", &encode_state(&snapshot()));
    let error = decode_state(&meant, &encode_state(&other), ALL).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Damaged);
    assert!(error.message.contains("`state/x`"), "{error}");
}

#[test]
fn another_version_and_another_kind_say_so() {
    let mut newer = encode_rows(&rows());
    newer[8] = 2;
    assert_eq!(frame::open(Kind::Rows, &newer), Err(StoredError::Version(2)));
    let found = frame::open(Kind::State, &encode_rows(&rows()));
    assert_eq!(found, Err(StoredError::Kind { expected: Kind::State, found: 2 }));
    assert_eq!(frame::open(Kind::State, b"PAR1 and more"), Err(StoredError::Foreign));
}

#[test]
fn no_more_is_decompressed_than_the_header_says() {
    let mut file = Framing::new(Kind::Rows, Codec::Zstd);
    file.write_all(&vec![0; 1 << 20]).unwrap();
    file.understate(10);
    assert_eq!(frame::open(Kind::Rows, &file.finish()), Err(StoredError::Payload("as many bytes as its header says")));
}

/// A file that cannot be read any more is a checkpoint lost by an upgrade: then the format needs a new version, and this
/// build a reader for the old one.
#[test]
fn files_of_version_1_can_still_be_read() {
    let read = |name: &str| std::fs::read(testdata(name)).unwrap();
    let (state, lines) = (read("state"), read("rows"));
    assert_eq!(decode_state(&file_ref("s", &state), &state, ALL), Ok(snapshot()));
    assert_eq!(decode_rows(&file_ref("r", &lines), &lines, &schemas()), Ok(rows()));
    // Of the time before cuts were kept.
    let mut of_then = manifest();
    of_then.splits[0].begun.clear();
    of_then.pending[0].cut = None;
    assert_eq!(decode_manifest("m", &read("manifest")), Ok(of_then));
    assert_eq!(decode_job::<Vec<String>>("j", &read("job")), Ok(vec!["a".to_owned(), "b".to_owned()]));
}
