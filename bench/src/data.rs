//! The events of a benchmark: made once, and kept with the right answer beside them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use localcluster::traffic::{self, Plan};

use crate::args::Args;
use crate::reference::{self, Digest};
use crate::stage::Bar;

/// To be changed with what the generator writes, or with how the answer is told.
const VERSION: u32 = 1;

/// Read and written at once.
const BUFFER_BYTES: usize = 1 << 20;

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

    /// The same events in two files, every second line in each, as a topic with two partitions would have them; made now if they are
    /// not there.
    ///
    /// # Errors
    /// If there is no space, mostly.
    pub(crate) fn halves(&self) -> Result<[PathBuf; 2]> {
        let [even, odd] = ["even", "odd"].map(|half| self.events.with_extension(format!("{half}.jsonl")));
        // The one that is renamed last says that both are whole.
        if !odd.exists() {
            split(&self.events, [&even, &odd]).with_context(|| format!("cannot halve `{}`", self.events.display()))?;
        }
        Ok([even, odd])
    }
}

/// Deals the lines of a file out to two.
fn split(events: &Path, halves: [&Path; 2]) -> io::Result<()> {
    let unfinished = halves.map(|half| half.with_extension("unfinished"));
    let mut events = BufReader::with_capacity(BUFFER_BYTES, File::open(events)?);
    let create = |half: &PathBuf| Ok::<_, io::Error>(BufWriter::with_capacity(BUFFER_BYTES, File::create(half)?));
    let mut files = [create(&unfinished[0])?, create(&unfinished[1])?];
    let mut line = Vec::new();
    for turn in [0, 1].into_iter().cycle() {
        line.clear();
        if events.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        files[turn].write_all(&line)?;
    }
    for ((mut file, from), to) in files.into_iter().zip(&unfinished).zip(halves) {
        file.flush()?;
        fs::rename(from, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn halves_hold_every_line_once_in_its_order_and_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let events = folder.path().join("v1-web.jsonl");
        fs::write(&events, "0\n1\n2\n3\n4\n").unwrap();
        let expected = Digest::default();
        let data = Data { count: 5, events, sessions: PathBuf::new(), expected };
        let read = || data.halves().unwrap().map(|half| fs::read_to_string(half).unwrap());
        assert_eq!(read(), ["0\n2\n4\n", "1\n3\n"]);
        fs::remove_file(&data.events).unwrap();
        assert_eq!(read(), ["0\n2\n4\n", "1\n3\n"]);
    }
}
