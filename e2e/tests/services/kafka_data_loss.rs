//! What a reader makes of a partition that has lost records: an error, or a jump that reads nothing twice.

use anyhow::{Context, Result, ensure};
use connectors::kafka::ON_DATA_LOSS;
use localcluster::deadline::Deadline;
use stream_core::ids::SplitId;
use stream_core::pipeline::{SourceSpec, Split, StartPosition};
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, Connectors};

use crate::kafka_source::{Kafka, LIMIT, Told, connectors, numbers, read_until};

pub(crate) async fn clauses(kafka: &Kafka) -> Result<()> {
    behind_a_lost_tail_it_reads_on_from_the_end_and_nothing_twice(kafka)
        .await
        .context("behind a lost tail it reads on from the end and nothing twice")?;
    a_bounded_read_of_a_topic_that_is_shorter_now_ends_or_fails(kafka)
        .await
        .context("a bounded read of a topic that is shorter now ends or fails")?;
    behind_deleted_records_it_reads_on_from_the_first_that_is_there(kafka)
        .await
        .context("behind deleted records it reads on from the first that is there")
}

async fn behind_a_lost_tail_it_reads_on_from_the_end_and_nothing_twice(kafka: &Kafka) -> Result<()> {
    // As behind an unclean election: ten were read, and the leader has three.
    let read = made_anew(kafka, "tail", 10, 3).await?;
    let split = Split { end: None, start: 10, ..read };
    let source = tolerant(kafka.source("tail", StartPosition::Earliest, false, "g"));
    let mut reader = connectors().open_source(&source, &[split])?;
    let mut told = Told::default();
    read_until(reader.as_mut(), &mut told, |told| told.next.get(&0) == Some(&3))?;
    kafka.produce("tail", 100..105)?;
    read_until(reader.as_mut(), &mut told, |told| told.records.len() >= 5)?;
    ensure!(told.texts() == numbers(100..105), "{told:?}");
    Ok(())
}

async fn a_bounded_read_of_a_topic_that_is_shorter_now_ends_or_fails(kafka: &Kafka) -> Result<()> {
    let split = made_anew(kafka, "shorter", 10, 3).await?;
    ensure!(split.end == Some(10), "{split:?}");
    let strict = kafka.source("shorter", StartPosition::Earliest, true, "g");
    let source = tolerant(strict.clone());
    for (start, texts) in [(0, 0..3), (3, 0..0), (7, 0..0)] {
        let mut told = Told::default();
        let mut reader = connectors().open_source(&source, &[Split { start, ..split.clone() }])?;
        read_until(reader.as_mut(), &mut told, |told| told.finished.len() == 1)
            .with_context(|| format!("from {start}"))?;
        ensure!(told.texts() == numbers(texts), "from {start}: {told:?}");

        let mut reader = connectors().open_source(&strict, &[Split { start, ..split.clone() }])?;
        let error = read_until(reader.as_mut(), &mut Told::default(), |_| false).unwrap_err();
        let error: ConnectorError = error.downcast()?;
        ensure!(
            error.kind == ConnectorErrorKind::DataLoss && error.message.contains("shorter/0"),
            "from {start}: {error}"
        );
    }
    Ok(())
}

async fn behind_deleted_records_it_reads_on_from_the_first_that_is_there(kafka: &Kafka) -> Result<()> {
    kafka.admin()?.create_topic("head", 1).await?;
    kafka.produce("head", 0..10)?;
    kafka.admin()?.delete_records("head", 0, 5).await?;
    let source = tolerant(kafka.source("head", StartPosition::Earliest, false, "g"));
    let split = Split { id: SplitId("head/0".to_owned()), start: 2, end: None };
    let mut reader = connectors().open_source(&source, &[split])?;
    let mut told = Told::default();
    read_until(reader.as_mut(), &mut told, |told| told.records.len() >= 5)?;
    ensure!(told.texts() == numbers(5..10), "{told:?}");
    Ok(())
}

/// A topic with one partition and so many records, and then another of the same name with others; the split of the first.
async fn made_anew(kafka: &Kafka, topic: &str, before: i64, behind: i64) -> Result<Split> {
    kafka.admin()?.create_topic(topic, 1).await?;
    kafka.produce(topic, 0..before)?;
    let splits = connectors().discover(&kafka.source(topic, StartPosition::Earliest, true, "g")).await?;
    kafka.admin()?.delete_topic(topic).await?;
    let deadline = Deadline::after(LIMIT);
    while kafka.admin()?.topics().await?.iter().any(|name| name == topic) {
        ensure!(!deadline.has_passed(), "the topic is still there");
    }
    kafka.admin()?.create_topic(topic, 1).await?;
    kafka.produce(topic, 0..behind)?;
    splits.into_iter().next().context("one partition")
}

fn tolerant(mut source: SourceSpec) -> SourceSpec {
    source.properties.insert(ON_DATA_LOSS.to_owned(), "earliest".to_owned());
    source
}
