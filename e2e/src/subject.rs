//! The job that is judged: where its rows are, and what Postgres makes of the same records.

use crate::traffic::{CLOSING_HOST, FUTURE_IP, GAP_MS, LATE_IP, NO_JSON};

/// A job, as its judges see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// sessionize, with sessions that a gap of so many milliseconds ends.
    Sessions {
        /// The gap.
        gap_ms: i64,
    },
    /// process_events, with the locations of [`crate::location_api`].
    ProcessedEvents,
}

/// Events of one time are told apart by their place in the topic, so that all steps see them in one order. The sessions of the closing
/// events are there or not, as the job was ended.
const SESSIONS: &str = "
    WITH events AS (
        SELECT record::json->>'ip' AS ip, record::json->>'host' AS host, partition, number,
               replace(record::json->>'event_time', 'Z', '')::timestamp(3) AS at
        FROM oracle_records WHERE kept IS NULL),
    marked AS (
        SELECT *, coalesce(at - lag(at) OVER visitor > interval '{gap} milliseconds', true) AS is_first
        FROM events WINDOW visitor AS (PARTITION BY ip, host ORDER BY at, partition, number)),
    numbered AS (
        SELECT *, count(*) FILTER (WHERE is_first) OVER visitor AS session
        FROM marked WINDOW visitor AS (PARTITION BY ip, host ORDER BY at, partition, number))
    SELECT min(at)::timestamp(3) AS event_hour, ip, host, count(*) AS num_hits
    FROM numbered WHERE host <> '{closing}' GROUP BY ip, host, session";

const SESSIONS_FOUND: &str = "
    SELECT event_hour::timestamp(3), ip::text, host::text, num_hits::bigint
    FROM sessionized_aggregated_events WHERE host IS DISTINCT FROM '{closing}'";

const EVENTS: &str = "
    SELECT record::json->>'ip' AS ip, replace(replace(record::json->>'event_time', 'T', ' '), 'Z', '')::timestamp(3) AS at,
           record::json->>'referrer' AS referrer, record::json->>'host' AS host, record::json->>'url' AS url, true AS has_its_location
    FROM oracle_records WHERE kept IS NULL";

/// A service that fails may cost a location, and never gives that of another ip.
const EVENTS_FOUND: &str = r#"
    SELECT ip::text, event_timestamp::timestamp(3), referrer::text, host::text, url::text,
           geodata IN ('{}', format('{"country":"C%s","state":"S%s","city":"%s"}', split_part(ip, '.', 1), split_part(ip, '.', 2), ip))
    FROM processed_events"#;

impl Subject {
    /// The sessions of [`crate::traffic`].
    pub const SESSIONS: Subject = Subject::Sessions { gap_ms: GAP_MS };

    /// The `WHEN`s of records that make no row, with the table that keeps them.
    pub(crate) fn makes_no_row(self) -> String {
        let no_json = format!("WHEN record LIKE '{NO_JSON}%' THEN 'dead_letter_events'");
        match self {
            Subject::Sessions { .. } => format!(
                "{no_json} WHEN record LIKE '%\"ip\":\"{FUTURE_IP}\"%' THEN 'dead_letter_events'
                 WHEN record LIKE '%\"ip\":\"{LATE_IP}\"%' THEN 'late_events'"
            ),
            Subject::ProcessedEvents => no_json,
        }
    }

    /// The rows that the records of `oracle_records` come to.
    pub(crate) fn expected(self) -> String {
        match self {
            Subject::Sessions { gap_ms } => {
                SESSIONS.replace("{gap}", &gap_ms.to_string()).replace("{closing}", CLOSING_HOST)
            }
            Subject::ProcessedEvents => EVENTS.to_owned(),
        }
    }

    /// The rows that are there, in the same columns.
    pub(crate) fn found(self) -> String {
        match self {
            Subject::Sessions { .. } => SESSIONS_FOUND.replace("{closing}", CLOSING_HOST),
            Subject::ProcessedEvents => EVENTS_FOUND.to_owned(),
        }
    }

    /// Where rows and records are that the job keeps beside its ledger.
    pub(crate) fn tables(self) -> &'static [&'static str] {
        match self {
            Subject::Sessions { .. } => &["sessionized_aggregated_events", "late_events", "dead_letter_events"],
            Subject::ProcessedEvents => &["processed_events", "dead_letter_events"],
        }
    }

    /// The events in a row, summed over the table.
    pub(crate) fn hits(self) -> &'static str {
        match self {
            Subject::Sessions { .. } => "coalesce(sum(num_hits), 0)",
            Subject::ProcessedEvents => "count(*)",
        }
    }

    /// Which of its tables late events are in, if any.
    pub(crate) fn has_late_events(self) -> bool {
        matches!(self, Subject::Sessions { .. })
    }
}
