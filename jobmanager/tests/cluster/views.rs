use proto::v1;
use proto::v1::{JobState, TaskState};
use tonic::Code;

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, PASSWORD, options, pipeline, refusal, within};
use crate::taskmanager::TaskManager;

#[tokio::test]
async fn description_shows_the_plan_and_no_secret() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(3)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    let id = jobmanager.submit_as("daily", &pipeline(2)).await.unwrap();
    taskmanager.next_deploy().await;
    let details = jobmanager.describe("daily").await.unwrap();
    assert!(!format!("{details:?}").contains(PASSWORD));
    assert_eq!(details.source_uri, "kafka://127.0.0.1:9092/events");
    assert_eq!((details.attempt, details.max_parallelism), (1, 128));
    let window = &details.tasks[3];
    assert_eq!((window.stage_name.as_str(), window.taskmanager_id.as_str(), window.slot), ("window", "tm-1", 1));
    assert_eq!(window.key_groups, Some(v1::KeyGroupRange { start: 64, end: 128 }));
    assert_eq!(window.state(), TaskState::Deploying);
    assert_eq!(details.tasks[0].splits, ["events/0", "events/2"]);
    let summary = details.summary.unwrap();
    assert_eq!((summary.job_id, summary.name.as_str(), summary.parallelism), (id, "daily", 2));
    assert_eq!(summary.ended_ms, None);
}

#[tokio::test]
async fn jobs_are_listed_in_the_order_of_their_submission() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let _taskmanager = TaskManager::join(jobmanager.address, "tm-1", 3).await;
    for name in ["c", "a", "b"] {
        jobmanager.submit_as(name, &pipeline(1)).await.unwrap();
        // Two jobs of one millisecond are listed by id.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let jobs = jobmanager.client.list_jobs(v1::ListJobsRequest {}).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), ["c", "a", "b"]);
}

#[tokio::test]
async fn unknown_and_ambiguous_jobs_are_refused() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let _taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    let unknown = (Code::NotFound, "no job `nightly`: `jobctl list` shows the jobs".to_owned());
    assert_eq!(refusal(jobmanager.describe("nightly").await), unknown);
    assert_eq!(refusal(jobmanager.cancel("nightly").await), unknown);
    let watched = jobmanager.client.watch_job(v1::WatchJobRequest { job: "nightly".to_owned(), interval_ms: 0 }).await;
    assert_eq!(refusal(watched), unknown);

    let first = jobmanager.submit(&pipeline(1)).await.unwrap();
    let second = jobmanager.submit(&pipeline(1)).await.unwrap();
    let (code, message) = refusal(jobmanager.describe("toy").await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains(&first) && message.contains(&second), "{message}");
    assert_eq!(jobmanager.summary(&first[..12]).await.job_id, first);
}

#[tokio::test]
async fn watch_stream_shows_changes_and_ends_with_the_job() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    let id = jobmanager.submit(&pipeline(1)).await.unwrap();
    let deploy = taskmanager.next_deploy().await;
    // An hour between two messages: the end is told at once all the same.
    let request = v1::WatchJobRequest { job: id.clone(), interval_ms: 3_600_000 };
    let mut details = jobmanager.client.watch_job(request).await.unwrap().into_inner();
    let first = within(details.message()).await.unwrap().unwrap();
    assert_eq!(first.summary.unwrap().state(), JobState::Running);
    taskmanager.tell_all(&deploy, TaskState::Finished).await;
    let last = within(details.message()).await.unwrap().unwrap();
    assert_eq!(last.summary.unwrap().state(), JobState::Finished);
    assert_eq!(within(details.message()).await.unwrap(), None);

    // A job that has ended is shown once.
    let mut details =
        jobmanager.client.watch_job(v1::WatchJobRequest { job: id, interval_ms: 0 }).await.unwrap().into_inner();
    assert!(within(details.message()).await.unwrap().is_some());
    assert_eq!(within(details.message()).await.unwrap(), None);
}
