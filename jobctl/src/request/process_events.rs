//! `process_events`.

use std::num::NonZeroU32;
use std::time::Duration;

use job_process_events::options::{DEFAULT_CACHED_IPS, DEFAULT_TABLE, Options};
use job_process_events::{ProcessEvents, pipeline};
use stream_core::pipeline::LookupSpec;
use stream_core::secret::Secret;

use super::running::running;
use super::{Given, JobArgs, JobRequest, Place, sink, source};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

/// Where the API is.
const API: &str = "https://api.ip2location.io/";
/// Its key, by the name that the job's Flink version gave it.
const KEY: &str = "IP_CODING_KEY";
/// The most ips to keep: about 1 GB.
const MAX_CACHED_IPS: u64 = 10_000_000;

impl JobArgs for args::ProcessEvents {
    fn request(&self, environment: &Environment, place: Place) -> Result<JobRequest, Failure> {
        let given = |flag, typed| Given::find(flag, typed, environment);
        let max_future =
            given("--max-future", &self.max_future).map_or(Ok(Duration::ZERO), |given| given.duration())?;
        let running = running(&self.running, environment, place)?;
        let cached_ips =
            given("--geo-cache", &self.geo_cache).map_or(Ok(DEFAULT_CACHED_IPS), |given| cached(&given))?;
        let options = Options { on_bad_record: running.on_bad_record, cached_ips };
        let lookup = lookup(self, environment)?;

        // No row waits for event time to pass, so nothing depends on how it does.
        let times = source::Times { max_future, ..source::Times::default() };
        let source = source::spec(&self.source, environment, place, ProcessEvents::NAME, times)?;
        let table = given("--table", &self.table).map_or(DEFAULT_TABLE.to_owned(), |given| given.text);
        let sink = sink::spec(&self.sink, environment, place, table, pipeline::columns())?;
        let (parallelism, max_parallelism) = (running.parallelism, running.max_parallelism);
        let warning = lookup.is_none().then(|| {
            format!("no locations: every geodata will be `{{}}`. Pass --geo-db FILE.mmdb, or set {KEY} for {API}")
        });
        let pipeline = pipeline::pipeline(options, parallelism, max_parallelism, source, sink, lookup);
        Ok(JobRequest { warning, ..running.request(pipeline)? })
    }
}

/// A file goes before the API, which costs money.
fn lookup(args: &args::ProcessEvents, environment: &Environment) -> Result<Option<LookupSpec>, Failure> {
    if let Some(given) = Given::find("--geo-db", &args.geo_db, environment) {
        let uri = format!("mmdb:{}", environment.folder.join(given.text).to_string_lossy());
        return Ok(Some(LookupSpec { uri, properties: [].into(), secrets: [].into() }));
    }
    let Some(key) = environment.get(KEY) else { return Ok(None) };
    let url = Given::find("--geo-url", &args.geo_url, environment).map_or(API.to_owned(), |given| given.text);
    let mut lookup = LookupSpec {
        uri: format!("ip2location:{url}"),
        properties: [].into(),
        secrets: [("key".to_owned(), Secret::new(key))].into(),
    };
    let mut set = |name: &str, given: &Given| drop(lookup.properties.insert(name.to_owned(), given.text.clone()));
    if let Some(given) = Given::find("--geo-rate", &args.geo_rate, environment) {
        if !given.text.parse::<f64>().is_ok_and(|rate| rate > 0.0 && rate.is_finite()) {
            return Err(given.not("a number of calls a second", "write for instance `20` or `0.5`"));
        }
        set("rate", &given);
    }
    for (name, flag, typed) in
        [("timeout", "--geo-timeout", &args.geo_timeout), ("deadline", "--geo-deadline", &args.geo_deadline)]
    {
        let Some(given) = Given::find(flag, typed, environment) else { continue };
        if given.duration()?.is_zero() {
            return Err(given.not("a time in which anybody could answer", "write for instance `2s`"));
        }
        set(name, &given);
    }
    Ok(Some(lookup))
}

