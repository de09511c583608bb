//! The jobs that can be tormented: how each is submitted, and what its judges have to know.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use connectors::postgres::Client;
use e2e::cluster::Cluster;
use e2e::job::Job;
use e2e::location_api::{KEY, LocationApi, Manners};
use e2e::subject::Subject;
use e2e::traffic::PARTITIONS;

/// A service that fails and stalls. One that also says "not so fast", which halts all calls for a second, would answer too few for the
/// new ips of this traffic.
const MANNERS: Manners = Manners { failing: 30, stalling: 2, limiting: 0, latency: Duration::from_millis(20) };
/// Of so many rows of public ips one may have no location, because the service gave none in time.
const WITHOUT_LOCATION_OF: u64 = 10;

/// Which job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JobType {
    /// Sessions, with late, bad and future records among the events.
    #[value(name = "sessionize")]
    Sessionize,
    /// Each event with its location, from a service that fails and stalls.
    #[value(name = "process_events")]
    ProcessEvents,
}

impl JobType {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// The job with what it needs beside the cluster.
#[derive(Debug)]
pub(crate) enum Task {
    Sessionize,
    ProcessEvents(LocationApi),
}

impl Task {
    pub(crate) fn begin(job: JobType, seed: u64) -> Result<Task> {
        match job {
            JobType::Sessionize => Ok(Task::Sessionize),
            JobType::ProcessEvents => {
                let api = LocationApi::start(seed)?;
                api.behave(MANNERS);
                Ok(Task::ProcessEvents(api))
            }
        }
    }

    pub(crate) fn submit(&self, cluster: &Cluster, job: &Job, parallelism: u32) -> Result<()> {
        let Task::ProcessEvents(api) = self else { return job.submit(cluster, parallelism, &[]).map(drop) };
        let (url, parallelism) = (api.url(), parallelism.to_string());
        let args = [
            &["submit", "process_events", "--name", &job.name, "--parallelism", &parallelism][..],
            &["--checkpoint-interval", "1s", "--geo-url", &url, "--geo-rate", "2000", "--geo-timeout", "500ms"],
        ];
        let env = [("KAFKA_TOPIC", job.name.as_str()), ("POSTGRES_URL", &job.postgres_url), ("IP_CODING_KEY", KEY)];
        cluster.jobctl_with(&args.concat(), &env)?.ok().map(drop)
    }

    pub(crate) fn subject(&self) -> Subject {
        match self {
            Task::Sessionize => Subject::SESSIONS,
            Task::ProcessEvents(_) => Subject::ProcessedEvents,
        }
    }

    /// Events that stay open until the job is drained: the closing ones' sessions.
    pub(crate) fn open_at_the_end(&self) -> u64 {
        match self {
            Task::Sessionize => u64::from(PARTITIONS.unsigned_abs()),
            Task::ProcessEvents(_) => 0,
        }
    }

    /// What is wrong beside the rows.
    pub(crate) async fn failure(&self, sql: &mut Client) -> Option<String> {
        let Task::ProcessEvents(api) = self else { return None };
        match without_location(sql).await {
            Ok((rows, without)) if without * WITHOUT_LOCATION_OF <= rows => {
                eprintln!(
                    "{without} of {rows} rows of public ips without a location, {} calls for {} ips",
                    api.calls(),
                    api.ips()
                );
                None
            }
            Ok((rows, without)) => Some(format!("{without} of {rows} rows are without a location")),
            Err(error) => Some(format!("the locations could not be counted: {error:#}")),
        }
    }
}

/// Rows of public ips, and those without a location. Of the others nobody is asked.
async fn without_location(sql: &mut Client) -> Result<(u64, u64)> {
    let counted = "SELECT count(*), count(*) FILTER (WHERE geodata = '{}') FROM processed_events \
                   WHERE ip <> '0.0.0.0' AND ip NOT LIKE '10.%'";
    let row = sql.query_text(counted).await?.rows.concat();
    let count = |at: usize| row.get(at).and_then(Option::as_deref).context("a count").map(str::parse);
    Ok((count(0)??, count(1)??))
}
