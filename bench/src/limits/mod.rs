//! Programs that do one part of the work and nothing else, each a process of its own: hidden commands of this program. Each prints
//! how many records it saw.

mod consume;
mod sessions;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use web_event::event_time::to_timestamp;
use web_event::json::Projection;

/// As much as the product reads at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Which part.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Limit {
    /// Reads a file and counts its lines
    #[command(name = "limit-read", hide = true)]
    Read { file: PathBuf },
    /// And scans each line for the fields of a session
    #[command(name = "limit-scan", hide = true)]
    Scan { file: PathBuf },
    /// And finds the sessions, without an engine
    #[command(name = "limit-sessions", hide = true)]
    Sessions { file: PathBuf, sessions: PathBuf },
    /// Takes all messages of a topic
    #[command(name = "limit-consume", hide = true)]
    Consume { bootstrap: String, topic: String },
}

impl Limit {
    pub(crate) fn run(&self) -> Result<()> {
        let count = match self {
            Limit::Read { file } => lines(file, |_| Ok(()))?,
            Limit::Scan { file } => scan(file)?,
            Limit::Sessions { file, sessions } => sessions::write(file, sessions)?,
            Limit::Consume { bootstrap, topic } => consume::all(bootstrap, topic)?,
        };
        println!("{count}");
        Ok(())
    }
}

fn scan(file: &Path) -> Result<u64> {
    let mut fields = Projection::new(["ip", "host", "event_time"]);
    let mut events = 0;
    lines(file, |line| {
        let read = fields.decode(line, |[ip, host, time]| {
            let is_whole = ip.is_some() && host.is_some() && time.and_then(to_timestamp).is_some();
            events += u64::from(is_whole);
        });
        read.context("a line is no event")
    })?;
    Ok(events)
}

/// Hands over each line, without its end. The last must have one.
fn lines(file: &Path, mut on_line: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let mut file = File::open(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let (mut room, mut held, mut count) = (vec![0; CHUNK_BYTES], 0, 0);
    loop {
        let read = file.read(&mut room[held..])?;
        if read == 0 {
            ensure!(held == 0, "the last line has no end, or is too long");
            return Ok(count);
        }
        let (filled, mut begin) = (held + read, 0);
        while let Some(length) = memchr::memchr(b'\n', &room[begin..filled]) {
            on_line(&room[begin..begin + length])?;
            count += 1;
            begin += length + 1;
        }
        room.copy_within(begin..filled, 0);
        held = filled - begin;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use localcluster::traffic::{self, Plan, Shape};

    #[test]
    fn every_line_is_seen_wherever_it_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("events.jsonl");
        traffic::generate(&Plan { events: 5_000, seed: 1, ips: 100, shape: Shape::Web }, &file).unwrap();
        let mut bytes = 0;
        let count = lines(&file, |line| {
            bytes += line.len() as u64 + 1;
            Ok(())
        });
        assert_eq!(count.unwrap(), 5_000);
        assert!(bytes > CHUNK_BYTES as u64 && bytes == file.metadata().unwrap().len());
        assert_eq!(scan(&file).unwrap(), 5_000);
    }
}
