//! What the user typed, word for word. What it means is `request`'s business, so that a value from the environment and one
//! from the command line are read, and refused, in the same way.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::exit;

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "jobctl",
    version = stream_runtime::VERSION,
    about = "Submits and watches streaming jobs, on a cluster or in this process alone",
    after_help = after_help(),
    max_term_width = 110,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    /// Where the jobmanager listens [default: 127.0.0.1:6123] [env: GAPWISE_JOBMANAGER_RPC_ADDRESS]
    #[arg(long, global = true, value_name = "HOST:PORT", help_heading = "Everywhere")]
    pub(crate) jobmanager: Option<String>,
    /// How to show answers: `text` for people, `json` for programs [default: text] [env: GAPWISE_OUTPUT]
    #[arg(long, global = true, value_name = "FORM", help_heading = "Everywhere")]
    pub(crate) output: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  jobctl run sessionize --gap 5m --source file:events.jsonl --sink csv:sessions.csv
  jobctl submit sessionize --gap 5m --parallelism 2
  jobctl list
  jobctl describe sessionize
  jobctl audit sessionize --replay
  jobctl stop sessionize --drain
  jobctl submit sessionize --from-savepoint file:///var/lib/gapwise/savepoints/…";

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}", exit::HELP)
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Starts a job on the cluster
    #[command(after_help = "Example:\n  jobctl submit sessionize --gap 5m --until latest --wait")]
    Submit {
        #[command(subcommand)]
        job: SubmitJob,
    },
    /// Runs a job in this process, without any cluster, until its input ends
    #[command(after_help = "Example:\n  jobctl run sessionize --source file:events.jsonl.gz --sink csv:sessions.csv")]
    Run {
        #[command(subcommand)]
        job: RunJob,
    },
    /// Lists the jobs, the latest first
    #[command(after_help = "Examples:\n  jobctl list\n  jobctl list --output json")]
    List,
    /// Shows a job: its subtasks with their key groups and counters, its partitions, and why it failed
    #[command(after_help = "Examples:\n  jobctl describe sessionize\n  jobctl describe 4f1c09ab")]
    Describe(JobName),
    /// Stops a job at once; what is published stays, what is not is dropped
    #[command(after_help = "Example:\n  jobctl cancel sessionize")]
    Cancel(JobName),
    /// Takes a savepoint and ends the job with everything published
    #[command(after_help = "Examples:\n  jobctl stop sessionize\n  jobctl stop sessionize --drain")]
    Stop(Stop),
    /// Takes a savepoint, which is yours and is never removed, while the job runs on
    #[command(
        after_help = "Examples:\n  jobctl savepoint sessionize\n  jobctl savepoint sessionize file:///backup/before-upgrade"
    )]
    Savepoint(Savepoint),
    /// Lists a job's checkpoints and savepoints, the latest first
    #[command(after_help = "Example:\n  jobctl checkpoints sessionize")]
    Checkpoints(JobName),
    /// Checks that the job's table holds what it should: by the ledger's accounts, or row by row
    #[command(after_help = AUDIT_HELP)]
    Audit(Audit),
    /// Goes on with another parallelism, from a checkpoint taken now
    #[command(after_help = "Example:\n  jobctl rescale sessionize --parallelism 4")]
    Rescale(Rescale),
    /// Lists the taskmanagers and their slots
    #[command(after_help = "Example:\n  jobctl taskmanagers --output json")]
    Taskmanagers,
    /// Shows the cluster as a whole
    #[command(after_help = "Example:\n  jobctl cluster --jobmanager 10.0.0.5:6123")]
    Cluster,
    /// Prints a script that completes this command line in a shell
    #[command(after_help = "Example:\n  jobctl completions bash > ~/.local/share/bash-completion/completions/jobctl")]
    Completions {
        /// Which shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Which job.
#[derive(ClapArgs, Debug)]
pub(crate) struct JobName {
    /// A job's name, its id, or the beginning of its id
    #[arg(value_name = "JOB")]
    pub(crate) job: String,
}

/// `stop`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Ends event time first, so that every open session is closed and published
    #[arg(long)]
    pub(crate) drain: bool,
    /// Where the savepoint goes [default: beside the checkpoints]
    #[arg(long, value_name = "URI")]
    pub(crate) savepoint: Option<String>,
}

