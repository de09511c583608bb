//! `late`.

use clap::{Args as ClapArgs, Subcommand};

use super::JobName;

/// What to do with late events.
#[derive(Subcommand, Debug)]
pub(crate) enum Late {
    /// Puts a job's late events into the sessions that they belong to
    #[command(after_help = REPLAY_HELP)]
    Replay(LateReplay),
}

const REPLAY_HELP: &str = "\
The events in table `late_events` extend the job's rows, make one of several, or a row of their own, as if they had come in time. The \
job may run meanwhile. Each batch of keys is one transaction of rows, marks (`late_events.replayed_at`) and the account in \
`gapwise_late_replay`: what dies in the middle is run again, and a second run changes nothing. `jobctl audit` knows of both.

What it leaves, it says: events so recent that the table does not show all they could belong to (two gaps behind the published watermark), \
and events of which nobody knows whether they touch a session, since a row says when it began and not when it ended. A job that is submitted \
with --last-event has that in its rows, and none of the second kind.

It needs SELECT, INSERT, UPDATE and DELETE on the table, SELECT and UPDATE on late_events, SELECT on gapwise_ledger, SELECT, INSERT and \
UPDATE on gapwise_late_replay, which sql/ledger/late_replay.sql makes, and TEMPORARY on the database. The job's own role has few of these: \
connect as an operator.

Examples:
  jobctl late replay sessionize
  POSTGRES_PASSWORD=… jobctl late replay sessionize --sink postgres://operator@db.example.com/web";

/// `late replay`.
#[derive(ClapArgs, Debug)]
pub(crate) struct LateReplay {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Keys of (ip, host) in a transaction, such as 1000; each transaction reads the table once
    /// [default: 10000] [env: GAPWISE_BATCH_KEYS]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) batch_keys: Option<String>,
    /// Where the job's database is to be found from here: `postgres://HOST:PORT/DATABASE` [default: the job's own]
    /// [env: GAPWISE_SINK]
    #[arg(long, value_name = "URI")]
    pub(crate) sink: Option<String>,
}
