//! What the demo needs to give the same answers every time: a topic of its own, and a table with nobody else's rows.
//!
//! The sessions go into the table that the job always writes, so that `make analysis` and any SQL find them. Rows that an
//! earlier demo left there are deleted; rows that anybody else left there are never: in our own Postgres their table is
//! renamed, in the user's the demo refuses.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::database::{self, Database, SESSIONS};
use crate::settings::{Postgres, Settings};
use crate::state_dir::StateDir;

/// The name of the demo's job.
pub const JOB: &str = "demo";

/// Before the number of the run.
const TOPIC: &str = "gapwise-demo-";

/// Why the demo cannot use the table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database does not answer.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The user's table has rows.
    #[error(
        "your table `{SESSIONS}` has {rows} rows that no demo wrote; without POSTGRES_URL, `make demo` uses a postgres of its own"
    )]
    NotEmpty {
        /// How many.
        rows: u64,
    },
    /// The note about our own rows cannot be written.
    #[error("cannot write `{}`", .path.display())]
    Note {
        /// The note.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was done to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emptied {
    /// It is not there yet, or has no rows.
    WasEmpty,
    /// Rows of an earlier demo were deleted.
    EarlierDemo(u64),
    /// It holds rows of somebody else, and now has this name.
    Renamed(String),
}

/// A topic that no run has used yet.
#[must_use]
pub fn next_topic(topics: &[String]) -> String {
    let used = topics.iter().filter_map(|topic| topic.strip_prefix(TOPIC)?.parse::<u32>().ok());
    format!("{TOPIC}{}", used.max().unwrap_or(0) + 1)
}

/// Takes the rows out of the table that are not of the run that begins now.
///
/// # Errors
/// If it holds rows of the user's, or the database does not do it.
pub async fn empty_table(database: &mut Database, settings: &Settings, state: &StateDir) -> Result<Emptied, Error> {
    let note = Note::of(state);
    let rows = database.count_sessions().await?.unwrap_or(0);
    let emptied = if rows == 0 {
        Emptied::WasEmpty
    } else if note.says_ours(rows) {
        Emptied::EarlierDemo(database.execute(&format!("DELETE FROM public.{SESSIONS}")).await?)
    } else if matches!(settings.postgres, Postgres::Users(_)) {
        return Err(Error::NotEmpty { rows });
    } else {
        Emptied::Renamed(rename(database).await?)
    };
    // From now on, whatever is in the table is this run's, even if we are interrupted.
    note.write("running")?;
    Ok(emptied)
}

/// Notes that the table now holds so many rows, all of the demo.
///
/// # Errors
/// If the note cannot be written.
pub fn finish(state: &StateDir, rows: u64) -> Result<(), Error> {
    Note::of(state).write(&rows.to_string())
}

async fn rename(database: &mut Database) -> Result<String, Error> {
    let like = format!("SELECT relname FROM pg_class WHERE relname LIKE '{SESSIONS}\\_%'");
    let taken = database.ask(&like).await?.rows.len();
    let name = format!("{SESSIONS}_{}", taken + 1);
    database.execute(&format!("ALTER TABLE public.{SESSIONS} RENAME TO {name}")).await?;
    Ok(name)
}

/// Beside the pid files: whose rows the table holds. `running`, or the number of rows after the last demo.
struct Note(PathBuf);

impl Note {
    fn of(state: &StateDir) -> Note {
        Note(state.data("demo").with_extension("note"))
    }

    fn says_ours(&self, rows: u64) -> bool {
        let Ok(text) = fs::read_to_string(&self.0) else { return false };
        text.trim() == "running" || text.trim().parse() == Ok(rows)
    }

    fn write(&self, text: &str) -> Result<(), Error> {
        fs::write(&self.0, text).map_err(|source| Error::Note { path: self.0.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_run_has_a_topic_of_its_own() {
        assert_eq!(next_topic(&[]), "gapwise-demo-1");
        let topics = ["gapwise-demo-9", "gapwise-demo-10", "gapwise-demo-x", "events"].map(str::to_owned);
        assert_eq!(next_topic(&topics), "gapwise-demo-11");
    }

    #[test]
    fn rows_are_ours_while_we_run_and_afterwards_as_long_as_their_number_stays() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        state.create().unwrap();
        let note = Note::of(&state);
        assert!(!note.says_ours(54));
        note.write("running").unwrap();
        assert!(note.says_ours(31));
        finish(&state, 54).unwrap();
        assert!(note.says_ours(54));
        assert!(!note.says_ours(55));
    }
}
