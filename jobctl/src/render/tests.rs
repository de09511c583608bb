use stream_core::time::Timestamp;

use super::*;
use crate::view;
use crate::view::testing::{sample_details, sample_job};

const NOW: Timestamp = Timestamp(1_736_874_100_000);

#[test]
fn list_is_aligned() {
    let ended = view::Job {
        state: "finished",
        name: "a".to_owned(),
        ended_ms: Some(1_736_874_072_400),
        records_in: 3,
        ..sample_job()
    };
    assert_eq!(
        jobs(&[sample_job(), ended], NOW),
        "\
JOB           NAME        STATE     PARALLELISM  SUBMITTED                  FOR  RECORDS IN  ROWS OUT
4f1c09ab4f1c  sessionize  running             2  2025-01-14 17:01:12.232    27s     1000000        17
4f1c09ab4f1c  a           finished            2  2025-01-14 17:01:12.232  168ms           3        17
"
    );
    assert_eq!(jobs(&[], NOW), "no jobs yet: start one with `jobctl submit sessionize`\n");
}

#[test]
fn describe_shows_the_job_its_subtasks_and_its_splits() {
    assert_eq!(
        details(&sample_details(), NOW),
        "\
Job          4f1c09ab4f1c09ab4f1c09ab4f1c09ab sessionize
State        running, for 27s, attempt 1
Submitted    2025-01-14 17:01:12.232 UTC
Source       kafka://127.0.0.1:9092/t
Sink         postgres://127.0.0.1:5432/postgres
Options      {\"gap_ms\":300000}
Parallelism  2 of 128 key groups

SUBTASK    STATE    TASKMANAGER  KEY GROUPS  SPLITS                    IN  OUT  LATE  BAD  OPEN  WATERMARK
source[0]  running  tm-1/0       -           t/0, t/1, t/2 and 2 more   7    5     0    2     0  1970-01-01 00:00:00.000
window[1]  running  tm-1/1       0..64       -                          7    5     1    0     3  -
sink[0]    running  tm-1/0       -           -                          7    5     0    0     0  end

SPLIT  READ BY    STATE   POSITION  END  LAG  WATERMARK
t/0    source[0]  active         7   10    3  -
"
    );
}

#[test]
fn failed_job_says_why_and_its_words_cannot_move_the_cursor() {
    let causes = vec!["sink[0] failed".to_owned(), "disk\u{1b}[2J full".to_owned()];
    let job = view::Job { state: "failed", causes, ended_ms: Some(NOW.0), ..sample_job() };
    let failed = view::JobDetails { job, subtasks: Vec::new(), splits: Vec::new(), ..sample_details() };
    let shown = details(&failed, NOW);
    let lines: Vec<&str> = shown.lines().skip(7).collect();
    assert_eq!(lines, ["Failed       sink[0] failed", "             because disk\u{fffd}[2J full"]);
}

#[test]
fn taskmanagers_are_aligned() {
    let taskmanager = view::TaskManager {
        id: "tm-1".to_owned(),
        exchange_address: "127.0.0.1:40001".to_owned(),
        slots: 2,
        free_slots: 1,
        registered_ms: NOW.0 - 3_723_000,
        last_heartbeat_ms: NOW.0 - 250,
        rss_bytes: 12_400_000,
        pid: 4711,
    };
    assert_eq!(
        taskmanagers(&[taskmanager], NOW),
        "\
TASKMANAGER  EXCHANGE         SLOTS  FREE      UP   HEARD OF  MEMORY MIB   PID
tm-1         127.0.0.1:40001      2     1  1h2m3s  250ms ago        11.8  4711
"
    );
}

#[test]
fn json_of_a_job_is_stable() {
    let json = serde_json::to_string(&sample_details()).expect("texts and numbers");
    assert_eq!(
        json,
        concat!(
            r#"{"id":"4f1c09ab4f1c09ab4f1c09ab4f1c09ab","name":"sessionize","state":"running","parallelism":2,"#,
            r#""submitted_ms":1736874072232,"ended_ms":null,"records_in":1000000,"rows_out":17,"causes":[],"#,
            r#""attempt":1,"restarts":0,"last_failure":[],"waiting_for":null,"slots_needed":null,"last_checkpoint":null,"#,
            r#""published_epoch":null,"max_parallelism":128,"source":"kafka://127.0.0.1:9092/t","#,
            r#""sink":"postgres://127.0.0.1:5432/postgres","options":{"gap_ms":300000},"subtasks":["#,
            r#"{"stage":"source","index":0,"state":"running","taskmanager":"tm-1","slot":0,"key_groups":null,"#,
            r#""splits":["t/0","t/1","t/2","t/3","t/4"],"records_in":7,"bytes_in":70,"records_out":5,"#,
            r#""bytes_out":50,"bad":2,"late":0,"open_windows":0,"open_events":0,"fired_events":0,"unanswered":0,"unpublished_bytes":0,"trouble":null,"is_paused":false,"watermark_ms":0,"busy_ms":1,"#,
            r#""idle_ms":2,"backpressured_ms":3},"#,
            r#"{"stage":"window","index":1,"state":"running","taskmanager":"tm-1","slot":1,"#,
            r#""key_groups":{"start":0,"end":64},"splits":[],"records_in":7,"bytes_in":70,"records_out":5,"#,
            r#""bytes_out":50,"bad":0,"late":1,"open_windows":3,"open_events":0,"fired_events":0,"unanswered":0,"unpublished_bytes":0,"trouble":null,"is_paused":false,"watermark_ms":null,"busy_ms":1,"#,
            r#""idle_ms":2,"backpressured_ms":3},"#,
            r#"{"stage":"sink","index":0,"state":"running","taskmanager":"tm-1","slot":0,"key_groups":null,"#,
            r#""splits":[],"records_in":7,"bytes_in":70,"records_out":5,"bytes_out":50,"bad":0,"late":0,"#,
            r#""open_windows":0,"open_events":0,"fired_events":0,"unanswered":0,"unpublished_bytes":0,"trouble":null,"is_paused":false,"watermark_ms":9223372036854775807,"busy_ms":1,"idle_ms":2,"#,
            r#""backpressured_ms":3}],"splits":[{"id":"t/0","subtask":"source[0]","position":7,"end":10,"lag":3,"#,
            r#""watermark_ms":null,"silent_ms":0,"state":"active"}]}"#
        )
    );
}

#[test]
fn cluster_is_a_few_lines() {
    let info = view::Cluster {
        jobmanager: "127.0.0.1:6123".to_owned(),
        version: "0.1.0".to_owned(),
        started_ms: NOW.0 - 65_000,
        taskmanagers: 2,
        slots: 4,
        free_slots: 3,
        running_jobs: 1,
        rss_bytes: 9 << 20,
        pid: 12,
    };
    assert_eq!(
        cluster(&info, NOW),
        "\
Jobmanager    127.0.0.1:6123, pid 12
Version       0.1.0
Up            1m5s
Memory        9.0 MiB
Taskmanagers  2
Slots         3 free of 4
Jobs          1 running
"
    );
}

fn sample_checkpoint() -> view::Checkpoint {
    let accounts = view::Accounts { read: 1000, bad: 1, late: 2, in_sessions: 900, open: 97 };
    view::Checkpoint {
        id: "3.17".to_owned(),
        state: "completed",
        is_savepoint: false,
        is_published: true,
        triggered_ms: 1_736_874_072_232,
        ended_ms: Some(1_736_874_072_282),
        written_bytes: 1 << 20,
        total_bytes: 5 << 20,
        pause_us: 740,
        alignment_us: 10,
        reason: None,
        accounts: Some(accounts),
    }
}

#[test]
fn checkpoints_are_aligned_and_an_aborted_one_says_why() {
    let aborted = view::Checkpoint {
        id: "3.18".to_owned(),
        state: "aborted",
        is_published: false,
        ended_ms: None,
        pause_us: 2100,
        reason: Some("the disk is full".to_owned()),
        accounts: None,
        ..sample_checkpoint()
    };
    assert_eq!(
        checkpoints(&[aborted, sample_checkpoint()]),
        "\
CHECKPOINT  KIND        STATE      TRIGGERED                TOOK  PAUSE  WRITTEN MIB  TOTAL MIB  READ  OPEN  WHY
3.18        checkpoint  aborted    2025-01-14 17:01:12.232     -    2ms          1.0        5.0     -     -  the disk is full
3.17        checkpoint  published  2025-01-14 17:01:12.232  50ms  740us          1.0        5.0  1000    97  -
"
    );
    assert_eq!(checkpoints(&[]), "no checkpoint yet\n");
}

#[test]
fn job_that_runs_again_shows_what_it_failed_with() {
    let details = view::JobDetails {
        job: view::Job { state: "restarting", ..sample_job() },
        restarts: 3,
        last_failure: vec!["lost taskmanager `tm-1`".to_owned(), "it closed the connection".to_owned()],
        waiting_for: Some("2 free slots".to_owned()),
        last_checkpoint: Some(sample_checkpoint()),
        subtasks: Vec::new(),
        splits: Vec::new(),
        ..sample_details()
    };
    let shown = super::details(&details, NOW);
    let lines = [
        "State        restarting (waits for 2 free slots), for 27s, attempt 1\n",
        "Checkpoint   3.17 published at 2025-01-14 17:01:12.232 UTC in 50ms\n",
        "Restarts 3   lost taskmanager `tm-1`\n             because it closed the connection\n",
    ];
    for line in lines {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

fn sample_audit() -> view::Audit {
    let check = |what: &str, found: i64, expected: i64, of: &str| view::Check {
        what: what.to_owned(),
        found,
        relation: "=",
        expected,
        of: of.to_owned(),
        difference: found - expected,
        holds: found == expected,
    };
    let row = |kind, num_hits| view::DifferentRow {
        kind,
        event_hour_ms: Some(1_736_874_072_232),
        ip: Some("1.2.3.4".to_owned()),
        host: None,
        num_hits: Some(num_hits),
    };
    view::Audit {
        job: "4f1c".to_owned(),
        sink: "postgres://h:5432/web".to_owned(),
        table: "t".to_owned(),
        epoch: Some("3.17".to_owned()),
        source: Some("kafka://h:9092/events".to_owned()),
        holds: false,
        checks: vec![
            check("rows in the table", 12, 12, "rows published"),
            check("hits in the table", 99, 100, "events in sessions"),
        ],
        notes: vec!["a word".to_owned()],
        replay: Some(view::Replay {
            closed_sessions: 12,
            open_sessions: 3,
            rows: 12,
            equal: 11,
            sessions_in_parts: 0,
            parts: 0,
            missing: 1,
            duplicate: 0,
            unexpected: 30,
            differences: vec![row("missing", 5), row("unexpected", 4)],
        }),
    }
}

#[test]
fn audit_shows_both_sides_of_each_check_and_the_rows_that_differ() {
    let expected = "\
Job    4f1c
Sink   postgres://h:5432/web t
Epoch  3.17
Read   kafka://h:9092/events

CHECK              FOUND     EXPECTED  DIFFERENCE                 EXPECTED IS
rows in the table     12  =        12           0  holds          rows published
hits in the table     99  =       100          -1  DOES NOT HOLD  events in sessions

12 closed sessions, 3 open ones, which are not expected; 11 of 12 rows are as computed

DIFFERENT   EVENT_HOUR               IP       HOST  NUM_HITS
missing     2025-01-14 17:01:12.232  1.2.3.4  -            5
unexpected  2025-01-14 17:01:12.232  1.2.3.4  -            4
and 29 more

note: a word

not every check holds
";
    assert_eq!(audit(&sample_audit()), expected);
}

#[test]
fn json_of_an_audit_is_stable() {
    let json = serde_json::to_value(sample_audit()).expect("JSON");
    let keys = |value: &serde_json::Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&json), ["checks", "epoch", "holds", "job", "notes", "replay", "sink", "source", "table"]);
    assert_eq!(keys(&json["checks"][0]), ["difference", "expected", "found", "holds", "of", "relation", "what"]);
    assert_eq!(
        keys(&json["replay"]),
        [
            "closed_sessions",
            "differences",
            "duplicate",
            "equal",
            "missing",
            "open_sessions",
            "parts",
            "rows",
            "sessions_in_parts",
            "unexpected"
        ]
    );
    assert_eq!(keys(&json["replay"]["differences"][0]), ["event_hour_ms", "host", "ip", "kind", "num_hits"]);
}
