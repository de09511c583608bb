//! Reads once more what a job had read at a cut, with the job's own decoder.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use connectors::kafka;
use job_sessionize::decoder::EventDecoder;
use job_sessionize::replay::Event;
use stream_core::checkpoint::{Cut, SplitSnapshot};
use stream_core::collector::Collector;
use stream_core::ids::SplitId;
use stream_core::key_group::MaxParallelism;
use stream_core::operator::{Decoder as _, Hold, Record, SplitRecords};
use stream_core::pipeline::{SourceSpec, Split, StartPosition};
use stream_core::time::{EventTime, millis};
use stream_runtime::clock::{Clock as _, SystemClock};
use stream_runtime::connector::{SourceReader as _, SourceVisitor, split_names};

use super::super::outcome::Accounts;
use super::super::progress::Progress;
use super::buckets::Buckets;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long one look for records waits.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long nothing may come although something is missing: longer than a broker takes to restart.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Events.
    pub(super) events: u64,
    /// Records that could not be read.
    pub(super) bad: u64,
}

/// Puts every event up to the cut into `buckets`.
///
/// # Errors
/// If the cut does not say where the job began, or the records are no longer all there.
pub(super) fn read(
    source: &SourceSpec,
    cut: &Cut,
    buckets: &mut Buckets,
    of_the_future: BTreeSet<(u32, u64)>,
    clock: SystemClock,
) -> Result<Totals, Failure> {
    let splits = ranges(cut)?;
    // What is there now, from the first record to the last.
    let all = SourceSpec { from: StartPosition::Earliest, is_bounded: true, ..source.clone() };
    let available = kafka::discover(&all).map_err(|error| Failure::connector(&error))?;
    check_available(&splits, &available)?;
    let mut reader = kafka::Reader::open(source, &splits).map_err(|error| Failure::connector(&error))?;
    let mut reading = Reading {
        ids: splits.iter().map(|split| split.id.clone()).collect(),
        splits: Sections::of(cut, millis(source.watermark_delay)),
        of_the_future,
        // Whatever the job does with bad records: here they are counted.
        decoder: EventDecoder::new(),
        collector: Collector::new(MaxParallelism::DEFAULT, 1),
        buckets,
        totals: Totals::default(),
        unfinished: splits.iter().map(|split| Some(split.clone())).collect(),
        position: 0,
        failure: None,
    };
    let end = splits.iter().map(|split| split.end.unwrap_or(split.start) - split.start).sum();
    let progress = Progress::begin(clock);
    let mut last = (0, clock.monotonic());
    while reading.unfinished.iter().any(Option::is_some) {
        reader.poll(POLL_WAIT, &mut reading).map_err(|error| Failure::connector(&error))?;
        if let Some(error) = reading.failure.take() {
            return Err(super::no_file(&error));
        }
        let (position, now) = (reading.position, clock.monotonic());
        if position > last.0 {
            last = (position, now);
        } else if now.saturating_sub(last.1) > SILENCE_LIMIT {
            progress.end();
            return Err(silent(&reading.unfinished, source));
        }
        progress.show(&Accounts { events: reading.totals.events, position, end: Some(end), ..Accounts::default() });
    }
    progress.end();
    Ok(reading.totals)
}

/// From where the job began to the cut.
fn ranges(cut: &Cut) -> Result<Vec<Split>, Failure> {
    let range = |snapshot: &SplitSnapshot| {
        let start = *snapshot.begun.first()?;
        Some(Split { id: snapshot.split.id.clone(), start, end: Some(snapshot.split.start) })
    };
    let ranges: Option<Vec<Split>> = cut.splits.iter().map(range).collect();
    ranges.ok_or_else(|| {
        let message = "the job began with a version that did not keep where: `--replay` cannot know what it had read; leave it out";
        Failure::new(Exit::Failed, message)
    })
}

