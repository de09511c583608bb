//! `audit`: whether the table holds what it should, by the ledger's accounts and, if asked for, by computing it once more.
//!
//! It runs here and not in the jobmanager, so that a judge needs nothing of the judged but the job's description: the database
//! and the brokers are asked directly. Secrets are those of whoever asks, never the job's, which nobody is told.

mod accounts;
mod buckets;
mod reading;

use std::collections::BTreeSet;

use connectors::postgres::{self, LedgerEntry, Look};
use job_sessionize::key::Key;
use job_sessionize::open_table::OPEN_EVENTS;
use job_sessionize::operator::Form;
use job_sessionize::options::Options;
use job_sessionize::replay::{self, Findings, Parts, Row, Rules};
use stream_core::checkpoint::Cut;
use stream_core::pipeline::{Pipeline, SinkSpec, SourceSpec};
use stream_core::row::{Field, RowBatch};
use stream_core::session::Limits;
use web_intake::dead_letters::DEAD_LETTER_EVENTS;
use web_intake::intake::IN_FUTURE;
use web_intake::late_events::LATE_EVENTS;

use super::{Context, block_on};
use crate::args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render;
use crate::request::{self, AuditRequest};
use crate::view::Audit;
use accounts::Verdict;
use buckets::Buckets;
use reading::Totals;
pub(super) use reading::last_section;

/// The columns of the accounts.
pub(super) const HITS: &str = "num_hits";
pub(super) const HOST: &str = "host";

pub(super) fn audit(context: &Context, args: &args::Audit) -> Result<Exit, Failure> {
    let rows_before = request::rows_before(args)?;
    let (job, pipeline) = block_on(async { context.connect().await?.pipeline(&args.job.job).await })?;
    let AuditRequest { source, sink } = request::audit(args, &context.environment, &pipeline)?;
    let options =
        Options::from_json(&pipeline.options).map_err(|error| Failure::failed("cannot audit this job", &error))?;
    let mut buckets = args.replay.then(Buckets::new);
    let open_table =
        options.has_open_table().then(|| sink.side_tables.last()).flatten().map(|table| table.name.as_str());
    let (look, side_rows, open_events, marked, of_the_future) = block_on(async {
        let failed = |error| Failure::connector(&error);
        let mut audit = postgres::Audit::begin(&sink).await.map_err(failed)?;
        let look = audit.look(HITS, HOST).await.map_err(failed)?;
        if let Some(buckets) = &mut buckets {
            let mut written = Ok(());
            audit
                .rows(|rows| {
                    written = std::mem::replace(&mut written, Ok(())).and_then(|()| add_rows(&pipeline, rows, buckets))
                })
                .await
                .map_err(failed)?;
            written.map_err(|error| no_file(&error))?;
        }
        // Of a job that the ledger does not know there is more to say than that its side tables are not here, either.
        let is_known = look.entries.iter().any(|entry| entry.job_id == job);
        let side_rows = if is_known { audit.side_rows(&job).await.map_err(failed)? } else { Vec::new() };
        let open_events = match open_table.filter(|_| is_known) {
            Some(table) => Some((table, audit.sum(table, OPEN_EVENTS, &job).await.map_err(failed)?)),
            None => None,
        };
        let marked = match side_table(&sink, LATE_EVENTS) {
            Some(late) if look.entries.iter().any(|entry| entry.job_id == job && entry.replayed.events > 0) => {
                Some(audit.marked_as_replayed(late, &job).await.map_err(failed)?)
            }
            _ => None,
        };
        let of_the_future = match side_table(&sink, DEAD_LETTER_EVENTS).filter(|_| args.replay && is_known) {
            Some(table) => audit.records_where(table, &job, IN_FUTURE).await.map_err(failed)?,
            None => BTreeSet::new(),
        };
        audit.close().await;
        Ok((look, side_rows, open_events, marked, of_the_future))
    })?;
    let own = own_entry(&look, &job, &sink)?;
    let mut verdict = accounts::check(&look, own, options.form(), rows_before);
    accounts::check_side_tables(&mut verdict, &pipeline.sink.side_tables, &side_rows, own);
    if let Some((table, events)) = open_events {
        accounts::check_open_table(&mut verdict, table, events, own);
    }
    if let Some(marked) = marked {
        accounts::check_replayed(&mut verdict, marked, own);
    }
    let replay = match buckets {
        None => None,
        Some(_) if look.entries.iter().any(|entry| entry.job_id != job && entry.rows_total > 0) => {
            let message = "the table holds rows of several jobs, and no row tells whose it is: `--replay` needs a table of the job's own";
            return Err(Failure::new(Exit::Failed, message));
        }
        Some(buckets) => {
            let cut = own.cut.as_ref().ok_or_else(|| no_cut(own.last_epoch.0))?;
            let rules = rules(&options, &pipeline, cut, own, rows_before);
            let (findings, totals) = compute(context, &source, cut, &rules, buckets, of_the_future)?;
            judge(&mut verdict, &findings, totals, own, &rules, rows_before);
            Some(findings.into())
        }
    };
    let audit = Audit {
        job,
        sink: sink.uri,
        table: sink.table,
        epoch: (own.last_epoch.0 > 0).then(|| own.last_epoch.to_string()),
        source: args.replay.then_some(source.uri),
        holds: verdict.holds(),
        checks: verdict.checks,
        notes: verdict.notes,
        replay,
    };
    context.show(&audit, render::audit)?;
    Ok(if audit.holds { Exit::Done } else { Exit::Failed })
}

