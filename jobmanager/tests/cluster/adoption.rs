//! Jobs that outlive their jobmanager.

use std::sync::Arc;
use std::time::Duration;

use jobmanager::{Error, Options};
use proto::v1;
use proto::v1::job_manager_message::Message as Command;
use proto::v1::{JobState, TaskState};
use stream_core::ids::{CheckpointId, Token};
use tonic::Code;

use crate::jobmanager::{Jobmanager, refusal, stored};
use crate::recovery::{Cluster, eager, patient};
use crate::stores::{FakeStores, STORE};
use crate::taskmanager::{TaskManager, register, running};

fn records(stores: &FakeStores) -> Vec<String> {
    stores.at(STORE).names().into_iter().filter(|name| name.starts_with("jobs/")).collect()
}

/// The newest barrier that a task knows.
fn seen(checkpoint_id: u64, prev: u64) -> v1::Barrier {
    v1::Barrier { checkpoint_id, prev, ..v1::Barrier::default() }
}

/// Ends the jobmanager and starts another one in its place.
async fn replace(cluster: Cluster, options: Options) -> (Jobmanager, Arc<FakeStores>) {
    let Cluster { jobmanager, connectors, stores, mut taskmanager } = cluster;
    jobmanager.shutdown.cancel();
    while let Some(command) = taskmanager.next_command().await {
        assert!(matches!(command, Command::TriggerCheckpoint(_)), "its jobs run on: {command:?}");
    }
    jobmanager.stopped().await.unwrap();
    (Jobmanager::start_with(options, connectors, stores.clone()).await, stores)
}

#[tokio::test]
async fn job_is_stored_before_its_submission_is_answered_and_forgotten_with_its_end() {
    let mut cluster = Cluster::start(1).await;
    let id = cluster.jobmanager.submit(&patient(1)).await.unwrap();
    assert_eq!(records(&cluster.stores).len(), 1);
    assert!(records(&cluster.stores)[0].starts_with(&format!("jobs/{id}/00000001-")));
    let deploy = cluster.taskmanager.next_deploy().await;
    // The attempt is stored before any task of it can run.
    let log = cluster.stores.log.lines();
    assert!(log.contains(&format!("create jobs/{id}/00000001-00000002")), "{log:?}");
    cluster.taskmanager.tell_all(&deploy, TaskState::Finished).await;
    cluster.jobmanager.wait_for(&id, JobState::Finished).await;
    crate::jobmanager::within(async {
        while !records(&cluster.stores).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn job_that_cannot_be_stored_is_refused() {
    let mut cluster = Cluster::start(1).await;
    cluster.stores.at(STORE).refuse_writes(true);
    let (code, message) = refusal(cluster.jobmanager.submit(&patient(1)).await);
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("refuses to write"), "{message}");
    assert_eq!(cluster.jobmanager.cluster().await.free_slots, 1);
    cluster.stores.at(STORE).refuse_writes(false);
    cluster.jobmanager.submit(&patient(1)).await.unwrap();
}

#[tokio::test]
async fn attempt_whose_tasks_are_all_reported_is_adopted_and_nothing_of_it_changes() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let complete = cluster.savepoint(&id, &deploy).await;
    let (mut jobmanager, stores) = replace(cluster, stored()).await;
    let fences = || stores.log.lines().iter().filter(|&line| line == "fence").count();
    let before = fences();
    assert_eq!(jobmanager.summary(&id).await.state(), JobState::Restarting);

    let register =
        v1::Register { running: running(&deploy, Some(seen(complete.checkpoint_id, 0))), ..register("tm-1", 1) };
    let mut taskmanager = TaskManager::join_as(jobmanager.address, register).await;
    let resumed = taskmanager.next_command().await;
    assert!(matches!(resumed, Some(Command::PauseSources(v1::PauseSources { is_paused: false, .. }))), "{resumed:?}");
    // Nobody knows whether it was told.
    let again = taskmanager.next_complete().await;
    assert_eq!((again.checkpoint_id, again.prev), (complete.checkpoint_id, 0));

    // The last one is long ago: the next is not waited for.
    let next = taskmanager.checkpoint(&deploy).await;
    assert_eq!(CheckpointId(next.checkpoint_id), CheckpointId::new(Token(1), 2));
    assert_eq!(next.prev, complete.checkpoint_id);

    let details = jobmanager.describe(&id).await.unwrap();
    assert_eq!((details.attempt, details.restarts, details.tasks.len()), (1, 0, 3));
    assert_eq!(details.summary.unwrap().state(), JobState::Running);
    assert_eq!(jobmanager.cluster().await.free_slots, 0);
    assert_eq!(fences(), before);
}

#[tokio::test]
async fn checkpoint_that_was_under_way_is_given_up_and_the_next_one_follows_on_the_completed_one() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let complete = cluster.savepoint(&id, &deploy).await;
    let (jobmanager, _) = replace(cluster, stored()).await;
    let under_way = seen(complete.checkpoint_id + 1, complete.checkpoint_id);
    let register = v1::Register { running: running(&deploy, Some(under_way)), ..register("tm-1", 1) };
    let mut taskmanager = TaskManager::join_as(jobmanager.address, register).await;
    assert!(matches!(taskmanager.next_command().await, Some(Command::PauseSources(_))));
    assert_eq!(taskmanager.next_complete().await.checkpoint_id, complete.checkpoint_id);
    match taskmanager.next_command().await {
        Some(Command::AbortCheckpoint(abort)) => assert_eq!(abort.checkpoint_id, under_way.checkpoint_id),
        other => panic!("an abort was expected: {other:?}"),
    }
    let next = taskmanager.next_trigger().await;
    assert_eq!((next.checkpoint_id, next.prev), (under_way.checkpoint_id + 1, complete.checkpoint_id));
}

