//! The stream behind `ReadLogs`.
//!
//! Lines come with the taskmanagers' heartbeats, so that one may come after another that was logged later. Whoever follows
//! gets them in the order of their times: each waits until those that were on their way with it are there.

use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use stream_core::log_line::{Level, LogLine};
use stream_core::time::Timestamp;
use stream_runtime::recent_logs::RecentLogs;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;

use crate::handle::ShuttingDown;
use crate::jobs::JobRecord;

/// Messages that may wait for the client; while they do, lines stay where they are kept.
pub(super) const WAITING_RESPONSES: usize = 1;
/// How often is looked for new lines.
const TICK: Duration = Duration::from_millis(100);
/// What this process calls itself where taskmanagers have a name.
const JOBMANAGER: &str = "jobmanager";

/// Where lines are, and how long they take to get there.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    logs: Arc<RecentLogs>,
    /// After this long, what was logged at the same time in another process has come.
    settled_after: Duration,
}

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) is_followed: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) level: Option<Level>,
}

impl From<&v1::ReadLogsRequest> for Wanted {
    fn from(request: &v1::ReadLogsRequest) -> Self {
        Wanted {
            is_followed: request.is_followed,
            since: request.since_ms.map(Timestamp),
            level: request.level().into(),
        }
    }
}

impl Wanted {
    fn takes(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.time >= since) && self.level.is_none_or(|level| line.level >= level)
    }
}

impl LogReader {
    /// Of lines that taskmanagers tell with each heartbeat.
    pub(crate) fn new(logs: Arc<RecentLogs>, heartbeat_interval: Duration) -> Self {
        LogReader { logs, settled_after: heartbeat_interval * 2 }
    }

    /// Sends what was logged about a job; if it is followed, then what is logged from now on, until the job has ended and all
    /// of it is told, or the client has gone.
    pub(super) async fn read(
        self,
        mut job: watch::Receiver<Arc<JobRecord>>,
        wanted: Wanted,
        client: mpsc::Sender<Result<v1::ReadLogsResponse, Status>>,
    ) {
        let id = job.borrow().id;
        let mut next = 0;
        let mut unsettled = Unsettled::default();
        let mut ended_at = None;
        let mut is_first = true;
        loop {
            let new = self.logs.since(id, next);
            next = new.next;
            let now = Instant::now();
            unsettled.add(now, new.lines.into_iter().filter(|line| wanted.takes(line)));
            if !job.borrow_and_update().is_live() {
                ended_at.get_or_insert(now);
            }
            let is_last = !wanted.is_followed || ended_at.is_some_and(|at| now >= at + self.settled_after);
            // What was there before anybody asked has settled.
            let settled_before = if is_first || is_last { Some(now) } else { now.checked_sub(self.settled_after) };
            let lines = settled_before.map(|before| unsettled.take(before)).unwrap_or_default();
            let missed = if wanted.since.is_none() { new.missed } else { 0 };
            if !lines.is_empty() || missed > 0 {
                let lines = lines.iter().map(|line| shown(line)).collect();
                let response = v1::ReadLogsResponse { lines, missed };
                if client.send(Ok(response)).await.is_err() {
                    return;
                }
            }
            if is_last {
                return;
            }
            is_first = false;
            tokio::select! {
                biased;
                () = client.closed() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            if ended_at.is_none() && job.has_changed().is_err() {
                let _ = client.send(Err(ShuttingDown.into())).await;
                return;
            }
        }
    }
}

/// A line as clients are shown it.
fn shown(line: &LogLine) -> v1::LogLine {
    let mut line = v1::LogLine::from(line.clone());
    if line.process.is_empty() {
        line.process = JOBMANAGER.to_owned();
    }
    line
}

/// Lines with when they came, until those that belong before them are there.
#[derive(Debug, Default)]
struct Unsettled(Vec<(Instant, Arc<LogLine>)>);

impl Unsettled {
    fn add(&mut self, now: Instant, lines: impl Iterator<Item = Arc<LogLine>>) {
        self.0.extend(lines.map(|line| (now, line)));
        // Stable: what one process logged in one millisecond stays in its order.
        self.0.sort_by_key(|(_, line)| line.time);
    }

    /// Takes what came until `before`, and what was logged before that.
    fn take(&mut self, before: Instant) -> Vec<Arc<LogLine>> {
        let settled = self.0.iter().rposition(|(came, _)| *came <= before).map_or(0, |last| last + 1);
        self.0.drain(..settled).map(|(_, line)| line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: i64) -> Arc<LogLine> {
        let text = String::new;
        Arc::new(LogLine {
            time: Timestamp(time),
            level: Level::Info,
            process: text(),
            target: text(),
            message: text(),
            fields: Vec::new(),
        })
    }

    fn times(lines: &[Arc<LogLine>]) -> Vec<i64> {
        lines.iter().map(|line| line.time.0).collect()
    }

    #[test]
    fn line_waits_for_those_that_were_logged_before_it() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut unsettled = Unsettled::default();
        unsettled.add(start, [line(5), line(9)].into_iter());
        unsettled.add(later, [line(3), line(7), line(11)].into_iter());
        assert_eq!(times(&unsettled.take(start)), [3, 5, 7, 9]);
        assert_eq!(times(&unsettled.take(start)), [0; 0]);
        assert_eq!(times(&unsettled.take(later)), [11]);
    }
}
