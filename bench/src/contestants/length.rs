//! Ours, by how many events there are: what an event costs must not depend on how many came before it.
//!
//! Query 11 of Nexmark, whose bids are made as they are read: a hundred million events need no disk. As many sessions are open at any
//! time, however long it goes on.

use anyhow::{Context, Result};
use e2e::nexmark_rows::compare;
use e2e::programs;
use nexmark::Plan;
use nexmark::q11::{Session, sessions};

use crate::contestant::{Contestant, Ready, Run};
use crate::stage::Stage;
use crate::usage;

/// Events in a second of event time: sessions end all the while.
const RATE: u64 = 10_000;
const SPLITS: u32 = 4;

/// `jobctl run` of so many generated events.
pub(crate) struct Length {
    name: String,
    what: String,
    events: u64,
    /// Once it is prepared.
    expected: Option<Vec<Session>>,
}

impl Length {
    pub(crate) fn new(millions: u64) -> Length {
        Length {
            name: format!("length/nexmark-{millions}m"),
            what: format!("ours, Nexmark query 11, generated bids to CSV, {millions} M events, parallelism 1"),
            events: millions * 1_000_000,
            expected: None,
        }
    }
}

impl Contestant for Length {
    fn name(&self) -> &str {
        &self.name
    }

    fn what(&self) -> &str {
        &self.what
    }

    /// Minutes, for the longest.
    fn is_default(&self) -> bool {
        false
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready> {
        programs::path("jobctl")?;
        stage.bar.say(&format!("{}: finding the sessions, naively", self.name));
        self.expected = Some(sessions(&Plan::new(self.events, RATE, SPLITS, stage.args.seed)?));
        Ok(Ready::Yes)
    }

    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run> {
        let expected = self.expected.as_deref().context("it is prepared before a run")?;
        let (events, seed) = (self.events, stage.args.seed);
        let file = stage.clean_dir(&self.name)?.join("sessions.csv");
        let source = format!("nexmark:events={events},rate={RATE},splits={SPLITS},seed={seed}");
        let sink = format!("csv:{}", file.display());
        let args = ["run", "nexmark-q11", "--parallelism", "1", "--source", &source, "--sink", &sink];
        let mut commands = [programs::command("jobctl", &args, &[])?];
        let usage = usage::measure(&mut commands, &stage.log(&self.name), &stage.interrupted, &mut || false)?;
        compare(&file, expected)?;
        Ok(Run {
            count: expected.iter().map(|session| session.bids).sum(),
            wall_s: usage.wall_s,
            cpu_s: usage.cpu_s,
            peak_bytes: Some(usage.peak_bytes),
            first_row_s: None,
        })
    }
}
