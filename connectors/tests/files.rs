//! Files as sources and sinks, through the ports that the processes use.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use connectors::RealConnectors;
use stream_core::checkpoint::{Accounts, SealedEpoch};
use stream_core::ids::{CheckpointId, JobId, Nonce, TableIndex, Token};
use stream_core::operator::Record;
use stream_core::pipeline::{Changelog, SideTable, SinkSpec, SourceSpec, StartPosition};
use stream_core::row::{Column, ColumnType, RowBatch};
use stream_core::table::RowCounts;
use stream_core::time::EventTime;
use stream_runtime::connector::{
    Anchor, Claim, ConnectorError, ConnectorErrorKind, Connectors, Grant, PublishError, Published, Publisher,
    RowChunks, SourceVisitor,
};
use stream_runtime::store::{StoreError, StoreErrorKind};
use tokio::runtime::Handle;

#[tokio::test]
async fn plain_and_compressed_files_give_the_same_lines() {
    let dir = tempfile::tempdir().unwrap();
    // Longer than any buffer, with an empty line, a Windows line end, and no line end after the last.
    let mut text: String = (0..200_000).map(|i| format!("{{\"line\":{i}}}\n")).collect();
    text += "\nlast but one\r\nlast";
    let plain = dir.path().join("a.jsonl");
    fs::write(&plain, &text).unwrap();
    fs::write(dir.path().join("a.jsonl.gz"), gzip(text.as_bytes())).unwrap();
    fs::write(dir.path().join("a.jsonl.zst"), zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    // As `cat a.gz b.gz` and `pigz` make them.
    let (head, tail) = text.as_bytes().split_at(text.len() / 3);
    fs::write(dir.path().join("parts.gz"), [gzip(head), gzip(tail)].concat()).unwrap();
    // Compression is told by the content: a name may be anything.
    fs::write(dir.path().join("unnamed"), gzip(text.as_bytes())).unwrap();

    let expected = read(&plain).await.unwrap();
    assert_eq!(expected.lines.last().unwrap().1, "last");
    assert_eq!(expected.known_end, Some(text.len() as u64));
    assert!(expected.lines.iter().map(|(offset, _)| offset).is_sorted());
    for name in ["a.jsonl.gz", "a.jsonl.zst", "parts.gz", "unnamed"] {
        let found = read(&dir.path().join(name)).await.unwrap();
        assert!(found == expected, "{name}: {} of {} lines", found.lines.len(), expected.lines.len());
    }
}

#[tokio::test]
async fn damaged_and_missing_files_are_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let whole = gzip("{}\n".repeat(100_000).as_bytes());
    let cut_off = dir.path().join("cut.gz");
    fs::write(&cut_off, &whole[..whole.len() / 2]).unwrap();
    let error = read(&cut_off).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Failed);
    assert!(error.message.contains("cut.gz") && error.message.contains("cut off"), "{error}");

    let error = read(&dir.path().join("none.jsonl")).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::NotFound);
    assert!(error.message.contains("none.jsonl"), "{error}");
}

#[tokio::test]
async fn files_of_one_reader_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(dir.path().join(name), format!("{name}\n").repeat(1 << 20)).unwrap();
    }
    let found = read(&dir.path().join("?")).await.unwrap();
    let first_of = |text: &str| found.lines.iter().position(|(_, line)| line == text).unwrap();
    let last_of = |text: &str| found.lines.iter().rposition(|(_, line)| line == text).unwrap();
    assert!(first_of("b") < last_of("a"), "a file that waits for the other would count as idle");
    assert_eq!(found.finished, [0, 1]);
}