/// Whether the source still has all of it.
fn check_available(splits: &[Split], available: &[Split]) -> Result<(), Failure> {
    let gone = |message: String| {
        Err(Failure::new(Exit::Failed, format!("{message}; without `--replay` the accounts are checked")))
    };
    // Of an empty range nothing can be gone.
    for split in splits.iter().filter(|split| split.end > Some(split.start)) {
        let Split { id, start, end } = split;
        let Some(now) = available.iter().find(|now| now.id == *id) else {
            return gone(format!("`{}`, which the job read, is gone", id.0));
        };
        if now.start > *start {
            let first = now.start;
            return gone(format!(
                "of `{id}` everything before offset {first} was deleted, and the job began with {start}"
            ));
        }
        if now.end < *end {
            let (last, read) = (now.end.unwrap_or_default(), end.unwrap_or_default());
            return gone(format!(
                "`{}` ends at offset {last}, and the job had read up to {read}: it was made anew",
                id.0
            ));
        }
    }
    Ok(())
}

fn silent(unfinished: &[Option<Split>], source: &SourceSpec) -> Failure {
    let left = split_names(unfinished.iter().flatten().map(|split| &split.id));
    let (uri, limit) = (&source.uri, SILENCE_LIMIT.as_secs());
    let message = format!(
        "nothing came from `{uri}` for {limit} s, though the job had read more of {left}: \
         check that the brokers run, and that it is the topic that the job read"
    );
    Failure::new(Exit::Unreachable, message)
}

/// To which section of the input a record belongs, and where the watermark of its split was.
struct Sections {
    splits: Vec<SplitSections>,
    delay_ms: i64,
}

struct SplitSections {
    /// Where each begins, but for those before the split was there.
    begins: Vec<u64>,
    /// That of the first of them.
    first: u16,
    newest_ms: i64,
}

impl Sections {
    fn of(cut: &Cut, delay_ms: i64) -> Self {
        // A split that came later has no part in the earlier sections; the last is common to all.
        let last = last_section(cut);
        let of_split = |snapshot: &SplitSnapshot| SplitSections {
            begins: snapshot.begun.clone(),
            first: last.saturating_sub(u16::try_from(snapshot.begun.len().saturating_sub(1)).unwrap_or(u16::MAX)),
            newest_ms: i64::MIN,
        };
        Sections { splits: cut.splits.iter().map(of_split).collect(), delay_ms }
    }
}

impl SplitSections {
    fn at(&self, offset: u64) -> u16 {
        let begun = self.begins.partition_point(|&begin| begin <= offset).saturating_sub(1);
        self.first.saturating_add(u16::try_from(begun).unwrap_or(u16::MAX))
    }
}

/// The number of the last section: how often the job went on behind a drain.
pub(in crate::commands) fn last_section(cut: &Cut) -> u16 {
    let most = cut.splits.iter().map(|split| split.begun.len()).max().unwrap_or(0);
    u16::try_from(most.saturating_sub(1)).unwrap_or(u16::MAX)
}

struct Reading<'a> {
    splits: Sections,
    ids: Vec<SplitId>,
    /// Records that were in the future when the job read them, by its dead letters.
    of_the_future: BTreeSet<(u32, u64)>,
    decoder: EventDecoder,
    collector: Collector,
    buckets: &'a mut Buckets,
    totals: Totals,
    unfinished: Vec<Option<Split>>,
    /// Records and gaps passed, over all splits.
    position: u64,
    failure: Option<io::Error>,
}

impl Reading<'_> {
    fn decode(&mut self, split: usize, section: u16, records: &[Record<'_>]) -> io::Result<()> {
        let id = &self.ids[split];
        // What was in the future then may not be so now.
        let was_future = |record: &Record<'_>| self.of_the_future.contains(&(id.number(), record.offset));
        for records in records.chunk_by(|a, b| was_future(a) == was_future(b)) {
            let is_future = records.first().is_some_and(was_future);
            let not_after = EventTime(if is_future { i64::MIN } else { i64::MAX });
            let records = SplitRecords { split: id, records, not_after, hold: Hold::NEVER };
            let decoded = self.decoder.decode(records, &mut self.collector).map_err(io::Error::other)?;
            self.totals.events += decoded.events;
            self.totals.bad += decoded.bad;
        }
        let delay_ms = self.splits.delay_ms;
        let newest_ms = &mut self.splits.splits[split].newest_ms;
        for (_, batch) in self.collector.take_all() {
            for event in batch.iter() {
                let ms = event.time.0;
                // At one gap sharp a session is joined, unless the watermark is but 1 ms behind the event.
                let is_behind = ms.saturating_sub(1) <= newest_ms.saturating_sub(delay_ms);
                *newest_ms = ms.max(*newest_ms);
                let told = Event { key: event.key, section, time: event.time, is_behind };
                self.buckets.add_event(event.hash, told)?;
            }
        }
        Ok(())
    }
}

