//! One look at table and ledger, and what must hold of it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use connectors::postgres::Client;
use localcluster::deadline::Deadline;

use crate::subject::Subject;

/// One statement: one snapshot of the database, so both sides are of the same instant.
fn statement(subject: Subject) -> String {
    let (table, hits) = (subject.tables()[0], subject.hits());
    let late = if subject.has_late_events() { "(SELECT count(*) FROM late_events)" } else { "0" };
    format!(
        "SELECT t.rows, t.hits, l.token, l.last_epoch, l.prev_epoch, l.rows_total, l.events_read, l.events_in_sessions,
                l.late, l.bad, l.open_events, {late}, (SELECT count(*) FROM dead_letter_events)
         FROM (SELECT count(*) AS rows, {hits} AS hits FROM {table}) AS t, gapwise_ledger AS l"
    )
}

/// Before the job has made its tables and ledger there is nothing to look at.
fn are_there(subject: Subject) -> String {
    let is_there = |table: &&str| format!("to_regclass('{table}') IS NOT NULL");
    let tables = subject.tables().iter().chain(&["gapwise_ledger"]);
    format!("SELECT {}", tables.map(is_there).collect::<Vec<_>>().join(" AND "))
}

/// The table and the ledger at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When the answer was there.
    pub at: Duration,
    /// Rows in the table.
    pub rows: u64,
    /// The sum of their hits.
    pub hits: u64,
    /// Rows in the table of late events.
    pub late_rows: u64,
    /// Rows in that of dead letters.
    pub dead_letters: u64,
    /// The job's row of the ledger.
    pub ledger: Ledger,
}

/// A row of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The attempt that may publish.
    pub token: u64,
    /// The epoch published last.
    pub last_epoch: u64,
    /// The one before it.
    pub prev_epoch: u64,
    /// Rows published.
    pub rows_total: u64,
    /// Events and bad records that were read.
    pub events_read: u64,
    /// Events in published sessions.
    pub events_in_sessions: u64,
    /// Events that came too late.
    pub late: u64,
    /// Records that could not be read.
    pub bad: u64,
    /// Events in open sessions.
    pub open_events: u64,
}

/// Looks once; `None` where the job has published nothing that could be looked at.
pub(super) async fn look(client: &mut Client, subject: Subject, clock: Deadline) -> Result<Option<Sample>> {
    let table = match client.query_text(&statement(subject)).await {
        Ok(table) => table,
        Err(error) => {
            let are_there = client.query_text(&are_there(subject)).await?.rows;
            if are_there == [[Some("t".to_owned())]] {
                return Err(error.into());
            }
            return Ok(None);
        }
    };
    let at = clock.elapsed();
    match &table.rows[..] {
        [] => Ok(None),
        [row] => Ok(Some(Sample::read(at, row)?)),
        rows => bail!("the ledger has {} rows; this job alone should be in this database", rows.len()),
    }
}

impl Sample {
    fn read(at: Duration, row: &[Option<String>]) -> Result<Sample> {
        let numbers: Vec<u64> = row
            .iter()
            .map(|field| Ok(field.as_deref().unwrap_or("0").parse()?))
            .collect::<Result<_>>()
            .with_context(|| format!("a ledger of other things than numbers: {row:?}"))?;
        let [
            rows,
            hits,
            token,
            last_epoch,
            prev_epoch,
            rows_total,
            events_read,
            in_sessions,
            late,
            bad,
            open,
            late_rows,
            dead,
        ] = numbers[..]
        else {
            bail!("a ledger of {} columns", numbers.len());
        };
        let ledger = Ledger {
            token,
            last_epoch,
            prev_epoch,
            rows_total,
            events_read,
            events_in_sessions: in_sessions,
            late,
            bad,
            open_events: open,
        };
        Ok(Sample { at, rows, hits, late_rows, dead_letters: dead, ledger })
    }

    /// What does not hold, in words.
    pub fn violations(&self, before: Option<&Sample>) -> Vec<&'static str> {
        let ledger = &self.ledger;
        let accounted = ledger.events_in_sessions + ledger.open_events + ledger.late + ledger.bad;
        let mut broken = Vec::new();
        let mut claim = |holds: bool, otherwise| {
            if !holds {
                broken.push(otherwise);
            }
        };
        claim(self.hits == ledger.events_in_sessions, "hits in the table are not the ledger's events in sessions");
        claim(self.rows == ledger.rows_total, "rows in the table are not the ledger's");
        claim(ledger.events_read == accounted, "events read are not those in sessions, open, late and bad");
        claim(self.late_rows == ledger.late, "rows of late events are not the ledger's");
        claim(self.dead_letters == ledger.bad, "rows of dead letters are not the ledger's");
        let Some(before) = before.map(|before| before.ledger) else { return broken };
        claim(ledger.token >= before.token, "the token went back");
        claim(ledger.last_epoch >= before.last_epoch, "the last epoch went back");
        claim(ledger.events_read >= before.events_read, "events read went back");
        claim(ledger.rows_total >= before.rows_total, "rows went back");
        if ledger.last_epoch == before.last_epoch {
            let same = Ledger { token: before.token, ..*ledger } == before;
            claim(same, "the accounts changed without a new epoch");
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Sample = Sample {
        at: Duration::ZERO,
        rows: 2,
        hits: 5,
        late_rows: 0,
        dead_letters: 0,
        ledger: Ledger {
            token: 1,
            last_epoch: 7,
            prev_epoch: 6,
            rows_total: 2,
            events_read: 8,
            events_in_sessions: 5,
            late: 0,
            bad: 0,
            open_events: 3,
        },
    };

    #[test]
    fn a_sample_in_which_all_holds_violates_nothing() {
        assert!(GOOD.violations(None).is_empty() && GOOD.violations(Some(&GOOD)).is_empty());
    }

    #[test]
    fn every_claim_is_seen_to_be_broken() {
        let ledger = |change: fn(&mut Ledger)| {
            let mut sample = GOOD;
            change(&mut sample.ledger);
            sample
        };
        let twice = Sample { hits: 10, rows: 4, ..GOOD };
        assert_eq!(twice.violations(None).len(), 2);
        assert_eq!(ledger(|ledger| ledger.open_events -= 1).violations(None).len(), 1);
        assert_eq!(ledger(|ledger| (ledger.late, ledger.open_events) = (1, 2)).violations(None).len(), 1);
        assert_eq!(ledger(|ledger| (ledger.bad, ledger.open_events) = (1, 2)).violations(None).len(), 1);
        assert_eq!(ledger(|ledger| ledger.token = 0).violations(Some(&GOOD)), ["the token went back"]);
        assert_eq!(ledger(|ledger| ledger.last_epoch = 6).violations(Some(&GOOD)), ["the last epoch went back"]);
        let silent = ledger(|ledger| (ledger.events_read, ledger.open_events) = (9, 4));
        assert_eq!(silent.violations(Some(&GOOD)), ["the accounts changed without a new epoch"]);
    }
}
