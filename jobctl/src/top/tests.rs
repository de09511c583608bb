#![allow(clippy::unwrap_used)]

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use stream_core::time::Timestamp;

use super::state::Table;
use super::*;
use crate::screen::Key;
use crate::view::testing::{sample_details, sample_job, sample_subtask};
use crate::view::{Checkpoint, Cluster, Job, JobDetails, Split, Subtask};

const NOW: Timestamp = Timestamp(1_736_874_100_000);
const FIGURES: [(&str, [u64; 3], u64); 4] = [
    ("source", [300, 100, 1600], 24_600),
    ("source", [1900, 100, 0], 21_000),
    ("window", [2000, 0, 0], 40_000),
    ("sink", [0, 2000, 0], 0),
];

fn cluster() -> Cluster {
    Cluster {
        jobmanager: "127.0.0.1:6123".to_owned(),
        version: "0.1.0".to_owned(),
        started_ms: NOW.0 - 192_000,
        taskmanagers: 2,
        slots: 4,
        free_slots: 1,
        running_jobs: 1,
        rss_bytes: 12 << 20,
        pid: 7,
    }
}

/// Two sources, one of which is held up by a window that works all the time, after `looks` of two seconds each.
fn details(looks: u64) -> JobDetails {
    let mut counts = [("source", 0), ("window", 0), ("sink", 0)];
    let subtask = |(stage, [busy, idle, held], events): (&'static str, [u64; 3], u64)| {
        let index = counts.iter_mut().find(|(name, _)| *name == stage).map(|(_, index)| index).unwrap();
        *index += 1;
        Subtask {
            busy_ms: busy * looks,
            idle_ms: idle * looks,
            backpressured_ms: held * looks,
            records_in: events * looks,
            records_out: events * looks,
            open_windows: if stage == "window" { 123_456 } else { 0 },
            watermark_ms: (stage != "sink").then_some(NOW.0 - 12_345),
            ..sample_subtask(stage, *index - 1)
        }
    };
    let subtasks = FIGURES.map(subtask).into();
    let split = |number: u32, lag, state| Split {
        id: format!("web-traffic/{number}"),
        subtask: format!("source[{}]", number % 2),
        position: 1_000_000,
        end: Some(1_000_000 + lag),
        lag: Some(lag),
        watermark_ms: Some(NOW.0 - 12_345 + i64::from(number) * 1000),
        silent_ms: 0,
        state,
    };
    let splits = vec![split(0, 345_678, "active"), split(1, 0, "idle"), split(2, 12, "held")];
    JobDetails { subtasks, splits, ..sample_details() }
}

fn checkpoint(number: u32, state: &'static str) -> Checkpoint {
    Checkpoint {
        id: format!("1.{number}"),
        state,
        is_savepoint: false,
        is_published: state == "completed",
        triggered_ms: NOW.0 - 10_000 * i64::from(10 - number),
        ended_ms: (state != "pending").then_some(NOW.0 - 10_000 * i64::from(10 - number) + 250),
        written_bytes: 300_000,
        total_bytes: 45 << 20,
        pause_us: 850,
        alignment_us: 12_000,
        reason: (state == "aborted").then(|| "timeout".to_owned()),
        accounts: None,
    }
}

fn look(looks: u64) -> Look {
    let checkpoints = [(9, "pending"), (8, "completed"), (7, "aborted")];
    let other = Job { id: "b".repeat(32), name: "older".to_owned(), state: "finished", ..sample_job() };
    Look {
        clock: NOW,
        cluster: cluster(),
        jobs: vec![sample_job(), other],
        details: Some(details(looks)),
        checkpoints: checkpoints.map(|(number, state)| checkpoint(number, state)).into(),
    }
}

fn state() -> State {
    let mut state = State::new(Symbols::PLAIN, look(1));
    state.on_look(look(2));
    state
}

