//! Savepoints, stop and rescale, as users ask for them.

use proto::v1;
use proto::v1::job_manager_message::Message as Command;
use proto::v1::{JobState, TaskState};
use stream_core::ids::CheckpointId;
use tonic::Code;

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, options, pipeline, refusal};
use crate::recovery::{Cluster, patient};
use crate::stores::STORE;
use crate::taskmanager::TaskManager;

fn savepoint(job: &str, target: &str) -> v1::TriggerSavepointRequest {
    v1::TriggerSavepointRequest { job: job.to_owned(), target: target.to_owned() }
}

async fn stop(cluster: &mut Cluster, id: &str, deploy: &v1::Deploy) -> v1::StopJobResponse {
    let mut client = cluster.jobmanager.client.clone();
    let request = v1::StopJobRequest { job: id.to_owned(), drain: false, target: String::new() };
    let taskmanager = &mut cluster.taskmanager;
    let work = async {
        let barrier = taskmanager.next_trigger().await;
        assert!(barrier.is_last && barrier.is_full);
        taskmanager.acknowledge(deploy, barrier.checkpoint_id).await;
        taskmanager.next_complete().await;
        taskmanager.publish(deploy, barrier.checkpoint_id).await;
        taskmanager.tell_all(deploy, TaskState::Finished).await;
    };
    let (stopped, ()) = tokio::join!(client.stop_job(request), work);
    let stopped = stopped.unwrap().into_inner();
    cluster.connectors.set_last_epoch(CheckpointId(stopped.checkpoint_id));
    stopped
}

#[tokio::test]
async fn savepoint_is_a_folder_of_its_own() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let mut client = cluster.jobmanager.client.clone();
    let request = savepoint(&id, "file:///backup");
    let (taken, complete) = tokio::join!(client.trigger_savepoint(request), cluster.taskmanager.checkpoint(&deploy));
    let taken = taken.unwrap().into_inner();
    let checkpoint = CheckpointId(complete.checkpoint_id);
    assert_eq!(taken.checkpoint_id, checkpoint.0);
    assert_eq!(taken.folder, format!("file:///backup/{id}-{checkpoint}"));
    assert_eq!(cluster.stores.at(&taken.folder).names(), ["manifest"]);
    assert_eq!(cluster.jobmanager.summary(&id).await.state(), JobState::Running);
}

#[tokio::test]
async fn checkpoints_on_request_need_a_running_job_and_a_store() {
    let mut bare = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(bare.address, "tm-1", 1).await;
    let id = bare.submit(&pipeline(1)).await.unwrap();
    taskmanager.next_deploy().await;
    let (code, message) = refusal(bare.client.trigger_savepoint(savepoint(&id, "")).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("--checkpoint-dir"), "{message}");

    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    cluster.jobmanager.cancel(&id).await.unwrap();
    cluster.taskmanager.next_cancel().await;
    cluster.taskmanager.tell_all(&deploy, TaskState::Canceled).await;
    cluster.jobmanager.wait_for(&id, JobState::Canceled).await;
    let (code, message) = refusal(cluster.jobmanager.client.trigger_savepoint(savepoint(&id, "")).await);
    assert_eq!(
        (code, message),
        (Code::FailedPrecondition, format!("job `{id}` is canceled: wait until it is running"))
    );
}

#[tokio::test]
async fn savepoint_of_a_job_that_ends_is_refused() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let mut client = cluster.jobmanager.client.clone();
    let taskmanager = &mut cluster.taskmanager;
    let failing = async {
        taskmanager.next_trigger().await;
        taskmanager.fail(&deploy).await;
    };
    let (taken, ()) = tokio::join!(client.trigger_savepoint(savepoint(&id, "")), failing);
    let (code, message) = refusal(taken);
    assert_eq!(code, Code::Aborted);
    assert!(message.contains("attempt ended"), "{message}");
}

