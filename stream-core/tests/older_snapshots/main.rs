//! What an older build stored is read as that build meant it.
//!
//! The files here were written by the build before windows were kept in blocks (`1820eba`), and must not be written anew. A line `full` or
//! `delta` is a section: its key group, number of records and bytes. The lines `state` are what that build said of the windows then.

use stream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use stream_core::session::{Change, Config, Limits, Restored, Windows};
use stream_core::snapshot::Section;
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

const MAX_PARALLELISM: u16 = 4;

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The sections of the snapshots of one kind.
fn sections(file: &str, kind: &str) -> Vec<Section> {
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok()).expect("a number");
    let of_kind = file.lines().filter_map(|line| line.strip_prefix(kind));
    let section = |line: &str| {
        let mut words = line.split_whitespace();
        let group = KeyGroup(u16::try_from(number(words.next())).expect("a key group"));
        Section { group, records: number(words.next()), bytes: bytes(words.next().expect("bytes")) }
    };
    of_kind.map(section).collect()
}

/// The windows of a file, newest snapshot first, and what they are, as the file has it.
fn restored(file: &str, empty: impl Fn(Windows) -> Windows) -> (Windows, Vec<String>) {
    let max = MaxParallelism::new(MAX_PARALLELISM.into()).expect("in range");
    let config = Config { gap_ms: 30_000, allowed_lateness_ms: 10_000, limits: Limits::NONE };
    // As the job does it, so that keys of every form are there.
    let head_bytes = |key: &[u8]| key.iter().position(|&byte| byte == b'w' || byte == b'a').unwrap_or(key.len());
    let mut windows = empty(Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max));
    windows = windows.sharing_tails(head_bytes);
    let watermark = file.lines().find_map(|line| line.strip_prefix("watermark ")?.parse().ok()).expect("a watermark");
    let newest_first = [sections(file, "delta "), sections(file, "full ")].concat();
    for group in (0..MAX_PARALLELISM).map(KeyGroup) {
        let of_group: Vec<&Section> = newest_first.iter().filter(|section| section.group == group).collect();
        windows.restore(Watermark(watermark), &of_group).expect("the records of an older build");
    }
    let expected = file.lines().filter_map(|line| line.strip_prefix("state ")).map(str::to_owned).collect();
    (windows, expected)
}

fn state(windows: &Windows) -> Vec<String> {
    let mut state = vec![format!("{} events are open", windows.events())];
    windows.for_each(|of| state.push(format!("{of:?}")));
    state.sort_unstable();
    state
}

#[test]
fn sessions_are_restored() {
    let (windows, expected) = restored(include_str!("sessions.txt"), |windows| windows);
    assert_eq!(state(&windows), expected);
}

#[test]
fn sessions_that_were_told_are_restored_with_their_ids() {
    let untold = |windows: Windows| windows.telling_changes(7, Restored::Untold);
    let (mut windows, expected) = restored(include_str!("sessions_with_ids.txt"), untold);
    let mut actual = state(&windows);
    windows.tell_changes(|change| {
        if let Change::Open { id, start: EventTime(start), .. } = change {
            actual.push(format!("{} begins at {start}", id.get()));
        }
    });
    actual.sort_unstable();
    assert_eq!(actual, expected);
}