fn drawn(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|shown| frame::draw(shown, state, NOW)).unwrap();
    let cells: Vec<&str> = terminal.backend().buffer().content().iter().map(|cell| cell.symbol()).collect();
    cells.chunks(width.into()).map(|line| line.concat().trim_end().to_owned()).collect()
}

#[test]
fn smallest_screen_that_is_promised_shows_the_job_and_what_holds_it_up() {
    assert_eq!(
        drawn(&state(), 40, 10),
        [
            "gapwise 127.0.0.1:6123",
            "JOB        STATE         FOR     IN",
            "sessionize running       27s   1.0M",
            "older      finished      27s   1.0M",
            "sessionize · running · 0 restarts",
            "22.8k events/s · lag 345k",
            "SUBTASK   LOAD       BUSY BACKPR   IN/S",
            "source[0] ██▒▒▒▒▒▒▒▒  15%    80%  12.3k",
            "source[1] ██████████  95%     0%  10.5k",
            "q quit · Tab next table · Up/Down move",
        ]
    );
}

#[test]
fn usual_screen_shows_everything() {
    assert_eq!(
        drawn(&state(), 80, 24),
        [
            "gapwise 127.0.0.1:6123 · 1 free of 4 slots · 2 taskmanagers · 1 job running",
            "JOB        STATE         FOR     IN   ROWS PARALLEL ID",
            "sessionize running       27s   1.0M     17        2 4f1c09ab4f1c",
            "older      finished      27s   1.0M     17        2 bbbbbbbbbbbb",
            "sessionize · running · 0 restarts · attempt 1 · kafka://127.0.0.1:9092/t",
            "22.8k events/s · lag 345k · event time 12s behind · 123k open · 0 late · 0 bad",
            "EVENTS/S  peak 22.8k",
            "█",
            "█",
            "SUBTASK   LOAD       BUSY BACKPR   IN/S  OUT/S STATE        BEHIND   OPEN",
            "source[0] ██▒▒▒▒▒▒▒▒  15%    80%  12.3k  12.3k running         12s      0",
            "source[1] ██████████  95%     0%  10.5k  10.5k running         12s      0",
            "window[0] ██████████ 100%     0%  20.0k  20.0k running         12s   123k",
            "sink[0]   ··········   0%     0%      0      0 running           -      0",
            "PARTITION     STATE       LAG BEHIND     POSITION          END READ BY",
            "web-traffic/0 active     345k    12s      1000000      1345678 source[0]",
            "web-traffic/1 idle          0    11s      1000000      1000000 source[1]",
            "web-traffic/2 held         12    10s      1000000      1000012 source[0]",
            "CHECKPOINT STATE         AGO   TOOK  PAUSE  ALIGN   SIZE    NEW",
            "1.9        pending       10s      -  850us   12ms  45MiB 292KiB",
            "1.8        published     20s  250ms  850us   12ms  45MiB 292KiB",
            "1.7        aborted       30s  250ms  850us   12ms  45MiB 292KiB",
            "",
            "q quit · Tab next table · Up/Down move · PgUp/PgDn",
        ]
    );
}

#[test]
fn no_size_is_too_small_or_too_large_to_be_drawn() {
    let mut state = state();
    for focus in 0..4 {
        for width in [1, 2, 7, 39, 40, 80, 132, 250] {
            for height in [1, 2, 3, 5, 10, 24, 43, 100] {
                let lines = drawn(&state, width, height);
                assert!(
                    lines.iter().all(|line| line.chars().count() <= usize::from(width)),
                    "{width}x{height} {focus}"
                );
            }
        }
        assert_eq!(state.on_key(Key::Next), Next::Draw);
    }
}