impl SourceVisitor for Reading<'_> {
    fn on_records(&mut self, split: usize, records: &[Record<'_>], next_offset: u64) -> usize {
        let sections = &self.splits.splits[split];
        let ends: Vec<(u16, usize)> = records
            .chunk_by(|a, b| sections.at(a.offset) == sections.at(b.offset))
            .map(|of_section| (sections.at(of_section[0].offset), of_section.len()))
            .collect();
        let mut rest = records;
        for (section, length) in ends {
            let (of_section, behind) = rest.split_at(length);
            rest = behind;
            if let Err(error) = self.decode(split, section, of_section) {
                self.failure.get_or_insert(error);
            }
        }
        if let Some(split) = &mut self.unfinished[split] {
            self.position += next_offset.saturating_sub(split.start);
            split.start = next_offset;
        }
        records.len()
    }

    fn on_end_of_split_for_now(&mut self, _: usize) {}

    fn on_split_finished(&mut self, split: usize) {
        if let Some(Split { start, end, .. }) = self.unfinished[split].take() {
            self.position += end.unwrap_or(start).saturating_sub(start);
        }
    }

    fn on_known_end(&mut self, _: usize, _: u64) {}
}

#[cfg(test)]
mod tests {
    use stream_core::ids::SplitId;
    use stream_core::watermark::Watermark;

    use super::*;

    fn cut(begun: &[&[u64]]) -> Cut {
        let split = |begun: &&[u64]| SplitSnapshot {
            split: Split { id: SplitId("t/0".to_owned()), start: 100, end: None },
            watermark: None,
            is_finished: false,
            begun: begun.to_vec(),
        };
        Cut { watermark: Watermark::NONE, splits: begun.iter().map(split).collect() }
    }

    #[test]
    fn sections_are_counted_from_the_last_which_all_splits_have() {
        let cut = cut(&[&[5, 10, 10, 50], &[0, 7]]);
        assert_eq!(last_section(&cut), 3);
        let sections = Sections::of(&cut, 0);
        let at = |split: usize, offsets: [u64; 4]| offsets.map(|offset| sections.splits[split].at(offset));
        assert_eq!(at(0, [5, 9, 10, 50]), [0, 0, 2, 3], "the second is empty");
        assert_eq!(at(1, [0, 6, 7, 99]), [2, 2, 3, 3]);
    }

    #[test]
    fn a_job_is_read_from_where_it_began_to_the_cut_or_not_at_all() {
        let ranges_of = |begun: &[&[u64]]| ranges(&cut(begun)).map(|splits| (splits[0].start, splits[0].end));
        assert_eq!(ranges_of(&[&[5, 10]]), Ok((5, Some(100))));
        assert!(ranges_of(&[&[]]).is_err());
    }

    #[test]
    fn records_that_are_gone_are_told_and_nothing_is_gone_of_an_empty_range() {
        let split = |id: &str, start, end| Split { id: SplitId(id.to_owned()), start, end: Some(end) };
        let said = |now: &[Split]| {
            check_available(&[split("t/0", 5, 9), split("t/1", 3, 3)], now).map_err(|failure| failure.message)
        };
        assert_eq!(said(&[split("t/0", 5, 9)]), Ok(()));
        assert!(said(&[split("t/0", 6, 9)]).expect_err("gone").contains("before offset 6 was deleted"));
        assert!(said(&[split("t/0", 0, 8)]).expect_err("gone").contains("made anew"));
        assert!(said(&[split("t/1", 0, 8)]).expect_err("gone").contains("`t/0`, which the job read, is gone"));
    }
}
