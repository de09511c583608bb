//! A taskmanager that is told to stop goes on until it is released, and not for ever.
#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use harness::jobmanager::{JobManager, Start, barrier};
use harness::memory::{Memory, STORE};
use harness::{TaskManager, pipeline};
use proto::v1;
use stream_core::ids::{CheckpointId, JobId, Token};
use taskmanager::Options;
use tokio::net::TcpListener;

const JOB: JobId = JobId(0xabc);
const FIRST: CheckpointId = CheckpointId::new(Token(1), 1);

/// A taskmanager that is registered.
async fn idle(memory: &Memory, leave_timeout: Duration) -> (JobManager, TaskManager) {
    let mut jobmanager = JobManager::start("127.0.0.1:0", None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = Options::new(&jobmanager.address, 4, listener.local_addr().unwrap().to_string());
    options.leave_timeout = leave_timeout;
    let taskmanager = TaskManager::start_with(options, "tm-0", memory, listener);
    jobmanager.wait_for_registrations(1).await;
    (jobmanager, taskmanager)
}

/// One with an unbounded job, and how many tasks that has.
async fn running(memory: &Memory, leave_timeout: Duration) -> (JobManager, TaskManager, usize) {
    let (mut jobmanager, taskmanager) = idle(memory, leave_timeout).await;
    let start = Start { store: STORE.to_owned(), ..Start::default() };
    let count = jobmanager.deploy_with(JOB, 1, &pipeline("echo", 2, false), &memory.splits(), &start).await;
    jobmanager.wait_for_running(JOB, 1, count).await;
    (jobmanager, taskmanager, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_leaves_takes_its_part_in_a_checkpoint_and_ends_once_it_is_released() {
    let (memory, _) = Memory::with_random_records(2000, 2, 3);
    let (mut jobmanager, mut taskmanager, count) = running(&memory, harness::DEADLINE).await;
    taskmanager.shutdown.cancel();
    jobmanager.wait_until("the word that it leaves", |seen| seen.leaving == 1).await;
    jobmanager.checkpoint(JOB, 1, barrier(FIRST, CheckpointId::ROOT, false), count).await;
    jobmanager.complete(JOB, 1, barrier(FIRST, CheckpointId::ROOT, false)).await;
    jobmanager.wait_for_published(FIRST.0).await;
    assert!(!taskmanager.has_ended(), "it was not released");
    jobmanager.send("tm-0", v1::job_manager_message::Message::Release(v1::Release {})).await;
    taskmanager.wait().await.unwrap();
    let tasks = jobmanager.wait_for_end(JOB, 1, count).await;
    assert!(tasks.values().all(|task| task.state() == v1::TaskState::Canceled), "{tasks:#?}");
    assert_eq!(memory.dropped.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_nobody_releases_ends_by_itself() {
    let (memory, _) = Memory::with_random_records(2000, 2, 3);
    let (mut jobmanager, taskmanager, count) = running(&memory, Duration::from_millis(50)).await;
    taskmanager.stop().await.unwrap();
    let tasks = jobmanager.wait_for_end(JOB, 1, count).await;
    assert!(tasks.values().all(|task| task.state() == v1::TaskState::Canceled), "{tasks:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_jobmanager_goes_first_waits_for_nobody() {
    let (memory, _) = Memory::with_random_records(2000, 2, 3);
    let (mut jobmanager, taskmanager, _) = running(&memory, 100 * harness::DEADLINE).await;
    taskmanager.shutdown.cancel();
    jobmanager.wait_until("the word that it leaves", |seen| seen.leaving == 1).await;
    jobmanager.kill().await;
    taskmanager.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_runs_nothing_ends_at_once() {
    let (memory, _) = Memory::with_random_records(10, 1, 3);
    let (_jobmanager, taskmanager) = idle(&memory, 100 * harness::DEADLINE).await;
    taskmanager.stop().await.unwrap();
}
