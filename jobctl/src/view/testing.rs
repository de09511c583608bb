//! A job as several tests show it.

use super::{Job, JobDetails, KeyGroups, Split, Subtask};

pub(crate) fn sample_job() -> Job {
    Job {
        id: "4f1c09ab4f1c09ab4f1c09ab4f1c09ab".to_owned(),
        name: "sessionize".to_owned(),
        state: "running",
        parallelism: 2,
        submitted_ms: 1_736_874_072_232,
        ended_ms: None,
        records_in: 1_000_000,
        rows_out: 17,
        causes: Vec::new(),
    }
}

pub(crate) fn sample_subtask(stage: &str, index: u32) -> Subtask {
    Subtask {
        stage: stage.to_owned(),
        index,
        state: "running",
        taskmanager: "tm-1".to_owned(),
        slot: index,
        key_groups: None,
        splits: Vec::new(),
        records_in: 7,
        bytes_in: 70,
        records_out: 5,
        bytes_out: 50,
        bad: 0,
        late: 0,
        open_windows: 0,
        open_events: 0,
        fired_events: 0,
        unanswered: 0,
        unpublished_bytes: 0,
        trouble: None,
        is_paused: false,
        watermark_ms: None,
        busy_ms: 1,
        idle_ms: 2,
        backpressured_ms: 3,
    }
}

pub(crate) fn sample_details() -> JobDetails {
    let splits = (0..5).map(|split| format!("t/{split}")).collect();
    let key_groups = Some(KeyGroups { start: 0, end: 64 });
    JobDetails {
        job: sample_job(),
        attempt: 1,
        restarts: 0,
        last_failure: Vec::new(),
        waiting_for: None,
        slots_needed: None,
        last_checkpoint: None,
        published_epoch: None,
        max_parallelism: 128,
        source: "kafka://127.0.0.1:9092/t".to_owned(),
        sink: "postgres://127.0.0.1:5432/postgres".to_owned(),
        options: serde_json::json!({ "gap_ms": 300_000 }),
        subtasks: vec![
            Subtask { splits, watermark_ms: Some(0), bad: 2, ..sample_subtask("source", 0) },
            Subtask { key_groups, late: 1, open_windows: 3, ..sample_subtask("window", 1) },
            Subtask { watermark_ms: Some(i64::MAX), ..sample_subtask("sink", 0) },
        ],
        splits: vec![Split {
            id: "t/0".to_owned(),
            subtask: "source[0]".to_owned(),
            position: 7,
            end: Some(10),
            lag: Some(3),
            watermark_ms: None,
            silent_ms: 0,
            state: "active",
        }],
    }
}
