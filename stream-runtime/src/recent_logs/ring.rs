//! The lines themselves: a queue for each job, bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stream_core::ids::JobId;
use stream_core::log_line::LogLine;
use stream_core::secret::Redaction;

/// Jobs of which lines are kept: more than run at once. For one more the job that was silent longest is forgotten.
const JOBS: usize = 32;

/// Bytes of one message or value that are kept: a chain of causes, not a dump.
pub(super) const TEXT_BYTES: usize = 2048;

/// The latest lines of each job.
#[derive(Debug)]
pub struct RecentLogs {
    /// The bound for each job.
    job_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<JobId, Ring>,
    /// What must not stand in a line of a job that runs.
    redactions: BTreeMap<JobId, Redaction>,
    /// Lines added so far, of all jobs.
    added: u64,
}

/// The latest lines of one job, numbered from 0.
#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Arc<LogLine>>,
    /// The number of the oldest line that is kept.
    first: u64,
    bytes: usize,
    /// [`State::added`] at its last line.
    last_added: u64,
}

/// Lines of a job, from a certain number on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// In the order in which they were added.
    pub lines: Vec<Arc<LogLine>>,
    /// How many before them were asked for and are not kept any more.
    pub missed: u64,
    /// The number to ask for next.
    pub next: u64,
}

impl RecentLogs {
    /// Keeps up to `job_bytes` of each job.
    pub fn new(job_bytes: usize) -> Self {
        RecentLogs { job_bytes, state: Mutex::default() }
    }

    /// From now on these secrets stand in no line of the job, whoever quotes them.
    pub fn hide(&self, job: JobId, secrets: Redaction) {
        self.lock().redactions.insert(job, secrets);
    }

    /// The job has ended here, and nothing that knows its secrets will log any more.
    pub fn forget_secrets(&self, job: JobId) {
        self.lock().redactions.remove(&job);
    }

    /// Adds a line; the oldest make room for it.
    pub fn add(&self, job: JobId, line: LogLine) {
        let state = &mut *self.lock();
        let line = match state.redactions.get(&job) {
            Some(redaction) => line.redacted(redaction),
            None => line,
        };
        // Not before: of a secret that is cut in two nobody would find the half.
        let line = shortened(line);
        state.added += 1;
        if !state.jobs.contains_key(&job) && state.jobs.len() >= JOBS {
            let silent = state.jobs.iter().min_by_key(|(_, ring)| ring.last_added).map(|(job, _)| *job);
            silent.and_then(|job| state.jobs.remove(&job));
        }
        let ring = state.jobs.entry(job).or_default();
        ring.last_added = state.added;
        ring.bytes += line.bytes();
        ring.lines.push_back(Arc::new(line));
        while ring.bytes > self.job_bytes {
            let Some(oldest) = ring.lines.pop_front() else { break };
            ring.bytes -= oldest.bytes();
            ring.first += 1;
        }
    }

