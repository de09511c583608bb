//! Where an audit looks, and as whom.
//!
//! What the jobmanager tells of a job is everything but its secrets, so those are found as `submit` finds them. An address
//! may differ, too: the job may know its database by a name that means nothing here.

use std::time::Duration;

use job_sessionize::Sessionize;
use stream_core::pipeline::{Pipeline, SinkSpec, SourceSpec};
use stream_core::secret::Secret;

use super::{Given, Place, sink, source};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

/// What an audit asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AuditRequest {
    pub(crate) source: SourceSpec,
    pub(crate) sink: SinkSpec,
}

/// Source and sink of a job, as they are reached from here.
///
/// # Errors
/// If the job cannot be audited, or a value cannot be.
pub(crate) fn audit(
    args: &args::Audit,
    environment: &Environment,
    pipeline: &Pipeline,
) -> Result<AuditRequest, Failure> {
    if pipeline.job != Sessionize::NAME {
        let message = format!(
            "a job of type `{}` cannot be audited: what an audit computes once more are sessions, those of `{}`",
            pipeline.job,
            Sessionize::NAME
        );
        return Err(Failure::usage(message));
    }
    let is_postgres = pipeline.sink.uri.starts_with("postgres:");
    if !is_postgres {
        let uri = &pipeline.sink.uri;
        return Err(Failure::usage(format!("the job writes to `{uri}`: only a table in Postgres can be audited")));
    }
    if args.replay && !pipeline.source.uri.starts_with("kafka:") {
        let uri = &pipeline.source.uri;
        return Err(Failure::usage(format!(
            "the job reads `{uri}`: only a topic in Kafka can be replayed; leave out --replay"
        )));
    }
    let source = if args.replay { source_of(args, environment, &pipeline.source)? } else { pipeline.source.clone() };
    Ok(AuditRequest { source, sink: sink_of(&args.sink, environment, &pipeline.sink)? })
}

/// The rows that stood in the table before.
///
/// # Errors
/// If that is no number.
pub(crate) fn rows_before(args: &args::Audit) -> Result<u64, Failure> {
    let Some(text) = &args.rows_before else { return Ok(0) };
    let given = Given { text: text.clone(), name: "--rows-before".to_owned() };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { text.parse().ok() } else { None };
    number.ok_or_else(|| given.not("a number of rows", "count those that stood in the table before the first job"))
}

fn source_of(args: &args::Audit, environment: &Environment, own: &SourceSpec) -> Result<SourceSpec, Failure> {
    let topic = own.uri.rsplit('/').next().unwrap_or_default();
    // Wherever the brokers are, the topic is the job's; where the job is to begin and end does not matter here.
    let environment = environment.with("KAFKA_TOPIC", topic).with("GAPWISE_FROM", "").with("GAPWISE_UNTIL", "");
    let is_elsewhere =
        args.source.is_some() || environment.get("GAPWISE_SOURCE").is_some() || environment.get("KAFKA_URL").is_some();
    let as_submitted = args::Source {
        source: if is_elsewhere { args.source.clone() } else { Some(own.uri.clone()) },
        kafka_property: args.kafka_property.clone(),
        ..args::Source::default()
    };
    let times = source::Times {
        watermark_delay: own.watermark_delay,
        idle_timeout: own.idle_timeout,
        max_future: own.max_future,
        // The order in which partitions are read is nothing to whoever counts again.
        max_drift: Duration::ZERO,
        close_when_idle: own.close_when_idle,
    };
    let found = source::spec(&as_submitted, &environment, Place::Cluster, Sessionize::NAME, times)?;
    if found.uri.rsplit('/').next() != Some(topic) || !found.uri.starts_with("kafka:") {
        return Err(Failure::usage(format!("the job reads topic `{topic}`, and `{}` is another", found.uri)));
    }
    let mut properties = own.properties.clone();
    properties.extend(found.properties);
    Ok(SourceSpec { uri: found.uri, properties, secrets: found.secrets, ..own.clone() })
}

