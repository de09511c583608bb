//! Checkpoints as they are taken, and attempts that begin with one.

use std::sync::Arc;
use std::time::Duration;

use jobmanager::Options;
use proto::v1;
use proto::v1::JobState;
use proto::v1::job_manager_message::Message as Command;
use stream_core::checkpoint::FileRef;
use stream_core::ids::{CheckpointId, Token};
use stream_core::pipeline::{CheckpointSpec, Pipeline};
use stream_runtime::connector::ConnectorErrorKind;
use stream_runtime::store::ObjectStore;
use stream_runtime::stored as stored_files;

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, pipeline, stored};
use crate::stores::FakeStores;
use crate::taskmanager::{TaskManager, task_ref};

/// A pipeline whose next checkpoint is triggered as soon as the one before it is over.
pub(crate) fn eager(parallelism: u32) -> Pipeline {
    let checkpoints = CheckpointSpec { interval: Duration::from_millis(20), timeout: Duration::from_secs(600) };
    Pipeline { checkpoints, ..pipeline(parallelism) }
}

/// A pipeline whose checkpoints come on request only.
pub(crate) fn patient(parallelism: u32) -> Pipeline {
    let checkpoints = CheckpointSpec { interval: Duration::from_secs(3600), timeout: Duration::from_secs(3600) };
    Pipeline { checkpoints, ..pipeline(parallelism) }
}

pub(crate) struct Cluster {
    pub(crate) jobmanager: Jobmanager,
    pub(crate) connectors: Arc<FakeConnectors>,
    pub(crate) stores: Arc<FakeStores>,
    pub(crate) taskmanager: TaskManager,
}

impl Cluster {
    /// A jobmanager with a store, and one taskmanager.
    pub(crate) async fn start(slots: u32) -> Self {
        Self::start_with(stored(), slots).await
    }

    /// The same, with these options.
    pub(crate) async fn start_with(options: Options, slots: u32) -> Self {
        let connectors = FakeConnectors::with_partitions(2);
        let stores: Arc<FakeStores> = Arc::default();
        connectors.log_to(&stores.log);
        let jobmanager = Jobmanager::start_with(options, connectors.clone(), stores.clone()).await;
        let taskmanager = TaskManager::join(jobmanager.address, "tm-1", slots).await;
        Cluster { jobmanager, connectors, stores, taskmanager }
    }

    /// A job whose tasks all run.
    pub(crate) async fn running(&mut self, pipeline: &Pipeline) -> (String, v1::Deploy) {
        let id = self.jobmanager.submit(pipeline).await.unwrap();
        let deploy = self.taskmanager.next_deploy().await;
        self.taskmanager.run(&deploy).await;
        (id, deploy)
    }

    /// Takes a savepoint, which is complete then and not published.
    pub(crate) async fn savepoint(&mut self, id: &str, deploy: &v1::Deploy) -> v1::CompleteCheckpoint {
        let mut client = self.jobmanager.client.clone();
        let request = v1::TriggerSavepointRequest { job: id.to_owned(), target: String::new() };
        let (taken, complete) = tokio::join!(client.trigger_savepoint(request), self.taskmanager.checkpoint(deploy));
        taken.unwrap();
        complete
    }
}

#[tokio::test]
async fn attempt_is_deployed_with_its_right_to_publish() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    assert_eq!((deploy.token, deploy.nonce.len(), deploy.last_epoch), (1, 16, 0));
    assert_eq!((deploy.checkpoint_store.as_str(), deploy.restore), (crate::stores::STORE, None));
    assert_eq!((deploy.job_id, deploy.attempt), (id, 1));
}

