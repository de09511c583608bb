//! Whole jobs that are cut, killed and restored: what is published is what was read, once.
#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::atomic::Ordering::SeqCst;

use harness::jobmanager::{Start, barrier};
use harness::memory::{Memory, STORE};
use harness::{Cluster, pipeline};
use proto::v1;
use proto::v1::job_manager_message::Message;
use stream_core::barrier::Barrier;
use stream_core::ids::{CheckpointId, JobId, Token};
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, PublishError};

const JOB: JobId = JobId(0xabc);
const CHANNEL_BYTES: usize = 64 << 10;

/// The checkpoint `sequence` of attempt `token`.
const fn id(token: u32, sequence: u32) -> CheckpointId {
    CheckpointId::new(Token(token), sequence)
}

fn with_store() -> Start {
    Start { store: STORE.to_owned(), ..Start::default() }
}

/// Lets `records` more be read, and waits until they are counted behind the exchange. Reading must have been held back
/// since before the job was deployed: what was read before this call is no part of them.
async fn read_more(cluster: &mut Cluster, memory: &Memory, attempt: u32, records: u64) {
    assert_ne!(memory.records_allowed.load(SeqCst), u64::MAX, "reading was never held back");
    let allowed = memory.records_read.load(SeqCst) + records;
    memory.records_allowed.store(allowed, SeqCst);
    cluster
        .jobmanager
        .wait_until("records read", |seen| {
            let of_attempt = |stage| seen.tasks.iter().filter(move |(key, _)| (key.1, key.2) == (attempt, stage));
            let sum = |stage| of_attempt(stage).map(|(_, task)| task.counters.records_in).sum::<u64>();
            memory.records_read.load(SeqCst) >= allowed && sum(0) == sum(1)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_that_is_killed_and_restored_at_another_parallelism_publishes_each_row_once() {
    for (job, before, after) in [("echo", 2, 3), ("count", 2, 3), ("count", 3, 1), ("echo", 1, 2), ("count", 2, 2)] {
        let (memory, expected) = Memory::with_random_records(20_000, 5, 7);
        memory.records_allowed.store(0, SeqCst);
        let mut cluster = Cluster::start(2, &memory, CHANNEL_BYTES).await;
        let jobmanager = &cluster.jobmanager;
        let count = jobmanager.deploy_with(JOB, 1, &pipeline(job, before, true), &memory.splits(), &with_store()).await;
        read_more(&mut cluster, &memory, 1, 4000).await;
        let first = barrier(id(1, 1), CheckpointId::ROOT, false);
        cluster.jobmanager.checkpoint(JOB, 1, first, count).await;
        cluster.jobmanager.complete(JOB, 1, first).await;
        cluster.jobmanager.wait_for_published(first.checkpoint.0).await;
        read_more(&mut cluster, &memory, 1, 4000).await;
        let second = barrier(id(1, 2), first.checkpoint, false);
        let restore = cluster.jobmanager.checkpoint(JOB, 1, second, count).await;
        // It is complete, but the committer is never told; and more is read that belongs to no checkpoint.
        read_more(&mut cluster, &memory, 1, 4000).await;
        cluster.jobmanager.cancel(JOB, 1).await;
        cluster.jobmanager.wait_for_end(JOB, 1, count).await;
        let chains = restore.operators.iter().map(|state| state.files.len());
        assert!(chains.max() == Some(if job == "count" { 2 } else { 0 }), "a base and a delta, or nothing to keep");

        memory.records_allowed.store(u64::MAX, SeqCst);
        let start = Start { store: STORE.to_owned(), restore: Some(restore), last_epoch: first.checkpoint.0 };
        let jobmanager = &cluster.jobmanager;
        let count = jobmanager.deploy_with(JOB, 2, &pipeline(job, after, true), &memory.splits(), &start).await;
        let last = barrier(id(2, 1), second.checkpoint, true);
        let tasks = cluster.jobmanager.finish(JOB, 2, (after, count), last).await;
        let case = format!("{job} at {before}, then at {after}");
        assert!(tasks.values().all(|task| task.state() == v1::TaskState::Finished), "{case}: {tasks:#?}");
        assert_eq!(memory.totals(), expected, "{case}");
        let epochs = [first, second, last].map(|barrier| barrier.checkpoint.0);
        assert_eq!(memory.ledger.lock().unwrap().epochs, epochs, "{case}");
        let rows = memory.rows.lock().unwrap().len();
        assert_eq!(rows, if job == "echo" { 20_000 } else { expected.len() }, "{case}");
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_restored_behind_its_end_has_nothing_to_read_again() {
    let (memory, expected) = Memory::with_random_records(5000, 3, 11);
    let mut cluster = Cluster::start(2, &memory, CHANNEL_BYTES).await;
    let (pipeline, splits) = (pipeline("count", 2, true), memory.splits());
    let count = cluster.jobmanager.deploy_with(JOB, 1, &pipeline, &splits, &with_store()).await;
    cluster.jobmanager.wait_until("drained sources", |seen| seen.drained.len() == 2).await;
    let last = barrier(id(1, 1), CheckpointId::ROOT, true);
    let restore = cluster.jobmanager.checkpoint(JOB, 1, last, count).await;
    cluster.jobmanager.cancel(JOB, 1).await;
    cluster.jobmanager.wait_for_end(JOB, 1, count).await;
    let start = Start { restore: Some(restore), ..with_store() };
    let count = cluster.jobmanager.deploy_with(JOB, 2, &pipeline, &splits, &start).await;
    cluster.jobmanager.finish(JOB, 2, (2, count), barrier(id(2, 1), last.checkpoint, true)).await;
    assert_eq!(memory.records_read.load(SeqCst), 5000);
    assert_eq!(memory.totals(), expected);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_checkpoint_gives_its_rows_to_the_next() {
    let (memory, expected) = Memory::with_random_records(3000, 2, 3);
    memory.records_allowed.store(0, SeqCst);
    let mut cluster = Cluster::start(2, &memory, CHANNEL_BYTES).await;
    let splits = memory.splits();
    let count = cluster.jobmanager.deploy_with(JOB, 1, &pipeline("echo", 2, false), &splits, &with_store()).await;
    read_more(&mut cluster, &memory, 1, 2000).await;
    cluster.jobmanager.checkpoint(JOB, 1, barrier(id(1, 1), CheckpointId::ROOT, false), count).await;
    cluster.jobmanager.abort(JOB, 1, id(1, 1).0).await;
    read_more(&mut cluster, &memory, 1, 1000).await;
    let last = barrier(id(1, 2), CheckpointId::ROOT, true);
    let restore = cluster.jobmanager.checkpoint(JOB, 1, last, count).await;
    assert_eq!(restore.pending[0].rows, 3000);
    cluster.jobmanager.complete(JOB, 1, last).await;
    cluster.jobmanager.wait_for_end(JOB, 1, count).await;
    assert_eq!(memory.ledger.lock().unwrap().epochs, [last.checkpoint.0]);
    assert_eq!(memory.totals(), expected);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drained_job_closes_everything_that_was_open() {
    let (memory, expected) = Memory::with_random_records(3000, 2, 3);
    memory.records_allowed.store(0, SeqCst);
    let mut cluster = Cluster::start(2, &memory, CHANNEL_BYTES).await;
    let count = cluster.jobmanager.deploy(JOB, 1, &pipeline("count", 2, false), &memory.splits()).await;
    read_more(&mut cluster, &memory, 1, 3000).await;
    let drain = v1::DrainSources { job_id: JOB.to_string(), attempt: 1 };
    cluster.jobmanager.send_to_all(Message::DrainSources(drain)).await;
    let last = barrier(id(1, 1), CheckpointId::ROOT, true);
    let tasks = cluster.jobmanager.finish(JOB, 1, (2, count), last).await;
    assert!(tasks.values().all(|task| task.state() == v1::TaskState::Finished), "{tasks:#?}");
    assert_eq!(memory.totals(), expected);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_job_reads_nothing_and_takes_checkpoints() {
    let (memory, _) = Memory::with_random_records(3000, 2, 3);
    memory.records_allowed.store(0, SeqCst);
    let mut cluster = Cluster::start(1, &memory, CHANNEL_BYTES).await;
    let count = cluster.jobmanager.deploy(JOB, 1, &pipeline("echo", 2, false), &memory.splits()).await;
    let pause = |is_paused| Message::PauseSources(v1::PauseSources { job_id: JOB.to_string(), attempt: 1, is_paused });
    cluster.jobmanager.wait_for_running(JOB, 1, count).await;
    cluster.jobmanager.send_to_all(pause(true)).await;
    // Its barrier is behind the pause, in the mail and in the stream.
    cluster.jobmanager.checkpoint(JOB, 1, barrier(id(1, 1), CheckpointId::ROOT, false), count).await;
    memory.records_allowed.store(3000, SeqCst);
    cluster.jobmanager.checkpoint(JOB, 1, barrier(id(1, 2), CheckpointId::ROOT, false), count).await;
    assert_eq!(memory.records_read.load(SeqCst), 0);
    cluster.jobmanager.send_to_all(pause(false)).await;
    cluster.jobmanager.wait_until("everything read", |_| memory.records_read.load(SeqCst) == 3000).await;
    cluster.jobmanager.cancel(JOB, 1).await;
    cluster.jobmanager.wait_for_end(JOB, 1, count).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sink_that_fails_for_a_while_holds_up_publishing_only_and_a_fenced_one_ends_the_task() {
    let (memory, expected) = Memory::with_random_records(3000, 2, 3);
    let passing = || PublishError::Passing(ConnectorError::new(ConnectorErrorKind::Unreachable, "restarting"));
    memory.failures.lock().unwrap().extend([passing(), passing()]);
    memory.records_allowed.store(0, SeqCst);
    let mut cluster = Cluster::start(1, &memory, CHANNEL_BYTES).await;
    let count = cluster.jobmanager.deploy(JOB, 1, &pipeline("echo", 2, false), &memory.splits()).await;
    read_more(&mut cluster, &memory, 1, 3000).await;
    let cut = |sequence, prev| -> Barrier { barrier(id(1, sequence), prev, false) };
    let (first, second) = (cut(1, CheckpointId::ROOT), cut(2, id(1, 1)));
    cluster.jobmanager.checkpoint(JOB, 1, first, count).await;
    cluster.jobmanager.complete(JOB, 1, first).await;
    cluster.jobmanager.wait_for_published(first.checkpoint.0).await;
    assert_eq!(memory.totals(), expected);
    memory.ledger.lock().unwrap().token = Token(2);
    cluster.jobmanager.checkpoint(JOB, 1, second, count).await;
    cluster.jobmanager.complete(JOB, 1, second).await;
    let seen = cluster
        .jobmanager
        .wait_until("the committer's end", |seen| {
            seen.tasks[&(JOB.to_string(), 1, 2, 0)].state() == v1::TaskState::Failed
        })
        .await;
    let causes = &seen.tasks[&(JOB.to_string(), 1, 2, 0)].causes;
    assert_eq!(*causes, ["another attempt of the job has taken the sink over (token 2)"]);
    assert_eq!(memory.totals(), expected);
    cluster.jobmanager.cancel(JOB, 1).await;
    cluster.jobmanager.wait_for_end(JOB, 1, count).await;
    cluster.stop().await;
}
