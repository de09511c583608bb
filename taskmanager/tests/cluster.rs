//! Whole jobs over real connections between taskmanagers of this process.
#![allow(clippy::unwrap_used)]

mod harness;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

use harness::jobmanager::{Seen, Task, barrier};
use harness::memory::{Memory, split};
use harness::{Cluster, DEADLINE, TaskManager, pipeline};
use proto::v1;
use stream_core::barrier::Barrier;
use stream_core::ids::{CheckpointId, JobId, Token};

const JOB: JobId = JobId(0xabc);
/// The last barrier of an attempt that takes one checkpoint only.
const ONLY: Barrier = barrier(CheckpointId::new(Token(1), 1), CheckpointId::ROOT, true);
const CHANNEL_BYTES: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_equal_a_naive_count_at_any_parallelism() {
    for (parallelism, taskmanagers, job) in
        [(1, 1, "count"), (1, 2, "echo"), (2, 2, "count"), (3, 2, "echo"), (4, 2, "count"), (4, 3, "count")]
    {
        let (memory, expected) = Memory::with_random_records(50_000, 5, u64::from(parallelism) * 77);
        let mut cluster = Cluster::start(taskmanagers, &memory, CHANNEL_BYTES).await;
        let pipeline = pipeline(job, parallelism, true);
        let count = cluster.jobmanager.deploy(JOB, 1, &pipeline, &memory.splits()).await;
        let tasks = cluster.jobmanager.finish(JOB, 1, (parallelism, count), ONLY).await;
        let case = format!("{job} at parallelism {parallelism} on {taskmanagers} taskmanagers: {tasks:#?}");
        assert!(tasks.values().all(|task| task.state() == v1::TaskState::Finished), "{case}");
        assert!(tasks.values().all(|task| task.states[0] == v1::TaskState::Initializing), "{case}");
        assert_eq!(memory.totals(), expected, "{case}");
        assert_eq!(memory.finished.load(SeqCst), 1);
        let sum = |stage: u32, counter: fn(&v1::SubtaskCounters) -> u64| {
            tasks.iter().filter(|(key, _)| key.2 == stage).map(|(_, task)| counter(&task.counters)).sum::<u64>()
        };
        assert_eq!(sum(0, |counters| counters.records_in), 50_000, "{case}");
        assert_eq!(sum(1, |counters| counters.records_in), 50_000, "{case}");
        assert_eq!(sum(1, |counters| counters.records_out), sum(2, |counters| counters.records_out), "{case}");
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_subtask_slows_the_source_and_loses_nothing() {
    let (memory, expected) = Memory::with_random_records(300_000, 2, 5);
    memory.operator_gate.shut();
    let mut cluster = Cluster::start(2, &memory, CHANNEL_BYTES).await;
    let count = cluster.jobmanager.deploy(JOB, 1, &pipeline("held", 2, true), &memory.splits()).await;
    cluster
        .jobmanager
        .wait_until("both sources held up for 300 ms", |seen| {
            let sources = seen.tasks.iter().filter(|(key, _)| key.2 == 0);
            sources.filter(|(_, task)| task.counters.backpressured_ms >= 300).count() == 2
        })
        .await;
    let read = memory.records_read.load(SeqCst);
    // Four channels of events, and in each of the four tasks one batch in hand and what it became; an entry takes more than
    // 20 bytes on either side.
    let bound = (4 * CHANNEL_BYTES as u64 + 4 * 2 * CHANNEL_BYTES as u64) / 20;
    assert!(read < bound, "{read} records were read, {bound} may be under way");
    memory.operator_gate.open();
    cluster.jobmanager.finish(JOB, 1, (2, count), ONLY).await;
    assert_eq!(memory.totals(), expected);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_sink_slows_nobody_and_what_it_owes_is_told() {
    let (memory, expected) = Memory::with_random_records(20_000, 2, 5);
    memory.sink_gate.shut();
    let mut cluster = Cluster::start(2, &memory, CHANNEL_BYTES).await;
    let count = cluster.jobmanager.deploy(JOB, 1, &pipeline("echo", 2, true), &memory.splits()).await;
    let seen = cluster
        .jobmanager
        .wait_until("all rows at the committer", |seen| {
            sink(seen).is_some_and(|task| task.counters.records_in == 20_000)
        })
        .await;
    let counters = sink(&seen).unwrap().counters.clone();
    assert_eq!((counters.unpublished_bytes, counters.records_out), (counters.bytes_in, 0));
    memory.sink_gate.open();
    cluster.jobmanager.finish(JOB, 1, (2, count), ONLY).await;
    assert_eq!(memory.totals(), expected);
    cluster.stop().await;
}

fn sink(seen: &Seen) -> Option<&Task> {
    seen.tasks.get(&(JOB.to_string(), 1, 2, 0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canceled_tasks_end_at_once_and_free_their_slots() {
    let (memory, _) = Memory::with_random_records(10_000, 2, 9);
    let mut cluster = Cluster::start(2, &memory, CHANNEL_BYTES).await;
    for attempt in 1..=2 {
        let count = cluster.jobmanager.deploy(JOB, attempt, &pipeline("echo", 4, false), &memory.splits()).await;
        cluster.jobmanager.wait_for_running(JOB, attempt, count).await;
        let started = tokio::time::Instant::now();
        cluster.jobmanager.cancel(JOB, attempt).await;
        let tasks = cluster.jobmanager.wait_for_end(JOB, attempt, count).await;
        assert!(started.elapsed() < DEADLINE / 10, "{:?}", started.elapsed());
        assert!(tasks.values().all(|task| task.state() != v1::TaskState::Finished), "{tasks:#?}");
        // One taskmanager hears of it first; its neighbour may notice that before it hears, and be the one that fails.
        assert!(tasks.values().any(|task| task.state() == v1::TaskState::Canceled), "{tasks:#?}");
    }
    assert_eq!((memory.finished.load(SeqCst), memory.dropped.load(SeqCst)), (0, 2));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_fails_its_task_only_and_the_taskmanager_goes_on() {
    let memory = Memory::default();
    memory.records.lock().unwrap().insert("split/0".to_owned(), vec!["boom@1".to_owned()]);
    let mut cluster = Cluster::start(1, &memory, CHANNEL_BYTES).await;
    let count = cluster.jobmanager.deploy(JOB, 1, &pipeline("count", 1, false), &memory.splits()).await;
    let seen = cluster
        .jobmanager
        .wait_until("a failure", |seen| seen.tasks.values().any(|task| task.state() == v1::TaskState::Failed))
        .await;
    let failed: Vec<_> = seen.tasks.values().filter(|task| task.state() == v1::TaskState::Failed).collect();
    assert_eq!(failed.len(), 1, "{:#?}", seen.tasks);
    assert!(failed[0].causes[0].starts_with("panicked: ") && failed[0].causes[0].contains("boom"), "{failed:?}");
    cluster.jobmanager.cancel(JOB, 1).await;
    cluster.jobmanager.wait_for_end(JOB, 1, count).await;

    memory.records.lock().unwrap().insert("split/0".to_owned(), vec!["fine@1".to_owned()]);
    let count = cluster.jobmanager.deploy(JobId(2), 1, &pipeline("count", 1, true), &memory.splits()).await;
    cluster.jobmanager.finish(JobId(2), 1, (1, count), ONLY).await;
    assert_eq!(memory.totals(), BTreeMap::from([("fine".to_owned(), 1)]));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_taskmanager_fails_its_neighbours_and_is_named() {
    let (memory, _) = Memory::with_random_records(10_000, 2, 9);
    let mut cluster = Cluster::start(2, &memory, CHANNEL_BYTES).await;
    let count = cluster.jobmanager.deploy(JOB, 1, &pipeline("echo", 2, false), &memory.splits()).await;
    cluster.jobmanager.wait_for_running(JOB, 1, count).await;
    // Running does not mean connected: a subtask can lose only a neighbour whose stream is open, as all are by then.
    cluster
        .jobmanager
        .wait_until("all records at the subtasks behind the sources", |seen| {
            let behind = seen.tasks.iter().filter(|((_, _, stage, _), _)| *stage == 1);
            behind.map(|(_, task)| task.counters.records_in).sum::<u64>() == 10_000
        })
        .await;
    cluster.taskmanagers.pop().unwrap().stop().await.unwrap();
    let tasks = cluster.jobmanager.wait_for_end(JOB, 1, count).await;
    let causes: Vec<_> = tasks.values().filter_map(|task| task.causes.first().cloned()).collect();
    assert!(!causes.is_empty(), "{tasks:#?}");
    for cause in causes {
        assert!(cause.starts_with("lost the ") && cause.ends_with("] on `tm-1`"), "{cause}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_deployments_say_why() {
    let memory = Memory::default();
    let mut cluster = Cluster::start(1, &memory, CHANNEL_BYTES).await;
    let first = cluster.jobmanager.deploy(JOB, 1, &pipeline("count", 1, false), &[]).await;
    cluster.jobmanager.wait_for_running(JOB, 1, first).await;

    let mut unreachable_sink = pipeline("count", 1, true);
    unreachable_sink.sink.uri = "nowhere:".to_owned();
    let mut too_wide = pipeline("count", 1, true);
    too_wide.stages.remove(2);
    let cases = [
        (
            pipeline("no-such-job", 1, true),
            "this taskmanager knows no job `no-such-job`: it knows `count`, `echo`, `held`",
        ),
        (pipeline("count", 1, true), "slot 0 is still held by attempt 1 of job 00000000000000000000000000000abc"),
        (too_wide, "the deployment cannot be run"),
    ];
    for (job, (pipeline, expected)) in (10..).zip(cases) {
        let count = cluster.jobmanager.deploy(JobId(job), 1, &pipeline, &[]).await;
        let tasks = cluster.jobmanager.wait_for_end(JobId(job), 1, count).await;
        for task in tasks.values() {
            assert_eq!((task.state(), task.causes[0].as_str()), (v1::TaskState::Failed, expected));
        }
    }
    cluster.jobmanager.cancel(JOB, 1).await;
    cluster.jobmanager.wait_for_end(JOB, 1, first).await;
    let seen = cluster.jobmanager.deploy(JobId(20), 1, &unreachable_sink, &[]).await;
    assert_eq!(seen, 3);
    cluster
        .jobmanager
        .wait_until("the sink's failure", |seen| {
            let mut causes = seen.tasks.values().flat_map(|task| &task.causes);
            causes.any(|cause| cause == "cannot reach `nowhere:`: check --sink")
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn splits_found_later_are_read_too() {
    let memory = Memory::default();
    memory.records.lock().unwrap().insert("split/7".to_owned(), vec!["late@1".to_owned()]);
    let mut cluster = Cluster::start(1, &memory, CHANNEL_BYTES).await;
    let count = cluster.jobmanager.deploy(JOB, 1, &pipeline("echo", 1, false), &[]).await;
    cluster.jobmanager.wait_for_running(JOB, 1, count).await;
    let task =
        |attempt| v1::TaskRef { job_id: JOB.to_string(), attempt, subtask: Some(v1::SubtaskId { stage: 0, index: 0 }) };
    for attempt in [0, 1, 1] {
        let splits = vec![v1::Split::from(&split("split/7"))];
        let assign = v1::AssignSplits { task: Some(task(attempt)), splits };
        cluster.jobmanager.send("tm-0", v1::job_manager_message::Message::AssignSplits(assign)).await;
    }
    cluster
        .jobmanager
        .wait_until("the row", |seen| {
            seen.tasks.get(&(JOB.to_string(), 1, 2, 0)).is_some_and(|sink| sink.counters.records_in == 1)
        })
        .await;
    cluster.jobmanager.checkpoint(JOB, 1, ONLY, count).await;
    cluster.jobmanager.complete(JOB, 1, ONLY).await;
    cluster.jobmanager.wait_for_end(JOB, 1, count).await;
    assert_eq!(memory.totals(), BTreeMap::from([("late".to_owned(), 1)]));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobmanager_of_another_version_ends_the_taskmanager_with_its_reason() {
    let refusal = tonic::Status::failed_precondition("version `9.9.9` cannot join version `0.1.0`");
    let jobmanager = harness::jobmanager::JobManager::start("127.0.0.1:0", Some(refusal)).await;
    let taskmanager = TaskManager::start("tm", &jobmanager.address, &Memory::default(), CHANNEL_BYTES).await;
    let error = taskmanager.wait().await.unwrap_err().to_string();
    let expected = format!(
        "the jobmanager at `{}` refuses this taskmanager: version `9.9.9` cannot join version `0.1.0`",
        jobmanager.address
    );
    assert_eq!(error, expected);
}