#[tokio::test]
async fn rows_are_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.csv");
    fs::write(&path, "the result of yesterday\n").unwrap();
    let sink = sink(&format!("csv:{}", path.display()));
    let connectors = RealConnectors::new(Handle::current());
    connectors.check_sink(&sink).await.unwrap();

    let (mut abandoned, anchor) = take_over(&connectors, &sink, 1).await;
    abandoned.publish(&epoch(anchor, 1, ROOT, 2), &mut Chunks::of([rows()])).unwrap();
    drop(abandoned);
    assert_eq!(fs::read_to_string(&path).unwrap(), "the result of yesterday\n");
    assert_eq!(visible(dir.path()), ["out.csv"], "what is not finished is hidden");

    let (publisher, again) = take_over(&connectors, &sink, 1).await;
    assert_eq!(again.last_epoch, CheckpointId::new(anchor.token, 1), "the next attempt goes on from there");
    publisher.finish().unwrap();
    let expected =
        "event_hour,ip,host,num_hits\n2025-01-14 17:01:12.232,,\"a,\"\"b\"\"\",2\n1969-12-31 23:59:59.999,\"\",x,1\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[tokio::test]
async fn json_lines_carry_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    let connectors = RealConnectors::new(Handle::current());
    let (mut publisher, anchor) = take_over(&connectors, &sink(&format!("jsonl:{}", path.display())), 1).await;
    publisher.publish(&epoch(anchor, 1, ROOT, 2), &mut Chunks::of([rows()])).unwrap();
    publisher.finish().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = [
        serde_json::json!({"event_hour": "2025-01-14 17:01:12.232", "ip": null, "host": "a,\"b\"", "num_hits": 2}),
        serde_json::json!({"event_hour": "1969-12-31 23:59:59.999", "ip": "", "host": "x", "num_hits": 1}),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn an_epoch_is_in_the_file_once_whoever_publishes_it_and_however_often() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    let sink = sink(&format!("jsonl:{}", path.display()));
    let connectors = RealConnectors::new(Handle::current());

    let (mut first, anchor) = take_over(&connectors, &sink, 1).await;
    let one = epoch(anchor, 1, ROOT, 2);
    let two = epoch(anchor, 2, one.epoch, 2);
    assert_eq!(first.publish(&one, &mut Chunks::of([rows()])).unwrap(), Published::Now);
    assert_eq!(first.publish(&one, &mut Chunks::of([rows()])).unwrap(), Published::Already);
    // Cut off amidst the next: its text is there, but does not count.
    let mut many = RowBatch::default();
    (0..10_000).for_each(|_| many.append(&rows()));
    let cut_off = first.publish(&two, &mut Chunks::broken_after(many)).unwrap_err();
    assert!(matches!(cut_off, PublishError::Rows(_)), "{cut_off}");
    let missing = first.publish(&two, &mut Chunks::default()).unwrap_err();
    assert!(missing.to_string().contains("sealed with 2 rows"), "{missing}");

    let (mut second, anchor) = take_over(&connectors, &sink, 1).await;
    assert_eq!(anchor.last_epoch, one.epoch);
    let zombie = first.publish(&two, &mut Chunks::of([rows()])).unwrap_err();
    assert!(matches!(zombie, PublishError::Fenced { token } if token == anchor.token), "{zombie}");
    assert!(first.finish().is_err(), "nor may it give the file its name");

    let foreign = second.publish(&epoch(anchor, 3, ROOT, 2), &mut Chunks::of([rows()])).unwrap_err();
    assert!(matches!(foreign, PublishError::Final(_)), "{foreign}");
    let gap = epoch(anchor, 9, CheckpointId::new(anchor.token, 8), 2);
    let gap = second.publish(&gap, &mut Chunks::of([rows()])).unwrap_err();
    assert!(matches!(gap, PublishError::WentBack { last_epoch, .. } if last_epoch == one.epoch), "{gap}");

    assert_eq!(second.publish(&two, &mut Chunks::of([rows()])).unwrap(), Published::Now);
    let empty = epoch(anchor, 1, two.epoch, 0);
    assert_eq!(second.publish(&empty, &mut Chunks::default()).unwrap(), Published::Now);
    second.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
}

