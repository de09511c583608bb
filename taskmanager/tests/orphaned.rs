//! What taskmanagers do without a jobmanager, and what the next one learns.
#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use harness::jobmanager::{JobManager, Start, barrier};
use harness::memory::{Memory, STORE};
use harness::{Cluster, DEADLINE, TaskManager, pipeline};
use proto::v1;
use stream_core::ids::{CheckpointId, JobId, Token};
use taskmanager::Options;
use tokio::net::TcpListener;

const JOB: JobId = JobId(0xabc);
const CHANNEL_BYTES: usize = 64 << 10;

/// Waits for what no jobmanager can tell.
async fn wait_until(what: &str, is_met: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let met = async {
        while !is_met() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, met).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

/// A cluster whose unbounded job has read 2,000 of 6,000 records and published them; and how many tasks it has.
async fn running_cluster(memory: &Memory) -> (Cluster, usize) {
    memory.records_allowed.store(2000, SeqCst);
    let mut cluster = Cluster::start(2, memory, CHANNEL_BYTES).await;
    let start = Start { store: STORE.to_owned(), ..Start::default() };
    let pipeline = pipeline("echo", 2, false);
    let count = cluster.jobmanager.deploy_with(JOB, 1, &pipeline, &memory.splits(), &start).await;
    wait_until("the first records", || memory.records_read.load(SeqCst) == 2000).await;
    let first = barrier(FIRST, CheckpointId::ROOT, false);
    cluster.jobmanager.checkpoint(JOB, 1, first, count).await;
    cluster.jobmanager.complete(JOB, 1, first).await;
    cluster.jobmanager.wait_for_published(FIRST.0).await;
    (cluster, count)
}

const FIRST: CheckpointId = CheckpointId::new(Token(1), 1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_go_on_without_a_jobmanager_and_the_next_one_adopts_them() {
    let (memory, expected) = Memory::with_random_records(6000, 2, 3);
    let (mut cluster, count) = running_cluster(&memory).await;
    let address = cluster.jobmanager.address.clone();
    cluster.jobmanager.kill().await;
    memory.records_allowed.store(4000, SeqCst);
    wait_until("reading without a jobmanager", || memory.records_read.load(SeqCst) == 4000).await;

    cluster.jobmanager = JobManager::start(&address, None).await;
    let seen = cluster.jobmanager.wait_for_registrations(2).await;
    let running: Vec<_> = seen.registrations.iter().flat_map(|register| &register.running).collect();
    assert_eq!(running.len(), count);
    let knows_first =
        |task: &&v1::RunningTask| task.last_barrier.is_some_and(|barrier| barrier.checkpoint_id == FIRST.0);
    assert!(running.iter().all(|task| task.state() == v1::TaskState::Running && knows_first(task)));
    cluster.jobmanager.wait_for_running(JOB, 1, count).await;
    // Whether the first jobmanager heard of it, the next one cannot know: it is told again.
    cluster.jobmanager.wait_for_published(FIRST.0).await;

    memory.records_allowed.store(u64::MAX, SeqCst);
    wait_until("the rest", || memory.records_read.load(SeqCst) == 6000).await;
    // A checkpoint of the new jobmanager, over whatever the old one left.
    let last = barrier(CheckpointId::new(Token(1), 7), FIRST, true);
    cluster.jobmanager.checkpoint(JOB, 1, last, count).await;
    cluster.jobmanager.complete(JOB, 1, last).await;
    let tasks = cluster.jobmanager.wait_for_end(JOB, 1, count).await;
    assert!(tasks.values().all(|task| task.state() == v1::TaskState::Finished), "{tasks:#?}");
    let read: u64 = tasks.iter().filter(|(key, _)| key.2 == 0).map(|(_, task)| task.counters.records_in).sum();
    assert_eq!(read, 6000, "the counters never began anew");
    assert_eq!(memory.totals(), expected);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn barrier_that_only_some_sources_heard_of_does_not_stop_an_orphaned_job() {
    let (memory, _) = Memory::with_random_records(6000, 2, 3);
    let (mut cluster, _) = running_cluster(&memory).await;
    let trigger = v1::TriggerCheckpoint {
        job_id: JOB.to_string(),
        attempt: 1,
        barrier: Some(barrier(CheckpointId::new(Token(1), 2), FIRST, false).into()),
    };
    cluster.jobmanager.send("tm-0", v1::job_manager_message::Message::TriggerCheckpoint(trigger)).await;
    let key = (JOB.to_string(), 1, 2 | u64::from(1_u32) << 32);
    cluster.jobmanager.wait_until("the source's part", |seen| seen.acks.contains_key(&key)).await;
    let address = cluster.jobmanager.address.clone();
    cluster.jobmanager.kill().await;
    memory.records_allowed.store(u64::MAX, SeqCst);
    wait_until("the rest", || memory.records_read.load(SeqCst) == 6000).await;
    cluster.jobmanager = JobManager::start(&address, None).await;
    cluster
        .jobmanager
        .wait_until("all records behind the alignment", |seen| {
            let behind = seen.tasks.iter().filter(|(key, _)| key.2 == 1);
            behind.map(|(_, task)| task.counters.records_in).sum::<u64>() == 6000
        })
        .await;
    cluster.jobmanager.cancel(JOB, 1).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_a_task_ended_is_told_to_the_next_jobmanager() {
    let (memory, _) = Memory::with_random_records(6000, 2, 3);
    let (mut cluster, count) = running_cluster(&memory).await;
    let address = cluster.jobmanager.address.clone();
    cluster.jobmanager.kill().await;
    memory.records.lock().unwrap().get_mut("split/0").unwrap().push("boom@1".to_owned());
    memory.records_allowed.store(u64::MAX, SeqCst);
    // One more than there were: the last is the one that hurts.
    wait_until("the bad record", || memory.records_read.load(SeqCst) == 6001).await;
    cluster.jobmanager = JobManager::start(&address, None).await;
    let seen = cluster
        .jobmanager
        .wait_until("a failure", |seen| seen.tasks.values().any(|task| task.state() == v1::TaskState::Failed))
        .await;
    let causes = seen.tasks.values().flat_map(|task| &task.causes);
    assert!(causes.into_iter().any(|cause| cause.contains("boom")), "{:#?}", seen.tasks);
    cluster.jobmanager.cancel(JOB, 1).await;
    cluster.jobmanager.wait_for_end(JOB, 1, count).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_canceled_when_no_jobmanager_comes_back() {
    let (memory, _) = Memory::with_random_records(1000, 2, 3);
    let mut jobmanager = JobManager::start("127.0.0.1:0", None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = Options::new(&jobmanager.address, 4, listener.local_addr().unwrap().to_string());
    options.orphan_timeout = Duration::from_millis(50);
    options.leave_timeout = Duration::ZERO;
    let taskmanager = TaskManager::start_with(options, "tm-0", &memory, listener);
    jobmanager.wait_for_registrations(1).await;
    let count = jobmanager.deploy(JOB, 1, &pipeline("echo", 2, false), &memory.splits()).await;
    jobmanager.wait_for_running(JOB, 1, count).await;
    let address = jobmanager.address.clone();
    jobmanager.kill().await;
    wait_until("the committer's end", || memory.dropped.load(SeqCst) == 1).await;

    let mut jobmanager = JobManager::start(&address, None).await;
    let tasks = jobmanager.wait_for_end(JOB, 1, count).await;
    assert!(tasks.values().all(|task| task.state() == v1::TaskState::Canceled), "{tasks:#?}");
    assert_eq!(jobmanager.deploy(JOB, 2, &pipeline("echo", 2, false), &memory.splits()).await, count);
    jobmanager.wait_for_running(JOB, 2, count).await;
    taskmanager.stop().await.unwrap();
}