#[tokio::test]
async fn manifest_is_stored_before_anybody_hears_that_a_checkpoint_is_complete() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&eager(1)).await;
    let barrier = cluster.taskmanager.next_trigger().await;
    assert_eq!((CheckpointId(barrier.checkpoint_id), barrier.prev), (CheckpointId::new(Token(1), 1), 0));
    // Not yet acknowledged by all: nothing is stored.
    let manifests = |stores: &FakeStores| stores.log.lines().iter().filter(|line| line.contains("manifest")).count();
    assert_eq!(manifests(&cluster.stores), 0);
    cluster.taskmanager.acknowledge(&deploy, barrier.checkpoint_id).await;
    let complete = cluster.taskmanager.next_complete().await;
    let manifest = cluster.stores.manifest(&id, CheckpointId(complete.checkpoint_id)).await;
    assert_eq!(v1::Accounts::from(manifest.accounts), complete.accounts.unwrap());
    assert_eq!(manifest.accounts.read, 4);
    assert!(manifest.accounts.balance());

    cluster.taskmanager.publish(&deploy, complete.checkpoint_id).await;
    cluster.taskmanager.next_trigger().await;
    let request = v1::ListCheckpointsRequest { job: id.clone() };
    let listed = cluster.jobmanager.client.list_checkpoints(request).await.unwrap().into_inner().checkpoints;
    assert_eq!(listed[0].state(), v1::CheckpointState::Pending);
    assert_eq!((listed[1].state(), listed[1].is_published), (v1::CheckpointState::Completed, true));
    assert_eq!((listed[1].written_bytes, listed[1].pause_us, listed[1].alignment_us), (300, 50, 10));
    let details = cluster.jobmanager.describe(&id).await.unwrap();
    assert_eq!(details.published_epoch, complete.checkpoint_id);
    assert_eq!(details.last_checkpoint.unwrap().checkpoint_id, complete.checkpoint_id);
}

#[tokio::test]
async fn checkpoint_whose_manifest_cannot_be_stored_is_given_up_and_the_job_goes_on() {
    let mut cluster = Cluster::start(1).await;
    let (_, deploy) = cluster.running(&eager(1)).await;
    let store = cluster.stores.at(crate::stores::STORE);
    store.refuse_writes(true);
    let barrier = cluster.taskmanager.next_trigger().await;
    cluster.taskmanager.acknowledge(&deploy, barrier.checkpoint_id).await;
    match cluster.taskmanager.next_command().await {
        Some(Command::AbortCheckpoint(abort)) => assert_eq!(abort.checkpoint_id, barrier.checkpoint_id),
        other => panic!("an abort was expected: {other:?}"),
    }
    store.refuse_writes(false);
    let complete = cluster.taskmanager.checkpoint(&deploy).await;
    // The next one takes in what the aborted one had sealed.
    assert_eq!((complete.checkpoint_id, complete.prev), (barrier.checkpoint_id + 1, 0));
}

#[tokio::test]
async fn positions_are_committed_once_a_checkpoint_is_complete() {
    let mut cluster = Cluster::start(1).await;
    let (_, deploy) = cluster.running(&eager(1)).await;
    cluster.taskmanager.checkpoint(&deploy).await;
    cluster.taskmanager.next_trigger().await;
    let log = cluster.stores.log.lines();
    let manifest = log.iter().position(|line| line.starts_with("create ") && line.ends_with("/manifest")).unwrap();
    let committed = log.iter().position(|line| line == "commit positions").unwrap();
    assert!(manifest < committed, "{log:?}");
}