/// A job's database, as it is reached from here; `given` is what was typed.
///
/// # Errors
/// If that is none.
pub(super) fn sink_of(given: &Option<String>, environment: &Environment, own: &SinkSpec) -> Result<SinkSpec, Failure> {
    let is_elsewhere =
        given.is_some() || environment.get("GAPWISE_SINK").is_some() || environment.get("POSTGRES_URL").is_some();
    let as_submitted = args::Sink { sink: if is_elsewhere { given.clone() } else { Some(own.uri.clone()) } };
    // The ledger knows the table by its name.
    let mut found = sink::spec(&as_submitted, environment, Place::Cluster, own.table.clone(), own.columns.clone())?;
    found.side_tables = own.side_tables.clone();
    if !found.uri.starts_with("postgres:") {
        return Err(Failure::usage(format!("the job publishes into Postgres, and `{}` is something else", found.uri)));
    }
    for (name, value) in &own.properties {
        found.properties.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if found.secrets.is_empty() && !is_elsewhere && sink::is_local(&own.uri) {
        found.secrets.insert("password".to_owned(), Secret::new(sink::LOCAL_PASSWORD));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::JobArgs as _;
    use super::*;

    fn args(line: &str) -> args::Audit {
        use clap::Parser as _;
        let line = format!("jobctl audit web {line}");
        let args = args::Args::try_parse_from(line.split_whitespace()).expect("a line that clap takes");
        let args::Command::Audit(audit) = args.command else { panic!("another command") };
        audit
    }

    /// As the jobmanager tells it.
    fn job(source: &str, sink: &str) -> Pipeline {
        let submitted = args::Sessionize {
            source: args::Source { source: Some(source.to_owned()), ..args::Source::default() },
            sink: args::Sink { sink: Some(sink.to_owned()) },
            table: Some("s.t".to_owned()),
            event_time: args::EventTime { watermark_delay: Some("7s".to_owned()), ..args::EventTime::default() },
            ..args::Sessionize::default()
        };
        let mut pipeline = submitted.request(&Environment::default(), Place::Cluster).expect("valid").pipeline;
        pipeline.source.secrets.clear();
        pipeline.sink.secrets.clear();
        pipeline
    }

    fn asked(line: &str, variables: &[(&str, &str)], pipeline: &Pipeline) -> Result<AuditRequest, String> {
        audit(&args(line), &Environment::of(variables), pipeline).map_err(|failure| failure.message)
    }

    fn password(sink: &SinkSpec) -> Option<&str> {
        sink.secrets.get("password").map(Secret::expose)
    }

    #[test]
    fn without_more_it_asks_where_the_job_does_with_the_secrets_of_the_environment() {
        let job = job("kafka://u:p@broker:9092/events", "postgres://me:pw@db:5432/web?sslmode=require");
        let variables =
            [("POSTGRES_PASSWORD", "mine"), ("KAFKA_WEB_TRAFFIC_KEY", "k"), ("KAFKA_WEB_TRAFFIC_SECRET", "s")];
        let asked = asked("--replay", &variables, &job).expect("valid");
        assert_eq!((asked.sink.uri.as_str(), asked.sink.table.as_str()), ("postgres://db:5432/web", "s.t"));
        assert_eq!((asked.sink.properties["user"].as_str(), password(&asked.sink)), ("me", Some("mine")));
        assert_eq!(asked.sink.properties["sslmode"], "require");
        assert_eq!(asked.source.uri, "kafka://broker:9092/events");
        assert_eq!(asked.source.secrets["sasl.password"].expose(), "s");
        assert_eq!(asked.source.watermark_delay, Duration::from_secs(7));
    }

    #[test]
    fn the_local_cluster_needs_no_password_and_no_other_gets_its() {
        let local = job("kafka://127.0.0.1:9092/events", "postgres://postgres@127.0.0.1:5432/postgres");
        assert_eq!(password(&asked("", &[], &local).expect("valid").sink), Some("postgres"));
        let far = job("kafka://127.0.0.1:9092/events", "postgres://postgres@db:5432/postgres");
        assert_eq!(password(&asked("", &[], &far).expect("valid").sink), None);
    }

    #[test]
    fn another_address_may_be_given_but_no_other_topic_table_or_kind() {
        let job = job("kafka://broker:9092/events", "postgres://me@db:5432/web");
        let variables = [
            ("KAFKA_URL", "localhost:1"),
            ("KAFKA_TOPIC", "another"),
            ("POSTGRES_URL", "jdbc:postgresql://localhost:2/web"),
        ];
        let found = asked("--replay", &variables, &job).expect("valid");
        assert_eq!(found.source.uri, "kafka://localhost:1/events");
        assert_eq!((found.sink.uri.as_str(), found.sink.table.as_str()), ("postgres://localhost:2/web", "s.t"));
        let refused = |line| asked(line, &[], &job).expect_err("refused");
        assert!(refused("--replay --source kafka://localhost:1/others").contains("reads topic `events`"));
        assert!(refused("--replay --source file:x").contains("reads topic `events`"));
        assert!(refused("--sink csv:x").contains("publishes into Postgres"));
    }

    #[test]
    fn what_has_no_ledger_in_postgres_or_cannot_be_read_again_is_refused() {
        let to_file = job("kafka://broker:9092/events", "csv:/tmp/x.csv");
        assert!(asked("", &[], &to_file).expect_err("refused").contains("only a table in Postgres can be audited"));
        let of_file = job("file:/tmp/x.jsonl", "postgres://me@db:5432/web");
        assert!(asked("--replay", &[], &of_file).expect_err("refused").contains("only a topic in Kafka"));
        assert!(asked("", &[], &of_file).is_ok());
        for job in ["process_events", "aggregate"] {
            let other = Pipeline { job: job.to_owned(), ..of_file.clone() };
            let refused = asked("", &[], &other).expect_err("refused");
            assert!(refused.contains(&format!("a job of type `{job}` cannot be audited")), "{refused}");
        }
        assert_eq!(rows_before(&args("--rows-before 12")), Ok(12));
        assert!(rows_before(&args("--rows-before -1")).is_err());
    }
}
