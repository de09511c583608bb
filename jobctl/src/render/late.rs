//! A replay of late events as text.

use super::{fields, watermark};
use crate::view::LateReplay;

/// `jobctl late replay`.
pub(crate) fn late_replay(replay: &LateReplay) -> String {
    let LateReplay { keys, replayed, changed, joined, made, too_recent, undecided, not_kept, .. } = replay;
    let mut text = fields([
        ("Job", replay.job.clone()),
        ("Sink", format!("{} {}", replay.sink, replay.table)),
        ("Watermark", watermark(replay.watermark_ms)),
    ]);
    text += &format!(
        "\n{replayed} late events replayed, of {keys} keys: {changed} sessions corrected, {joined} rows joined to others, {made} sessions made\n"
    );
    let mut left = |events: &u64, why: &str| {
        if *events > 0 {
            text += &format!("note: {events} late events {why}\n");
        }
    };
    left(too_recent, "are left: the table does not show yet all that they could belong to; run this again later");
    left(
        undecided,
        "are left: whether they touch a session depends on when it ended, which its row does not say (`submit --last-event` keeps it)",
    );
    left(not_kept, "were counted and not kept, in a flood of them; they cannot be replayed");
    text
}