#[tokio::test]
async fn stopped_job_ends_published_and_goes_on_from_its_savepoint_under_its_id() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let mut request = v1::SubmitJobRequest {
        pipeline: Some((&patient(1)).into()),
        from_savepoint: format!("{STORE}/savepoints/{id}-1.1"),
        ..Default::default()
    };
    let stopped = stop(&mut cluster, &id, &deploy).await;
    assert_eq!(stopped.folder, request.from_savepoint);
    assert_eq!(cluster.jobmanager.summary(&id).await.state(), JobState::Finished);

    let submitted = cluster.jobmanager.client.submit_job(request.clone()).await.unwrap().into_inner();
    assert_eq!(submitted.job_id, id);
    let next = cluster.taskmanager.next_deploy().await;
    assert_eq!((next.attempt, next.token), (2, 2));
    assert_eq!(next.restore.unwrap().checkpoint_id, stopped.checkpoint_id);
    assert_eq!(next.tasks[0].splits[0].start, 4);
    // While it lives, it cannot be submitted again.
    let (code, message) = refusal(cluster.jobmanager.client.submit_job(request.clone()).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("runs already"), "{message}");

    request.from_savepoint = format!("{STORE}/savepoints/nowhere");
    assert_eq!(refusal(cluster.jobmanager.client.submit_job(request).await).0, Code::NotFound);
}

#[tokio::test]
async fn overtaken_savepoint_needs_the_user_s_word() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let stopped = stop(&mut cluster, &id, &deploy).await;
    let later = CheckpointId(stopped.checkpoint_id + 5);
    cluster.connectors.set_last_epoch(later);
    let mut request = v1::SubmitJobRequest {
        pipeline: Some((&patient(1)).into()),
        from_savepoint: stopped.folder,
        ..Default::default()
    };
    cluster.jobmanager.client.submit_job(request.clone()).await.unwrap();
    let failed = cluster.jobmanager.wait_for(&id, JobState::Failed).await.summary.unwrap();
    assert!(failed.causes[0].contains("--accept-duplicates"), "{:?}", failed.causes);

    request.accept_duplicates = true;
    cluster.jobmanager.client.submit_job(request).await.unwrap();
    let next = cluster.taskmanager.next_deploy().await;
    assert_eq!((next.last_epoch, next.restore.unwrap().pending), (later.0, Vec::new()));
}

#[tokio::test]
async fn drained_job_raises_its_watermark_before_its_last_barrier() {
    let mut cluster = Cluster::start(1).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let mut client = cluster.jobmanager.client.clone();
    let request = v1::StopJobRequest { job: id.clone(), drain: true, target: String::new() };
    let taskmanager = &mut cluster.taskmanager;
    let work = async {
        let drain = taskmanager.next_command().await;
        assert!(matches!(drain, Some(Command::DrainSources(_))), "{drain:?}");
        let task = Some(crate::taskmanager::task_ref(&deploy, &deploy.tasks[0]));
        let drained = v1::task_manager_message::Message::SourceDrained(v1::SourceDrained { task });
        taskmanager.tell(drained).await;
        let barrier = taskmanager.next_trigger().await;
        assert!(barrier.is_last);
        taskmanager.acknowledge(&deploy, barrier.checkpoint_id).await;
        taskmanager.next_complete().await;
        taskmanager.publish(&deploy, barrier.checkpoint_id).await;
        taskmanager.tell_all(&deploy, TaskState::Finished).await;
    };
    let (stopped, ()) = tokio::join!(client.stop_job(request), work);
    stopped.unwrap();
    assert_eq!(cluster.jobmanager.summary(&id).await.state(), JobState::Finished);
}

#[tokio::test]
async fn rescaled_job_goes_on_from_a_checkpoint_with_another_parallelism() {
    let mut cluster = Cluster::start(2).await;
    let (id, deploy) = cluster.running(&patient(1)).await;
    let mut client = cluster.jobmanager.client.clone();
    let too_many = v1::RescaleJobRequest { job: id.clone(), parallelism: 3 };
    assert_eq!(refusal(client.rescale_job(too_many).await).0, Code::ResourceExhausted);
    let none = v1::RescaleJobRequest { job: id.clone(), parallelism: 0 };
    assert_eq!(refusal(client.rescale_job(none).await).0, Code::InvalidArgument);

    let request = v1::RescaleJobRequest { job: id.clone(), parallelism: 2 };
    let taskmanager = &mut cluster.taskmanager;
    let work = async {
        let complete = taskmanager.checkpoint(&deploy).await;
        taskmanager.next_cancel().await;
        taskmanager.tell_all(&deploy, TaskState::Canceled).await;
        (complete, taskmanager.next_deploy().await)
    };
    let (rescaled, (complete, next)) = tokio::join!(client.rescale_job(request), work);
    rescaled.unwrap();
    assert_eq!(next.restore.as_ref().unwrap().checkpoint_id, complete.checkpoint_id);
    assert_eq!(next.tasks.len(), 5);
    let details = cluster.jobmanager.describe(&id).await.unwrap();
    assert_eq!((details.summary.unwrap().parallelism, details.last_failure.len()), (2, 0));
}
