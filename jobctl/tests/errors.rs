//! Errors as users meet them: the program is run, and its one line and its exit code are looked at.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod program;

use program::{Ended, jobctl};

/// The program must end with this code and say this one line, and nothing on standard output.
fn assert_error(ended: &Ended, code: i32, line: &str) {
    assert_eq!(ended.stderr, format!("error: {line}\n"));
    assert_eq!((ended.code, ended.stdout.as_str()), (code, ""));
}

#[test]
fn unknown_job() {
    for command in ["submit", "run"] {
        let ended = jobctl(&[command, "sessionise", "--gap", "5m"]);
        let names = "`sessionize`, `process_events`, `aggregate`, `nexmark-q11`";
        assert_error(&ended, 2, &format!("no job type `sessionise`: there is {names}"));
    }
}

#[test]
fn bad_duration() {
    let remedy = "write for instance `5m`, `90s`, `1h30m` or `250ms`";
    for text in ["5min", "-5m", "", "5"] {
        let ended = jobctl(&["submit", "sessionize", "--gap", text]);
        assert_error(&ended, 2, &format!("--gap: `{text}` is not a duration: {remedy}"));
    }
}

#[test]
fn gap_of_nothing() {
    let ended = jobctl(&["run", "sessionize", "--source", "stdin:", "--gap", "0"]);
    assert_error(&ended, 2, "--gap: the gap is 0: choose at least `1ms`");
}

#[test]
fn parallelism_out_of_range() {
    let ended = jobctl(&["submit", "sessionize", "--parallelism", "0"]);
    assert_error(&ended, 2, "--parallelism: `0` is not a number of subtasks: choose from 1 to 128");
    let ended = jobctl(&["submit", "sessionize", "--parallelism", "129"]);
    assert_error(&ended, 2, "parallelism 129 is above max parallelism 128: choose `--parallelism` from 1 to 128");
}

#[test]
fn unreachable_jobmanager() {
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let remedy = "start a cluster with \"make up\", or pass --jobmanager HOST:PORT";
    let arguments: [&[&str]; 7] = [
        &["list"],
        &["describe", "x"],
        &["describe", "x", "--watch"],
        &["logs", "x", "--follow"],
        &["cancel", "x"],
        &["taskmanagers"],
        &["submit", "sessionize"],
    ];
    for arguments in arguments {
        let ended = jobctl(&[&["--jobmanager", &address], arguments].concat());
        assert_error(&ended, 3, &format!("no jobmanager at {address}: {remedy}"));
    }
}

#[test]
fn top_where_nothing_can_be_drawn() {
    let remedy = "`jobctl describe JOB --watch` writes to anything";
    assert_error(&jobctl(&["top"]), 2, &format!("`top` draws on a terminal, and there is none: {remedy}"));
    let remedy = "`jobctl describe JOB --watch --output json` is for programs";
    assert_error(&jobctl(&["top", "--output", "json"]), 2, &format!("`top` is for people: {remedy}"));
    let remedy = "choose at least `100ms`";
    let ended = jobctl(&["top", "--interval", "1ms"]);
    assert_error(&ended, 2, &format!("--interval: `1ms` is not an interval to look at: {remedy}"));
}

#[test]
fn logs_that_cannot_be_asked_for() {
    let ended = jobctl(&["logs", "x", "--level", "loud"]);
    assert_error(&ended, 2, "--level: `loud` is not a level: write `debug`, `info`, `warn` or `error`");
    let remedy = "write so long ago as `10m`, or a time in UTC such as `2025-01-14T17:01:12Z`";
    assert_error(&jobctl(&["logs", "x", "--since", "noon"]), 2, &format!("--since: `noon` is not a time: {remedy}"));
}

#[test]
fn jobmanager_that_is_no_address() {
    let ended = jobctl(&["list", "--jobmanager", "http://127.0.0.1"]);
    assert_error(&ended, 2, "--jobmanager: `http://127.0.0.1` is not an address: write `HOST:PORT`");
}

#[test]
fn something_else_at_the_jobmanagers_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Answers every connection in a language that no jobmanager speaks.
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut connection, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let ended = jobctl(&["list", "--jobmanager", &address]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(&address), "{}", ended.stderr);
}

#[test]
fn missing_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nothing.jsonl").display().to_string();
    let ended = jobctl(&["run", "sessionize", "--source", &format!("file:{missing}")]);
    assert_eq!((ended.code, ended.stdout.as_str()), (4, ""), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(&missing), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn sink_in_a_folder_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events.jsonl");
    std::fs::write(&events, "").unwrap();
    let source = format!("file:{}", events.display());
    let sink = folder.path().join("no/such/folder/sessions.csv").display().to_string();
    let ended = jobctl(&["run", "sessionize", "--source", &source, "--sink", &format!("csv:{sink}")]);
    assert!([1, 4, 7].contains(&ended.code), "{}: {}", ended.code, ended.stderr);
    assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains("no/such/folder"), "{}", ended.stderr);
}

#[test]
fn topic_on_a_broker_that_is_not_there() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let source = format!("kafka://me:hunter2@{address}/events");
    // A build without TLS would refuse the default protocol before it asks anybody.
    let plain = ["--kafka-property", "security.protocol=sasl_plaintext"];
    let ended = jobctl(&[&["run", "sessionize", "--source", &source, "--until", "latest"], &plain[..]].concat());
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(&address), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[test]
fn database_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events.jsonl");
    std::fs::write(&events, "").unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let source = format!("file:{}", events.display());
    let sink = format!("postgres://me:hunter2@{address}/web");
    let ended = jobctl(&["run", "sessionize", "--source", &source, "--sink", &sink]);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(&address), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[test]
fn version_and_completions() {
    assert_eq!(jobctl(&["--version"]).stdout, "jobctl (Gapwise) 0.1.0\n");
    for shell in ["bash", "zsh", "fish"] {
        let ended = jobctl(&["completions", shell]);
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains("watermark-delay"), "{shell}");
    }
}
