use std::sync::Arc;
use std::time::Duration;

use jobmanager::Options;
use proto::v1;
use proto::v1::task_manager_message::Message;
use proto::v1::{LogLevel, TaskState};
use stream_runtime::recent_logs::RecentLogs;
use tonic::{Code, Streaming};

use crate::connectors::FakeConnectors;
use crate::jobmanager::{Jobmanager, PASSWORD, options, pipeline, refusal, within};
use crate::taskmanager::TaskManager;

fn line(time_ms: i64, level: LogLevel, message: &str) -> v1::LogLine {
    let field = v1::LogField { name: "reason".to_owned(), value: format!("login {PASSWORD} refused") };
    let (level, message) = (level.into(), message.to_owned());
    v1::LogLine { time_ms, level, message, fields: vec![field], ..Default::default() }
}

fn logs(job: &str, lines: Vec<v1::LogLine>, missed: u64) -> Message {
    Message::JobLogs(v1::JobLogs { job_id: job.to_owned(), lines, missed })
}

fn keeping() -> Options {
    // So long waits whoever follows for what was logged at the same time: longer than a busy machine needs.
    Options { logs: Arc::new(RecentLogs::new(1 << 20)), heartbeat_interval: Duration::from_secs(1), ..options() }
}

/// Time, process and message of each line, until there are `count` or no more.
async fn read(lines: &mut Streaming<v1::ReadLogsResponse>, count: usize) -> Vec<(i64, String, String)> {
    let mut read = Vec::new();
    while read.len() < count {
        let Some(answer) = within(lines.message()).await.unwrap() else { break };
        assert!(!format!("{answer:?}").contains(PASSWORD), "{answer:?}");
        read.extend(answer.lines.into_iter().map(|line| (line.time_ms, line.process, line.message)));
    }
    read
}

fn said(time_ms: i64, process: &str, message: &str) -> (i64, String, String) {
    (time_ms, process.to_owned(), message.to_owned())
}

#[tokio::test]
async fn lines_of_all_taskmanagers_come_in_the_order_of_time_without_secrets_until_the_job_ends() {
    let mut jobmanager = Jobmanager::start(keeping(), FakeConnectors::with_partitions(1)).await;
    let mut taskmanager = TaskManager::join(jobmanager.address, "tm-1", 1).await;
    let other = TaskManager::join(jobmanager.address, "tm-2", 1).await;
    let id = jobmanager.submit(&pipeline(1)).await.unwrap();
    let deploy = taskmanager.next_deploy().await;
    taskmanager.tell(logs(&id, vec![line(5, LogLevel::Info, "b"), line(9, LogLevel::Warn, "d")], 0)).await;
    other.tell(logs(&id, vec![line(3, LogLevel::Info, "a"), line(7, LogLevel::Warn, "c")], 4)).await;

    let request = v1::ReadLogsRequest { job: id.clone(), ..Default::default() };
    let missing = "4 lines are missing: they were logged faster than they could be told";
    let expected = [
        said(3, "tm-2", missing),
        said(3, "tm-2", "a"),
        said(5, "tm-1", "b"),
        said(7, "tm-2", "c"),
        said(9, "tm-1", "d"),
    ];
    while read(&mut jobmanager.client.read_logs(request.clone()).await.unwrap().into_inner(), usize::MAX).await
        != expected
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let follow = v1::ReadLogsRequest { is_followed: true, ..request.clone() };
    let mut followed = jobmanager.client.read_logs(follow).await.unwrap().into_inner();
    assert_eq!(read(&mut followed, 5).await, expected);
    other.tell(logs(&id, vec![line(13, LogLevel::Info, "f")], 0)).await;
    taskmanager.tell(logs(&id, vec![line(11, LogLevel::Info, "e")], 0)).await;
    assert_eq!(read(&mut followed, 2).await, [said(11, "tm-1", "e"), said(13, "tm-2", "f")]);

    let warnings = v1::ReadLogsRequest { level: LogLevel::Warn.into(), ..request.clone() };
    let mut warnings = jobmanager.client.read_logs(warnings).await.unwrap().into_inner();
    let expected = [said(3, "tm-2", missing), said(7, "tm-2", "c"), said(9, "tm-1", "d")];
    assert_eq!(read(&mut warnings, usize::MAX).await, expected);
    let recent = v1::ReadLogsRequest { since_ms: Some(10), ..request };
    let mut recent = jobmanager.client.read_logs(recent).await.unwrap().into_inner();
    assert_eq!(read(&mut recent, usize::MAX).await, [said(11, "tm-1", "e"), said(13, "tm-2", "f")]);

    taskmanager.tell_all(&deploy, TaskState::Finished).await;
    assert_eq!(read(&mut followed, usize::MAX).await, []);
}

#[tokio::test]
async fn logs_of_a_job_that_is_not_known_are_refused() {
    let mut jobmanager = Jobmanager::start(keeping(), FakeConnectors::with_partitions(1)).await;
    let request = v1::ReadLogsRequest { job: "nightly".to_owned(), ..Default::default() };
    let unknown = (Code::NotFound, "no job `nightly`: `jobctl list` shows the jobs".to_owned());
    assert_eq!(refusal(jobmanager.client.read_logs(request).await), unknown);
}