#[tokio::test]
async fn failed_attempt_is_followed_by_one_that_begins_with_the_last_checkpoint() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let complete = cluster.savepoint(&id, &deploy).await;
    let before = cluster.stores.log.lines().len();
    cluster.taskmanager.fail(&deploy).await;
    let next = cluster.taskmanager.next_deploy().await;

    assert_eq!((next.attempt, next.token, next.last_epoch), (2, 2, 0));
    assert_ne!(next.nonce, deploy.nonce);
    let restore = next.restore.clone().unwrap();
    assert_eq!(restore.checkpoint_id, complete.checkpoint_id);
    assert_eq!(restore.pending.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [complete.checkpoint_id]);
    let starts: Vec<u64> = next.tasks[0].splits.iter().map(|split| split.start).collect();
    assert_eq!(starts, [4, 4]);

    let log = cluster.stores.log.lines();
    let after: Vec<&str> = log[before..].iter().map(String::as_str).collect();
    let list = format!("list {id}/chk/");
    let read = after.iter().position(|line| line.starts_with("read ") && line.ends_with("manifest")).unwrap();
    let fence = after.iter().position(|&line| line == "fence").unwrap();
    let lists: Vec<usize> = (0..after.len()).filter(|&line| after[line] == list).collect();
    assert!(lists.len() == 2 && lists[0] < fence && fence < lists[1] && lists[1] < read, "{after:?}");

    let details = cluster.jobmanager.describe(&id).await.unwrap();
    assert_eq!((details.restarts, details.attempt), (1, 2));
    assert_eq!(details.last_failure, ["source[0] on taskmanager `tm-1` failed", "disk full"]);
    assert_eq!(details.last_checkpoint.unwrap().checkpoint_id, complete.checkpoint_id);
}

#[tokio::test]
async fn checkpoint_with_a_damaged_file_is_left_out_and_the_file_named() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let file = FileRef { name: "state/00000001-00000001/1-0".to_owned(), bytes: 9, checksum: 1 };
    let name = format!("{id}/{}", file.name);
    cluster.stores.at(crate::stores::STORE).create(&name, vec![0; 9].into()).await.unwrap();
    cluster.taskmanager.state_file = Some((&file).into());
    cluster.savepoint(&id, &deploy).await;
    cluster.taskmanager.fail(&deploy).await;
    let next = cluster.taskmanager.next_deploy().await;
    assert_eq!(next.restore.as_ref().unwrap().operators[0].files.len(), 1);
    // As the task says that reads it.
    let cause = stored_files::verify(&file, &[0; 9]).expect_err("another checksum").to_string();
    cluster.taskmanager.fail_with(&next, &cause).await;
    // Nothing was published: the job begins anew.
    let last = cluster.taskmanager.next_deploy().await;
    assert_eq!((last.attempt, last.restore.clone()), (3, None));

    cluster.connectors.set_last_epoch(CheckpointId::new(Token(1), 1));
    cluster.taskmanager.fail(&last).await;
    let failed = cluster.jobmanager.wait_for(&id, JobState::Failed).await.summary.unwrap();
    assert!(failed.causes.iter().any(|cause| cause.contains(&file.name)), "{:?}", failed.causes);
}

#[tokio::test]
async fn published_epoch_is_not_pending_again() {
    let mut cluster = Cluster::start(1).await;
    let (_, deploy) = cluster.running(&eager(1)).await;
    let complete = cluster.taskmanager.checkpoint(&deploy).await;
    cluster.connectors.set_last_epoch(CheckpointId(complete.checkpoint_id));
    // The next barrier is on its way.
    cluster.taskmanager.next_trigger().await;
    cluster.taskmanager.fail(&deploy).await;
    let next = cluster.taskmanager.next_deploy().await;
    assert_eq!(next.last_epoch, complete.checkpoint_id);
    assert_eq!(next.restore.unwrap().pending, []);
}

#[tokio::test]
async fn job_whose_checkpoints_do_not_continue_the_sink_is_refused_and_says_which_there_are() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&eager(1)).await;
    cluster.taskmanager.checkpoint(&deploy).await;
    cluster.connectors.set_last_epoch(CheckpointId::new(Token(1), 77));
    cluster.taskmanager.next_trigger().await;
    cluster.taskmanager.fail(&deploy).await;
    let failed = cluster.jobmanager.wait_for(&id, JobState::Failed).await.summary.unwrap();
    assert!(failed.causes[0].contains("no checkpoint continues epoch 1.77"), "{:?}", failed.causes);
    assert!(failed.causes[0].contains("checkpoint 1.1 continues 0.0"), "{:?}", failed.causes);
    assert_eq!(cluster.jobmanager.cluster().await.free_slots, 1);
}

