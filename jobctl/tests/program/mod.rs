//! Runs the program, in an environment that says nothing.
#![allow(dead_code, reason = "each test uses some of it")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// How it ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn jobctl(arguments: &[&str]) -> Ended {
    jobctl_with(arguments, &[], b"", Path::new("/"))
}

/// With variables, standard input, and the folder in which it is started.
pub(crate) fn jobctl_with(arguments: &[&str], variables: &[(&str, &str)], input: &[u8], folder: &Path) -> Ended {
    let mut child = command(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // On a thread of its own: the program may write before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobctl"));
    command.args(arguments).env_clear();
    command
}
