//! A job of ours as Flink SQL: the same source, the same sessions, the same table.
//!
//! The statements are made of the job as it is submitted, so that every option means the same in both. What Flink SQL cannot
//! say is a note where the rows are the same all the same for input that is in time and readable, and is refused where they
//! are not. Held against a real Flink by `e2e/tests/clusters/flink.rs`; the reasons are in `docs/design/0007-flink.md`.

mod client_settings;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod text;

use job_sessionize::Sessionize;
use job_sessionize::options::Options;
use serde::Serialize;
use stream_core::pipeline::Pipeline;
use stream_core::secret::Secret;
use stream_core::session::Limits;
use web_intake::{OnBadRecord, OnLate};

use crate::failure::Failure;
use crate::request::JobRequest;
use text::{duration, interval, literal};

/// A job as Flink SQL.
#[derive(Clone, Serialize)]
pub(crate) struct Script {
    /// What of the job Flink does otherwise.
    pub(crate) notes: Vec<String>,
    /// The statement that makes the table in Postgres, which Flink does not.
    pub(crate) table: String,
    /// To be run in this order; none has a `;` behind it.
    pub(crate) statements: Vec<String>,
}

/// What stands in a script where a password is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passwords {
    /// The password: the script goes to Flink and nowhere else.
    Inserted,
    /// [`PLACEHOLDER`].
    Hidden,
}

/// What stands for a password that is not shown.
const PLACEHOLDER: &str = "<password>";

impl Passwords {
    fn text(self, secret: &Secret) -> &str {
        match self {
            Passwords::Inserted => secret.expose(),
            Passwords::Hidden => PLACEHOLDER,
        }
    }
}

/// How a text may stand in Flink's words of a script, the longest first: in a setting of Kafka's client or not, in a statement or not.
pub(crate) fn forms(text: &str) -> [String; 4] {
    let in_setting = client_settings::escaped(text);
    [text::escaped(&in_setting), in_setting, text::escaped(text), text.to_owned()]
}

/// The job as Flink 2.2 SQL.
///
/// # Errors
/// If Flink SQL has no such job: it is no `sessionize`, has another source or sink than Kafka and Postgres, or an option that
/// would give it other rows there.
pub(crate) fn script(request: &JobRequest, passwords: Passwords) -> Result<Script, Failure> {
    let Pipeline { job, source, sink, .. } = &request.pipeline;
    if job != Sessionize::NAME {
        return Err(Failure::usage(format!("a job of type `{job}` is not written as Flink SQL: `sessionize` is")));
    }
    let options =
        Options::from_json(&request.pipeline.options).map_err(|error| Failure::failed("no options", &error))?;
    let mut notes = notes(&request.pipeline, options)?;
    let gap_ms = options.windows().gap_ms.unsigned_abs();
    let session_gap = interval(gap_ms).ok_or_else(|| text::too_long("--gap"))?;
    let mut statements = settings(request);
    statements.push(source::table(source, options.on_bad_record(), passwords, &mut notes)?);
    statements.push(source::timed_events(options.on_bad_record()));
    statements.push(sink::table(sink, passwords)?);
    statements.push(insert(&session_gap));
    if passwords == Passwords::Hidden && request.pipeline.secrets().next().is_some() {
        notes.push(format!("{PLACEHOLDER} stands for a password"));
    }
    Ok(Script { notes, table: sink::definition(sink)?, statements })
}

/// What is to be known of the job on Flink.
fn notes(Pipeline { source, .. }: &Pipeline, options: Options) -> Result<Vec<String>, Failure> {
    if options.windows().allowed_lateness_ms > 0 {
        return Err(Failure::usage("--allowed-lateness: Flink SQL has none for sessions: leave it out"));
    }
    if options.windows().limits != Limits::NONE {
        return Err(Failure::usage("--max-session, --max-hits: Flink SQL limits no session: leave them out"));
    }
    if options.has_last_event() {
        return Err(Failure::usage("--last-event: the table in Flink SQL has four columns: leave it out"));
    }
    if options.has_open_table() {
        return Err(Failure::usage("--open-sessions-table: Flink SQL shows no open session: leave it out"));
    }
    let mut notes = vec!["rows are written at least once: after a failure some may be in the table twice".to_owned()];
    let mut note = |is_so: bool, text: &str| notes.extend(is_so.then(|| text.to_owned()));
    match options.on_late() {
        OnLate::Fail => return Err(Failure::usage("--on-late: Flink SQL drops late events: choose `drop`")),
        OnLate::DeadLetterTable => note(true, "late events are dropped, and kept in no table (--on-late)"),
        OnLate::Drop => {}
    }
    let has_dead_letters = options.on_bad_record() == OnBadRecord::DeadLetter;
    note(has_dead_letters, "records that cannot be read are skipped, and kept in no table (--on-bad-record)");
    note(!source.max_future.is_zero(), "events of the future are believed, however far they are ahead (--max-future)");
    // Flink's own alignment fails where a partition of a bounded read has ended ("No current assignment").
    let is_in_step = !source.max_drift.is_zero();
    note(is_in_step, "partitions are read as fast as they come, however far apart they are (--max-drift)");
    let closes = !source.close_when_idle.is_zero();
    note(closes, "the last sessions of a topic that falls silent stay open (--close-when-idle)");
    Ok(notes)
}

fn settings(JobRequest { name, pipeline, .. }: &JobRequest) -> Vec<String> {
    let name = if name.is_empty() { &pipeline.job } else { name };
    let set = |key: &str, value: &str| format!("SET {} = {}", literal(key), literal(value));
    vec![
        set("pipeline.name", name),
        set("parallelism.default", &pipeline.parallelism.to_string()),
        set("pipeline.max-parallelism", &pipeline.max_parallelism.get().to_string()),
        set("execution.checkpointing.interval", &duration(pipeline.checkpoints.interval)),
    ]
}

/// The sessions. `COUNT(host)` and not `COUNT(*)`: that is the job of the Flink version, and ours.
fn insert(gap: &str) -> String {
    let (events, sessions) = (source::TIMED_EVENTS, sink::SESSIONS);
    format!(
        "INSERT INTO {sessions}\n\
         SELECT `window_start`, `ip`, `host`, COUNT(`host`)\n\
         FROM SESSION(\n  TABLE {events} PARTITION BY (`ip`, `host`),\n  DESCRIPTOR(`event_timestamp`),\n  {gap}\n)\n\
         GROUP BY `window_start`, `window_end`, `ip`, `host`"
    )
}

impl Script {
    /// As a file for Flink's SQL client.
    pub(crate) fn text(&self) -> String {
        let mut text =
            "-- For Flink 2.2 with the connectors of Kafka, JSON and JDBC, and Postgres' driver.\n".to_owned();
        for note in &self.notes {
            text += &format!("-- Note: {note}.\n");
        }
        text += &format!("-- The table in Postgres, which Flink does not make:\n--   {}\n", self.table);
        for statement in &self.statements {
            let is_long = statement.contains('\n');
            text += &format!("{}{statement};\n", if is_long { "\n" } else { "" });
        }
        text
    }
}
