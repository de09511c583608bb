//! What the arguments of all jobs have in common: how wide a job runs, where it reads and writes, how it is submitted.

use clap::Args as ClapArgs;

/// A job's arguments, and what only `submit` takes.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Submit<J: ClapArgs> {
    #[command(flatten)]
    pub(crate) job: J,
    /// Where the job is to run: `flink=http://HOST:8083` is the SQL Gateway of a Flink cluster, which knows `sessionize`
    /// [default: the cluster of --jobmanager]
    #[arg(long, value_name = "CLUSTER", conflicts_with = "from_savepoint")]
    pub(crate) on: Option<String>,
    /// Waits until the job has ended, and ends as it did
    #[arg(long)]
    pub(crate) wait: bool,
    /// The savepoint to begin with; the job keeps the id that it had
    #[arg(long, value_name = "URI")]
    pub(crate) from_savepoint: Option<String>,
    /// Begins with that savepoint even if rows after it are published: they will be there twice
    #[arg(long, requires = "from_savepoint")]
    pub(crate) accept_duplicates: bool,
}

/// How a job runs, whatever it does.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Running {
    /// What becomes of a record that cannot be read: `dead-letter` keeps it in table `dead_letter_events`, `topic:NAME` in a topic of
    /// the cluster that the job reads from, `csv:PATH` or `jsonl:PATH` in a file, `skip` counts it, `fail` fails the job [default: dead-letter; with `run` skip]
    /// [env: GAPWISE_ON_BAD_RECORD]
    #[arg(long, value_name = "POLICY")]
    pub(crate) on_bad_record: Option<String>,
    /// Subtasks of each stage before the sink [default: 1] [env: GAPWISE_PARALLELISM]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) parallelism: Option<String>,
    /// Key groups, fixed for the job's life: the highest parallelism it can ever have [default: 128]
    /// [env: GAPWISE_MAX_PARALLELISM]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_parallelism: Option<String>,
    /// Time between two checkpoints, after each of which its rows are published [default: 10s; with `run` 1s]
    /// [env: GAPWISE_CHECKPOINT_INTERVAL]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) checkpoint_interval: Option<String>,
    /// The job's name [default: the job's type] [env: GAPWISE_NAME]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Where events come from.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Source {
    /// Where events come from: `kafka://HOST:PORT/TOPIC`; with `run` also `file:PATH` or `stdin:` [env: GAPWISE_SOURCE]
    #[arg(long, value_name = "URI", help_heading = "Source")]
    pub(crate) source: Option<String>,
    /// Where to begin: `earliest`, `latest`, `committed`, or a time such as `2025-01-14T17:00:00Z` [default: earliest]
    /// [env: GAPWISE_FROM]
    #[arg(long, value_name = "POSITION", help_heading = "Source")]
    pub(crate) from: Option<String>,
    /// Where to stop: `latest` reads to what is the end now, publishes everything and finishes [env: GAPWISE_UNTIL]
    #[arg(long, value_name = "POSITION", help_heading = "Source")]
    pub(crate) until: Option<String>,
    /// What becomes of the job if records are gone from Kafka that it was to read: `fail`, or `earliest` to go on with the first
    /// that is there and was not read. Where a partition ends before what was read of it (an unclean election, a topic made anew),
    /// that is the next that comes [default: fail] [env: GAPWISE_ON_DATA_LOSS]
    #[arg(long, value_name = "POLICY", help_heading = "Source")]
    pub(crate) on_data_loss: Option<String>,
    /// Take a topic that does not exist yet: it is read from its beginning once it is there, within the jobmanager's
    /// --discovery-interval [env: GAPWISE_WAIT_FOR_TOPIC]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", help_heading = "Source")]
    pub(crate) wait_for_topic: Option<String>,
    /// A setting of the Kafka client; may be given several times [env: GAPWISE_KAFKA_PROPERTY, with `;` between them]
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Source")]
    pub(crate) kafka_property: Vec<String>,
}

/// Where rows go. The table is each job's own option, since each has another default.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Sink {
    /// Where rows go: `postgres://HOST:PORT/DATABASE`, `csv:PATH`, `jsonl:PATH`; with `run` also `stdout:`
    /// [env: GAPWISE_SINK]
    #[arg(long, value_name = "URI", help_heading = "Sink")]
    pub(crate) sink: Option<String>,
}
