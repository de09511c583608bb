//! What `jobctl audit` shows.

use job_sessionize::replay::{Difference, DifferenceKind, Findings};
use serde::Serialize;

/// `jobctl audit`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Audit {
    pub(crate) job: String,
    pub(crate) sink: String,
    pub(crate) table: String,
    /// The epoch published last.
    pub(crate) epoch: Option<String>,
    /// The source that was read again, with `--replay`.
    pub(crate) source: Option<String>,
    /// Whether every check holds.
    pub(crate) holds: bool,
    pub(crate) checks: Vec<Check>,
    /// What the numbers alone do not say.
    pub(crate) notes: Vec<String>,
    /// With `--replay`.
    pub(crate) replay: Option<Replay>,
}

/// Two numbers, and how they must compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) found: i64,
    /// `=`, `<=` or `>=`.
    pub(crate) relation: &'static str,
    pub(crate) expected: i64,
    /// What the expected number is made of.
    pub(crate) of: String,
    pub(crate) difference: i64,
    pub(crate) holds: bool,
}

/// The table compared with what the source gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Replay {
    /// Sessions that are closed at the cut, and those that are open and not expected.
    pub(crate) closed_sessions: u64,
    pub(crate) open_sessions: u64,
    pub(crate) rows: u64,
    /// Rows that are as computed, each once.
    pub(crate) equal: u64,
    /// Sessions that stand there in parts, because of events behind the watermark, and their rows.
    pub(crate) sessions_in_parts: u64,
    pub(crate) parts: u64,
    pub(crate) missing: u64,
    pub(crate) duplicate: u64,
    pub(crate) unexpected: u64,
    /// The first that differ, by ip, host and event_hour.
    pub(crate) differences: Vec<DifferentRow>,
}

/// A row that is missing, or should not be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DifferentRow {
    /// `missing`, `duplicate` or `unexpected`.
    pub(crate) kind: &'static str,
    pub(crate) event_hour_ms: Option<i64>,
    pub(crate) ip: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) num_hits: Option<i64>,
}

impl From<Findings> for Replay {
    fn from(findings: Findings) -> Self {
        Replay {
            closed_sessions: findings.closed,
            open_sessions: findings.open,
            rows: findings.rows,
            equal: findings.equal,
            sessions_in_parts: findings.in_parts,
            parts: findings.parts,
            missing: findings.missing,
            duplicate: findings.duplicate,
            unexpected: findings.unexpected,
            differences: findings.first.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Difference> for DifferentRow {
    fn from(row: Difference) -> Self {
        DifferentRow {
            kind: match row.kind {
                DifferenceKind::Missing => "missing",
                DifferenceKind::Duplicate => "duplicate",
                DifferenceKind::Unexpected => "unexpected",
            },
            event_hour_ms: row.event_hour.map(|at| at.0),
            ip: row.ip,
            host: row.host,
            num_hits: row.num_hits,
        }
    }
}
