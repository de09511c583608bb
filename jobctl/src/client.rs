//! The connection to a jobmanager, with its answers and refusals in our own terms.

use std::error::Error as _;
use std::time::Duration;

use proto::limits;
use proto::v1;
use proto::v1::job_manager_client::JobManagerClient;
use stream_core::pipeline::Pipeline;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::LogsRequest;

/// How long a jobmanager may think about a question that needs nobody else.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a submission may take: the jobmanager reaches source and sink, each with a timeout of its own below this.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a checkpoint may take that somebody waits for: a full one of a large state, over a slow network.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long connecting may take: shorter than the cluster's own, since a person waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A savepoint to begin with.
#[derive(Clone, Debug)]
pub(crate) struct FromSavepoint {
    /// Its folder.
    pub(crate) folder: String,
    /// Whether rows that are published after it may be published again.
    pub(crate) accept_duplicates: bool,
}

/// A connected client.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    inner: JobManagerClient<Channel>,
}

impl Client {
    /// Connects to the jobmanager at `HOST:PORT`.
    ///
    /// # Errors
    /// If that is no address, or nobody listens there.
    pub(crate) async fn connect(address: &str) -> Result<Self, Failure> {
        let channel = endpoint("--jobmanager", address)?.connect().await.map_err(|_| no_jobmanager(address))?;
        let inner = JobManagerClient::new(channel)
            .max_decoding_message_size(limits::CONTROL_MESSAGE_BYTES)
            .max_encoding_message_size(limits::CONTROL_MESSAGE_BYTES);
        Ok(Client { address: address.to_owned(), inner })
    }

    /// Submits a job and returns its id.
    pub(crate) async fn submit(
        &mut self,
        name: &str,
        pipeline: &Pipeline,
        savepoint: Option<&FromSavepoint>,
    ) -> Result<String, Failure> {
        let message = v1::SubmitJobRequest {
            name: name.to_owned(),
            pipeline: Some(pipeline.into()),
            from_savepoint: savepoint.map(|from| from.folder.clone()).unwrap_or_default(),
            accept_duplicates: savepoint.is_some_and(|from| from.accept_duplicates),
        };
        let answer = self.inner.submit_job(within(SUBMIT_TIMEOUT, message)).await;
        Ok(self.answer(answer)?.job_id)
    }

    pub(crate) async fn list(&mut self) -> Result<Vec<v1::JobSummary>, Failure> {
        let answer = self.inner.list_jobs(within(ANSWER_TIMEOUT, v1::ListJobsRequest {})).await;
        Ok(self.answer(answer)?.jobs)
    }

    /// `job` is a name, an id, or the beginning of one.
    pub(crate) async fn describe(&mut self, job: &str) -> Result<v1::JobDetails, Failure> {
        let message = v1::DescribeJobRequest { job: job.to_owned() };
        let answer = self.inner.describe_job(within(ANSWER_TIMEOUT, message)).await;
        self.answer(answer)
    }

    /// A job's id and what it runs, without its secrets.
    pub(crate) async fn pipeline(&mut self, job: &str) -> Result<(String, Pipeline), Failure> {
        let message = v1::GetPipelineRequest { job: job.to_owned() };
        let answer = self.inner.get_pipeline(within(ANSWER_TIMEOUT, message)).await;
        let v1::GetPipelineResponse { job_id, pipeline } = self.answer(answer)?;
        let unreadable = |error| Failure::failed("the jobmanager's answer cannot be read", &error);
        let pipeline = proto::required(pipeline, "pipeline").and_then(TryInto::try_into).map_err(unreadable)?;
        Ok((job_id, pipeline))
    }

    pub(crate) async fn cancel(&mut self, job: &str) -> Result<(), Failure> {
        let message = v1::CancelJobRequest { job: job.to_owned() };
        let answer = self.inner.cancel_job(within(ANSWER_TIMEOUT, message)).await;
        self.answer(answer).map(drop)
    }

    pub(crate) async fn checkpoints(&mut self, job: &str) -> Result<Vec<v1::CheckpointSummary>, Failure> {
        let message = v1::ListCheckpointsRequest { job: job.to_owned() };
        let answer = self.inner.list_checkpoints(within(ANSWER_TIMEOUT, message)).await;
        Ok(self.answer(answer)?.checkpoints)
    }

    /// Returns once the savepoint is complete.
    pub(crate) async fn savepoint(&mut self, job: &str, target: &str) -> Result<v1::TriggerSavepointResponse, Failure> {
        let message = v1::TriggerSavepointRequest { job: job.to_owned(), target: target.to_owned() };
        let answer = self.inner.trigger_savepoint(within(CHECKPOINT_TIMEOUT, message)).await;
        self.answer(answer)
    }

    /// Returns once the job has ended.
    pub(crate) async fn stop(&mut self, job: &str, drain: bool, target: &str) -> Result<v1::StopJobResponse, Failure> {
        let message = v1::StopJobRequest { job: job.to_owned(), drain, target: target.to_owned() };
        let answer = self.inner.stop_job(within(CHECKPOINT_TIMEOUT, message)).await;
        self.answer(answer)
    }

    /// Returns once the next attempt is planned.
    pub(crate) async fn rescale(&mut self, job: &str, parallelism: u32) -> Result<(), Failure> {
        let message = v1::RescaleJobRequest { job: job.to_owned(), parallelism };
        let answer = self.inner.rescale_job(within(CHECKPOINT_TIMEOUT, message)).await;
        self.answer(answer).map(drop)
    }

