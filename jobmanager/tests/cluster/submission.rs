use std::time::Duration;

use jobmanager::Options;
use stream_core::pipeline::Pipeline;
use stream_runtime::connector::ConnectorErrorKind;
use tonic::Code;

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, PASSWORD, options, pipeline, refusal};
use crate::taskmanager::TaskManager;
use proto::v1;

#[tokio::test]
async fn each_taskmanager_is_sent_its_tasks_of_the_plan() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(4)).await;
    let mut a = TaskManager::join(jobmanager.address, "tm-a", 2).await;
    let mut b = TaskManager::join(jobmanager.address, "tm-b", 2).await;
    let id = jobmanager.submit(&pipeline(3)).await.unwrap();

    let (to_a, to_b) = (a.next_deploy().await, b.next_deploy().await);
    assert_eq!(
        shown(&to_a),
        [
            "0[0] slot 0 events/0 events/3",
            "0[2] slot 1 events/2",
            "1[0] slot 0 0..43",
            "1[2] slot 1 86..128",
            "2[0] slot 0"
        ]
    );
    assert_eq!(shown(&to_b), ["0[1] slot 0 events/1", "1[1] slot 0 43..86"]);

    assert_eq!((to_a.job_id.as_str(), to_a.attempt), (id.as_str(), 1));
    assert_eq!(to_a.locations, to_b.locations);
    assert_eq!(to_a.locations.len(), 7);
    let second = &to_a.locations[1];
    assert_eq!((second.taskmanager_id.as_str(), second.exchange_address.as_str()), ("tm-b", "tm-b.example:7000"));
    // Whoever runs it needs the secrets.
    assert_eq!(Pipeline::try_from(to_a.pipeline.unwrap()), Ok(pipeline(3)));
    assert_eq!(jobmanager.cluster().await.free_slots, 1);
}

fn shown(deploy: &v1::Deploy) -> Vec<String> {
    let show = |task: &v1::TaskDeployment| {
        let subtask = task.subtask.unwrap();
        let groups = task.key_groups.map_or(String::new(), |range| format!(" {}..{}", range.start, range.end));
        let splits: String = task.splits.iter().map(|split| format!(" {}", split.id)).collect();
        format!("{}[{}] slot {}{groups}{splits}", subtask.stage, subtask.index, task.slot)
    };
    deploy.tasks.iter().map(show).collect()
}

#[tokio::test]
async fn job_without_enough_slots_is_refused_and_the_next_one_is_not() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let (code, message) = refusal(jobmanager.submit(&pipeline(1)).await);
    assert_eq!((code, message.contains("0 of 0 are free")), (Code::ResourceExhausted, true), "{message}");

    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 4).await;
    jobmanager.submit(&pipeline(3)).await.unwrap();
    taskmanager.next_deploy().await;
    assert_eq!(
        refusal(jobmanager.submit(&pipeline(3)).await),
        (
            Code::ResourceExhausted,
            "no free slot: the job needs 3, 1 of 4 is free; cancel a job, choose a lower `--parallelism` or start \
             another taskmanager"
                .to_owned()
        )
    );
    jobmanager.submit(&pipeline(1)).await.unwrap();
    assert_eq!(taskmanager.next_deploy().await.tasks[0].slot, 3);
}

#[tokio::test]
async fn what_is_wrong_in_itself_is_refused() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let _taskmanager = TaskManager::join(jobmanager.address, "tm-1", 400).await;
    let mut headless = pipeline(1);
    headless.stages.remove(0);
    let mut telltale = pipeline(1);
    telltale.sink.uri = format!("postgres://user:{PASSWORD}@127.0.0.1/db");
    for (name, pipeline, expected) in [
        ("Not A Name", pipeline(1), "`Not A Name` is not a job name"),
        ("toy", pipeline(129), "parallelism 129 is above max parallelism 128: choose `--parallelism` from 1 to 128"),
        ("toy", headless, "a pipeline needs a source first"),
        ("toy", telltale, "the sink's URI holds a user or a password"),
    ] {
        let (code, message) = refusal(jobmanager.submit_as(name, &pipeline).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains(expected) && !message.contains(PASSWORD), "{message}");
    }
    let request = v1::SubmitJobRequest::default();
    assert_eq!(refusal(jobmanager.client.submit_job(request).await).0, Code::InvalidArgument);
    assert_eq!(jobmanager.cluster().await.free_slots, 400);
}

#[tokio::test]
async fn refusal_of_source_or_sink_tells_kind_and_reason_without_secrets() {
    for (kind, code) in [
        (ConnectorErrorKind::Invalid, Code::InvalidArgument),
        (ConnectorErrorKind::NotFound, Code::NotFound),
        (ConnectorErrorKind::Denied, Code::PermissionDenied),
        (ConnectorErrorKind::Mismatch, Code::FailedPrecondition),
        (ConnectorErrorKind::DataLoss, Code::DataLoss),
        (ConnectorErrorKind::Unreachable, Code::Unavailable),
        (ConnectorErrorKind::Failed, Code::Internal),
    ] {
        let connectors = FakeConnectors::with_partitions(1);
        let mut jobmanager = Jobmanager::start(options(), connectors.clone()).await;
        let _taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
        connectors.fail_sink(kind, &format!("table `t` refuses password {PASSWORD}"));
        assert_eq!(
            refusal(jobmanager.submit(&pipeline(1)).await),
            (code, "table `t` refuses password <secret>".to_owned())
        );
        connectors.fail_source(kind, "no topic `events`");
        assert_eq!(
            refusal(jobmanager.submit(&pipeline(1)).await),
            (code, "no topic `events`: broker said no".to_owned())
        );
        assert_eq!(jobmanager.cluster().await.free_slots, 1);
    }
}

#[tokio::test]
async fn source_that_never_answers_is_given_up_and_blocks_nobody_meanwhile() {
    let connectors = FakeConnectors::with_partitions(1);
    let options = Options { connector_timeout: Duration::from_millis(300), ..options() };
    let mut jobmanager = Jobmanager::start(options, connectors.clone()).await;
    let _taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    connectors.silence_source();
    let mut other = jobmanager.client.clone();
    let request = v1::SubmitJobRequest { pipeline: Some((&pipeline(1)).into()), ..Default::default() };
    let (submitted, cluster) = tokio::join!(other.submit_job(request), jobmanager.cluster());
    assert_eq!(cluster.taskmanagers, 1);
    let (code, message) = refusal(submitted);
    assert_eq!(code, Code::Unavailable);
    assert!(message.starts_with("the source `kafka://127.0.0.1:9092/events` did not answer within 300ms"), "{message}");
}
