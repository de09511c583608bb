//! What must hold between the ledger and the table.

use connectors::postgres::{LedgerEntry, Look};
use job_sessionize::operator::Form;
use stream_core::checkpoint::Accounts;
use stream_core::collector::{SIDE_ROW_OF, SIDE_ROWS};
use stream_core::pipeline::SideTable;
use web_intake::late_events::LATE_EVENTS;

use crate::view::Check;

/// What the checks say, and what they cannot say.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) checks: Vec<Check>,
    pub(super) notes: Vec<String>,
}

impl Verdict {
    /// Adds a check.
    pub(super) fn check(&mut self, what: &str, found: i128, relation: &'static str, expected: i128, of: &str) {
        let holds = match relation {
            "<=" => found <= expected,
            ">=" => found >= expected,
            _ => found == expected,
        };
        let shown = |number: i128| i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX });
        self.checks.push(Check {
            what: what.to_owned(),
            found: shown(found),
            relation,
            expected: shown(expected),
            of: of.to_owned(),
            difference: shown(found - expected),
            holds,
        });
    }

    pub(super) fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Checks table and ledger. `rows_before` stood in the table before any job published into it, as the user says.
pub(super) fn check(look: &Look, own: &LedgerEntry, form: Form, rows_before: u64) -> Verdict {
    let mut verdict = Verdict::default();
    let sum = |number: fn(&LedgerEntry) -> u64| look.entries.iter().map(number).map(i128::from).sum::<i128>();
    let (published, in_sessions) = (sum(|entry| entry.rows_total), sum(|entry| entry.accounts.in_sessions));
    // What late replays did to the table stands in an account of their own.
    let replayed = sum(|entry| entry.replayed.events);
    let rows_added = look.entries.iter().map(|entry| i128::from(entry.replayed.rows_added)).sum::<i128>();
    let (published, in_sessions) = (published + rows_added, in_sessions + replayed);
    let jobs = match look.entries.len() {
        1 => String::new(),
        jobs => format!(" by {jobs} jobs"),
    };
    let before = if rows_before > 0 { format!(", and {rows_before} before") } else { String::new() };
    let rows = i128::from(look.rows);
    let by_replay = if replayed > 0 { format!(", and {rows_added:+} by late replays") } else { String::new() };
    let of = format!("rows published{jobs}{by_replay}{before}");
    verdict.check("rows in the table", rows, "=", published + i128::from(rows_before), &of);
    let more = if replayed > 0 { format!("{jobs}, and {replayed} late ones replayed") } else { jobs };
    check_hits(&mut verdict, look, form, rows_before, in_sessions, &more);
    for entry in std::iter::once(own).chain(look.entries.iter().filter(|entry| entry.job_id != own.job_id)) {
        let Accounts { read, bad, late, in_sessions, open } = entry.accounts;
        let what = match entry.job_id == own.job_id {
            true => "events read".to_owned(),
            false => format!("events read by {:.12}", entry.job_id),
        };
        let parts = [in_sessions, open, late, bad].into_iter().map(i128::from).sum();
        let replayed = match entry.replayed.events {
            0 => String::new(),
            events => format!(" ({events} of them replayed)"),
        };
        let of = format!("{in_sessions} in sessions, {open} open, {late} late{replayed}, {bad} bad");
        verdict.check(&what, read.into(), "=", parts, &of);
    }
    let more = rows - published - i128::from(rows_before);
    if more > 0 {
        verdict.notes.push(format!(
            "{more} rows are of no job in the ledger: they stood in the table before the first of them, or somebody else \
             wrote them; of rows that you know to have stood there, say so by --rows-before"
        ));
    }
    verdict
}

/// Checks the job's rows in its side tables, of which `found` has the numbers; rows in an outlet are only told.
pub(super) fn check_side_tables(verdict: &mut Verdict, tables: &[SideTable], found: &[Option<u64>], own: &LedgerEntry) {
    let Accounts { late, bad, .. } = own.accounts;
    let appended = tables.iter().zip(found).enumerate().filter(|(_, (table, _))| table.changelog.is_append());
    for (place, (table, &rows)) in appended {
        let published = own.side_rows.get(place).copied().unwrap_or(0);
        if let Some(rows) = rows {
            let what = format!("rows in {}", table.name);
            verdict.check(&what, rows.into(), "=", published.into(), "rows published by this job");
        }
        if let Some(outlet) = &table.outlet {
            verdict.notes.push(format!(
                "{published} rows of {} were published into `{}`, which an audit does not read",
                table.name, outlet.uri
            ));
        }
        let counted = if table.name.ends_with(LATE_EVENTS) { late } else { bad };
        if published < counted {
            verdict.notes.push(format!(
                "{} holds a sample: {counted} came, of which {published} were written (at most {SIDE_ROWS} between two \
                 checkpoints from each subtask, then one of {SIDE_ROW_OF})",
                table.name
            ));
        }
    }
}

/// Checks the table of open sessions, whose rows hold `found` events.
pub(super) fn check_open_table(verdict: &mut Verdict, table: &str, found: i128, own: &LedgerEntry) {
    let what = format!("events in {table}");
    verdict.check(&what, found, "=", own.accounts.open.into(), "events open in the ledger");
}

/// Checks that as many late events are marked as replayed as the account of late replays says.
pub(super) fn check_replayed(verdict: &mut Verdict, marked: u64, own: &LedgerEntry) {
    let expected = own.replayed.events.into();
    verdict.check(
        "late events marked as replayed",
        marked.into(),
        "=",
        expected,
        "events in the account of late replays",
    );
}

