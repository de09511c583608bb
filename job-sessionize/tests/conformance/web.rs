//! Web traffic through the whole job, against the sessions that Flink wrote, byte for byte.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use flate2::read::MultiGzDecoder;
use stream_core::operator::Record;
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

use crate::Tally;
use crate::job::Job;
use crate::row::{self, Session};

const GAP_MS: i64 = 300_000;
/// Records between two watermarks: more than one, and not a divisor of the number of events.
const RECORDS: usize = 333;

/// The event files of a folder, which may lack them.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".jsonl.gz") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// One case for each parallelism.
pub(crate) fn run(events: &Path) -> anyhow::Result<Tally> {
    let mut text = Vec::new();
    MultiGzDecoder::new(std::fs::File::open(events)?).read_to_end(&mut text)?;
    let sessions = events.to_string_lossy().replace(".jsonl.gz", ".sessions.csv");
    let expected = std::fs::read_to_string(&sessions).with_context(|| format!("cannot read `{sessions}`"))?;
    let expected = without_session_end(&expected)?;
    let mut tally = Tally::default();
    for parallelism in 1..=3 {
        tally.case(&format!("parallelism {parallelism}"), check(&text, &expected, parallelism));
    }
    Ok(tally)
}

fn check(events: &[u8], expected: &[String], parallelism: u32) -> anyhow::Result<()> {
    let mut job = Job::new(GAP_MS, 1, parallelism);
    let lines: Vec<&[u8]> = events.split(|&byte| byte == b'\n').collect();
    for lines in lines.chunks(RECORDS) {
        let records: Vec<Record<'_>> = lines.iter().map(|line| Record { payload: Some(line), offset: 0 }).collect();
        job.read(0, &records);
    }
    job.advance(Watermark::END);
    ensure!((job.bad, job.late()) == (0, 0), "{} bad records, {} late events", job.bad, job.late());
    let mut actual: Vec<String> = row::sessions(&job.take_rows())?.iter().map(csv_line).collect();
    actual.sort();
    ensure!(actual.len() == expected.len(), "expected {} sessions, got {}", expected.len(), actual.len());
    for (expected, actual) in expected.iter().zip(&actual) {
        ensure!(expected == actual, "expected `{expected}`, got `{actual}`");
    }
    Ok(())
}

/// The expected lines, sorted, less the second column, which is no column of ours.
fn without_session_end(csv: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = csv.lines();
    ensure!(lines.next() == Some("event_hour,session_end,ip,host,num_hits"), "other columns than expected");
    let mut sessions = lines
        .map(|line| {
            let mut fields = line.splitn(3, ',');
            let (start, _end, rest) = (fields.next()?, fields.next()?, fields.next()?);
            Some(format!("{start},{rest}"))
        })
        .collect::<Option<Vec<_>>>()
        .context("a line with fewer than three fields")?;
    sessions.sort();
    Ok(sessions)
}

/// A session as PostgreSQL writes CSV.
fn csv_line(session: &Session) -> String {
    let field = |text: &Option<String>| match text {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.clone(),
    };
    let Session { start, ip, host, num_hits } = session;
    format!("{},{},{},{num_hits}", EventTime(*start), field(ip), field(host))
}
