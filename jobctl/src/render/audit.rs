//! An audit as text.

use super::Side::{Left, Right};
use super::{fields, or_none, table, time};
use crate::terminal::harmless;
use crate::view::{Audit, DifferentRow, Replay};

/// `jobctl audit`.
pub(crate) fn audit(audit: &Audit) -> String {
    let mut text = fields([
        ("Job", audit.job.clone()),
        ("Sink", format!("{} {}", audit.sink, audit.table)),
        ("Epoch", or_none(audit.epoch.as_ref())),
    ]);
    if let Some(source) = &audit.source {
        text += &format!("Read   {}\n", harmless(source));
    }
    text += "\n";
    let columns = [
        ("CHECK", Left),
        ("FOUND", Right),
        ("", Left),
        ("EXPECTED", Right),
        ("DIFFERENCE", Right),
        ("", Left),
        ("EXPECTED IS", Left),
    ];
    text += &table(
        columns,
        audit.checks.iter().map(|check| {
            [
                check.what.clone(),
                check.found.to_string(),
                check.relation.to_owned(),
                check.expected.to_string(),
                check.difference.to_string(),
                if check.holds { "holds" } else { "DOES NOT HOLD" }.to_owned(),
                check.of.clone(),
            ]
        }),
    );
    if let Some(replay) = &audit.replay {
        text += "\n";
        text += &summary(replay);
        if !replay.differences.is_empty() {
            text += "\n";
            text += &differences(replay);
        }
    }
    if !audit.notes.is_empty() {
        text += "\n";
        text.extend(audit.notes.iter().map(|note| format!("note: {}\n", harmless(note))));
    }
    text += if audit.holds { "\nevery check holds\n" } else { "\nnot every check holds\n" };
    text
}

fn summary(replay: &Replay) -> String {
    let Replay { closed_sessions, open_sessions, rows, equal, sessions_in_parts, parts, .. } = replay;
    let mut text = format!(
        "{closed_sessions} closed sessions, {open_sessions} open ones, which are not expected; {equal} of {rows} rows are as computed\n"
    );
    if *sessions_in_parts > 0 {
        text += &format!("{sessions_in_parts} sessions stand there in {parts} parts\n");
    }
    text
}

fn differences(replay: &Replay) -> String {
    let columns = [("DIFFERENT", Left), ("EVENT_HOUR", Left), ("IP", Left), ("HOST", Left), ("NUM_HITS", Right)];
    let row = |row: &DifferentRow| {
        [
            row.kind.to_owned(),
            or_none(row.event_hour_ms.map(time)),
            or_none(row.ip.as_ref()),
            or_none(row.host.as_ref()),
            or_none(row.num_hits),
        ]
    };
    let mut text = table(columns, replay.differences.iter().map(row));
    let all = replay.missing + replay.duplicate + replay.unexpected;
    let more = all.saturating_sub(replay.differences.len() as u64);
    if more > 0 {
        text += &format!("and {more} more\n");
    }
    text
}
