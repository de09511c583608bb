//! The program `localcluster` as a user calls it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

/// What these tests set or leave out by themselves.
const OURS: [&str; 12] = [
    "KAFKA",
    "KAFKA_URL",
    "KAFKA_PORT",
    "KAFKA_TOPIC",
    "KAFKA_WEB_TRAFFIC_KEY",
    "KAFKA_WEB_TRAFFIC_SECRET",
    "POSTGRES_URL",
    "POSTGRES_PORT",
    "JOBMANAGER_PORT",
    "TASKMANAGERS",
    "SLOTS",
    "GAPWISE_LOCAL_DIR",
];

fn localcluster(project: &Path, env: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_localcluster"));
    for name in OURS {
        command.env_remove(name);
    }
    command.arg("--project").arg(project).args(args).envs(env.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn nothing_runs_in_a_new_folder_and_stopping_it_is_no_error() {
    let project = tempfile::tempdir().unwrap();
    let status = localcluster(project.path(), &[], &["status"]);
    assert_eq!(text(&status.stdout), "nothing is running; `make up` starts a cluster\n");
    let down = localcluster(project.path(), &[], &["down"]);
    assert_eq!((down.status.code(), text(&down.stdout)), (Some(0), "nothing was running\n"));
    assert_eq!(project.path().read_dir().unwrap().count(), 0, "looking must leave nothing behind");
}

#[test]
fn a_setting_that_makes_no_sense_is_one_clear_line() {
    let project = tempfile::tempdir().unwrap();
    let up = localcluster(project.path(), &[("TASKMANAGERS", "many")], &["up"]);
    assert_eq!(up.status.code(), Some(1));
    assert_eq!(text(&up.stderr), "error: `TASKMANAGERS` must be a whole number from 1 to 16, and is `many`\n");
}

#[test]
fn a_secret_in_a_broken_file_is_not_shown() {
    let project = tempfile::tempdir().unwrap();
    std::fs::write(project.path().join(".env"), "KAFKA_TOPIC=x\nKAFKA_WEB_TRAFFIC_SECRET=\"hunter2\n").unwrap();
    let up = localcluster(project.path(), &[], &["up"]);
    assert_eq!(up.status.code(), Some(1));
    assert!(text(&up.stderr).contains("line 2"), "{}", text(&up.stderr));
    assert!(!text(&up.stderr).contains("hunter2"));
}

#[test]
fn the_environment_is_printed_for_a_shell_without_secrets() {
    let project = tempfile::tempdir().unwrap();
    let flink = "KAFKA_URL=pkc.example:9092\nKAFKA_WEB_TRAFFIC_KEY=key\nKAFKA_WEB_TRAFFIC_SECRET=\"hunter 2\"\n\
                 POSTGRES_URL=\"jdbc:postgresql://me:hunter2@db.example:5432/postgres\"\nPOSTGRES_PASSWORD=hunter2\n";
    std::fs::write(project.path().join("flink-env.env"), flink).unwrap();
    let env = localcluster(project.path(), &[], &["env"]);
    let printed = text(&env.stdout);
    assert!(printed.contains("export KAFKA_URL='pkc.example:9092'\n"), "{printed}");
    assert!(printed.contains("# POSTGRES_PASSWORD: as you set it"), "{printed}");
    assert!(!printed.contains("hunter"), "{printed}");

    // The child sees all of it, unchanged.
    let child = localcluster(
        project.path(),
        &[],
        &["exec", "--", "sh", "-c", "echo \"$KAFKA_WEB_TRAFFIC_SECRET|$POSTGRES_URL\""],
    );
    assert_eq!(text(&child.stdout), "hunter 2|jdbc:postgresql://me:hunter2@db.example:5432/postgres\n");
}

#[test]
fn a_file_that_is_not_there_and_a_kafka_that_is_not_up_say_what_to_do() {
    let project = tempfile::tempdir().unwrap();
    let missing = localcluster(project.path(), &[], &["load", "nowhere.jsonl"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).starts_with("error: `nowhere.jsonl` cannot be loaded; name a file"), "{missing:?}");

    let file = project.path().join("events.jsonl");
    std::fs::write(&file, "{}\n").unwrap();
    let down = localcluster(project.path(), &[], &["load", &file.to_string_lossy()]);
    assert_eq!(down.status.code(), Some(1));
    let expected = "error: no kafka is running here; `make up` starts one, or set KAFKA_URL to yours\n";
    assert_eq!(text(&down.stderr), expected);
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let project = tempfile::tempdir().unwrap();
    assert_eq!(localcluster(project.path(), &[], &["start"]).status.code(), Some(2));
}