fn cached(given: &Given) -> Result<NonZeroU32, Failure> {
    let number = given.number("a number of ips", MAX_CACHED_IPS)?;
    u32::try_from(number)
        .ok()
        .filter(|&number| u64::from(number) <= MAX_CACHED_IPS)
        .and_then(NonZeroU32::new)
        .ok_or_else(|| given.not("a number of ips", &format!("choose from 1 to {MAX_CACHED_IPS}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use stream_core::pipeline::Pipeline;

    use super::*;
    use crate::args::{Args, Command, SubmitJob};

    fn submit(line: &str, variables: &[(&str, &str)]) -> Result<JobRequest, String> {
        let line = format!("jobctl submit process_events {line}");
        let args = Args::try_parse_from(line.split_whitespace()).expect("a line that clap takes");
        let Command::Submit { job: SubmitJob::ProcessEvents(submit) } = args.command else { panic!("another command") };
        submit.job.request(&Environment::of(variables), Place::Cluster).map_err(|failure| failure.message)
    }

    fn pipeline(line: &str, variables: &[(&str, &str)]) -> Pipeline {
        submit(line, variables).expect("valid").pipeline
    }

    #[test]
    fn without_options_it_is_the_local_cluster_and_warns_that_no_location_is_known() {
        let JobRequest { pipeline, warning, .. } = submit("", &[]).expect("valid");
        assert_eq!(pipeline.options, r#"{"on_bad_record":"dead-letter","cached_ips":100000}"#);
        assert_eq!((pipeline.sink.table.as_str(), pipeline.lookup), ("processed_events", None));
        assert_eq!(pipeline.sink.side_tables[0].name, "dead_letter_events");
        assert_eq!(pipeline.source.uri, "kafka://127.0.0.1:9092/bootcamp-events-prod");
        assert_eq!(pipeline.source.properties["group.id"], "gapwise-process_events");
        let warning = warning.expect("a warning");
        assert!(warning.contains("--geo-db") && warning.contains("IP_CODING_KEY"), "{warning}");
    }

    #[test]
    fn file_goes_before_the_api_and_becomes_absolute() {
        let lookup = pipeline("--geo-db geo/City.mmdb", &[("IP_CODING_KEY", "hunter2")]).lookup.expect("a look-up");
        assert_eq!((lookup.uri.as_str(), lookup.secrets.len()), ("mmdb:/here/geo/City.mmdb", 0));
        assert_eq!(submit("--geo-db /a.mmdb", &[]).expect("valid").warning, None);
    }

    #[test]
    fn api_has_its_key_from_the_environment_and_its_limits_from_either() {
        let line = "--geo-url http://127.0.0.1:1/ --geo-rate 0.5 --geo-timeout 1s --geo-deadline 5m --geo-cache 7";
        let of_line = pipeline(line, &[("IP_CODING_KEY", "hunter2")]);
        let lookup = of_line.lookup.clone().expect("a look-up");
        assert_eq!(lookup.uri, "ip2location:http://127.0.0.1:1/");
        assert_eq!(lookup.secrets["key"].expose(), "hunter2");
        let properties: Vec<_> = lookup.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(properties, ["deadline=5m", "rate=0.5", "timeout=1s"]);
        assert!(of_line.options.contains(r#""cached_ips":7"#) && !format!("{of_line:?}").contains("hunter2"));
        let variables = [
            ("IP_CODING_KEY", "hunter2"),
            ("GAPWISE_GEO_URL", "http://127.0.0.1:1/"),
            ("GAPWISE_GEO_RATE", "0.5"),
            ("GAPWISE_GEO_TIMEOUT", "1s"),
            ("GAPWISE_GEO_DEADLINE", "5m"),
            ("GAPWISE_GEO_CACHE", "7"),
        ];
        assert_eq!(pipeline("", &variables), of_line);
        assert_eq!(
            pipeline("", &variables[..1]).lookup.expect("a look-up").uri,
            "ip2location:https://api.ip2location.io/"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (line, refusal) in [
            ("--geo-rate 0", "--geo-rate: `0` is not a number of calls a second: write for instance `20` or `0.5`"),
            (
                "--geo-timeout 0",
                "--geo-timeout: `0` is not a time in which anybody could answer: write for instance `2s`",
            ),
            ("--geo-cache 0", "--geo-cache: `0` is not a number of ips: choose from 1 to 10000000"),
        ] {
            let refused = submit(line, &[("IP_CODING_KEY", "k")]).expect_err("refused");
            assert_eq!(refused, refusal);
        }
    }
}
