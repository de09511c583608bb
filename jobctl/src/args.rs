//! What the user typed, word for word. What it means is `request`'s business, so that a value from the environment and one
//! from the command line are read, and refused, in the same way.

mod aggregate;
mod event_time;
mod explain;
mod late;
mod nexmark;
mod pipeline;
mod process_events;
mod sessionize;
mod watching;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::exit;

pub(crate) use aggregate::Aggregate;
pub(crate) use event_time::EventTime;
use explain::EXPLAIN_HELP;
pub(crate) use explain::Explain;
pub(crate) use late::{Late, LateReplay};
pub(crate) use nexmark::NexmarkQ11;
pub(crate) use pipeline::{Running, Sink, Source, Submit};
pub(crate) use process_events::ProcessEvents;
pub(crate) use sessionize::Sessionize;
pub(crate) use watching::{Describe, Logs, Top};
use watching::{LOGS_HELP, TOP_HELP};

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
  jobctl submit process_events --geo-db GeoLite2-City.mmdb
  jobctl submit aggregate --window 5m
  jobctl list
  jobctl describe sessionize --watch
  jobctl top
  jobctl logs sessionize --follow
  jobctl explain sessionize
  jobctl audit sessionize --replay
  jobctl late replay sessionize
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
    #[command(
        after_help = "Examples:\n  jobctl describe sessionize\n  jobctl describe 4f1c09ab --watch\n  jobctl describe sessionize --watch --output json"
    )]
    Describe(Describe),
    /// Shows the cluster and a job on the whole screen, with live figures
    #[command(after_help = TOP_HELP)]
    Top(Top),
    /// Shows what the processes of the cluster logged about a job
    #[command(after_help = LOGS_HELP)]
    Logs(Logs),
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
    /// Says why a job shows no results: what holds it up, and which partition holds event time back; or, with --flink-sql,
    /// what a job is in Flink SQL
    #[command(after_help = EXPLAIN_HELP, mut_args = explain::only_with_flink_sql)]
    Explain(Box<Explain>),
    /// Late events of a job
    Late {
        #[command(subcommand)]
        command: Late,
    },
    /// Lists the sessions that are open now, those with the most events first
    #[command(
        after_help = "Examples:\n  jobctl sessions sessionize --open --top 20\n  jobctl sessions sessionize --open --ip 203.0.113.7"
    )]
    Sessions(Sessions),
    /// Goes on with another parallelism, from a checkpoint taken now
    #[command(after_help = "Example:\n  jobctl rescale sessionize --parallelism 4")]
    Rescale(Rescale),
    /// Lists the taskmanagers and their slots
    #[command(after_help = "Example:\n  jobctl taskmanagers --output json")]
    Taskmanagers,
    /// Shows the cluster as a whole
    #[command(after_help = "Example:\n  jobctl cluster --jobmanager 10.0.0.5:6123")]
    Cluster,
    /// Asks whether a jobmanager or a taskmanager is ready, for probes: the exit code tells
    #[command(after_help = "Examples:\n  jobctl health\n  jobctl health --taskmanager 127.0.0.1:6122")]
    Health {
        /// A taskmanager, by the address of its exchange, instead of the jobmanager
        #[arg(long, value_name = "HOST:PORT")]
        taskmanager: Option<String>,
    },
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

/// `sessions`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Sessions {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Those that are open; the others are rows of the job's table
    #[arg(long, required = true)]
    pub(crate) open: bool,
    #[command(flatten)]
    pub(crate) key: SessionKey,
    /// How many, up to 1000
    #[arg(long, value_name = "N", default_value = "20", allow_hyphen_values = true)]
    pub(crate) top: String,
}

/// Which sessions.
#[derive(ClapArgs, Debug)]
pub(crate) struct SessionKey {
    /// Those of this address
    #[arg(long, value_name = "IP")]
    pub(crate) ip: Option<String>,
    /// Those of this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
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
    #[command(after_help = sessionize::SUBMIT_HELP)]
    Sessionize(Box<Submit<Sessionize>>),
    /// Each web event with the location of its ip
    #[command(name = "process_events", after_help = process_events::SUBMIT_HELP)]
    ProcessEvents(Box<Submit<ProcessEvents>>),
    /// Web events to hits per host, and per host and referrer, in tumbling windows
    #[command(after_help = aggregate::SUBMIT_HELP)]
    Aggregate(Box<Submit<Aggregate>>),
    /// A benchmark: bids of Nexmark to the sessions of each bidder
    #[command(name = "nexmark-q11", after_help = nexmark::HELP)]
    NexmarkQ11(Box<Submit<NexmarkQ11>>),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

/// The jobs that can be run here.
#[derive(Subcommand, Debug)]
pub(crate) enum RunJob {
    /// Web events to sessions of (ip, host) that end after a gap of inactivity
    #[command(after_help = sessionize::RUN_HELP)]
    Sessionize(Box<Sessionize>),
    /// Each web event with the location of its ip
    #[command(name = "process_events", after_help = process_events::RUN_HELP)]
    ProcessEvents(Box<ProcessEvents>),
    /// Web events to hits per host, and per host and referrer, in tumbling windows
    #[command(after_help = aggregate::RUN_HELP)]
    Aggregate(Box<Aggregate>),
    /// A benchmark: bids of Nexmark to the sessions of each bidder
    #[command(name = "nexmark-q11", after_help = nexmark::HELP)]
    NexmarkQ11(Box<NexmarkQ11>),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}
