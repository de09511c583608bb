//! The program as its user meets it: its lines, its exit codes, its signals.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn devbroker(listen: &str, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devbroker"));
    command.args(["--listen", listen, "--dir"]).arg(dir).stdin(Stdio::null());
    command
}

/// Starts it and waits for its line.
fn start(dir: &Path) -> (Child, String) {
    let mut child = devbroker("127.0.0.1:0", dir).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_says_that_it_is_ready_and_what_it_is_not_for_and_stops_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let (mut child, line) = start(dir.path());
        assert!(line.starts_with("devbroker: ready on 127.0.0.1:"), "{line}");
        let rest = format!(", data in {}; for development, not production\n", dir.path().display());
        assert!(line.ends_with(&rest), "{line}");
        assert!(Command::new("sh").args(["-c", &format!("kill {signal} {}", child.id())]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    }
}

#[test]
fn a_taken_port_is_one_line_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let output = devbroker(&addr.to_string(), dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "devbroker: port `{}` of `127.0.0.1` is taken; stop the other process, or pass `--listen 127.0.0.1:PORT` with a free port\n",
        addr.port()
    );
    assert_eq!(said(&output), expected);
}

#[test]
fn a_data_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _) = start(dir.path());
    let output = devbroker("127.0.0.1:0", dir.path()).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("is in use by another devbroker; stop that one or pass another `--dir`"));
    // A killed owner leaves no lock behind.
    let (mut child, line) = start(dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("ready"));
}

#[test]
fn what_cannot_be_used_is_refused_with_the_reason() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = devbroker("127.0.0.1:0", &file.path().join("data")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).starts_with("devbroker: cannot create `"), "{}", said(&output));

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("group-offsets.json"), "not json").unwrap();
    let output = devbroker("127.0.0.1:0", dir.path()).output().unwrap();
    assert!(said(&output).contains("is damaged; move it away to start without it"), "{}", said(&output));

    for arguments in [["--advertise", "no-port"], ["--auto-create-partitions", "0"]] {
        let output = devbroker("127.0.0.1:0", dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn help_has_examples_and_a_warning() {
    let output = Command::new(env!("CARGO_BIN_EXE_devbroker")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Not for production") && help.contains("Examples:"), "{help}");
}