#[test]
fn table_with_the_focus_has_a_place_on_every_screen_and_scrolls() {
    let mut state = state();
    assert_eq!(state.on_key(Key::Previous), Next::Draw);
    assert_eq!(state.focus, Table::Checkpoints);
    let has = |lines: &[String], text: &str| lines.iter().any(|line| line.starts_with(text));
    let lines = drawn(&state, 40, 10);
    assert!(has(&lines, "CHECKPOINT") && has(&lines, "1.9"), "{lines:#?}");
    assert_eq!(state.on_key(Key::End), Next::Draw);
    let lines = drawn(&state, 40, 8);
    assert!(has(&lines, "CHECKPOINT 3/3") && has(&lines, "1.7") && !has(&lines, "1.9"), "{lines:#?}");
    assert_eq!(state.on_key(Key::Up), Next::Draw);
    let lines = drawn(&state, 40, 8);
    assert!(has(&lines, "CHECKPOINT 2/3") && has(&lines, "1.8"), "one key, one row: {lines:#?}");

    // Where there is room for all of them, none is beyond the end.
    assert_eq!(state.on_key(Key::End), Next::Draw);
    assert!(has(&drawn(&state, 132, 43), "1.9"));
    assert_eq!(state.on_key(Key::Down), Next::Draw);
    assert!(has(&drawn(&state, 132, 43), "1.9"));
}

#[test]
fn another_job_is_chosen_by_the_arrows_and_looked_at_at_once() {
    let mut state = state();
    assert_eq!(state.on_key(Key::Up), Next::Draw, "there is none above");
    assert_eq!(state.on_key(Key::Down), Next::Look);
    assert_eq!(state.chosen(), Some("b".repeat(32).as_str()));
    let lines = drawn(&state, 80, 24);
    assert!(lines.iter().any(|line| line == "looking at the job"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("EVENTS/S")), "{lines:#?}");

    let older = JobDetails { job: look(1).jobs[1].clone(), subtasks: Vec::new(), splits: Vec::new(), ..details(1) };
    state.on_look(Look { details: Some(older), checkpoints: Vec::new(), ..look(1) });
    let lines = drawn(&state, 80, 24);
    assert!(lines.iter().any(|line| line.starts_with("older · finished")), "{lines:#?}");
}

#[test]
fn jobmanager_that_is_away_is_told_above_the_last_figures_until_it_is_back() {
    let mut state = state();
    state.on_away(Timestamp(NOW.0 - 65_000), "no answer".to_owned());
    state.on_away(Timestamp(NOW.0 - 1000), "lost the jobmanager".to_owned());
    let lines = drawn(&state, 100, 24);
    assert_eq!(lines[0], "jobmanager 127.0.0.1:6123 away for 1m5s, trying again (lost the jobmanager)");
    assert!(lines.iter().any(|line| line.contains("22.8k events/s")), "{lines:#?}");
    state.on_look(look(3));
    assert!(drawn(&state, 100, 24)[0].starts_with("gapwise 127.0.0.1:6123 · 1 free of 4 slots · 2 taskmanagers"));
}

#[test]
fn what_is_wrong_is_told_and_cannot_move_the_cursor() {
    let mut state = state();
    let mut wrong = look(3);
    wrong.details.as_mut().unwrap().subtasks[3].trouble = Some("Postgres\u{1b}[2J is away".to_owned());
    state.on_look(wrong);
    let lines = drawn(&state, 80, 24);
    assert!(lines.contains(&"Postgres\u{fffd}[2J is away".to_owned()), "{lines:#?}");
}

#[test]
fn job_that_is_gone_gives_its_place_to_another() {
    let mut state = state();
    state.on_look(Look { details: None, jobs: Vec::new(), checkpoints: Vec::new(), ..look(1) });
    assert_eq!(state.chosen(), None);
    let lines = drawn(&state, 80, 24);
    assert!(lines.contains(&"no jobs yet: `jobctl submit sessionize` starts one".to_owned()), "{lines:#?}");
}

#[test]
fn bars_are_ascii_where_the_terminal_is() {
    let ascii = Symbols::of(&crate::environment::Environment::of(&[("LC_ALL", "C")]));
    let mut state = State::new(ascii, look(1));
    state.on_look(look(2));
    let lines = drawn(&state, 132, 43);
    assert!(lines.iter().all(|line| line.is_ascii()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("##========")), "{lines:#?}");
}