/// `savepoint`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Savepoint {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Where it goes: a folder that every process reaches [default: beside the checkpoints]
    #[arg(value_name = "URI")]
    pub(crate) target: Option<String>,
}

const AUDIT_HELP: &str = "\
Without --replay the ledger's row is compared with the table, in one statement: rows, hits, and that every event read is in a \
session, open, late or bad. With --replay everything that the job had read at its last epoch is read again from Kafka, and its \
sessions are compared row by row; the first 20 that differ are listed.

Source and sink are the job's own, unless --source, --sink, KAFKA_URL or POSTGRES_URL say where they are to be found from here. \
Passwords come from there too, or from the variables that `submit` knows: the jobmanager tells nobody the job's.

Ends with 0 if every check holds, and with 1 if one does not.

Examples:
  jobctl audit sessionize
  jobctl audit sessionize --replay
  POSTGRES_PASSWORD=… jobctl audit sessionize --sink postgres://auditor@db.example.com/web --output json";

/// `audit`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Audit {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Reads the source again up to the last epoch and compares row by row
    #[arg(long)]
    pub(crate) replay: bool,
    /// Rows that are known to have stood in the table before any job published into it [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) rows_before: Option<String>,
    /// Where the job's topic is to be found from here: `kafka://HOST:PORT/TOPIC` [default: the job's own]
    /// [env: GAPWISE_SOURCE]
    #[arg(long, value_name = "URI")]
    pub(crate) source: Option<String>,
    /// A setting of the Kafka client; may be given several times [env: GAPWISE_KAFKA_PROPERTY, with `;` between them]
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) kafka_property: Vec<String>,
    /// Where the job's database is to be found from here: `postgres://HOST:PORT/DATABASE` [default: the job's own]
    /// [env: GAPWISE_SINK]
    #[arg(long, value_name = "URI")]
    pub(crate) sink: Option<String>,
}

/// `rescale`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Rescale {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Subtasks of source and window from now on
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) parallelism: String,
}

