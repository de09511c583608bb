//! `late replay`: late events go into the sessions that they belong to.
//!
//! Like an audit it goes to the database itself. Which row becomes what `job_sessionize::late_replay` says; here batches are
//! carried from the server to it and back.

use std::ops::Range;

use connectors::postgres::{self, LedgerEntry, Place, Session, Span};
use job_sessionize::late_replay::{self, Correction, Outcome, Rules, Sweep};
use job_sessionize::operator::num_hits;
use job_sessionize::options::Options;
use stream_core::checkpoint::Cut;
use stream_core::pipeline::SinkSpec;

use super::audit::{HITS, HOST, last_section, no_cut, own_entry};
use super::outcome::Accounts;
use super::progress::Progress;
use super::{Context, block_on};
use crate::args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render;
use crate::request::{self, LateReplayRequest};
use crate::view::LateReplay;

pub(super) fn replay(context: &Context, args: &args::LateReplay) -> Result<Exit, Failure> {
    let replayed = block_on(async {
        let (job, pipeline) = context.connect().await?.pipeline(&args.job.job).await?;
        let request = request::late_replay(args, &context.environment, &pipeline)?;
        let own = own_table(&request.sink, &job).await?;
        let mut replayed = LateReplay {
            job: job.clone(),
            sink: request.sink.uri.clone(),
            table: request.sink.table.clone(),
            not_kept: not_kept(&request, &own),
            ..LateReplay::default()
        };
        run(context, &request, &job, own.last_epoch.0, &mut replayed).await?;
        Ok(replayed)
    })?;
    context.show(&replayed, render::late_replay)?;
    Ok(Exit::Done)
}

/// What the ledger says of the job, if all rows of the table are its own.
async fn own_table(sink: &SinkSpec, job: &str) -> Result<LedgerEntry, Failure> {
    let failed = |error| Failure::connector(&error);
    let mut audit = postgres::Audit::begin(sink).await.map_err(failed)?;
    let look = audit.look(HITS, HOST).await.map_err(failed)?;
    audit.close().await;
    let own = own_entry(&look, job, sink)?.clone();
    if look.entries.iter().any(|entry| entry.job_id != job && entry.rows_total > 0) {
        let message = "the table holds rows of several jobs, and no row tells whose it is: late events can be replayed into a table of the job's own";
        return Err(Failure::new(Exit::Failed, message));
    }
    let expected = i128::from(own.rows_total) + i128::from(own.replayed.rows_added);
    if i128::from(look.rows) != expected {
        let message = format!(
            "the table has {} rows, and the job published {expected}: rows that are not the job's would be taken for sessions of its \
             visitors; `jobctl audit` tells more",
            look.rows
        );
        return Err(Failure::new(Exit::Failed, message));
    }
    let expected = i128::from(own.accounts.in_sessions) + i128::from(own.replayed.events);
    if look.sum > expected {
        let message = format!(
            "the table has {} hits, and the job published {expected}: sessions that stand there twice would be taken for two; \
             `jobctl audit` tells more",
            look.sum
        );
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(own)
}

/// Late events that are counted and not in the table: of a flood it holds a sample.
fn not_kept(request: &LateReplayRequest, own: &LedgerEntry) -> u64 {
    let place = request.sink.side_tables.iter().position(|table| table.name == request.late_table);
    let kept = place.and_then(|place| own.side_rows.get(place)).copied().unwrap_or(0);
    own.accounts.late.saturating_sub(kept)
}

async fn run(
    context: &Context,
    request: &LateReplayRequest,
    job: &str,
    last_epoch: u64,
    replayed: &mut LateReplay,
) -> Result<(), Failure> {
    let LateReplayRequest { sink, late_table, options, batch_keys } = request;
    let failed = |error| Failure::connector(&error);
    let mut tables = postgres::LateReplay::begin(sink, late_table, job).await.map_err(failed)?;
    replayed.keys = tables.keys();
    let progress = Progress::begin(context.clock);
    let mut begin = 0;
    while begin < tables.keys() {
        let keys = begin..begin.saturating_add(*batch_keys).min(tables.keys());
        begin = keys.end;
        let done = batch(&mut tables, options, keys, last_epoch, replayed).await;
        if let Err(failure) = done {
            progress.end();
            return Err(failure);
        }
        progress.show(&Accounts {
            events: replayed.replayed,
            position: begin,
            end: Some(tables.keys()),
            ..Accounts::default()
        });
    }
    progress.end();
    tables.close().await;
    Ok(())
}

/// One transaction.
async fn batch(
    tables: &mut postgres::LateReplay,
    options: &Options,
    keys: Range<u64>,
    last_epoch: u64,
    replayed: &mut LateReplay,
) -> Result<(), Failure> {
    let failed = |error| Failure::connector(&error);
    let cut = tables.begin_batch().await.map_err(failed)?;
    let rules = rules(options, &cut.ok_or_else(|| no_cut(last_epoch))?)?;
    let mut sweep = Sweep::new(rules);
    tables.spans(keys, |found| push(&mut sweep, options, found)).await.map_err(failed)?;
    let Outcome { corrections, left } = sweep.finish();
    let sessions: Vec<Session> = corrections.into_iter().map(session).collect();
    if sessions.is_empty() {
        tables.end_batch().await.map_err(failed)?;
    } else {
        tables.commit(&sessions).await.map_err(failed)?;
    }
    replayed.watermark_ms = Some(rules.published.0);
    replayed.too_recent += left.too_recent;
    replayed.undecided += left.undecided;
    for session in &sessions {
        replayed.replayed += session.late.len() as u64;
        let (changed, made) = if session.rows.is_empty() { (0, 1) } else { (1, 0) };
        replayed.changed += changed;
        replayed.made += made;
        replayed.joined += (session.rows.len() as u64).saturating_sub(1);
    }
    Ok(())
}

/// # Errors
/// If rows of one key may stand there that were never to be one session.
fn rules(options: &Options, cut: &Cut) -> Result<Rules, Failure> {
    if last_section(cut) > 0 {
        let message = "the job went on behind a drain, over which no session reaches, and no row tells on which side it is: late events \
                       can be replayed before the job goes on, while it is stopped";
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(Rules { gap_ms: options.windows().gap_ms, published: cut.watermark })
}

fn push(sweep: &mut Sweep<Place>, options: &Options, found: Span) {
    let Span { key, has_host, is_late, place, start, last, num_hits: hits } = found;
    let of_event = num_hits(options.form(), has_host, 1);
    let span = match is_late {
        true => late_replay::Span::Late { place, time: start },
        false => late_replay::Span::Row { place, start, last, num_hits: hits },
    };
    sweep.push(key, of_event, span);
}

fn session(correction: Correction<Place>) -> Session {
    let Correction { key, start, last, num_hits, rows, late } = correction;
    Session { key, start, last, num_hits, rows, late }
}