#[tokio::test]
async fn an_attempt_that_ended_while_it_gave_the_file_its_name_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.csv");
    let sink = sink(&format!("csv:{}", path.display()));
    let connectors = RealConnectors::new(Handle::current());
    let (mut publisher, anchor) = take_over(&connectors, &sink, 1).await;
    publisher.publish(&epoch(anchor, 1, ROOT, 2), &mut Chunks::of([rows()])).unwrap();
    let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let ledger = entries.filter(|path| path.extension().is_some_and(|ending| ending == "ledger")).last().unwrap();
    let kept = fs::read(&ledger).unwrap();
    publisher.finish().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    // The name was given, the ledger not yet removed.
    fs::write(&ledger, kept).unwrap();
    let (publisher, again) = take_over(&connectors, &sink, 1).await;
    assert_eq!(again.last_epoch, CheckpointId::new(anchor.token, 1));
    publisher.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[tokio::test]
async fn a_token_is_above_every_stored_one_even_if_the_ledger_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(&format!("csv:{}", dir.path().join("out.csv").display()));
    let connectors = RealConnectors::new(Handle::current());
    let claim = Claim { job_id: JobId(1), highest_token: Token(41), nonce: Nonce(1) };
    assert_eq!(connectors.fence_sink(&sink, claim).await.unwrap().token, Token(42));
    assert_eq!(connectors.fence_sink(&sink, claim).await.unwrap().token, Token(43));
}

#[tokio::test]
async fn what_is_no_regular_file_is_written_as_it_is() {
    let connectors = RealConnectors::new(Handle::current());
    let sink = sink("csv:/dev/null");
    let (mut publisher, anchor) = take_over(&connectors, &sink, 1).await;
    publisher.publish(&epoch(anchor, 1, ROOT, 2), &mut Chunks::of([rows()])).unwrap();
    publisher.finish().unwrap();
    assert!(!Path::new("/dev/.null.ledger").exists());
}

#[tokio::test]
async fn side_tables_are_files_beside_the_result_once_they_have_rows_and_count_only_with_its_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.csv");
    let column = Column { name: "text".to_owned(), column_type: ColumnType::Text };
    let table = |name: &str| SideTable {
        name: name.to_owned(),
        columns: vec![column.clone()],
        outlet: None,
        changelog: Changelog::Append,
    };
    let spec = sink(&format!("csv:{}", path.display()));
    let spec = SinkSpec { side_tables: vec![table("late"), table("bad"), table("never")], ..spec };
    let side = |index, text| {
        let mut rows = RowBatch::of(TableIndex(index));
        rows.row(1).text(Some(text));
        rows
    };
    let counts = |result, side: &[u64]| RowCounts { result, side: side.to_vec() };
    let connectors = RealConnectors::new(Handle::current());
    connectors.check_sink(&spec).await.unwrap();
    let (mut publisher, anchor) = take_over(&connectors, &spec, 1).await;
    let first = SealedEpoch { rows: counts(2, &[1]), ..epoch(anchor, 1, ROOT, 0) };
    publisher.publish(&first, &mut Chunks::of([rows(), side(1, "a")])).unwrap();
    // Of an epoch that fails nothing counts, in no table.
    let second = SealedEpoch { rows: counts(0, &[1, 1]), ..epoch(anchor, 2, first.epoch, 0) };
    assert!(publisher.publish(&second, &mut Chunks::broken_after(side(1, "half"))).is_err());
    publisher.publish(&second, &mut Chunks::of([side(1, "b"), side(2, "c")])).unwrap();
    assert_eq!(visible(dir.path()), [""; 0]);
    publisher.finish().unwrap();
    let mut names = visible(dir.path());
    names.sort();
    assert_eq!(names, ["out.bad.csv", "out.csv", "out.late.csv"]);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!((read("out.late.csv"), read("out.bad.csv")), ("text\na\nb\n".to_owned(), "text\nc\n".to_owned()));
    assert_eq!(read("out.csv").lines().count(), 3);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left behind");
}

const ROOT: CheckpointId = CheckpointId::ROOT;

/// A new attempt of a job, as the jobmanager and the committer begin it.
async fn take_over(connectors: &RealConnectors, sink: &SinkSpec, job: u128) -> (Box<dyn Publisher>, Anchor) {
    let (job_id, nonce) = (JobId(job), Nonce(7));
    let anchor = connectors.fence_sink(sink, Claim { job_id, highest_token: Token(0), nonce }).await.unwrap();
    let publisher = connectors.open_publisher(sink, Grant { job_id, token: anchor.token, nonce }).unwrap();
    (publisher, anchor)
}