#[tokio::test]
async fn attempt_that_passed_over_a_stored_checkpoint_is_not_adopted() {
    let mut cluster = Cluster::start(2).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let complete = cluster.savepoint(&id, &deploy).await;
    let (jobmanager, _) = replace(cluster, stored()).await;
    let passed_over = seen(complete.checkpoint_id + 1, 0);
    let register = v1::Register { running: running(&deploy, Some(passed_over)), ..register("tm-1", 2) };
    let mut taskmanager = TaskManager::join_as(jobmanager.address, register).await;
    assert_eq!(taskmanager.next_cancel().await.attempt, 1);
    let next = taskmanager.next_deploy().await;
    assert_eq!((next.attempt, next.restore.unwrap().checkpoint_id), (2, complete.checkpoint_id));
}

#[tokio::test]
async fn attempt_without_a_checkpoint_goes_on_above_what_its_tasks_have_seen() {
    let mut cluster = Cluster::start(1).await;
    let (_, deploy) = cluster.running(&eager(1)).await;
    let barrier = cluster.taskmanager.next_trigger().await;
    let (jobmanager, _) = replace(cluster, stored()).await;
    let register = v1::Register { running: running(&deploy, Some(barrier)), ..register("tm-1", 1) };
    let mut taskmanager = TaskManager::join_as(jobmanager.address, register).await;
    assert!(matches!(taskmanager.next_command().await, Some(Command::PauseSources(_))));
    assert!(matches!(taskmanager.next_command().await, Some(Command::AbortCheckpoint(_))));
    let next = taskmanager.next_trigger().await;
    assert_eq!((next.checkpoint_id, next.prev), (barrier.checkpoint_id + 1, 0));
}

