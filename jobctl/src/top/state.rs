//! What is shown: the last look, what it says against those before it, and where the person is in it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use stream_core::time::Timestamp;

use super::figures::{self, Figures};
use super::symbols::Symbols;
use crate::screen::Key;
use crate::view::{Checkpoint, Cluster, Job, JobDetails};

/// What figures are of, at least: several heartbeats, so that one that comes a little early or late does not show.
const WINDOW: Duration = Duration::from_secs(2);
/// Looks that the sparkline remembers: more than any screen is wide.
const REMEMBERED: usize = 1024;
/// How far a page is.
const PAGE: usize = 10;

/// What the jobmanager answered at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) clock: Timestamp,
    pub(crate) cluster: Cluster,
    /// The latest first.
    pub(crate) jobs: Vec<Job>,
    /// The job that is shown.
    pub(crate) details: Option<JobDetails>,
    /// Its checkpoints, the latest first.
    pub(crate) checkpoints: Vec<Checkpoint>,
}

/// The tables of the screen, from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Jobs,
    Subtasks,
    Partitions,
    Checkpoints,
}

impl Table {
    pub(super) const ALL: [Table; 4] = [Table::Jobs, Table::Subtasks, Table::Partitions, Table::Checkpoints];
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The end.
    Quit,
    /// The same figures, drawn again.
    Draw,
    /// Other figures, at once.
    Look,
}

/// All that a frame is made of.
pub(crate) struct State {
    pub(super) symbols: Symbols,
    pub(super) look: Look,
    /// Since when the jobmanager does not answer, and why.
    pub(super) away: Option<(Timestamp, String)>,
    /// Of the shown job's subtasks.
    pub(super) figures: Vec<Option<Figures>>,
    /// Events a second, the latest last.
    pub(super) history: VecDeque<u64>,
    pub(super) focus: Table,
    /// The first row that is shown of each table.
    pub(super) offsets: [Cell<usize>; Table::ALL.len()],
    /// The shown job's id.
    chosen: Option<String>,
    /// The shown job in the looks of the window, the oldest first.
    before: VecDeque<(Timestamp, JobDetails)>,
}

impl State {
    /// Begins with a first look.
    pub(crate) fn new(symbols: Symbols, look: Look) -> Self {
        let mut state = State {
            symbols,
            away: None,
            figures: Vec::new(),
            history: VecDeque::new(),
            focus: Table::Jobs,
            offsets: Default::default(),
            chosen: look.details.as_ref().map(|details| details.job.id.clone()),
            before: VecDeque::new(),
            look: Look { details: None, ..look.clone() },
        };
        state.on_look(look);
        state
    }

    /// The id of the job that is to be looked at; the latest that runs if there is none.
    pub(crate) fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// The jobmanager answered.
    pub(crate) fn on_look(&mut self, look: Look) {
        self.away = None;
        if let Some(details) = &look.details {
            self.chosen = Some(details.job.id.clone());
            if self.before.back().is_some_and(|(_, last)| last.job.id != details.job.id) {
                self.forget();
            }
            self.before.push_back((look.clock, details.clone()));
            while self.before.get(1).is_some_and(|(at, _)| look.clock.saturating_since(*at) >= WINDOW) {
                self.before.pop_front();
            }
            self.figures = figures::between(&self.before[0].1, details);
            self.history.extend(figures::events_per_second(details, &self.figures));
            self.history.drain(..self.history.len().saturating_sub(REMEMBERED));
        } else {
            // It is gone, as after a jobmanager that stores nothing: the next look chooses another.
            self.chosen = None;
            self.forget();
        }
        self.look = look;
        self.keep_in_range();
    }

    /// The jobmanager did not answer: what is shown stays, with a word on that.
    pub(crate) fn on_away(&mut self, now: Timestamp, why: String) {
        let since = self.away.take().map_or(now, |(since, _)| since);
        self.away = Some((since, why));
    }

    /// A key was pressed.
    pub(crate) fn on_key(&mut self, key: Key) -> Next {
        match key {
            Key::Quit => return Next::Quit,
            Key::Resized => {}
            Key::Next => self.move_focus(1),
            Key::Previous => self.move_focus(Table::ALL.len() - 1),
            Key::Up => return self.go(|row| row.saturating_sub(1)),
            Key::Down => return self.go(|row| row + 1),
            Key::PageUp => return self.go(|row| row.saturating_sub(PAGE)),
            Key::PageDown => return self.go(|row| row + PAGE),
            Key::Home => return self.go(|_| 0),
            Key::End => return self.go(|_| usize::MAX),
        }
        Next::Draw
    }

    /// The row of the shown job among the jobs.
    pub(super) fn chosen_row(&self) -> Option<usize> {
        self.look.jobs.iter().position(|job| Some(&job.id) == self.chosen.as_ref())
    }

    fn move_focus(&mut self, steps: usize) {
        self.focus = Table::ALL[(self.focus as usize + steps) % Table::ALL.len()];
    }

    /// To another row of the table with the focus: another job, or another part of what does not fit.
    fn go(&mut self, to: impl FnOnce(usize) -> usize) -> Next {
        let last = self.rows(self.focus).saturating_sub(1);
        if self.focus != Table::Jobs {
            let offset = &self.offsets[self.focus as usize];
            offset.set(to(offset.get()).min(last));
            return Next::Draw;
        }
        let row = to(self.chosen_row().unwrap_or(0)).min(last);
        let Some(job) = self.look.jobs.get(row).filter(|job| Some(&job.id) != self.chosen.as_ref()) else {
            return Next::Draw;
        };
        self.chosen = Some(job.id.clone());
        self.forget();
        self.look.details = None;
        self.look.checkpoints.clear();
        Next::Look
    }

    fn forget(&mut self) {
        self.before.clear();
        self.figures.clear();
        self.history.clear();
        self.offsets = Default::default();
    }

    fn keep_in_range(&mut self) {
        for table in Table::ALL {
            let last = self.rows(table).saturating_sub(1);
            let offset = &self.offsets[table as usize];
            offset.set(offset.get().min(last));
        }
    }

    fn rows(&self, table: Table) -> usize {
        let details = self.look.details.as_ref();
        match table {
            Table::Jobs => self.look.jobs.len(),
            Table::Subtasks => details.map_or(0, |details| details.subtasks.len()),
            Table::Partitions => details.map_or(0, |details| details.splits.len()),
            Table::Checkpoints => self.look.checkpoints.len(),
        }
    }
}
