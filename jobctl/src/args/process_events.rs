//! `process_events`.

use clap::Args as ClapArgs;

use super::{Running, Sink, Source};

pub(super) const SUBMIT_HELP: &str = "\
Each event becomes one row of ip, event_timestamp, referrer, host, url and geodata: a JSON object of country, state and city, or \
`{}` where the location is not known. With --geo-db it is looked up in a file, else, if IP_CODING_KEY is set, by the API of \
ip2location.io: once for each ip that is not in the cache, within the limits below. What the API does not tell in time has `{}`.

Where an option is not given, the environment of the job's Flink version works as it is: KAFKA_URL, KAFKA_TOPIC, \
KAFKA_GROUP, KAFKA_WEB_TRAFFIC_KEY with KAFKA_WEB_TRAFFIC_SECRET (SASL_SSL, PLAIN), POSTGRES_URL (also with `jdbc:` before \
it), POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, IP_CODING_KEY. Without any, source and sink are those of `make up`.

Examples:
  jobctl submit process_events --geo-db GeoLite2-City.mmdb
  IP_CODING_KEY=… jobctl submit process_events --geo-rate 5 --geo-deadline 1m
  jobctl submit process_events --parallelism 3 --until latest --wait
  jobctl submit process_events --source kafka://broker:9092/events --sink postgres://me@db/web";

pub(super) const RUN_HELP: &str = "\
Examples:
  jobctl run process_events --geo-db GeoLite2-City.mmdb --source file:events.jsonl --sink csv:events.csv
  zcat events.jsonl.gz | jobctl run process_events --source stdin: > events.csv";

/// The options of the job, its source and its sink. All are texts, and all may come from the environment instead.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct ProcessEvents {
    /// How far an event may be ahead of this cluster's clock before it is bad; 0 for any distance [default: 0]
    /// [env: GAPWISE_MAX_FUTURE]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) max_future: Option<String>,
    #[command(flatten)]
    pub(crate) running: Running,
    /// A database of locations in MaxMind's format, at this path on every machine; read again when it changes
    /// [env: GAPWISE_GEO_DB]
    #[arg(long, value_name = "FILE", help_heading = "Locations")]
    pub(crate) geo_db: Option<String>,
    /// Where the API is [default: https://api.ip2location.io/] [env: GAPWISE_GEO_URL]
    #[arg(long, value_name = "URL", help_heading = "Locations")]
    pub(crate) geo_url: Option<String>,
    /// How often the job may call the API, in calls a second [default: 20] [env: GAPWISE_GEO_RATE]
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Locations")]
    pub(crate) geo_rate: Option<String>,
    /// How long one call may take [default: 2s] [env: GAPWISE_GEO_TIMEOUT]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, help_heading = "Locations")]
    pub(crate) geo_timeout: Option<String>,
    /// How long an event may wait for its location, with all calls that it takes; also how long a barrier at the end of the
    /// input may be held up [default: 30s] [env: GAPWISE_GEO_DEADLINE]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, help_heading = "Locations")]
    pub(crate) geo_deadline: Option<String>,
    /// How many ips' locations each subtask keeps in memory [default: 100000] [env: GAPWISE_GEO_CACHE]
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Locations")]
    pub(crate) geo_cache: Option<String>,
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) sink: Sink,
    /// The table [default: processed_events] [env: GAPWISE_TABLE]
    #[arg(long, value_name = "TABLE", help_heading = "Sink")]
    pub(crate) table: Option<String>,
}
