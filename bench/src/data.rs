//! The events of a benchmark: made once, and kept with the right answer beside them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use localcluster::traffic::{self, Plan};

use crate::args::Args;
use crate::reference::{self, Digest};
use crate::stage::Bar;

/// To be changed with what the generator writes, or with how the answer is told.
const VERSION: u32 = 1;

pub(crate) use traffic::Shape;

/// Events in a file.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    /// How many.
    pub(crate) count: u64,
    /// One a line, as JSON.
    pub(crate) events: PathBuf,
    /// Their sessions, as the naive batch found them: a CSV file without a head.
    pub(crate) sessions: PathBuf,
    /// What a result must come to.
    pub(crate) expected: Digest,
}

impl Data {
    /// Finds it in the folder, or makes it.
    ///
    /// # Errors
    /// If there is no space, mostly.
    pub(crate) fn find_or_make(shape: Shape, args: &Args, dir: &Path, bar: &Bar) -> Result<Data> {
        let dir = dir.join("data");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
        let (count, seed, ips) = (args.events.get(), args.seed, args.ips.get());
        let name = format!("v{VERSION}-{}-{count}-{ips}-{seed}", shape.name());
        let file = |kind: &str| dir.join(format!("{name}.{kind}"));
        let (events, sessions, digest) = (file("jsonl"), file("sessions.csv"), file("digest.json"));
        if !events.exists() {
            let plan = Plan { events: count, seed, ips, shape };
            bar.begin(count, &format!("making the events of `{}`", shape.name()));
            traffic::generate_with(&plan, &events, &mut |done| bar.at(done))?;
        }
        if !digest.exists() {
            bar.begin(count, &format!("finding the sessions of `{}`, naively", shape.name()));
            let expected = reference::compute(&events, &sessions, &mut |done| bar.at(done))?;
            // Last: it says that the others are whole.
            fs::write(&digest, serde_json::to_vec(&expected)?)?;
        }
        let text = fs::read(&digest).with_context(|| format!("cannot read `{}`", digest.display()))?;
        let expected =
            serde_json::from_slice(&text).with_context(|| format!("`{}` is damaged; remove it", digest.display()))?;
        Ok(Data { count, events, sessions, expected })
    }
}