fn epoch(anchor: Anchor, sequence: u32, prev: CheckpointId, rows: u64) -> SealedEpoch {
    let epoch = CheckpointId::new(anchor.token, sequence);
    SealedEpoch {
        epoch,
        prev,
        files: Vec::new(),
        rows: RowCounts::of_result(rows),
        accounts: Accounts::default(),
        cut: None,
    }
}

/// Rows as the committer gives them, and perhaps an error behind them.
#[derive(Default)]
struct Chunks {
    chunks: VecDeque<RowBatch>,
    given: Vec<RowBatch>,
    is_broken: bool,
}

impl Chunks {
    fn of(chunks: impl IntoIterator<Item = RowBatch>) -> Self {
        Chunks { chunks: chunks.into_iter().collect(), given: Vec::new(), is_broken: false }
    }

    fn broken_after(chunk: RowBatch) -> Self {
        Chunks { is_broken: true, ..Chunks::of([chunk]) }
    }
}

impl RowChunks for Chunks {
    fn next_chunk(&mut self) -> Result<Option<Arc<RowBatch>>, StoreError> {
        match self.chunks.pop_front() {
            None if self.is_broken => Err(StoreError::new(StoreErrorKind::Unavailable, "the store is away")),
            None => Ok(None),
            Some(next) => {
                self.given.push(next.clone());
                Ok(Some(Arc::new(next)))
            }
        }
    }
    fn rewind(&mut self) {
        self.chunks = self.given.drain(..).chain(self.chunks.drain(..)).collect();
    }
}

fn visible(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// What a reader told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    lines: Vec<(u64, String)>,
    known_end: Option<u64>,
    finished: Vec<usize>,
}

impl SourceVisitor for Told {
    fn on_records(&mut self, _split: usize, records: &[Record<'_>], next_offset: u64) -> usize {
        assert!(records.iter().all(|record| record.offset < next_offset));
        let line = |record: &Record<'_>| String::from_utf8(record.payload.unwrap().to_vec()).unwrap();
        self.lines.extend(records.iter().map(|record| (record.offset, line(record))));
        records.len()
    }

    fn on_end_of_split_for_now(&mut self, _split: usize) {}

    fn on_split_finished(&mut self, split: usize) {
        self.finished.push(split);
    }

    fn on_known_end(&mut self, _split: usize, end: u64) {
        self.known_end = Some(end);
    }
}

/// Reads what a path or pattern names to the end.
async fn read(path: &Path) -> Result<Told, ConnectorError> {
    let source = SourceSpec {
        uri: format!("file:{}", path.display()),
        from: StartPosition::Earliest,
        is_bounded: true,
        watermark_delay: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        close_when_idle: Duration::ZERO,
        max_future: Duration::ZERO,
        max_drift: Duration::ZERO,
        properties: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    let connectors = RealConnectors::new(Handle::current());
    let splits = connectors.discover(&source).await?;
    let mut reader = connectors.open_source(&source, &splits)?;
    let mut told = Told::default();
    while told.finished.len() < splits.len() {
        reader.poll(Duration::ZERO, &mut told)?;
    }
    Ok(told)
}

fn sink(uri: &str) -> SinkSpec {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    SinkSpec {
        uri: uri.to_owned(),
        table: String::new(),
        side_tables: Vec::new(),
        columns: vec![
            column("event_hour", ColumnType::Timestamp),
            column("ip", ColumnType::Text),
            column("host", ColumnType::Text),
            column("num_hits", ColumnType::BigInt),
        ],
        properties: BTreeMap::new(),
        secrets: BTreeMap::new(),
    }
}

fn rows() -> RowBatch {
    let mut rows = RowBatch::default();
    rows.row(4).timestamp(EventTime(1_736_874_072_232)).text(None).text(Some("a,\"b\"")).bigint(2);
    rows.row(4).timestamp(EventTime(-1)).text(Some("")).text(Some("x")).bigint(1);
    rows
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
