use std::time::Duration;

use jobmanager::Options;
use proto::v1;
use proto::v1::task_manager_message::Message;
use tonic::Code;

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, options, refusal};
use crate::taskmanager::{TaskManager, register};

#[tokio::test]
async fn registered_taskmanager_is_listed_with_its_slots() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    assert_eq!(jobmanager.taskmanagers().await, []);
    let _b = TaskManager::join(jobmanager.address, "tm-b", 2).await;
    let _a = TaskManager::join(jobmanager.address, "tm-a", 3).await;
    let listed = jobmanager.taskmanagers().await;
    assert_eq!(
        listed.iter().map(|tm| (tm.id.as_str(), tm.slots, tm.free_slots)).collect::<Vec<_>>(),
        [("tm-a", 3, 3), ("tm-b", 2, 2)]
    );
    assert_eq!((listed[0].exchange_address.as_str(), listed[0].pid), ("tm-a.example:7000", 42));
    assert!(listed[0].registered_ms > 1_600_000_000_000);
    let cluster = jobmanager.cluster().await;
    assert_eq!((cluster.taskmanagers, cluster.slots, cluster.free_slots, cluster.running_jobs), (2, 5, 5, 0));
    assert_eq!((cluster.version.as_str(), cluster.pid), (proto::VERSION, std::process::id()));
}

#[tokio::test]
async fn taskmanager_of_another_version_is_refused_by_name() {
    let jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let other = Message::Register(v1::Register { version: "9.9.9".to_owned(), ..register("tm-1", 1) });
    let (code, message) = refusal(TaskManager::try_join(jobmanager.address, other).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("`9.9.9`") && message.contains(proto::VERSION), "{message}");
}

#[tokio::test]
async fn odd_registrations_are_refused() {
    let jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    for first in [
        Message::Heartbeat(v1::Heartbeat::default()),
        Message::Register(register("", 1)),
        Message::Register(register("tm-1", 0)),
        Message::Register(v1::Register { exchange_address: String::new(), ..register("tm-1", 1) }),
    ] {
        let (code, message) = refusal(TaskManager::try_join(jobmanager.address, first).await);
        assert_eq!(code, Code::InvalidArgument, "{message}");
    }
}

#[tokio::test]
async fn taskmanager_that_registers_again_replaces_itself() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut old = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    let mut new = TaskManager::join(jobmanager.address, "tm-1", 4).await;
    assert_eq!(old.next_command().await, None);
    assert_eq!(jobmanager.cluster().await.slots, 4);
    // The end of the old connection is not the loss of the new one.
    drop(old);
    jobmanager.submit(&crate::jobmanager::pipeline(4)).await.unwrap();
    assert_eq!(new.next_deploy().await.tasks.len(), 9);
}

#[tokio::test]
async fn taskmanager_whose_connection_ends_is_lost() {
    let mut jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    drop(taskmanager);
    jobmanager.wait_for_cluster(|cluster| cluster.taskmanagers == 0 && cluster.slots == 0).await;
}

#[tokio::test]
async fn silent_taskmanager_is_lost_and_disconnected() {
    let options = Options {
        heartbeat_interval: Duration::from_millis(50),
        heartbeat_timeout: Duration::from_millis(500),
        ..options()
    };
    let mut jobmanager = Jobmanager::start(options, FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    taskmanager.fall_silent();
    assert_eq!(taskmanager.next_command().await, None);
    assert_eq!(jobmanager.cluster().await.taskmanagers, 0);
}

#[tokio::test]
async fn message_that_makes_no_sense_ends_the_connection() {
    let jobmanager = Jobmanager::start(options(), FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 2).await;
    taskmanager.tell(Message::TaskStateChange(v1::TaskStateChange::default())).await;
    assert_eq!(taskmanager.next_command().await, None);
}
