//! Jobs as text.

use stream_core::time::Timestamp;

use super::Side::{Left, Right};
use super::{NONE, checkpoint, fields, or_none, span, table, time, watermark};
use crate::terminal::harmless;
use crate::view::{Job, JobDetails, Split, Subtask};

/// As much of an id as tells jobs apart, and as `describe` takes.
const ID_DIGITS: usize = 12;
/// Splits named in a row; the others are counted.
const NAMED_SPLITS: usize = 3;

/// `jobctl list`.
pub(crate) fn jobs(jobs: &[Job], now: Timestamp) -> String {
    if jobs.is_empty() {
        return "no jobs yet: start one with `jobctl submit sessionize`\n".to_owned();
    }
    let columns = [
        ("JOB", Left),
        ("NAME", Left),
        ("STATE", Left),
        ("PARALLELISM", Right),
        ("SUBMITTED", Left),
        ("FOR", Right),
        ("RECORDS IN", Right),
        ("ROWS OUT", Right),
    ];
    table(
        columns,
        jobs.iter().map(|job| {
            [
                short(&job.id),
                job.name.clone(),
                job.state.to_owned(),
                job.parallelism.to_string(),
                time(job.submitted_ms),
                span(job.submitted_ms, job.ended_ms.unwrap_or(now.0)),
                job.records_in.to_string(),
                job.rows_out.to_string(),
            ]
        }),
    )
}

/// `jobctl describe`.
pub(crate) fn details(details: &JobDetails, now: Timestamp) -> String {
    let JobDetails { job, .. } = details;
    let ran = span(job.submitted_ms, job.ended_ms.unwrap_or(now.0));
    let mut text = fields([
        ("Job", format!("{} {}", job.id, job.name)),
        ("State", format!("{}{}, for {ran}, attempt {}", job.state, waiting(details), details.attempt)),
        ("Submitted", format!("{} UTC", time(job.submitted_ms))),
        ("Source", details.source.clone()),
        ("Sink", details.sink.clone()),
        ("Options", details.options.to_string()),
        ("Parallelism", format!("{} of {} key groups", job.parallelism, details.max_parallelism)),
    ]);
    if let Some(checkpoint) = &details.last_checkpoint {
        text += &format!("Checkpoint   {}\n", checkpoint::last(checkpoint));
    }
    let unanswered: u64 = details.subtasks.iter().map(|subtask| subtask.unanswered).sum();
    if unanswered > 0 {
        text += &format!(
            "Look-ups     no answer for {unanswered} events of this attempt: the taskmanagers' logs say why\n"
        );
    }
    text += &failure("Failed", &job.causes);
    if job.causes.is_empty() {
        text += &failure(&format!("Restarts {}", details.restarts), &details.last_failure);
    }
    if !details.subtasks.is_empty() {
        text += "\n";
        text += &subtasks(&details.subtasks);
    }
    if !details.splits.is_empty() {
        text += "\n";
        text += &splits(&details.splits);
    }
    text
}

/// What a restarting job waits for.
fn waiting(details: &JobDetails) -> String {
    details.waiting_for.as_ref().map(|what| format!(" (waits for {})", harmless(what))).unwrap_or_default()
}

/// Nothing where there are no causes.
fn failure(title: &str, causes: &[String]) -> String {
    let Some((first, causes)) = causes.split_first() else { return String::new() };
    let mut text = format!("{title:<11}  {}\n", harmless(first));
    text.extend(causes.iter().map(|cause| format!("             because {}\n", harmless(cause))));
    text
}

fn subtasks(subtasks: &[Subtask]) -> String {
    let columns = [
        ("SUBTASK", Left),
        ("STATE", Left),
        ("TASKMANAGER", Left),
        ("KEY GROUPS", Left),
        ("SPLITS", Left),
        ("IN", Right),
        ("OUT", Right),
        ("LATE", Right),
        ("BAD", Right),
        ("OPEN", Right),
        ("WATERMARK", Left),
    ];
    table(
        columns,
        subtasks.iter().map(|subtask| {
            [
                format!("{}[{}]", subtask.stage, subtask.index),
                subtask.state.to_owned(),
                if subtask.taskmanager.is_empty() {
                    NONE.to_owned()
                } else {
                    format!("{}/{}", subtask.taskmanager, subtask.slot)
                },
                or_none(subtask.key_groups.map(|groups| format!("{}..{}", groups.start, groups.end))),
                split_names(&subtask.splits),
                subtask.records_in.to_string(),
                subtask.records_out.to_string(),
                subtask.late.to_string(),
                subtask.bad.to_string(),
                subtask.open_windows.to_string(),
                watermark(subtask.watermark_ms),
            ]
        }),
    )
}

fn splits(splits: &[Split]) -> String {
    let columns = [
        ("SPLIT", Left),
        ("READ BY", Left),
        ("STATE", Left),
        ("POSITION", Right),
        ("END", Right),
        ("LAG", Right),
        ("WATERMARK", Left),
    ];
    table(
        columns,
        splits.iter().map(|split| {
            [
                split.id.clone(),
                split.subtask.clone(),
                split.state.to_owned(),
                split.position.to_string(),
                or_none(split.end),
                or_none(split.lag),
                watermark(split.watermark_ms),
            ]
        }),
    )
}

fn split_names(splits: &[String]) -> String {
    // Of a file the name says enough here; the whole path stands among the splits.
    let name = |split: &String| match split.strip_prefix('/') {
        Some(_) => split.rsplit('/').next().unwrap_or(split).to_owned(),
        None => split.clone(),
    };
    match splits.len() {
        0 => NONE.to_owned(),
        count => {
            let named: Vec<String> = splits.iter().take(NAMED_SPLITS).map(name).collect();
            let more = count.saturating_sub(NAMED_SPLITS);
            named.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
        }
    }
}

fn short(id: &str) -> String {
    id.chars().take(ID_DIGITS).collect()
}
