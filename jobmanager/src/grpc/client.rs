//! The service that clients use: `jobctl`, and whoever else speaks `client.proto`.

use std::time::Duration;

use proto::{required, v1};
use stream_core::time::millis;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::convert;
use super::reading_logs::{LogReader, WAITING_RESPONSES};
use super::watching::{WAITING_DETAILS, watch_job};
use crate::handle::Handle;
use crate::redaction::without_secrets;
use crate::submit::{FromSavepoint, Submitter};

/// The gRPC service `JobManager`.
pub(super) struct Service {
    handle: Handle,
    submitter: Submitter,
    watch_interval: Duration,
    logs: LogReader,
    tasks: TaskTracker,
}

impl Service {
    pub(super) fn new(
        handle: Handle,
        submitter: Submitter,
        watch_interval: Duration,
        logs: LogReader,
        tasks: TaskTracker,
    ) -> Self {
        Service { handle, submitter, watch_interval, logs, tasks }
    }
}

#[tonic::async_trait]
impl v1::job_manager_server::JobManager for Service {
    type WatchJobStream = ReceiverStream<Result<v1::JobDetails, Status>>;
    type ReadLogsStream = ReceiverStream<Result<v1::ReadLogsResponse, Status>>;

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        let v1::SubmitJobRequest { name, pipeline, from_savepoint, accept_duplicates } = request.into_inner();
        let pipeline = required(pipeline, "pipeline")?.try_into()?;
        let from = (!from_savepoint.is_empty()).then_some(FromSavepoint { folder: from_savepoint, accept_duplicates });
        let id = self.submitter.submit(name, pipeline, from).await?;
        Ok(Response::new(v1::SubmitJobResponse { job_id: id.to_string() }))
    }

    async fn list_jobs(&self, _: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let jobs = self.handle.jobs().await?;
        Ok(Response::new(v1::ListJobsResponse { jobs: jobs.iter().map(convert::summary).collect() }))
    }

    async fn describe_job(&self, request: Request<v1::DescribeJobRequest>) -> Result<Response<v1::JobDetails>, Status> {
        let record = self.handle.job(request.into_inner().job).await??;
        Ok(Response::new(convert::details(&record)))
    }

    async fn get_pipeline(
        &self,
        request: Request<v1::GetPipelineRequest>,
    ) -> Result<Response<v1::GetPipelineResponse>, Status> {
        let record = self.handle.job(request.into_inner().job).await??;
        let pipeline = without_secrets(record.pipeline.as_ref());
        Ok(Response::new(v1::GetPipelineResponse { job_id: record.id.to_string(), pipeline: Some((&pipeline).into()) }))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        self.handle.cancel(request.into_inner().job).await?;
        Ok(Response::new(v1::CancelJobResponse {}))
    }

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let v1::WatchJobRequest { job, interval_ms } = request.into_inner();
        let interval = if interval_ms == 0 { self.watch_interval } else { Duration::from_millis(interval_ms) };
        let records = self.handle.watch(job).await??;
        let (client, details) = mpsc::channel(WAITING_DETAILS);
        self.tasks.spawn(watch_job(records, interval, client));
        Ok(Response::new(ReceiverStream::new(details)))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        let record = self.handle.job(request.into_inner().job).await??;
        let checkpoints = record.checkpoints.iter().map(convert::checkpoint).collect();
        Ok(Response::new(v1::ListCheckpointsResponse { checkpoints }))
    }

    async fn trigger_savepoint(
        &self,
        request: Request<v1::TriggerSavepointRequest>,
    ) -> Result<Response<v1::TriggerSavepointResponse>, Status> {
        let v1::TriggerSavepointRequest { job, target } = request.into_inner();
        let taken = self.handle.savepoint(job, target).await?;
        let (checkpoint_id, folder) = (taken.checkpoint.0, taken.folder);
        Ok(Response::new(v1::TriggerSavepointResponse { checkpoint_id, folder }))
    }

    async fn stop_job(&self, request: Request<v1::StopJobRequest>) -> Result<Response<v1::StopJobResponse>, Status> {
        let v1::StopJobRequest { job, drain, target } = request.into_inner();
        let taken = self.handle.stop(job, drain, target).await?;
        Ok(Response::new(v1::StopJobResponse { checkpoint_id: taken.checkpoint.0, folder: taken.folder }))
    }

    async fn rescale_job(
        &self,
        request: Request<v1::RescaleJobRequest>,
    ) -> Result<Response<v1::RescaleJobResponse>, Status> {
        let v1::RescaleJobRequest { job, parallelism } = request.into_inner();
        self.handle.rescale(job, parallelism).await?;
        Ok(Response::new(v1::RescaleJobResponse {}))
    }

    async fn query_state(
        &self,
        request: Request<v1::QueryStateRequest>,
    ) -> Result<Response<v1::QueryStateResponse>, Status> {
        let v1::QueryStateRequest { job, query } = request.into_inner();
        let answers = self.handle.query_state(job, query).await?;
        Ok(Response::new(v1::QueryStateResponse { answers }))
    }

    async fn read_logs(&self, request: Request<v1::ReadLogsRequest>) -> Result<Response<Self::ReadLogsStream>, Status> {
        let request = request.into_inner();
        let wanted = (&request).into();
        let job = self.handle.watch(request.job).await??;
        let (client, responses) = mpsc::channel(WAITING_RESPONSES);
        self.tasks.spawn(self.logs.clone().read(job, wanted, client));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn list_task_managers(
        &self,
        _: Request<v1::ListTaskManagersRequest>,
    ) -> Result<Response<v1::ListTaskManagersResponse>, Status> {
        let taskmanagers = self.handle.taskmanagers().await?.into_iter().map(convert::taskmanager).collect();
        Ok(Response::new(v1::ListTaskManagersResponse { taskmanagers }))
    }

    async fn get_cluster_info(
        &self,
        _: Request<v1::GetClusterInfoRequest>,
    ) -> Result<Response<v1::ClusterInfo>, Status> {
        let cluster = self.handle.cluster().await?;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(v1::ClusterInfo {
            version: proto::VERSION.to_owned(),
            started_ms: cluster.started.0,
            taskmanagers: number(cluster.taskmanagers),
            slots: cluster.slots.total,
            free_slots: cluster.slots.free,
            running_jobs: number(cluster.live_jobs),
            rss_bytes: stream_runtime::memory::resident_bytes(),
            pid: std::process::id(),
            heartbeat_interval_ms: millis(cluster.heartbeat_interval).unsigned_abs(),
        }))
    }
}
