//! `describe`, `top` and `logs`: commands that go on for as long as there is something to see.

use clap::Args as ClapArgs;

use super::JobName;

/// `describe`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Describe {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Shows it again at each change until the job ends; with --output json a line for each change
    #[arg(long)]
    pub(crate) watch: bool,
    /// The least time between two changes that are shown [default: 1s]
    #[arg(long, value_name = "DURATION", requires = "watch")]
    pub(crate) interval: Option<String>,
}

pub(super) const TOP_HELP: &str = "\
Keys: Up and Down (k, j) choose a job or scroll, Tab goes to the next table, PageUp, PageDown, Home and End scroll far; q, Esc and \
Ctrl-C quit.

LOAD is how a subtask spends its time: at work, held up by the next one (back-pressured), and the rest waiting for input. BEHIND is \
event time against the clock. While the jobmanager is away the last figures stay, with a word on that.

Colours are off with NO_COLOR; where the locale is not UTF-8, bars are made of ASCII.

Examples:
  jobctl top
  jobctl top sessionize --interval 500ms";

/// `top`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Top {
    /// The job to begin with: its name, its id, or the beginning of its id [default: the latest that runs]
    #[arg(value_name = "JOB")]
    pub(crate) job: Option<String>,
    /// Time between two looks at the cluster [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) interval: Option<String>,
}

pub(super) const LOGS_HELP: &str = "\
What the jobmanager and the taskmanagers logged about the job, ordered by time. Each process keeps the last 256 KiB of each job and hands \
them to the jobmanager, also those of a taskmanager that is gone. A process logs what its GAPWISE_LOG lets it, `info` and above by default.

Examples:
  jobctl logs sessionize
  jobctl logs sessionize --follow --level warn
  jobctl logs sessionize --since 10m --output json";

/// `logs`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Goes on with what is logged from now on, until the job has ended
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only what was logged since: so long ago as `10m`, or a time such as `2025-01-14T17:01:12Z`
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only this level and those above it: `debug`, `info`, `warn` or `error` [default: everything that was logged]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<String>,
}
