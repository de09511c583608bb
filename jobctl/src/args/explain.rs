//! `explain`.

use clap::{Arg, Args as ClapArgs};

use super::{JobName, SessionKey, Sessionize};

pub(super) const EXPLAIN_HELP: &str = "\
Causes it knows: ended, no_free_slot, restarting, not_running, taskmanager_silent, sink_unavailable, sink_behind, backpressure, future_record, \
all_idle, silent_partition, partition_behind. It looks twice, two seconds apart. With --ip and --host it also shows the session, \
if it is open, and when it ends.

With --flink-sql no cluster is asked: JOB is a type of job, followed by the options of `submit`, and what is printed is that \
job as a script for Flink 2.2, without passwords.

Examples:
  jobctl explain sessionize
  jobctl explain sessionize --ip 203.0.113.7 --host www.example.com
  jobctl explain sessionize --output json
  jobctl explain sessionize --flink-sql --gap 5m --until latest > sessionize.sql";

/// `explain`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) job: JobName,
    #[command(flatten)]
    pub(crate) key: SessionKey,
    /// Prints the job that `submit JOB` would start, with the same options, as Flink SQL
    #[arg(long, conflicts_with_all = ["ip", "host"])]
    pub(crate) flink_sql: bool,
    #[command(flatten)]
    pub(crate) sessionize: Sessionize,
}

/// The options of a job that runs are known; those of one that does not are asked for by `--flink-sql`.
pub(super) fn only_with_flink_sql(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "job" | "ip" | "host" | "flink_sql" | "jobmanager" | "output" | "help" => arg,
        _ => {
            let arg = arg.requires("flink_sql");
            if arg.get_help_heading().is_none() { arg.help_heading("With --flink-sql") } else { arg }
        }
    }
}
