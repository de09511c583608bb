//! The comparison: each row with the session that it should be, or be a part of.

use stream_core::time::EventTime;

use super::{DifferenceKind, Event, Findings, Parts, Row, Rules, Session, limited, sessions};
use crate::operator::Form;

/// Compares all events of some keys with all rows of the same keys, in any order. Keys with the same
/// [`stored_key`](super::stored_key) belong together.
pub fn compare(rules: &Rules, events: &mut [Event<'_>], rows: &mut [Row<'_>], findings: &mut Findings) {
    events.sort_unstable();
    rows.sort_unstable();
    let sessions = sessions(rules, events);
    for session in &sessions {
        let mut count = |is_closed: bool, of_session: u64| {
            let (count, of_events) = match is_closed {
                true => (&mut findings.closed, &mut findings.closed_events),
                false => (&mut findings.open, &mut findings.open_events),
            };
            *count += 1;
            *of_events += of_session;
        };
        match session.limited.as_slice() {
            [] => count(session.is_closed, session.events),
            parts => parts.iter().for_each(|part| count(part.is_closed, part.events)),
        }
    }
    findings.rows += rows.len() as u64;

    let mut rest = &*rows;
    for of_key in sessions.chunk_by(|a, b| a.key == b.key) {
        let key = of_key[0].key.as_ref();
        let (before, from) = rest.split_at(rest.partition_point(|row| row.key < key));
        before.iter().for_each(|row| unexpected(row, findings));
        let (its_rows, behind) = from.split_at(from.partition_point(|row| row.key == key));
        rest = behind;
        OfKey { rules, events, sessions: of_key }.compare(its_rows, findings);
    }
    rest.iter().for_each(|row| unexpected(row, findings));
}

/// The sessions of one key, by start.
struct OfKey<'a, 'e> {
    rules: &'a Rules,
    events: &'a [Event<'e>],
    sessions: &'a [Session<'e>],
}

impl OfKey<'_, '_> {
    fn compare(&self, rows: &[Row<'_>], findings: &mut Findings) {
        let mut is_there = vec![false; self.sessions.len()];
        let mut others = Vec::new();
        for row in rows {
            match self.same(row).find(|&index| !is_there[index]) {
                Some(index) => {
                    is_there[index] = true;
                    findings.equal += 1;
                }
                None => others.push(row),
            }
        }
        let mut parts: Vec<Vec<&Row<'_>>> = vec![Vec::new(); self.sessions.len()];
        for row in others {
            if self.same(row).next().is_some() {
                findings.differ(DifferenceKind::Duplicate, row.key, row.start, row.num_hits);
            } else if let Some(index) = self.owner(row, &is_there) {
                parts[index].push(row);
            } else {
                unexpected(row, findings);
            }
        }
        for ((session, is_there), parts) in self.sessions.iter().zip(is_there).zip(parts) {
            if !session.limited.is_empty() {
                limited::compare(self.rules, session, &parts, findings);
                continue;
            }
            if parts.is_empty() && (is_there || !session.is_closed) {
                if !session.is_closed {
                    findings.in_no_row += session.events;
                }
                continue;
            }
            match self.events_missing(session, is_there, &parts) {
                Some(missing) => {
                    findings.in_parts += 1;
                    findings.parts += parts.len() as u64;
                    findings.in_no_row += missing;
                    findings.untold += u64::from(self.rules.form == Form::DataStream || session.has_no_host());
                    if session.is_closed {
                        findings.not_in_parts += missing;
                    }
                }
                None => {
                    if !session.is_closed {
                        findings.in_no_row += session.events;
                    }
                    if session.is_closed && !is_there {
                        let hits = Some(session.num_hits);
                        findings.differ(DifferenceKind::Missing, &session.key, Some(session.start), hits);
                    }
                    parts.into_iter().for_each(|row| unexpected(row, findings));
                }
            }
        }
    }

    /// The closed sessions that a row is equal to; nearly always one at most.
    fn same(&self, row: &Row<'_>) -> impl Iterator<Item = usize> {
        let (start, num_hits) = (row.start, row.num_hits);
        let first = start.map_or(self.sessions.len(), |start| self.sessions.partition_point(|s| s.start < start));
        let of_start = self.sessions.iter().enumerate().skip(first);
        let of_start = of_start.take_while(move |(_, session)| Some(session.start) == start);
        of_start
            .filter(move |(_, s)| s.is_closed && s.limited.is_empty() && Some(s.num_hits) == num_hits)
            .map(|(index, _)| index)
    }

    /// The session that a row may be a part of: it begins with one of its events.
    fn owner(&self, row: &Row<'_>, is_there: &[bool]) -> Option<usize> {
        let start = row.start?;
        let begun = self.sessions.partition_point(|session| session.start <= start);
        let has_event = |session: &Session<'_>| {
            let times = &self.events[session.place.clone()];
            times.binary_search_by_key(&start, |event| event.time).is_ok()
        };
        // A session that took late events was published before with fewer of them.
        let may_own = |index: usize| !is_there[index] || self.rules.form == Form::DataStream;
        (0..begun).rev().find(|&index| {
            let session = &self.sessions[index];
            session.last >= start && may_own(index) && has_event(session)
        })
    }

    /// Whether these rows can be what became of a session; how many of its events they do not hold, as far as that is known.
    fn events_missing(&self, session: &Session<'_>, is_there: bool, parts: &[&Row<'_>]) -> Option<u64> {
        let may_be_in_parts = match self.rules.parts {
            Parts::Never => false,
            Parts::WhereBehind => session.is_behind,
            Parts::Anywhere => true,
        };
        let hits: Vec<u64> = parts.iter().map(|row| u64::try_from(row.num_hits?).ok()).collect::<Option<_>>()?;
        if !may_be_in_parts {
            return None;
        }
        match self.rules.form {
            Form::Sql if session.has_no_host() => {
                let is_explained = self.rules.late > 0 || parts.len() > 1 || !session.is_closed;
                (is_explained && hits.iter().all(|&hits| hits == 0)).then_some(0)
            }
            Form::Sql => {
                let missing = session.events.checked_sub(hits.iter().sum())?;
                let begins = |at: EventTime| parts.iter().any(|row| row.start == Some(at));
                let is_explained = match (session.is_closed, missing) {
                    (true, 0) => parts.len() > 1 && begins(session.start),
                    (true, missing) => missing <= self.rules.late,
                    // Its last event, at least, is not late, and open.
                    (false, missing) => missing > 0 && missing <= self.rules.late.saturating_add(self.rules.open),
                };
                is_explained.then_some(missing)
            }
            // Each time it fired there was an event more.
            Form::DataStream => {
                let is_explained = is_there || !session.is_closed || self.rules.late > 0 || !parts.is_empty();
                (is_explained && hits.iter().all(|&hits| hits <= session.events)).then_some(0)
            }
        }
    }
}

fn unexpected(row: &Row<'_>, findings: &mut Findings) {
    findings.differ(DifferenceKind::Unexpected, row.key, row.start, row.num_hits);
}
