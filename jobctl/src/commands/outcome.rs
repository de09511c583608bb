//! How a job ended, for whoever waited: its accounts and its exit code.

use std::fmt;
use std::time::Duration;

use proto::v1;

use crate::exit::Exit;
use crate::failure::Failure;

/// A job's counters, summed over its subtasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    /// Events decoded.
    pub(super) events: u64,
    /// Rows written.
    pub(super) rows: u64,
    pub(super) late: u64,
    pub(super) bad: u64,
    /// The least watermark of the sources that have one.
    pub(super) watermark_ms: Option<i64>,
    /// How far the splits with a known end were read, and the sum of those ends: offsets, or bytes of files.
    pub(super) position: u64,
    pub(super) end: Option<u64>,
}

impl Accounts {
    pub(super) fn of(details: &v1::JobDetails) -> Self {
        let stage_of = |task: &v1::TaskDetails| task.subtask.map_or(0, |subtask| subtask.stage);
        let last_stage = details.tasks.iter().map(stage_of).max().unwrap_or(0);
        let mut accounts = Accounts::default();
        for task in &details.tasks {
            let Some(counters) = &task.counters else { continue };
            accounts.late += counters.late;
            accounts.bad += counters.bad;
            if stage_of(task) == 0 {
                accounts.events += counters.records_out;
                accounts.watermark_ms = match (accounts.watermark_ms, counters.watermark_ms) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                for split in &counters.splits {
                    if let Some(end) = split.end {
                        accounts.position += split.position.min(end);
                        accounts.end = Some(accounts.end.unwrap_or(0) + end);
                    }
                }
            } else if stage_of(task) == last_stage {
                accounts.rows += counters.records_out;
            }
        }
        accounts
    }

    /// One line for when all is over.
    pub(super) fn summary(&self, took: Duration) -> String {
        let Accounts { events, rows, late, bad, .. } = self;
        let seconds = took.as_secs_f64();
        let rate = Rate { events: *events, took };
        format!("{events} events, {rows} rows, {late} late, {bad} bad in {seconds:.2} s ({rate})")
    }
}

/// Events for each second, rounded; nothing is claimed of an instant.
pub(super) struct Rate {
    pub(super) events: u64,
    pub(super) took: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.took.as_millis().max(1);
        write!(f, "{} events/s", u128::from(self.events) * 1000 / ms)
    }
}

/// What the end of a job means for the exit code.
///
/// # Errors
/// If the job failed, with its causes.
pub(super) fn exit(details: &v1::JobDetails) -> Result<Exit, Failure> {
    let summary = details.summary.clone().unwrap_or_default();
    match summary.state() {
        v1::JobState::Finished => Ok(Exit::Done),
        v1::JobState::Canceled => Ok(Exit::Canceled),
        v1::JobState::Failed => {
            let mut causes = summary.causes.into_iter();
            let first = causes.next().unwrap_or_else(|| "the job failed without saying why".to_owned());
            Err(Failure::new(Exit::Failed, first).because(causes))
        }
        state => {
            let state = crate::view::job_state(state);
            Err(Failure::new(Exit::Failed, format!("the job was left while {state}: see `jobctl describe`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(stage: u32, counters: v1::SubtaskCounters) -> v1::TaskDetails {
        v1::TaskDetails {
            subtask: Some(v1::SubtaskId { stage, index: 0 }),
            counters: Some(counters),
            ..Default::default()
        }
    }

    fn split(position: u64, end: Option<u64>) -> v1::SplitProgress {
        v1::SplitProgress { position, end, ..Default::default() }
    }

    #[test]
    fn accounts_are_sums_over_the_stages_that_know() {
        let source = |watermark_ms, splits| v1::SubtaskCounters {
            records_out: 10,
            bad: 1,
            watermark_ms,
            splits,
            ..Default::default()
        };
        let details = v1::JobDetails {
            tasks: vec![
                task(0, source(Some(7), vec![split(5, Some(9)), split(3, None)])),
                task(0, source(Some(5), vec![split(12, Some(10))])),
                task(0, source(None, vec![])),
                task(1, v1::SubtaskCounters { records_out: 4, late: 2, ..Default::default() }),
                task(2, v1::SubtaskCounters { records_out: 3, ..Default::default() }),
            ],
            ..Default::default()
        };
        let accounts = Accounts::of(&details);
        assert_eq!(
            accounts,
            Accounts { events: 30, rows: 3, late: 2, bad: 3, watermark_ms: Some(5), position: 15, end: Some(19) }
        );
        assert_eq!(
            accounts.summary(Duration::from_millis(1500)),
            "30 events, 3 rows, 2 late, 3 bad in 1.50 s (20 events/s)"
        );
    }

    #[test]
    fn failed_job_fails_with_its_causes() {
        let ended = |state: v1::JobState, causes: &[&str]| v1::JobDetails {
            summary: Some(v1::JobSummary {
                state: state.into(),
                causes: causes.iter().map(|&cause| cause.to_owned()).collect(),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(exit(&ended(v1::JobState::Finished, &[])), Ok(Exit::Done));
        assert_eq!(exit(&ended(v1::JobState::Canceled, &[])), Ok(Exit::Canceled));
        let failure = exit(&ended(v1::JobState::Failed, &["sink[0] failed", "disk full"])).expect_err("failed");
        assert_eq!(failure, Failure::new(Exit::Failed, "sink[0] failed").because(["disk full".to_owned()]));
    }
}