/// The jobs that can be submitted.
#[derive(Subcommand, Debug)]
pub(crate) enum SubmitJob {
    /// Web events to sessions of (ip, host) that end after a gap of inactivity
    #[command(after_help = SUBMIT_HELP)]
    Sessionize(Box<SubmitSessionize>),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

/// The jobs that can be run here.
#[derive(Subcommand, Debug)]
pub(crate) enum RunJob {
    /// Web events to sessions of (ip, host) that end after a gap of inactivity
    #[command(after_help = RUN_HELP)]
    Sessionize(Box<RunSessionize>),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

const SUBMIT_HELP: &str = "\
Where an option is not given, the environment of the job's Flink version works as it is: KAFKA_URL, KAFKA_TOPIC, \
KAFKA_GROUP, KAFKA_WEB_TRAFFIC_KEY with KAFKA_WEB_TRAFFIC_SECRET (SASL_SSL, PLAIN), POSTGRES_URL (also with `jdbc:` before \
it), POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB. Without any, source and sink are those of `make up`.

Examples:
  jobctl submit sessionize --gap 5m
  jobctl submit sessionize --gap 90s --parallelism 3 --from earliest --until latest --wait
  jobctl submit sessionize --source kafka://broker:9092/events --sink postgres://me@db/web";

const RUN_HELP: &str = "\
Examples:
  jobctl run sessionize --source file:events.jsonl --sink csv:sessions.csv
  jobctl run sessionize --gap 90s --source 'file:logs/*.jsonl.gz' --sink jsonl:sessions.jsonl
  zcat events.jsonl.gz | jobctl run sessionize --source stdin: > sessions.csv
  jobctl run sessionize --source kafka://broker:9092/events --until latest --sink csv:out.csv";

/// `submit sessionize`.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct SubmitSessionize {
    #[command(flatten)]
    pub(crate) sessionize: Sessionize,
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

/// `run sessionize`.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct RunSessionize {
    #[command(flatten)]
    pub(crate) sessionize: Sessionize,
}

/// The options of the job, its source and its sink. All are texts, and all may come from the environment instead.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Sessionize {
    /// Inactivity that ends a session, such as `5m`, `90s`, `1h30m` [default: 5m] [env: GAPWISE_GAP]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) gap: Option<String>,
    /// How much longer, in event time, a closed session takes late events [default: 0] [env: GAPWISE_ALLOWED_LATENESS]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) allowed_lateness: Option<String>,
    /// How far the watermark stays behind the latest event [default: 15s] [env: GAPWISE_WATERMARK_DELAY]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) watermark_delay: Option<String>,
    /// Silence after which a partition holds nobody back; 0 for never [default: 30s] [env: GAPWISE_IDLE_TIMEOUT]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) idle_timeout: Option<String>,
    /// While every partition is at its end and idle, let event time go on by the clock until all sessions have ended; what
    /// comes later and belongs to one of them is late [env: GAPWISE_CLOSE_WHEN_IDLE]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(crate) close_when_idle: Option<String>,
    /// How far an event may be ahead of this cluster's clock before it is bad; 0 for any distance [default: 1h]
    /// [env: GAPWISE_MAX_FUTURE]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) max_future: Option<String>,
    /// What becomes of a late event: `dead-letter-table` keeps it in table `late_events`, `drop` counts it, `fail` fails the
    /// job [default: dead-letter-table; with `run` drop] [env: GAPWISE_ON_LATE]
    #[arg(long, value_name = "POLICY")]
    pub(crate) on_late: Option<String>,
    /// What becomes of a record that cannot be read: `dead-letter` keeps it in table `dead_letter_events`, `skip` counts it,
    /// `fail` fails the job [default: dead-letter; with `run` skip] [env: GAPWISE_ON_BAD_RECORD]
    #[arg(long, value_name = "POLICY")]
    pub(crate) on_bad_record: Option<String>,
    /// Subtasks of source and window [default: 1] [env: GAPWISE_PARALLELISM]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) parallelism: Option<String>,
    /// Key groups, fixed for the job's life: the highest parallelism it can ever have [default: 128]
    /// [env: GAPWISE_MAX_PARALLELISM]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_parallelism: Option<String>,
    /// Time between two checkpoints, after each of which its sessions are published [default: 10s; with `run` 1s]
    /// [env: GAPWISE_CHECKPOINT_INTERVAL]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) checkpoint_interval: Option<String>,
    /// The job's name [default: the job's type] [env: GAPWISE_NAME]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Where events come from: `kafka://HOST:PORT/TOPIC`; with `run` also `file:PATH` or `stdin:` [env: GAPWISE_SOURCE]
    #[arg(long, value_name = "URI", help_heading = "Source")]
    pub(crate) source: Option<String>,
    /// Where to begin: `earliest`, `latest`, `committed`, or a time such as `2025-01-14T17:00:00Z` [default: earliest]
    /// [env: GAPWISE_FROM]
    #[arg(long, value_name = "POSITION", help_heading = "Source")]
    pub(crate) from: Option<String>,
    /// Where to stop: `latest` reads to what is the end now, closes every session and finishes [env: GAPWISE_UNTIL]
    #[arg(long, value_name = "POSITION", help_heading = "Source")]
    pub(crate) until: Option<String>,
    /// A setting of the Kafka client; may be given several times [env: GAPWISE_KAFKA_PROPERTY, with `;` between them]
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Source")]
    pub(crate) kafka_property: Vec<String>,
    /// Where sessions go: `postgres://HOST:PORT/DATABASE`, `csv:PATH`, `jsonl:PATH`; with `run` also `stdout:`
    /// [env: GAPWISE_SINK]
    #[arg(long, value_name = "URI", help_heading = "Sink")]
    pub(crate) sink: Option<String>,
    /// The table [default: sessionized_aggregated_events] [env: GAPWISE_TABLE]
    #[arg(long, value_name = "TABLE", help_heading = "Sink")]
    pub(crate) table: Option<String>,
}
