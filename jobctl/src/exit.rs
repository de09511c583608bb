//! Every exit code, decided in one place.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// The job failed, a check of an audit does not hold, or something else failed.
    Failed = 1,
    /// What the user typed cannot be.
    Usage = 2,
    /// The jobmanager, or the gateway of a Flink cluster, does not answer.
    NoJobManager = 3,
    /// There is no such job, topic, table or file.
    NotFound = 4,
    /// The cluster has too few free slots.
    NoSlot = 5,
    /// The job was canceled.
    Canceled = 6,
    /// The source or the sink cannot be reached, or refuses the credentials.
    Unreachable = 7,
}

/// The codes as `--help` shows them.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  the job failed, a check of `audit` does not hold, or something else failed
  2  usage: an option or its value cannot be
  3  no jobmanager, or no Flink gateway, at that address
  4  no such job, topic, table or file
  5  too few free slots in the cluster
  6  the job was canceled
  7  the source or the sink cannot be reached, or refuses the credentials";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_code_once() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NoJobManager,
            Exit::NotFound,
            Exit::NoSlot,
            Exit::Canceled,
            Exit::Unreachable,
        ];
        let listed: Vec<&str> = HELP.lines().skip(1).map(|line| line.trim_start()).collect();
        assert_eq!(listed.len(), all.len());
        for (exit, line) in all.into_iter().zip(listed) {
            assert!(line.starts_with(&format!("{} ", exit as u8)), "{exit:?}: {line}");
        }
    }
}