/// The sum of `num_hits` is the number of events in sessions, unless something is counted otherwise by intention.
fn check_hits(verdict: &mut Verdict, look: &Look, form: Form, rows_before: u64, in_sessions: i128, jobs: &str) {
    let no_host = if form == Form::Sql { look.nulls } else { 0 };
    let (what, of) = ("hits in the table", format!("events in sessions{jobs}"));
    match (form, no_host, rows_before) {
        (Form::Sql, 0, 0) => verdict.check(what, look.sum, "=", in_sessions, &of),
        (Form::Sql, _, 0) => {
            verdict.check(what, look.sum, "<=", in_sessions - i128::from(no_host), &format!("{of}, less {no_host}"));
            verdict.notes.push(format!(
                "{no_host} sessions have no host, and so no hits (SQL's COUNT(host)): how many events they hold is known to --replay only"
            ));
        }
        (Form::Sql, 1.., 1..) => verdict.notes.push(format!(
            "hits are not compared: {no_host} sessions have no host, and so no hits, and the rows before have some"
        )),
        (Form::Sql, 0, _) => verdict.check(what, look.sum, ">=", in_sessions, &of),
        (Form::DataStream, _, _) => {
            verdict.check(what, look.sum, ">=", in_sessions, &of);
            verdict.notes.push(
                "with --allowed-lateness a session that a late event joins is published once more, so that hits may be more"
                    .to_owned(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use connectors::postgres::Replayed;
    use stream_core::ids::CheckpointId;
    use stream_core::pipeline::Changelog;

    use super::*;

    fn entry(job_id: &str, rows_total: u64, in_sessions: u64) -> LedgerEntry {
        let accounts = Accounts { read: in_sessions + 6, bad: 1, late: 2, in_sessions, open: 3 };
        LedgerEntry {
            job_id: job_id.to_owned(),
            last_epoch: CheckpointId(1),
            rows_total,
            side_rows: Vec::new(),
            accounts,
            cut: None,
            replayed: Replayed::default(),
        }
    }

    fn look(rows: u64, sum: i128, nulls: u64) -> Look {
        Look { rows, sum, nulls, entries: vec![entry("a", 10, 50), entry("b", 5, 20)] }
    }

    fn failing(look: &Look, form: Form, rows_before: u64) -> Vec<(String, i64)> {
        let verdict = check(look, &look.entries[0], form, rows_before);
        let failed = verdict.checks.into_iter().filter(|check| !check.holds);
        failed.map(|check| (check.what, check.difference)).collect()
    }

    #[test]
    fn rows_and_hits_of_all_jobs_are_those_of_the_table() {
        assert_eq!(failing(&look(15, 70, 0), Form::Sql, 0), []);
        assert_eq!(failing(&look(14, 70, 0), Form::Sql, 0), [("rows in the table".to_owned(), -1)]);
        assert_eq!(failing(&look(15, 71, 0), Form::Sql, 0), [("hits in the table".to_owned(), 1)]);
    }

    #[test]
    fn rows_and_hits_that_late_replays_moved_are_accounted_for() {
        let mut replayed = look(14, 72, 0);
        replayed.entries[0].replayed = Replayed { events: 2, rows_added: -1 };
        assert_eq!(failing(&replayed, Form::Sql, 0), []);
        let verdict = check(&replayed, &replayed.entries[0], Form::Sql, 0);
        assert_eq!(verdict.checks[0].of, "rows published by 2 jobs, and -1 by late replays");
        assert!(verdict.checks[2].of.contains("2 late (2 of them replayed)"), "{:?}", verdict.checks[2]);
        replayed.entries[0].replayed.events = 1;
        assert_eq!(failing(&replayed, Form::Sql, 0), [("hits in the table".to_owned(), 1)]);
    }

    #[test]
    fn table_of_open_sessions_has_the_events_that_are_open_and_no_number_of_rows() {
        let own = entry("a", 10, 50);
        let checked = |events| {
            let mut verdict = Verdict::default();
            check_open_table(&mut verdict, "open", events, &own);
            let columns = Vec::new();
            let open = SideTable { name: "open".to_owned(), columns, outlet: None, changelog: Changelog::Upsert };
            check_side_tables(&mut verdict, &[open], &[Some(7)], &own);
            assert_eq!(verdict.checks.len(), 1);
            verdict.holds()
        };
        assert_eq!([2, 3, 4].map(checked), [false, true, false]);
    }

    #[test]
    fn accounts_of_each_job_must_add_up() {
        let mut look = look(15, 70, 0);
        look.entries[1].accounts.open -= 1;
        look.entries[0].accounts.open += 1;
        let expected = [("events read".to_owned(), -1), ("events read by b".to_owned(), 1)];
        assert_eq!(failing(&look, Form::Sql, 0), expected);
    }

    #[test]
    fn rows_that_stood_there_before_are_the_users_word_and_else_not_accounted_for() {
        let look = look(18, 90, 0);
        assert_eq!(failing(&look, Form::Sql, 3), []);
        let unsaid = check(&look, &look.entries[0], Form::Sql, 0);
        assert!(unsaid.notes[0].starts_with("3 rows are of no job in the ledger"), "{:?}", unsaid.notes);
        assert!(!unsaid.holds());
    }

    #[test]
    fn what_is_counted_otherwise_is_compared_as_far_as_it_goes() {
        assert_eq!(failing(&look(15, 68, 2), Form::Sql, 0), []);
        assert_eq!(failing(&look(15, 69, 2), Form::Sql, 0), [("hits in the table".to_owned(), 1)]);
        assert_eq!(failing(&look(15, 75, 2), Form::DataStream, 0), []);
        assert_eq!(failing(&look(15, 69, 2), Form::DataStream, 0), [("hits in the table".to_owned(), -1)]);
        assert_eq!(check(&look(16, 75, 2), &entry("a", 10, 50), Form::Sql, 1).checks.len(), 3, "hits are left out");
    }
}
