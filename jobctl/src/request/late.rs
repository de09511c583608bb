//! Of which job late events can be replayed, and where.

use job_sessionize::Sessionize;
use job_sessionize::operator::Form;
use job_sessionize::options::Options;
use stream_core::pipeline::{Pipeline, SinkSpec};
use stream_core::session::Limits;
use web_intake::late_events::LATE_EVENTS;
use web_intake::side_table::is_named;

use super::Given;
use super::audit::sink_of;
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

/// Keys in a transaction.
const DEFAULT_BATCH_KEYS: u64 = 10_000;
const MAX_BATCH_KEYS: u64 = 1_000_000;

/// What a replay of late events asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LateReplayRequest {
    pub(crate) sink: SinkSpec,
    pub(crate) late_table: String,
    pub(crate) options: Options,
    pub(crate) batch_keys: u64,
}

/// The tables of a job, as they are reached from here.
///
/// # Errors
/// If the job has no late events that could be replayed, or a value cannot be.
pub(crate) fn late_replay(
    args: &args::LateReplay,
    environment: &Environment,
    pipeline: &Pipeline,
) -> Result<LateReplayRequest, Failure> {
    if pipeline.job != Sessionize::NAME {
        let (job, own) = (&pipeline.job, Sessionize::NAME);
        return Err(Failure::usage(format!(
            "late events of a job of type `{job}` cannot be replayed: it has no sessions, as `{own}` has"
        )));
    }
    if !pipeline.sink.uri.starts_with("postgres:") {
        let uri = &pipeline.sink.uri;
        return Err(Failure::usage(format!("the job writes to `{uri}`: only rows in Postgres can be corrected")));
    }
    let options = Options::from_json(&pipeline.options)
        .map_err(|error| Failure::failed("cannot read the job's options", &error))?;
    if options.form() == Form::DataStream {
        return Err(Failure::usage(
            "the job was submitted with --allowed-lateness: it publishes a session again for each late event, and no row tells \
             which are of one session; late events can be replayed of a job without it",
        ));
    }
    if options.windows().limits != Limits::NONE {
        return Err(Failure::usage(
            "the job was submitted with --max-session or --max-hits: its longest sessions stand there in parts, which a late event would put \
             together again; late events can be replayed of a job without them",
        ));
    }
    let late_table = pipeline.sink.side_tables.iter().find(|table| is_named(table, LATE_EVENTS));
    if let Some(outlet) = late_table.and_then(|table| table.outlet.as_ref()) {
        return Err(Failure::usage(format!(
            "late events of the job go into `{}` (--on-late): a replay takes them from table `{LATE_EVENTS}`; submit the job with \
             `--on-late dead-letter-table`, and those that come from then on can be replayed",
            outlet.uri
        )));
    }
    let late_table = late_table.map(|table| table.name.clone()).ok_or_else(|| {
        Failure::usage(
            "the job does not keep late events, it counts them (--on-late): submit it with `--on-late dead-letter-table`, and those \
             that come from then on can be replayed",
        )
    })?;
    let batch_keys = batch_keys(args, environment)?;
    Ok(LateReplayRequest { sink: sink_of(&args.sink, environment, &pipeline.sink)?, late_table, options, batch_keys })
}

fn batch_keys(args: &args::LateReplay, environment: &Environment) -> Result<u64, Failure> {
    let Some(given) = Given::find("--batch-keys", &args.batch_keys, environment) else { return Ok(DEFAULT_BATCH_KEYS) };
    let keys = given.number("a number of keys", MAX_BATCH_KEYS)?;
    let is_fit = (1..=MAX_BATCH_KEYS).contains(&keys);
    is_fit.then_some(keys).ok_or_else(|| given.not("a number of keys", &format!("choose from 1 to {MAX_BATCH_KEYS}")))
}

#[cfg(test)]
mod tests {
    use super::super::{JobArgs as _, Place};
    use super::*;

    fn asked(line: &str, job: &str) -> Result<LateReplayRequest, String> {
        use clap::Parser as _;
        let parsed = |line: &str| args::Args::try_parse_from(line.split_whitespace()).expect("a line that clap takes");
        let command = parsed(&format!("jobctl submit {job}")).command;
        let environment = Environment::default();
        let args::Command::Submit { job } = command else { panic!("another command") };
        let request = match job {
            args::SubmitJob::Sessionize(args) => args.job.request(&environment, Place::Cluster),
            args::SubmitJob::Aggregate(args) => args.job.request(&environment, Place::Cluster),
            _ => panic!("another job"),
        };
        let command = parsed(&format!("jobctl late replay web {line}")).command;
        let args::Command::Late { command: args::Late::Replay(args) } = command else { panic!("another command") };
        late_replay(&args, &environment, &request.expect("valid").pipeline).map_err(|failure| failure.message)
    }

    #[test]
    fn a_job_that_keeps_its_late_events_is_replayed_where_it_writes() {
        let request = asked("", "sessionize --table web.sessions").expect("valid");
        assert_eq!((request.late_table.as_str(), request.batch_keys), ("web.late_events", DEFAULT_BATCH_KEYS));
        assert_eq!((request.sink.table.as_str(), request.sink.columns.len()), ("web.sessions", 4));
        assert_eq!(asked("--batch-keys 7", "sessionize").expect("valid").batch_keys, 7);
    }

    #[test]
    fn what_cannot_be_replayed_says_why() {
        for (job, why) in [
            ("aggregate", "it has no sessions"),
            ("sessionize --sink csv:x.csv", "only rows in Postgres"),
            ("sessionize --on-late drop", "does not keep late events"),
            ("sessionize --on-late fail", "does not keep late events"),
            ("sessionize --on-late topic:late", "late events of the job go into `kafka://127.0.0.1:9092/late`"),
            ("sessionize --allowed-lateness 1s", "publishes a session again"),
            ("sessionize --max-session 24h", "stand there in parts"),
            ("sessionize --max-hits 1000", "stand there in parts"),
        ] {
            let refused = asked("", job).expect_err(job);
            assert!(refused.contains(why), "{job}: {refused}");
        }
        for keys in ["0", "1000001", "-1", "x"] {
            assert!(asked(&format!("--batch-keys {keys}"), "sessionize").is_err(), "{keys}");
        }
    }
}
