//! Checkpoints as text.

use std::time::Duration;

use stream_runtime::duration;

use super::Side::{Left, Right};
use super::{NONE, mebibytes, or_none, span, table, time};
use crate::view::Checkpoint;

/// `jobctl checkpoints`.
pub(crate) fn checkpoints(checkpoints: &[Checkpoint]) -> String {
    if checkpoints.is_empty() {
        return "no checkpoint yet\n".to_owned();
    }
    let columns = [
        ("CHECKPOINT", Left),
        ("KIND", Left),
        ("STATE", Left),
        ("TRIGGERED", Left),
        ("TOOK", Right),
        ("PAUSE", Right),
        ("WRITTEN MIB", Right),
        ("TOTAL MIB", Right),
        ("READ", Right),
        ("OPEN", Right),
        ("WHY", Left),
    ];
    table(
        columns,
        checkpoints.iter().map(|checkpoint| {
            [
                checkpoint.id.clone(),
                if checkpoint.is_savepoint { "savepoint" } else { "checkpoint" }.to_owned(),
                state(checkpoint).to_owned(),
                time(checkpoint.triggered_ms),
                or_none(checkpoint.ended_ms.map(|ended| span(checkpoint.triggered_ms, ended))),
                pause(checkpoint.pause_us),
                mebibytes(checkpoint.written_bytes),
                mebibytes(checkpoint.total_bytes),
                or_none(checkpoint.accounts.map(|accounts| accounts.read)),
                or_none(checkpoint.accounts.map(|accounts| accounts.open)),
                checkpoint.reason.clone().unwrap_or_else(|| NONE.to_owned()),
            ]
        }),
    )
}

/// In one line, for `jobctl describe`.
pub(super) fn last(checkpoint: &Checkpoint) -> String {
    let took = or_none(checkpoint.ended_ms.map(|ended| span(checkpoint.triggered_ms, ended)));
    format!("{} {} at {} UTC in {took}", checkpoint.id, state(checkpoint), time(checkpoint.triggered_ms))
}

fn state(checkpoint: &Checkpoint) -> &'static str {
    if checkpoint.is_published { "published" } else { checkpoint.state }
}

fn pause(us: u64) -> String {
    match us {
        0..1000 => format!("{us}us"),
        _ => duration::show(Duration::from_millis(us / 1000)),
    }
}
