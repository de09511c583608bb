#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::*;
use crate::testing::{ProducedBy, batch_by, batch_of};

fn open(dir: &Path) -> Log {
    Log::open(dir, false).unwrap()
}

fn read(log: &Log, offset: i64, max_bytes: usize) -> Bytes {
    log.reader(offset).unwrap().read(max_bytes, true).unwrap()
}

fn offsets(bytes: &[u8]) -> Vec<i64> {
    Batches(bytes).map(|(header, _)| header.base_offset).collect()
}

/// Enough to fill several index blocks: 300 batches of 3 records, one batch a second.
fn filled(dir: &Path) -> Log {
    let mut log = open(dir);
    let value = "x".repeat(200);
    for second in 0..300 {
        let time = second * 1_000;
        let batch = batch_of(&[(time, &value), (time + 500, &value), (time + 100, &value)]);
        assert_eq!(log.append(&batch).unwrap(), second * 3);
    }
    assert!(log.blocks.len() > 5);
    log
}

#[test]
fn every_offset_is_found_in_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    for offset in 0..900 {
        assert_eq!(offsets(&read(&log, offset, 1))[0], offset / 3 * 3, "offset {offset}");
    }
    assert!(read(&log, 900, 1_000).is_empty());
}

#[test]
fn a_read_returns_whole_batches_within_its_limit_and_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    let (mut next, mut reads) = (0, 0);
    while next < 900 {
        let bytes = read(&log, next, 40_000);
        assert!(bytes.len() <= 40_000);
        let found = offsets(&bytes);
        assert_eq!(found.len() * read(&log, 0, 1).len(), bytes.len());
        assert_eq!(found[0], next);
        next = found.last().unwrap() + 3;
        reads += 1;
    }
    assert_eq!((next, reads), (900, 6));
    assert!(log.reader(0).unwrap().read(100, false).unwrap().is_empty());
}

#[test]
fn offsets_outside_the_log_are_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path());
    log.delete_before(10).unwrap();
    assert!(log.reader(901).is_none() && log.reader(9).is_none());
    assert_eq!(offsets(&read(&log, 10, 1)), [9]);
    drop(log);
    assert_eq!(open(dir.path()).start_offset(), 10);
}

#[test]
fn lookup_by_time_finds_the_record_and_not_only_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path());
    let at = |log: &Log, t| log.first_at_or_after(t).unwrap().map(|f| (f.offset, f.timestamp));
    assert_eq!(at(&log, 0), Some((0, 0)));
    assert_eq!(at(&log, 200_001), Some((601, 200_500)));
    assert_eq!(at(&log, 299_500), Some((898, 299_500)));
    assert_eq!(at(&log, 299_501), None);
    log.delete_before(602).unwrap();
    assert_eq!(at(&log, 0), Some((602, 200_100)));
}

#[test]
fn a_reopened_log_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let mut log = open(dir.path());
    assert_eq!(log.append(&batch_of(&[(1, "next")])).unwrap(), 900);
    assert_eq!(offsets(&read(&log, 899, 10_000)), [897, 900]);
}

#[test]
fn a_torn_tail_is_cut_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = {
        let mut log = open(dir.path());
        log.append(&batch_of(&[(1, "whole")])).unwrap();
        log.append(&batch_of(&[(2, "torn")])).unwrap();
        fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path()
    };
    let whole = fs::read(&file).unwrap();
    let second = Header::parse(&whole).unwrap().bytes;
    for length in second..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert_eq!(open(dir.path()).end_offset(), 1, "cut at {length}");
        assert_eq!(fs::metadata(&file).unwrap().len(), second as u64);
    }
    OpenOptions::new().append(true).open(&file).unwrap().write_all(&[0; 500]).unwrap();
    assert_eq!(open(dir.path()).end_offset(), 1);
}

#[test]
fn records_after_a_torn_tail_are_not_taken_for_deleted_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(&batch_of(&[(1, "a"), (2, "b")])).unwrap();
    log.delete_before(2).unwrap();
    log.file.set_len(10).unwrap();
    let mut log = open(dir.path());
    assert_eq!((log.start_offset(), log.end_offset()), (0, 0));
    log.append(&batch_of(&[(1, "c"), (2, "d")])).unwrap();
    assert_eq!(open(dir.path()).start_offset(), 0);
}

#[test]
fn a_batch_sent_twice_is_stored_once_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    assert_eq!(log.append(&batch_by(ProducedBy(9, 0, 0), 2)).unwrap(), 0);
    assert_eq!(log.append(&batch_by(ProducedBy(9, 0, 2), 2)).unwrap(), 2);
    assert_eq!(log.append(&batch_by(ProducedBy(9, 0, 0), 2)).unwrap(), 0);
    drop(log);
    let mut log = open(dir.path());
    assert_eq!(log.append(&batch_by(ProducedBy(9, 0, 2), 2)).unwrap(), 2);
    assert!(matches!(log.append(&batch_by(ProducedBy(9, 0, 9), 1)), Err(AppendError::Refused(_))));
    assert_eq!(log.append(&batch_by(ProducedBy(9, 0, 4), 1)).unwrap(), 4);
}

#[test]
fn a_damaged_or_foreign_batch_is_refused_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let mut batch = batch_of(&[(1, "a")]).to_vec();
    *batch.last_mut().unwrap() ^= 1;
    assert!(matches!(log.append(&batch), Err(AppendError::Invalid(Invalid::Checksum))));
    let two = [batch_of(&[(1, "a")]), batch_of(&[(2, "b")])].concat();
    assert!(matches!(log.append(&two), Err(AppendError::Invalid(Invalid::Counts))));
    assert_eq!((log.end_offset(), log.end_position), (0, 0));
}
