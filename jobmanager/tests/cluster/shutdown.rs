use std::time::Duration;

use jobmanager::Options;
use proto::v1;
use proto::v1::{JobState, TaskState};
use tonic::Code;

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, options, pipeline, refusal, within};
use crate::taskmanager::TaskManager;

#[tokio::test]
async fn stopping_jobmanager_cancels_its_jobs_and_waits_for_them() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    let id = jobmanager.submit(&pipeline(1)).await.unwrap();
    let deploy = taskmanager.next_deploy().await;
    let watch = v1::WatchJobRequest { job: id, interval_ms: 10 };
    let mut details = jobmanager.client.watch_job(watch).await.unwrap().into_inner();
    jobmanager.shutdown.cancel();
    taskmanager.next_cancel().await;
    assert_eq!(refusal(jobmanager.submit(&pipeline(1)).await).0, Code::Unavailable);
    taskmanager.tell_all(&deploy, TaskState::Canceled).await;
    let mut last = None;
    while let Ok(Some(next)) = within(details.message()).await {
        last = Some(next.summary.unwrap().state());
    }
    assert_eq!(last, Some(JobState::Canceled));
    assert_eq!(taskmanager.next_command().await, None);
    jobmanager.stopped().await.unwrap();
}

#[tokio::test]
async fn taskmanager_that_does_not_answer_cannot_hold_up_the_end() {
    let options = Options { drain_timeout: Duration::from_millis(200), ..options() };
    let mut jobmanager = Jobmanager::start(options, FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    jobmanager.submit(&pipeline(1)).await.unwrap();
    taskmanager.next_deploy().await;
    jobmanager.shutdown.cancel();
    jobmanager.stopped().await.unwrap();
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let options = Options { heartbeat_timeout: Duration::ZERO, ..options() };
    let jobmanager = Jobmanager::start(options, FakeConnectors::with_partitions(1)).await;
    let error = jobmanager.stopped().await.expect_err("every taskmanager would be lost");
    assert!(error.to_string().starts_with("the heartbeat timeout `0` must be longer"), "{error}");
}
