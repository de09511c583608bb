//! `jobctl run` on files, against the sessions that Flink wrote, byte for byte; and what users do with files beside.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod program;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use program::{jobctl, jobctl_with};

const HEADER: &str = "event_hour,ip,host,num_hits";

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/web")
}

/// The recorded sessions, less the column that is none of ours.
fn expected(name: &str) -> Vec<String> {
    let csv = std::fs::read_to_string(web().join(format!("{name}.sessions.csv"))).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("event_hour,session_end,ip,host,num_hits"));
    let mut rows: Vec<String> = lines
        .map(|line| {
            let (start, rest) = line.split_once(',').unwrap();
            let (_end, rest) = rest.split_once(',').unwrap();
            format!("{start},{rest}")
        })
        .collect();
    rows.sort();
    rows
}

fn sorted_rows(csv: &str) -> Vec<String> {
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some(HEADER));
    let mut rows: Vec<String> = lines.map(str::to_owned).collect();
    rows.sort();
    rows
}

#[test]
fn web_traffic_gives_flinks_sessions_at_any_parallelism() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["traffic_a", "traffic_b"] {
        let expected = expected(name);
        let source = format!("file:{}", web().join(format!("{name}.jsonl.gz")).display());
        for parallelism in ["1", "2", "3"] {
            let csv = folder.path().join(format!("{name}-{parallelism}.csv"));
            let sink = format!("csv:{}", csv.display());
            let ended = jobctl(&[
                "run",
                "sessionize",
                "--gap",
                "5m",
                "--source",
                &source,
                "--sink",
                &sink,
                "--parallelism",
                parallelism,
            ]);
            assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{}", ended.stderr);
            let rows = sorted_rows(&std::fs::read_to_string(&csv).unwrap());
            assert_eq!(rows.len(), expected.len(), "{name} at parallelism {parallelism}: {}", ended.stderr);
            assert!(rows == expected, "{name} at parallelism {parallelism}");
            let sessions = expected.len();
            let accounts = format!("20000 events, {sessions} rows, 0 late, 0 bad in ");
            assert!(ended.stderr.starts_with(&accounts), "{}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        }
    }
}

#[test]
fn standard_input_to_standard_output() {
    let mut events = Vec::new();
    let file = std::fs::File::open(web().join("traffic_a.jsonl.gz")).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut events).unwrap();
    let ended = jobctl_with(&["run", "sessionize", "--source", "stdin:"], &[], &events, Path::new("/"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(sorted_rows(&ended.stdout) == expected("traffic_a"));
}

#[test]
fn several_files_relative_to_where_the_user_stands_and_options_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let event = |ip: &str, time: &str| {
        format!(r#"{{"url":"/","host":"a.io","ip":"{ip}","event_time":"2025-01-14T17:{time}Z"}}"#) + "\n"
    };
    std::fs::write(folder.path().join("1.jsonl"), event("1", "00:00.000") + &event("1", "01:00.000")).unwrap();
    std::fs::write(folder.path().join("2.jsonl"), event("2", "00:30.000") + "not json\n").unwrap();
    let ended = jobctl_with(
        &["run", "sessionize", "--sink", "csv:out.csv"],
        &[("GAPWISE_SOURCE", "file:*.jsonl"), ("GAPWISE_GAP", "30s"), ("GAPWISE_PARALLELISM", "2")],
        b"",
        folder.path(),
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("3 events, 3 rows, 0 late, 1 bad in "), "{}", ended.stderr);
    let csv = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    assert_eq!(
        sorted_rows(&csv),
        ["2025-01-14 17:00:00.000,1,a.io,1", "2025-01-14 17:00:30.000,2,a.io,1", "2025-01-14 17:01:00.000,1,a.io,1"]
    );
}

#[test]
fn what_is_bad_is_appended_to_a_file_of_its_own_beside_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let event = r#"{"host":"a.io","ip":"1","event_time":"2025-01-14T17:00:00.000Z"}"#;
    std::fs::write(folder.path().join("events.jsonl"), format!("{event}\nnot json\n")).unwrap();
    let arguments = ["run", "sessionize", "--source", "file:events.jsonl", "--on-bad-record", "jsonl:bad.jsonl"];
    for run in 1..=2 {
        let ended = jobctl_with(&arguments, &[], b"", folder.path());
        assert_eq!((ended.code, sorted_rows(&ended.stdout).len()), (0, 1), "{}", ended.stderr);
        let bad = std::fs::read_to_string(folder.path().join("bad.jsonl")).unwrap();
        assert_eq!(bad.lines().count(), run, "{bad}");
        // As Postgres shows bytes.
        assert!(bad.lines().all(|line| line.ends_with(r#""record":"\\x6e6f74206a736f6e"}"#)), "{bad}");
    }
}

#[test]
fn empty_file_gives_a_header_and_success() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("e.jsonl"), "").unwrap();
    let ended = jobctl_with(&["run", "sessionize", "--source", "file:e.jsonl"], &[], b"", folder.path());
    assert_eq!((ended.code, ended.stdout), (0, format!("{HEADER}\n")));
}

#[cfg(target_os = "linux")]
#[test]
fn job_that_holds_little_does_without_huge_pages() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    let mut job = program::command(&["run", "sessionize", "--source", "stdin:", "--checkpoint-interval", "100ms"]);
    let mut job = job.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It runs as soon as it shows its first epoch, which has no rows yet.
    let (mut line, mut stdout) = (String::new(), BufReader::new(job.stdout.take().unwrap()));
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), HEADER);
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.id())).unwrap();
    assert!(status.contains("THP_enabled:\t0"), "{status}");
    drop(job.stdin.take());
    assert!(job.wait().unwrap().success());
}