/// What the ledger says of a job.
///
/// # Errors
/// If it knows nothing of it.
pub(super) fn own_entry<'a>(look: &'a Look, job: &str, sink: &SinkSpec) -> Result<&'a LedgerEntry, Failure> {
    look.entries.iter().find(|entry| entry.job_id == job).ok_or_else(|| {
        let message = format!(
            "the ledger of {} in `{}` knows nothing of job {job}: pass the database that it publishes into with --sink",
            sink.table, sink.uri
        );
        Failure::new(Exit::NotFound, message)
    })
}

/// The sink's table of that name, if the job has one; one with an outlet is not the sink's.
pub(super) fn side_table<'a>(sink: &'a SinkSpec, name: &str) -> Option<&'a str> {
    let within = sink.side_tables.iter().filter(|table| table.outlet.is_none());
    within.map(|table| table.name.as_str()).find(|table| table.ends_with(name))
}

/// Late events that are in no session, not even by a replay.
fn still_late(own: &LedgerEntry) -> u64 {
    own.accounts.late.saturating_sub(own.replayed.events)
}

fn rules(options: &Options, pipeline: &Pipeline, cut: &Cut, own: &LedgerEntry, rows_before: u64) -> Rules {
    let is_by_clock = !pipeline.source.close_when_idle.is_zero();
    let may_be_silent = !pipeline.source.idle_timeout.is_zero() && (cut.splits.len() > 1 || is_by_clock);
    Rules {
        gap_ms: options.windows().gap_ms,
        limits: options.windows().limits,
        form: options.form(),
        last_section: last_section(cut),
        watermark: cut.watermark,
        late: still_late(own),
        open: own.accounts.open,
        // Rows that stood there before could be taken for parts.
        parts: match (rows_before, may_be_silent) {
            (1.., _) => Parts::Never,
            (0, true) => Parts::Anywhere,
            (0, false) => Parts::WhereBehind,
        },
    }
}

/// Reads the source once more and compares.
fn compute(
    context: &Context,
    source: &SourceSpec,
    cut: &Cut,
    rules: &Rules,
    mut buckets: Buckets,
    of_the_future: BTreeSet<(u32, u64)>,
) -> Result<(Findings, Totals), Failure> {
    let totals = reading::read(source, cut, &mut buckets, of_the_future, context.clock)?;
    let mut findings = Findings::default();
    let compared = buckets.for_each(|events, rows| replay::compare(rules, events, rows, &mut findings));
    compared.map_err(|error| no_file(&error))?;
    Ok((findings, totals))
}

