//! Questions about a running job's state: asked of every operator subtask, answered once all of them have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stream_core::ids::{AttemptNumber, JobId, SubtaskId, TaskManagerId};
use stream_core::job::JobState;
use stream_core::operator::QueryError;
use stream_core::pipeline::StageKind;
use tokio::sync::oneshot;

use crate::handle::ShuttingDown;
use crate::jobs::FindJobError;
use crate::protocol::{Command, TaskRef};
use crate::service::{Service, answer};

/// How long the subtasks may take. They need milliseconds; one that is gone never answers.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The answers of a job's operator subtasks, or why there are none.
pub(crate) type QueryReply = oneshot::Sender<Result<Vec<String>, QueryStateError>>;

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryStateError {
    /// Which job is meant is not clear.
    #[error(transparent)]
    Find(#[from] FindJobError),
    /// There is nobody to ask.
    #[error("job `{id}` is {state}: its state can be asked for while it is running")]
    NotRunning {
        /// The job.
        id: JobId,
        /// What it is.
        state: JobState,
    },
    /// The job does not understand it.
    #[error(transparent)]
    Refused(#[from] QueryError),
    /// Somebody did not answer.
    #[error("{missing} of the job's operator subtasks did not answer within {TIMEOUT:?}: ask again")]
    Timeout {
        /// How many.
        missing: usize,
    },
    /// The jobmanager stops.
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// The questions that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    asked: u64,
    pending: BTreeMap<u64, Pending>,
}

#[derive(Debug)]
struct Pending {
    job: JobId,
    attempt: AttemptNumber,
    missing: BTreeSet<SubtaskId>,
    answers: Vec<String>,
    /// On the steady clock.
    deadline: Duration,
    reply: QueryReply,
}

impl Service {
    /// Somebody asks a job about its state.
    pub(crate) fn on_query(&mut self, text: &str, query: &str, reply: QueryReply) {
        let id = match self.jobs.find(text) {
            Ok(id) => id,
            Err(error) => return answer(reply, Err(error.into())),
        };
        let record = self.jobs.get(id).expect("it was just found");
        let state = record.state();
        if state != JobState::Running {
            return answer(reply, Err(QueryStateError::NotRunning { id, state }));
        }
        let attempt = record.job.attempt();
        let operators = record.job.plan().tasks().iter().filter(|task| task.kind == StageKind::Operator);
        let missing = operators.clone().map(|task| task.subtask).collect();
        let taskmanagers: BTreeSet<TaskManagerId> = operators.map(|task| task.slot.taskmanager.clone()).collect();
        self.queries.asked += 1;
        let number = self.queries.asked;
        let deadline = self.clock.monotonic() + TIMEOUT;
        let pending = Pending { job: id, attempt, missing, answers: Vec::new(), deadline, reply };
        self.queries.pending.insert(number, pending);
        for taskmanager in taskmanagers {
            self.command(&taskmanager, Command::QueryState { job: id, attempt, number, query: query.to_owned() });
        }
        self.queries.finish(number);
    }

    /// A subtask has answered.
    pub(crate) fn on_query_answer(
        &mut self,
        from: &TaskManagerId,
        task: &TaskRef,
        number: u64,
        result: Result<String, QueryError>,
    ) {
        if self.runs(from, task) {
            self.queries.on_answer(task, number, result);
        }
    }

    /// Questions that nobody will answer any more are given up.
    pub(crate) fn give_up_late_queries(&mut self) {
        self.queries.give_up(self.clock.monotonic());
    }
}

impl Queries {
    fn on_answer(&mut self, task: &TaskRef, number: u64, result: Result<String, QueryError>) {
        let Some(pending) = self.pending.get_mut(&number) else { return };
        if (pending.job, pending.attempt) != (task.job, task.attempt) || !pending.missing.remove(&task.subtask) {
            return;
        }
        match result {
            Ok(found) => {
                pending.answers.push(found);
                self.finish(number);
            }
            Err(error) => {
                if let Some(Pending { reply, .. }) = self.pending.remove(&number) {
                    answer(reply, Err(error.into()));
                }
            }
        }
    }

    fn finish(&mut self, number: u64) {
        if self.pending.get(&number).is_some_and(|pending| pending.missing.is_empty()) {
            let Pending { answers, reply, .. } = self.pending.remove(&number).expect("it was just found");
            answer(reply, Ok(answers));
        }
    }

    fn give_up(&mut self, now: Duration) {
        let late = self.pending.extract_if(.., |_, pending| pending.deadline <= now);
        for (_, Pending { missing, reply, .. }) in late {
            answer(reply, Err(QueryStateError::Timeout { missing: missing.len() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{StageIndex, SubtaskIndex};

    use super::*;

    const JOB: JobId = JobId(1);
    const NUMBER: u64 = 7;

    fn task(attempt: u32, index: u32) -> TaskRef {
        let subtask = SubtaskId { stage: StageIndex(1), index: SubtaskIndex(index) };
        TaskRef { job: JOB, attempt: AttemptNumber(attempt), subtask }
    }

    /// A question that two subtasks are to answer.
    fn asked() -> (Queries, oneshot::Receiver<Result<Vec<String>, QueryStateError>>) {
        let (reply, answers) = oneshot::channel();
        let missing = [task(1, 0).subtask, task(1, 1).subtask].into();
        let attempt = AttemptNumber(1);
        let pending = Pending { job: JOB, attempt, missing, answers: Vec::new(), deadline: TIMEOUT, reply };
        (Queries { asked: NUMBER, pending: [(NUMBER, pending)].into() }, answers)
    }

    #[test]
    fn question_is_answered_once_every_subtask_of_the_attempt_has() {
        let (mut queries, mut answers) = asked();
        for (task, answer) in [(task(1, 0), "a"), (task(1, 0), "again"), (task(2, 1), "of another attempt")] {
            queries.on_answer(&task, NUMBER, Ok(answer.to_owned()));
            assert!(answers.try_recv().is_err());
        }
        queries.on_answer(&task(1, 1), NUMBER, Ok("b".to_owned()));
        assert_eq!(answers.try_recv().expect("an answer").expect("answers"), ["a", "b"]);
        assert!(queries.pending.is_empty());
    }

    #[test]
    fn one_refusal_or_the_end_of_the_time_is_the_answer() {
        let (mut queries, mut answers) = asked();
        queries.on_answer(&task(1, 1), NUMBER, Err(QueryError("what?".to_owned())));
        assert_eq!(answers.try_recv().expect("an answer").map_err(|error| error.to_string()), Err("what?".to_owned()));

        let (mut queries, mut answers) = asked();
        queries.on_answer(&task(1, 1), NUMBER, Ok(String::new()));
        queries.give_up(TIMEOUT - Duration::from_millis(1));
        assert!(answers.try_recv().is_err());
        queries.give_up(TIMEOUT);
        assert!(matches!(answers.try_recv(), Ok(Err(QueryStateError::Timeout { missing: 1 }))));
    }
}
