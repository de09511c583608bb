//! Processes that are told to stop, and the checkpoints that are taken for them.

use jobmanager::Options;
use proto::v1;
use proto::v1::job_manager_message::Message as Command;
use proto::v1::task_manager_message::Message;
use proto::v1::{JobState, TaskState};
use stream_core::ids::CheckpointId;

use crate::connectors::FakeConnectors;
use crate::jobmanager::{DEADLINE, Jobmanager, options, pipeline, stored, within};
use crate::recovery::{Cluster, patient};
use crate::taskmanager::TaskManager;

fn leaving() -> Message {
    Message::Leaving(v1::Leaving {})
}

#[tokio::test]
async fn job_of_a_taskmanager_that_leaves_goes_on_elsewhere_from_a_checkpoint_taken_for_it() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let mut other = TaskManager::join(cluster.jobmanager.address, "tm-2", 1).await;
    cluster.taskmanager.tell(leaving()).await;
    let last = cluster.taskmanager.checkpoint(&deploy).await;
    assert_eq!(cluster.taskmanager.next_cancel().await.attempt, 1);
    assert_eq!(cluster.taskmanager.next_command().await, Some(Command::Release(v1::Release {})));
    cluster.taskmanager.tell_all(&deploy, TaskState::Canceled).await;
    let next = other.next_deploy().await;
    assert_eq!((next.attempt, next.restore.unwrap().checkpoint_id), (2, last.checkpoint_id));
    let details = cluster.jobmanager.describe(&id).await.unwrap();
    assert_eq!((details.restarts, details.last_failure.len()), (1, 0), "that is no failure");
}

#[tokio::test]
async fn taskmanager_that_leaves_gets_no_task_and_its_job_waits_for_another() {
    let mut cluster = Cluster::start(2).await;
    cluster.taskmanager.tell(leaving()).await;
    assert_eq!(cluster.taskmanager.next_command().await, Some(Command::Release(v1::Release {})));
    cluster.jobmanager.wait_for_cluster(|info| info.slots == 0).await;
    cluster.jobmanager.submit(&patient(1)).await.expect_err("there is no slot");
    let mut other = TaskManager::join(cluster.jobmanager.address, "tm-2", 1).await;
    cluster.jobmanager.submit(&patient(1)).await.unwrap();
    other.next_deploy().await;
}

#[tokio::test]
async fn job_that_has_not_come_to_run_moves_on_without_a_checkpoint() {
    let mut cluster = Cluster::start(1).await;
    cluster.jobmanager.submit(&patient(1)).await.unwrap();
    let deploy = cluster.taskmanager.next_deploy().await;
    let mut other = TaskManager::join(cluster.jobmanager.address, "tm-2", 1).await;
    cluster.taskmanager.tell(leaving()).await;
    cluster.taskmanager.next_cancel().await;
    assert_eq!(cluster.taskmanager.next_command().await, Some(Command::Release(v1::Release {})));
    cluster.taskmanager.tell_all(&deploy, TaskState::Canceled).await;
    assert_eq!(other.next_deploy().await.attempt, 2);
}

#[tokio::test]
async fn where_nothing_is_stored_whoever_leaves_is_released_at_once() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    jobmanager.submit(&pipeline(1)).await.unwrap();
    let deploy = taskmanager.next_deploy().await;
    taskmanager.run(&deploy).await;
    taskmanager.tell(leaving()).await;
    assert_eq!(taskmanager.next_command().await, Some(Command::Release(v1::Release {})));
}

#[tokio::test]
async fn jobmanager_that_stops_takes_a_last_checkpoint_and_lets_its_jobs_run_on() {
    let options = Options { drain_timeout: DEADLINE, ..stored() };
    let mut cluster = Cluster::start_with(options, 1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let is_running = |task: &v1::TaskDetails| task.state() == TaskState::Running;
    within(async { while !cluster.jobmanager.describe(&id).await.unwrap().tasks.iter().all(is_running) {} }).await;
    cluster.jobmanager.shutdown.cancel();
    let last = cluster.taskmanager.checkpoint(&deploy).await;
    assert_eq!(cluster.taskmanager.next_command().await, None, "no task was canceled");
    cluster.jobmanager.stopped().await.unwrap();
    cluster.stores.manifest(&id, CheckpointId(last.checkpoint_id)).await;

    let mut jobmanager = Jobmanager::start_with(stored(), cluster.connectors, cluster.stores).await;
    assert_eq!(jobmanager.summary(&id).await.state(), JobState::Restarting);
}
