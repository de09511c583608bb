//! How far the jobmanager has been told what was logged about each job.

use std::collections::BTreeMap;
use std::sync::Arc;

use stream_core::ids::JobId;
use stream_core::time::Timestamp;
use stream_runtime::recent_logs::RecentLogs;

use crate::report::Report;
use crate::service::link::Link;

/// Tells what is new.
pub(super) struct TellingLogs {
    logs: Arc<RecentLogs>,
    /// The number of the next line of each job that the jobmanager does not know.
    told: BTreeMap<JobId, u64>,
    jobmanager_started: Option<Timestamp>,
}

impl TellingLogs {
    /// Of what is kept in `logs`.
    pub(super) fn new(logs: Arc<RecentLogs>) -> Self {
        TellingLogs { logs, told: BTreeMap::new(), jobmanager_started: None }
    }

    /// There is a jobmanager: one that is not the one before knows nothing.
    pub(super) fn on_joined(&mut self, jobmanager_started: Timestamp) {
        if self.jobmanager_started.replace(jobmanager_started) != Some(jobmanager_started) {
            self.told.clear();
        }
    }

    /// Tells what was logged since, as far as there is room on the way: the rest is told next time.
    pub(super) fn tell(&mut self, link: &Link) {
        let jobs = self.logs.jobs();
        self.told.retain(|job, _| jobs.contains(job));
        for job_id in jobs {
            let told = self.told.entry(job_id).or_default();
            let new = self.logs.since(job_id, *told);
            if new.lines.is_empty() && new.missed == 0 {
                continue;
            }
            if link.send_if_there_is_room(Report::Logs { job_id, lines: new.lines, missed: new.missed }) {
                *told = new.next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stream_core::log_line::{Level, LogLine};
    use tokio::sync::mpsc;

    use super::*;

    const JOB: JobId = JobId(1);

    fn log(logs: &RecentLogs, message: &str) {
        let text = String::new;
        let (time, message) = (Timestamp(0), message.to_owned());
        let line = LogLine { time, level: Level::Info, process: text(), target: text(), message, fields: Vec::new() };
        logs.add(JOB, line);
    }

    fn told(reports: &mut mpsc::Receiver<Report>) -> Vec<String> {
        std::iter::from_fn(|| reports.try_recv().ok())
            .flat_map(|report| match report {
                Report::Logs { lines, .. } => lines,
                other => panic!("only logs are told here: {other:?}"),
            })
            .map(|line| line.message.clone())
            .collect()
    }

    #[test]
    fn each_line_is_told_once_and_all_again_to_another_jobmanager() {
        let logs = Arc::new(RecentLogs::new(1 << 10));
        let mut telling = TellingLogs::new(Arc::clone(&logs));
        let mut link = Link::default();
        log(&logs, "a");
        telling.tell(&link);

        let (sender, mut reports) = mpsc::channel(2);
        link.on_joined(sender);
        telling.on_joined(Timestamp(1));
        telling.tell(&link);
        log(&logs, "b");
        telling.tell(&link);
        // There is no room for a third report: its line is told with the next.
        log(&logs, "c");
        telling.tell(&link);
        assert_eq!(told(&mut reports), ["a", "b"]);
        log(&logs, "d");
        telling.tell(&link);
        telling.tell(&link);
        assert_eq!(told(&mut reports), ["c", "d"]);

        telling.on_joined(Timestamp(1));
        telling.tell(&link);
        assert_eq!(told(&mut reports), [""; 0], "the same jobmanager, of which only the connection was lost");
        telling.on_joined(Timestamp(2));
        telling.tell(&link);
        assert_eq!(told(&mut reports), ["a", "b", "c", "d"]);
    }
}
