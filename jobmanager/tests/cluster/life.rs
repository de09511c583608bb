use std::time::Duration;

use jobmanager::Options;
use proto::v1;
use proto::v1::{JobState, TaskState};
use tonic::Code;

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, PASSWORD, options, pipeline, refusal, within};
use crate::taskmanager::{TaskManager, change, task_ref};

#[tokio::test]
async fn job_whose_tasks_finish_is_finished_and_gives_its_slots_back() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(2)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    let id = jobmanager.submit(&pipeline(2)).await.unwrap();
    let deploy = taskmanager.next_deploy().await;
    for state in [TaskState::Initializing, TaskState::Running, TaskState::Finished] {
        taskmanager.tell_all(&deploy, state).await;
    }
    let details = jobmanager.wait_for(&id, JobState::Finished).await;
    assert!(details.tasks.iter().all(|task| task.state() == TaskState::Finished));
    let summary = details.summary.unwrap();
    // Two sources of ten records each; one sink.
    assert_eq!((summary.records_in, summary.rows_out, summary.causes.len()), (20, 3, 0));
    assert!(summary.ended_ms() >= summary.submitted_ms);
    assert_eq!(jobmanager.cluster().await.free_slots, 2);
}

#[tokio::test]
async fn canceled_job_is_canceling_until_its_tasks_confirm() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    let id = jobmanager.submit(&pipeline(1)).await.unwrap();
    let deploy = taskmanager.next_deploy().await;
    taskmanager.tell_all(&deploy, TaskState::Running).await;
    jobmanager.cancel(&id).await.unwrap();
    assert_eq!(jobmanager.summary(&id).await.state(), JobState::Canceling);
    jobmanager.cancel(&id).await.unwrap();
    let cancel = taskmanager.next_cancel().await;
    assert_eq!((cancel.job_id.as_str(), cancel.attempt), (id.as_str(), 1));
    taskmanager.tell_all(&deploy, TaskState::Canceled).await;
    jobmanager.wait_for(&id, JobState::Canceled).await;
    assert_eq!(jobmanager.cluster().await.free_slots, 1);
    assert_eq!(
        refusal(jobmanager.cancel(&id).await),
        (Code::FailedPrecondition, format!("job `{id}` is canceled already"))
    );
}

#[tokio::test]
async fn task_that_fails_takes_the_others_down_and_its_causes_are_shown() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(2)).await;
    let mut a = TaskManager::join(jobmanager.address, "tm-a", 1).await;
    let mut b = TaskManager::join(jobmanager.address, "tm-b", 1).await;
    let id = jobmanager.submit(&pipeline(2)).await.unwrap();
    let (to_a, to_b) = (a.next_deploy().await, b.next_deploy().await);
    let causes = [format!("login with {PASSWORD} refused"), "x".repeat(100_000)];
    let causes = causes.each_ref().map(String::as_str);
    b.tell(change(&to_b, &to_b.tasks[1], TaskState::Failed, &causes, None)).await;
    a.next_cancel().await;
    b.next_cancel().await;
    assert_eq!(jobmanager.summary(&id).await.state(), JobState::Failing);
    a.tell_all(&to_a, TaskState::Canceled).await;
    b.tell_all(&to_b, TaskState::Canceled).await;
    let failed = jobmanager.wait_for(&id, JobState::Failed).await.summary.unwrap();
    assert_eq!(failed.causes[..2], ["window[1] on taskmanager `tm-b` failed", "login with <secret> refused"]);
    assert_eq!((failed.causes.len(), failed.causes[2].len()), (3, 2000));
}