#[tokio::test]
async fn attempt_of_which_a_task_is_missing_is_canceled_and_the_next_one_fences() {
    let mut cluster = Cluster::start(2).await;
    let (id, deploy) = cluster.running(&eager(1)).await;
    let complete = cluster.taskmanager.checkpoint(&deploy).await;
    // It is not waited for: its taskmanager told all that it runs.
    let options = Options { adoption_timeout: Duration::from_secs(3600), ..stored() };
    let (mut jobmanager, _) = replace(cluster, options).await;
    let mut two = running(&deploy, Some(seen(complete.checkpoint_id, 0)));
    let missing = two.pop().unwrap();
    let mut taskmanager =
        TaskManager::join_as(jobmanager.address, v1::Register { running: two, ..register("tm-1", 2) }).await;
    let cancel = taskmanager.next_cancel().await;
    assert_eq!((cancel.job_id.as_str(), cancel.attempt), (id.as_str(), 1));
    // The slot of what still runs is nobody's.
    let next = taskmanager.next_deploy().await;
    assert_eq!((next.attempt, next.token, next.tasks[0].slot), (2, 2, 1));
    assert_eq!(next.restore.as_ref().unwrap().checkpoint_id, complete.checkpoint_id);
    assert_eq!(jobmanager.cluster().await.free_slots, 0);
    taskmanager.tell_all(&deploy, TaskState::Canceled).await;
    jobmanager.wait_for_cluster(|cluster| cluster.free_slots == 1).await;
    drop(missing);
}

#[tokio::test]
async fn attempt_whose_taskmanager_stays_away_is_given_up_in_time() {
    let mut cluster = Cluster::start(1).await;
    cluster.running(&patient(1)).await;
    let options = Options { adoption_timeout: Duration::from_millis(300), ..stored() };
    let (jobmanager, _) = replace(cluster, options).await;
    let mut other = TaskManager::join_as(jobmanager.address, register("tm-2", 1)).await;
    assert_eq!(other.next_deploy().await.attempt, 2);
}

#[tokio::test]
async fn tasks_of_a_job_that_nobody_knows_are_canceled() {
    let mut cluster = Cluster::start(1).await;
    let (_, deploy) = cluster.running(&patient(1)).await;
    let mut other = Cluster::start(1).await;
    let register = v1::Register { running: running(&deploy, None), ..register("tm-2", 1) };
    let mut taskmanager = TaskManager::join_as(other.jobmanager.address, register).await;
    assert_eq!(taskmanager.next_cancel().await.job_id, deploy.job_id);
    assert_eq!(other.jobmanager.cluster().await.free_slots, 1);
    taskmanager.tell_all(&deploy, TaskState::Canceled).await;
    other.jobmanager.wait_for_cluster(|cluster| cluster.free_slots == 2).await;
}

#[tokio::test]
async fn jobmanager_whose_store_was_taken_over_steps_down() {
    let Cluster { mut jobmanager, connectors, stores, taskmanager: _taskmanager } = Cluster::start(1).await;
    let mut second = Jobmanager::start_with(stored(), connectors, stores).await;
    second.cluster().await;
    let (code, message) = refusal(jobmanager.submit(&patient(1)).await);
    assert_eq!(code, Code::Unavailable);
    assert!(message.starts_with("jobmanager 2 has taken the checkpoint store over"), "{message}");
    assert!(matches!(jobmanager.stopped().await, Err(Error::Superseded(_))));
}

#[tokio::test]
async fn jobmanager_whose_store_was_taken_over_fences_no_attempt_of_its_successor() {
    let mut cluster = Cluster::start(1).await;
    let (_, deploy) = cluster.running(&patient(1)).await;
    let mut second = Jobmanager::start_with(stored(), cluster.connectors.clone(), cluster.stores.clone()).await;
    second.cluster().await;
    let fences = || cluster.stores.log.lines().iter().filter(|&line| line == "fence").count();
    let before = fences();
    // It would begin another attempt.
    cluster.taskmanager.tell_all(&deploy, TaskState::Failed).await;
    assert!(matches!(cluster.jobmanager.stopped().await, Err(Error::Superseded(_))));
    assert_eq!(fences(), before);
}
