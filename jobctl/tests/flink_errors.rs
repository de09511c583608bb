//! What a user sees who submits to a Flink that is not there, and who asks for what Flink SQL does not have.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod program;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use program::{Ended, jobctl};

/// Without notes.
const QUIET: [&str; 10] =
    ["submit", "sessionize", "--on-late", "drop", "--on-bad-record", "skip", "--max-future", "0", "--max-drift", "0"];

fn submit_on(on: &str) -> Ended {
    jobctl(&[&QUIET[..], &["--on", on]].concat())
}

#[test]
fn gateway_that_is_not_there_or_is_something_else() {
    let note = "note: on Flink, rows are written at least once: after a failure some may be in the table twice\n";
    // A port that was free a moment ago.
    let absent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = submit_on(&format!("flink=http://{absent}"));
    let remedy = "start one with Flink's `bin/sql-gateway.sh start`, or correct the address";
    let expected =
        format!("{note}error: no Flink SQL Gateway at http://{absent}: {remedy}\n  because Connection refused");
    assert!(ended.code == 3 && ended.stderr.starts_with(&expected), "{}", ended.stderr);

    let other = serve_once("HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\n<html>");
    let ended = submit_on(&format!("flink=http://{other}"));
    let what = format!("http://{other} is not the address of a Flink SQL Gateway: the answer is 404 Not Found");
    assert_eq!((ended.code, ended.stderr), (3, format!("{note}error: {what}\n")));
}

#[test]
fn place_that_is_none() {
    let ended = submit_on("http://me:hunter2@h:8083");
    let remedy = "write `flink=http://HOST:8083`, or leave it out for the cluster of --jobmanager";
    assert_eq!(ended.stderr, format!("error: --on: `http://h:8083` is no cluster that is known: {remedy}\n"));
    let ended = submit_on("flink=h:8083");
    let what = "`h:8083` is not the address of a Flink SQL Gateway: write `http://HOST:8083`";
    assert_eq!((ended.code, ended.stderr), (2, format!("error: {what}\n")));
}

#[test]
fn job_that_flink_sql_does_not_have() {
    let ended = jobctl(&["submit", "aggregate", "--on", "flink=http://127.0.0.1:1"]);
    let what = "a job of type `aggregate` is not written as Flink SQL: `sessionize` is";
    assert_eq!((ended.code, ended.stderr), (2, format!("error: {what}\n")));
    let ended = jobctl(&["explain", "mine", "--flink-sql"]);
    let remedy = "with --flink-sql write `sessionize`, and then the options of `submit sessionize`";
    assert_eq!(ended.stderr, format!("error: no job type `mine` is known in Flink SQL: {remedy}\n"));
}

#[test]
fn options_of_a_job_are_for_flink_sql_only() {
    let ended = jobctl(&["explain", "sessionize", "--gap", "5m"]);
    assert!(ended.code == 2 && ended.stderr.contains("--flink-sql"), "{}", ended.stderr);
    let ended = jobctl(&["explain", "sessionize", "--flink-sql", "--ip", "1.1.1.1"]);
    assert!(ended.code == 2 && ended.stderr.contains("cannot be used with"), "{}", ended.stderr);
    let ended = jobctl(&["explain", "sessionize", "--flink-sql", "--gap", "5m", "--output", "json"]);
    let script: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(script["statements"][7].as_str().unwrap().contains("INTERVAL '5' MINUTE"), "{script}");
}

/// Answers one request with this text, whatever it asks.
fn serve_once(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    });
    address
}