    /// What each of the job's operator subtasks answers to a question about its state, in the job's own form.
    pub(crate) async fn query_state(&mut self, job: &str, query: &str) -> Result<Vec<String>, Failure> {
        let message = v1::QueryStateRequest { job: job.to_owned(), query: query.to_owned() };
        let answer = self.inner.query_state(within(ANSWER_TIMEOUT, message)).await;
        Ok(self.answer(answer)?.answers)
    }

    /// What was logged about a job, and, if it is followed, what is from now on.
    pub(crate) async fn logs(&mut self, wanted: &LogsRequest) -> Result<Answers<v1::ReadLogsResponse>, Failure> {
        let message = v1::ReadLogsRequest {
            job: wanted.job.clone(),
            is_followed: wanted.is_followed,
            since_ms: wanted.since.map(|since| since.0),
            level: wanted.level.map_or(v1::LogLevel::Unspecified, Into::into).into(),
        };
        let answer = self.inner.read_logs(message).await;
        let stream = self.answer(answer)?;
        Ok(Answers { address: self.address.clone(), stream })
    }

    /// A job's details, now and after each change, until it ends.
    pub(crate) async fn watch(&mut self, job: &str, interval: Duration) -> Result<Watch, Failure> {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let message = v1::WatchJobRequest { job: job.to_owned(), interval_ms };
        let answer = self.inner.watch_job(message).await;
        let stream = self.answer(answer)?;
        Ok(Answers { address: self.address.clone(), stream })
    }

    pub(crate) async fn taskmanagers(&mut self) -> Result<Vec<v1::TaskManagerDetails>, Failure> {
        let answer = self.inner.list_task_managers(within(ANSWER_TIMEOUT, v1::ListTaskManagersRequest {})).await;
        Ok(self.answer(answer)?.taskmanagers)
    }

    pub(crate) async fn cluster(&mut self) -> Result<v1::ClusterInfo, Failure> {
        let answer = self.inner.get_cluster_info(within(ANSWER_TIMEOUT, v1::GetClusterInfoRequest {})).await;
        self.answer(answer)
    }

    fn answer<T>(&self, answer: Result<tonic::Response<T>, Status>) -> Result<T, Failure> {
        answer.map(tonic::Response::into_inner).map_err(|status| refusal(&self.address, &status))
    }
}

/// A job being watched.
pub(crate) type Watch = Answers<v1::JobDetails>;

/// Answers that come as there is something to tell.
pub(crate) struct Answers<T> {
    address: String,
    stream: tonic::Streaming<T>,
}

impl<T> Answers<T> {
    /// The next; none after the last.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, Failure> {
        self.stream.message().await.map_err(|status| refusal(&self.address, &status))
    }
}

fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Where a process of the cluster listens, as `option` says.
///
/// # Errors
/// If that is no address.
pub(crate) fn endpoint(option: &str, address: &str) -> Result<Endpoint, Failure> {
    let not_an_address = || Failure::usage(format!("{option}: `{address}` is not an address: write `HOST:PORT`"));
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port || address.contains(['/', '@']) {
        return Err(not_an_address());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| not_an_address())?;
    Ok(limits::endpoint(endpoint).connect_timeout(CONNECT_TIMEOUT))
}

fn no_jobmanager(address: &str) -> Failure {
    let message =
        format!("no jobmanager at {address}: start a cluster with \"make up\", or pass --jobmanager HOST:PORT");
    Failure::new(Exit::NoJobManager, message)
}

/// A refusal in the jobmanager's own words, which say what to do.
fn refusal(address: &str, status: &Status) -> Failure {
    // A status that tonic made up itself, because the connection is gone, has that as its source.
    if status.source().is_some() {
        return Failure::new(Exit::NoJobManager, format!("lost the jobmanager at {address}: look at its log"));
    }
    let exit = match status.code() {
        Code::InvalidArgument => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::ResourceExhausted => Exit::NoSlot,
        Code::Unavailable | Code::PermissionDenied | Code::Unauthenticated => Exit::Unreachable,
        Code::DeadlineExceeded | Code::Cancelled => {
            let message = format!("the jobmanager at {address} did not answer in time: look at its log");
            return Failure::new(Exit::NoJobManager, message);
        }
        Code::Unimplemented => {
            let message = format!("the program at {address} is no jobmanager of this version: check --jobmanager");
            return Failure::new(Exit::NoJobManager, message);
        }
        _ => Exit::Failed,
    };
    Failure::new(exit, status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_exit_code_and_keeps_its_words() {
        for (status, exit) in [
            (Status::invalid_argument("w"), Exit::Usage),
            (Status::not_found("w"), Exit::NotFound),
            (Status::resource_exhausted("w"), Exit::NoSlot),
            (Status::unavailable("w"), Exit::Unreachable),
            (Status::permission_denied("w"), Exit::Unreachable),
            (Status::failed_precondition("w"), Exit::Failed),
            (Status::internal("w"), Exit::Failed),
        ] {
            assert_eq!(refusal("h:1", &status), Failure::new(exit, "w"), "{status:?}");
        }
        let failure = refusal("h:1", &Status::deadline_exceeded("timeout"));
        assert_eq!(failure.message, "the jobmanager at h:1 did not answer in time: look at its log");
    }
}