/// What must hold of a replay.
fn judge(
    verdict: &mut Verdict,
    findings: &Findings,
    totals: Totals,
    own: &LedgerEntry,
    rules: &Rules,
    rows_before: u64,
) {
    let accounts = &own.accounts;
    let (events, bad) = (i128::from(totals.events), i128::from(totals.bad));
    verdict.check("replay: records bad", bad, "=", accounts.bad.into(), "records bad in the ledger");
    verdict.check(
        "replay: events and bad records",
        events + bad,
        "=",
        accounts.read.into(),
        "events read in the ledger",
    );
    verdict.check("replay: rows missing", findings.missing.into(), "=", 0, "none");
    let surplus = findings.duplicate + findings.unexpected;
    let of = if rows_before > 0 { "rows before" } else { "none" };
    verdict.check("replay: rows too many", surplus.into(), "=", rows_before.into(), of);
    let (in_no_row, late_or_open) = (findings.in_no_row.into(), i128::from(rules.late) + i128::from(rules.open));
    let is = if findings.untold == 0 { "=" } else { "<=" };
    verdict.check("replay: events in no row", in_no_row, is, late_or_open, "late and open events in the ledger");
    if findings.in_parts == 0 && still_late(own) == 0 {
        let (closed, open) = (findings.closed_events, findings.open_events);
        verdict.check(
            "replay: events in sessions",
            closed.into(),
            "=",
            i128::from(accounts.in_sessions) + i128::from(own.replayed.events),
            "those in the ledger, and late ones replayed",
        );
        verdict.check("replay: events open", open.into(), "=", accounts.open.into(), "those in the ledger");
    } else {
        let missing = findings.not_in_parts;
        verdict.check(
            "replay: events missing in parts",
            missing.into(),
            "<=",
            still_late(own).into(),
            "late events in the ledger that are not replayed",
        );
    }
    if findings.differences() == surplus && surplus == rows_before && findings.in_parts == 0 {
        let of = if rows_before > 0 { "every other row is" } else { "every row is" };
        verdict.notes.push(format!("{of} what all {events} events together give, once each"));
    } else if findings.in_parts > 0 {
        verdict.notes.push(in_parts(findings, rules, still_late(own)));
    }
}

/// What a replay cannot tell, and what it can.
fn in_parts(findings: &Findings, rules: &Rules, late: u64) -> String {
    let Findings { in_parts, .. } = findings;
    let cause = match rules.parts {
        Parts::Anywhere => {
            "a partition may have been silent longer than the idle timeout, and have been left out of the watermark"
        }
        Parts::WhereBehind | Parts::Never if rules.limits == Limits::NONE => {
            "each holds an event behind its partition's watermark"
        }
        Parts::WhereBehind | Parts::Never => {
            "each holds an event behind its partition's watermark, or reached a limit out of order"
        }
    };
    let known = match rules.form {
        Form::Sql => format!(
            "each part begins with an event of its session, and together they hold its events, less those that were late ({late} in all)"
        ),
        Form::DataStream => "each part begins with an event of its session and holds no more events than it".to_owned(),
    };
    format!(
        "{in_parts} sessions are not row by row what all events together give, because the order of arrival decides on them and \
         nobody knows it any more ({cause}); what is proven of them: {known}"
    )
}

/// Rows with the sink's columns, which are the job's own.
fn add_rows(pipeline: &Pipeline, rows: &RowBatch, buckets: &mut Buckets) -> std::io::Result<()> {
    let mut reader = rows.reader(&pipeline.sink.columns);
    let mut bytes = Vec::new();
    loop {
        let (mut start, mut ip, mut host, mut num_hits) = (None, None, None, None);
        let is_row = reader.next_row(|column, field| match (column, field) {
            (0, Field::Timestamp(time)) => start = Some(time),
            (1, Field::Text(text)) => ip = Some(text.as_str()),
            (2, Field::Text(text)) => host = Some(text.as_str()),
            (3, Field::BigInt(hits)) => num_hits = Some(hits),
            _ => {}
        });
        if !is_row.expect("the rows were checked as they came") {
            return Ok(());
        }
        Key { ip, host }.encode(&mut bytes);
        buckets.add_row(Row { key: &bytes, start, num_hits })?;
    }
}

pub(super) fn no_cut(last_epoch: u64) -> Failure {
    let why = match last_epoch {
        0 => "the job has published nothing yet: wait for its first checkpoint",
        _ => {
            "the last epoch was published by a version that kept no cut: wait for the next one (`audit` without `--replay` checks the accounts)"
        }
    };
    Failure::new(Exit::Failed, format!("it is not known how far the job had read: {why}"))
}

fn no_file(error: &std::io::Error) -> Failure {
    Failure::failed("cannot use a temporary file: make room, or set TMPDIR to another folder", error)
}