    /// The lines of a job from number `from` on.
    pub fn since(&self, job: JobId, from: u64) -> Lines {
        let state = self.lock();
        // A job that was forgotten and came back counts from 0 again.
        let Some(ring) = state.jobs.get(&job) else { return Lines::default() };
        let next = ring.first + ring.lines.len() as u64;
        let from = if from > next { 0 } else { from };
        let skipped = usize::try_from(from.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        let lines = ring.lines.iter().skip(skipped).cloned().collect();
        Lines { lines, missed: ring.first.saturating_sub(from), next }
    }

    /// The jobs of which lines are kept.
    pub fn jobs(&self) -> Vec<JobId> {
        self.lock().jobs.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A log is the last thing to fail of somebody else's panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shortened(mut line: LogLine) -> LogLine {
    let texts = line.fields.iter_mut().map(|(_, value)| value).chain([&mut line.message]);
    for text in texts.filter(|text| text.len() > TEXT_BYTES) {
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        text.push('…');
    }
    line
}

/// For a process whose lines nobody asks for: keeps none.
impl Default for RecentLogs {
    fn default() -> Self {
        RecentLogs::new(0)
    }
}

#[cfg(test)]
mod tests {
    use stream_core::log_line::Level;
    use stream_core::secret::Secret;
    use stream_core::time::Timestamp;

    use super::*;

    const JOB: JobId = JobId(1);

    fn line(message: &str) -> LogLine {
        LogLine {
            time: Timestamp(0),
            level: Level::Info,
            process: String::new(),
            target: String::new(),
            message: message.to_owned(),
            fields: Vec::new(),
        }
    }

    fn messages(lines: &Lines) -> Vec<&str> {
        lines.lines.iter().map(|line| line.message.as_str()).collect()
    }

    #[test]
    fn reader_goes_on_where_it_was_and_learns_what_it_missed() {
        let logs = RecentLogs::new(2 * line("a").bytes());
        assert_eq!(logs.since(JOB, 0), Lines::default());
        logs.add(JOB, line("a"));
        let read = logs.since(JOB, 0);
        assert_eq!((messages(&read), read.missed, read.next), (vec!["a"], 0, 1));
        for message in ["b", "c", "d"] {
            logs.add(JOB, line(message));
        }
        let read = logs.since(JOB, read.next);
        assert_eq!((messages(&read), read.missed, read.next), (vec!["c", "d"], 1, 4));
        assert_eq!(messages(&logs.since(JOB, 4)), [""; 0]);
        assert_eq!(messages(&logs.since(JOB, 3)), ["d"]);
    }

    #[test]
    fn secret_at_the_cut_of_a_long_text_is_not_told_by_half() {
        let logs = RecentLogs::new(1 << 20);
        logs.hide(JOB, Redaction::new(&[Secret::new("xq7-3f0a")], |_| false));
        logs.add(JOB, line(&(" ".repeat(TEXT_BYTES - 4) + "xq7-3f0a")));
        let message = &logs.since(JOB, 0).lines[0].message;
        assert!(!message.contains("xq7") && message.len() <= TEXT_BYTES + '…'.len_utf8(), "{message}");
    }

    #[test]
    fn memory_is_bounded_in_bytes_and_in_jobs() {
        let logs = RecentLogs::new(10_000);
        for round in 0..1000_u128 {
            for job in 0..100 {
                logs.add(JobId(job), line(&"x".repeat((round % 97) as usize)));
            }
        }
        let state = logs.lock();
        assert_eq!(state.jobs.len(), JOBS);
        for ring in state.jobs.values() {
            assert_eq!(ring.bytes, ring.lines.iter().map(|line| line.bytes()).sum::<usize>());
            assert!(ring.bytes <= 10_000 && !ring.lines.is_empty());
        }
    }

    #[test]
    fn secret_stands_in_no_line_while_its_job_runs() {
        let logs = RecentLogs::new(10_000);
        logs.hide(JOB, Redaction::new(&[Secret::new("hunter2")], |_| false));
        let fields = vec![("reason".to_owned(), "login hunter2 refused".to_owned())];
        logs.add(JOB, LogLine { fields, ..line("by hunter2") });
        let read = logs.since(JOB, 0);
        assert_eq!(read.lines[0].message, "by <secret>");
        assert_eq!(read.lines[0].fields[0].1, "login <secret> refused");
        logs.forget_secrets(JOB);
        assert!(logs.lock().redactions.is_empty());
    }

    #[test]
    fn line_that_is_larger_than_the_bound_is_not_kept() {
        let logs = RecentLogs::default();
        logs.add(JOB, line("a"));
        let read = logs.since(JOB, 0);
        assert_eq!((messages(&read), read.missed, read.next), (vec![], 1, 1));
    }

    #[test]
    fn job_that_was_forgotten_begins_anew() {
        let logs = RecentLogs::new(10_000);
        for job in 0..=JOBS as u128 {
            logs.add(JobId(job), line("a"));
        }
        assert_eq!(logs.since(JobId(0), 1), Lines::default());
        assert_eq!(logs.jobs().first(), Some(&JobId(1)));
        logs.add(JobId(0), line("b"));
        assert_eq!(messages(&logs.since(JobId(0), 7)), ["b"]);
    }
}