#[tokio::test]
async fn token_under_which_a_checkpoint_is_stored_begins_no_attempt() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let complete = cluster.savepoint(&id, &deploy).await;
    cluster.connectors.forget_token_once();
    cluster.taskmanager.fail(&deploy).await;
    let next = cluster.taskmanager.next_deploy().await;
    assert_eq!((next.attempt, next.token), (3, 2));
    assert_eq!(next.restore.unwrap().checkpoint_id, complete.checkpoint_id);
}

#[tokio::test]
async fn sink_that_cannot_be_reached_is_tried_again() {
    let mut cluster = Cluster::start(1).await;
    cluster.connectors.fail_fence(Some(ConnectorErrorKind::Unreachable));
    let id = cluster.jobmanager.submit(&patient(1)).await.unwrap();
    let details = cluster.jobmanager.wait_for(&id, JobState::Restarting).await;
    assert_eq!(details.last_failure, ["cannot take the sink over", "no ledger"]);
    cluster.connectors.fail_fence(None);
    let deploy = cluster.taskmanager.next_deploy().await;
    assert!(deploy.attempt > 1);
    assert_eq!(deploy.token, cluster.connectors.token().0);
}

#[tokio::test]
async fn ledger_that_may_not_be_used_fails_the_job() {
    let mut cluster = Cluster::start(1).await;
    cluster.connectors.fail_fence(Some(ConnectorErrorKind::Denied));
    let id = cluster.jobmanager.submit(&patient(1)).await.unwrap();
    let failed = cluster.jobmanager.wait_for(&id, JobState::Failed).await.summary.unwrap();
    assert_eq!(failed.causes, ["cannot take the sink over", "no ledger"]);
}

#[tokio::test]
async fn job_without_slots_goes_on_once_there_are_some() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&eager(1)).await;
    let complete = cluster.taskmanager.checkpoint(&deploy).await;
    let Cluster { mut jobmanager, taskmanager, .. } = cluster;
    drop(taskmanager);
    let mut client = jobmanager.client.clone();
    let watch = v1::WatchJobRequest { job: id.clone(), interval_ms: 10 };
    let mut details = client.watch_job(watch).await.unwrap().into_inner();
    while details.message().await.unwrap().unwrap().waiting_for != "1 free slots" {}
    let mut other = TaskManager::join(jobmanager.address, "tm-2", 1).await;
    let next = other.next_deploy().await;
    assert_eq!(next.restore.unwrap().checkpoint_id, complete.checkpoint_id);
    assert_eq!(jobmanager.summary(&id).await.state(), JobState::Running);
}

#[tokio::test]
async fn sources_pause_while_the_sink_is_far_behind() {
    let mut cluster = Cluster::start(1).await;
    let (_, deploy) = cluster.running(&patient(1)).await;
    for (unpublished_bytes, expected) in
        [(1 << 29, None), ((1 << 30) + 1, Some(true)), ((1 << 29) + 1, None), (1 << 29, Some(false))]
    {
        let counters = v1::SubtaskCounters { unpublished_bytes, ..Default::default() };
        let report = v1::TaskReport { task: Some(task_ref(&deploy, &deploy.tasks[2])), counters: Some(counters) };
        let heartbeat = v1::Heartbeat { tasks: vec![report], rss_bytes: 0 };
        cluster.taskmanager.tell(v1::task_manager_message::Message::Heartbeat(heartbeat)).await;
        if let Some(is_paused) = expected {
            match cluster.taskmanager.next_command().await {
                Some(Command::PauseSources(pause)) => assert_eq!(pause.is_paused, is_paused),
                other => panic!("a pause was expected: {other:?}"),
            }
        }
    }
}