#[tokio::test]
async fn lost_taskmanager_fails_its_jobs_and_is_named() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(2)).await;
    let mut a = TaskManager::join(jobmanager.address, "tm-a", 1).await;
    let mut b = TaskManager::join(jobmanager.address, "tm-b", 1).await;
    let id = jobmanager.submit(&pipeline(2)).await.unwrap();
    let to_a = a.next_deploy().await;
    b.next_deploy().await;
    drop(b);
    a.next_cancel().await;
    a.tell_all(&to_a, TaskState::Canceled).await;
    let failed = jobmanager.wait_for(&id, JobState::Failed).await.summary.unwrap();
    assert!(failed.causes[0].starts_with("lost taskmanager `tm-b`: it"), "{:?}", failed.causes);
    assert_eq!(jobmanager.cluster().await.free_slots, 1);
    jobmanager.submit(&pipeline(1)).await.unwrap();
}

#[tokio::test]
async fn taskmanager_that_never_confirms_is_disconnected() {
    let options = Options { cancel_timeout: Duration::from_millis(300), ..options() };
    let mut jobmanager = Jobmanager::start(options, FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    let id = jobmanager.submit(&pipeline(1)).await.unwrap();
    taskmanager.next_deploy().await;
    jobmanager.cancel(&id).await.unwrap();
    taskmanager.next_cancel().await;
    jobmanager.wait_for(&id, JobState::Canceled).await;
    assert_eq!(taskmanager.next_command().await, None);
    assert_eq!(jobmanager.cluster().await.slots, 0);
}

#[tokio::test]
async fn deployment_that_nobody_answers_fails_the_job() {
    let options = Options { deploy_timeout: Duration::from_millis(300), ..options() };
    let mut jobmanager = Jobmanager::start(options, FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    let id = jobmanager.submit(&pipeline(1)).await.unwrap();
    taskmanager.next_deploy().await;
    taskmanager.next_cancel().await;
    assert_eq!(jobmanager.summary(&id).await.causes, ["taskmanager `tm-1` did not start source[0] within 300ms"]);
}

#[tokio::test]
async fn words_of_another_attempt_or_of_somebody_else_change_nothing() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut owner = TaskManager::join(jobmanager.address, "tm-a", 1).await;
    let mut stranger = TaskManager::join(jobmanager.address, "tm-b", 1).await;
    let id = jobmanager.submit(&pipeline(1)).await.unwrap();
    let deploy = owner.next_deploy().await;
    let older = v1::Deploy { attempt: 0, ..deploy.clone() };
    owner.tell_all(&older, TaskState::Failed).await;
    stranger.tell_all(&deploy, TaskState::Failed).await;

    // Words of one connection are heard in order: what follows shows that these were heard, too.
    let other = jobmanager.submit(&pipeline(1)).await.unwrap();
    let to_stranger = stranger.next_deploy().await;
    stranger.tell_all(&to_stranger, TaskState::Finished).await;
    jobmanager.wait_for(&other, JobState::Finished).await;
    owner.tell_all(&deploy, TaskState::Running).await;
    within(async {
        while jobmanager.describe(&id).await.unwrap().tasks.iter().any(|task| task.state() != TaskState::Running) {}
    })
    .await;
    assert_eq!(jobmanager.summary(&id).await.state(), JobState::Running);
}

#[tokio::test]
async fn counters_come_with_heartbeats() {
    use proto::v1::task_manager_message::Message;
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    let id = jobmanager.submit(&pipeline(1)).await.unwrap();
    let deploy = taskmanager.next_deploy().await;
    let mut details = jobmanager
        .client
        .watch_job(v1::WatchJobRequest { job: id.clone(), interval_ms: 10 })
        .await
        .unwrap()
        .into_inner();
    let counters = v1::SubtaskCounters { records_in: 77, watermark_ms: Some(-5), ..Default::default() };
    let report = v1::TaskReport { task: Some(task_ref(&deploy, &deploy.tasks[0])), counters: Some(counters.clone()) };
    taskmanager.tell(Message::Heartbeat(v1::Heartbeat { tasks: vec![report], rss_bytes: 1 << 20 })).await;
    within(async { while details.message().await.unwrap().unwrap().tasks[0].counters != Some(counters.clone()) {} })
        .await;
    assert_eq!(jobmanager.summary(&id).await.records_in, 77);
}
