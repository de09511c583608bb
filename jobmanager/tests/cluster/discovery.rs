use std::time::Duration;

use jobmanager::Options;
use proto::v1::job_manager_message::Message as Command;
use stream_core::pipeline::{SourceSpec, StartPosition};

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, options, pipeline};
use crate::taskmanager::TaskManager;

#[tokio::test]
async fn new_partitions_are_assigned_and_old_ones_stay() {
    let connectors = FakeConnectors::with_partitions(3);
    let options = Options { discovery_interval: Duration::from_millis(50), ..options() };
    let mut jobmanager = Jobmanager::start(options, connectors.clone()).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    let id = jobmanager.submit(&pipeline(2)).await.unwrap();
    taskmanager.next_deploy().await;
    connectors.set_partitions(4);
    let Some(Command::AssignSplits(assigned)) = taskmanager.next_command().await else { panic!("splits expected") };
    let task = assigned.task.unwrap();
    assert_eq!((task.job_id.as_str(), task.attempt, task.subtask.unwrap().index), (id.as_str(), 1, 1));
    assert_eq!(assigned.splits.iter().map(|split| split.id.as_str()).collect::<Vec<_>>(), ["events/3"]);
    let details = jobmanager.describe(&id).await.unwrap();
    assert_eq!(details.tasks[0].splits, ["events/0", "events/2"]);
    assert_eq!(details.tasks[1].splits, ["events/1", "events/3"]);
    // The job began at the latest records, but all of a new partition is new.
    assert_eq!(connectors.discoveries()[..2], [StartPosition::Latest, StartPosition::Earliest]);
}

#[tokio::test]
async fn bounded_job_is_not_asked_again() {
    let connectors = FakeConnectors::with_partitions(1);
    let options = Options { discovery_interval: Duration::from_millis(10), ..options() };
    let mut jobmanager = Jobmanager::start(options, connectors.clone()).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    let mut bounded = pipeline(1);
    bounded.source = SourceSpec { is_bounded: true, ..bounded.source };
    jobmanager.submit(&bounded).await.unwrap();
    taskmanager.next_deploy().await;
    // A second, unbounded job shows that discovery is at work.
    jobmanager.submit(&pipeline(1)).await.unwrap();
    taskmanager.next_deploy().await;
    connectors.set_partitions(2);
    let Some(Command::AssignSplits(assigned)) = taskmanager.next_command().await else { panic!("splits expected") };
    let unbounded = jobmanager.client.list_jobs(proto::v1::ListJobsRequest {}).await.unwrap().into_inner().jobs;
    let is_second = unbounded.iter().any(|job| job.job_id == assigned.task.as_ref().unwrap().job_id);
    assert!(is_second);
    let first = connectors.discoveries().iter().filter(|&&from| from == StartPosition::Latest).count();
    assert_eq!(first, 2);
}
