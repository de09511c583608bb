//! Bids of the Nexmark benchmark, made as they are read: `nexmark:events=10000000,rate=10000,splits=4,seed=1`.
//!
//! An offset is the place of an event in its split, persons and auctions counted, which give no record. Since an event is a
//! function of its number (crate `nexmark`), a split begins anywhere at no cost, and is the same whenever it is read: this source is
//! replayable as a topic is. There is no clock in it: events come as fast as they are taken.

use std::time::Duration;

use nexmark::record::Writer;
use nexmark::{Plan, plan::PlanError};
use stream_core::ids::SplitId;
use stream_core::operator::Record;
use stream_core::pipeline::Split;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, SourceReader, SourceVisitor};

/// Records handed on at once, as of files: enough that the call costs nothing, few enough to stay in the first caches.
const RECORDS_AT_ONCE: usize = 256;
/// What a record takes.
const RECORD_BYTES: usize = 256;

/// The splits of a plan.
///
/// # Errors
/// If the text is no plan.
pub fn splits(plan: &str) -> Result<Vec<Split>, ConnectorError> {
    let plan = parse(plan)?;
    let split =
        |number| Split { id: SplitId(format!("nexmark/{number}")), start: 0, end: Some(plan.split_events(number)) };
    Ok((0..plan.splits()).map(split).collect())
}

/// Makes the events of some splits, some of each in turn, so that all go on in event time together.
#[derive(Debug)]
pub struct Reader {
    plan: Plan,
    splits: Vec<Position>,
    /// Whose turn it is.
    turn: usize,
    unfinished: usize,
    writer: Writer,
    /// The records of one turn, end to end; used again for each.
    bytes: Vec<u8>,
}

/// How far a split is read.
#[derive(Clone, Copy, Debug)]
struct Position {
    number: u32,
    next: u64,
    end: u64,
    is_finished: bool,
}

impl Reader {
    /// A reader over some splits of a plan.
    ///
    /// # Errors
    /// If the text is no plan.
    pub fn open(plan: &str, splits: &[Split]) -> Result<Self, ConnectorError> {
        let bytes = Vec::with_capacity(RECORDS_AT_ONCE * RECORD_BYTES * 2);
        let mut reader =
            Reader { plan: parse(plan)?, splits: Vec::new(), turn: 0, unfinished: 0, writer: Writer::new(), bytes };
        reader.add(splits);
        Ok(reader)
    }

    fn add(&mut self, splits: &[Split]) {
        let position = |split: &Split| {
            let number = split.id.number();
            let end = split.end.unwrap_or_else(|| self.plan.split_events(number));
            Position { number, next: split.start, end, is_finished: false }
        };
        self.splits.extend(splits.iter().map(position));
        self.unfinished += splits.len();
    }
}

impl SourceReader for Reader {
    fn add_splits(&mut self, splits: &[Split]) -> Result<(), ConnectorError> {
        self.add(splits);
        Ok(())
    }

    fn poll(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<(), ConnectorError> {
        if self.unfinished == 0 {
            return Ok(());
        }
        let count = self.splits.len();
        let mut turns = (0..count).map(|ahead| (self.turn + ahead) % count);
        let Some(turn) = turns.find(|&turn| !self.splits[turn].is_finished && !visitor.is_held(turn)) else {
            // All that is left waits for splits that others read.
            std::thread::park_timeout(max_wait);
            return Ok(());
        };
        self.turn = (turn + 1) % count;
        self.read(turn, visitor);
        Ok(())
    }
}

impl Reader {
    fn read(&mut self, turn: usize, visitor: &mut dyn SourceVisitor) {
        let Reader { plan, splits, writer, bytes, unfinished, .. } = self;
        let split = &mut splits[turn];
        visitor.on_known_end(turn, split.end);
        bytes.clear();
        // Where each record ends in `bytes`, and its offset.
        let mut places = [(0_usize, 0_u64); RECORDS_AT_ONCE];
        let (mut count, mut next) = (0, split.next);
        while next < split.end && count < RECORDS_AT_ONCE {
            if let Some(bid) = plan.bid(plan.event(split.number, next)) {
                writer.write(&bid, bytes);
                places[count] = (bytes.len(), next);
                count += 1;
            }
            next += 1;
        }
        let mut records = [Record { payload: None, offset: 0 }; RECORDS_AT_ONCE];
        let mut start = 0;
        for (record, &(end, offset)) in records.iter_mut().zip(&places[..count]) {
            *record = Record { payload: Some(&bytes[start..end]), offset };
            start = end;
        }
        let taken = if count == 0 { 0 } else { visitor.on_records(turn, &records[..count], next) };
        // What is left is made again.
        split.next = if taken < count { places[taken].1 } else { next };
        if split.next == split.end {
            split.is_finished = true;
            *unfinished -= 1;
            visitor.on_split_finished(turn);
        }
    }
}

fn parse(plan: &str) -> Result<Plan, ConnectorError> {
    let refused =
        |error: PlanError| ConnectorError::new(ConnectorErrorKind::Invalid, format!("`nexmark:{plan}`: {error}"));
    Plan::parse(plan).map_err(refused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Takes up to `most` records at a time, and keeps them with their splits and offsets.
    struct Taker {
        most: usize,
        taken: Vec<(usize, u64, String)>,
        /// The offset to go on from, of each split.
        next: Vec<u64>,
        finished: usize,
    }

    impl Taker {
        fn new(most: usize, splits: &[Split]) -> Self {
            Taker { most, taken: Vec::new(), next: splits.iter().map(|split| split.start).collect(), finished: 0 }
        }
    }

    impl SourceVisitor for Taker {
        fn on_records(&mut self, split: usize, records: &[Record<'_>], next_offset: u64) -> usize {
            let taken = records.len().min(self.most);
            self.taken.extend(records[..taken].iter().map(|record| {
                let text = String::from_utf8(record.payload.unwrap().to_vec()).unwrap();
                (split, record.offset, text)
            }));
            self.next[split] = records.get(taken).map_or(next_offset, |record| record.offset);
            taken
        }

        fn on_end_of_split_for_now(&mut self, _split: usize) {}

        fn on_split_finished(&mut self, _split: usize) {
            self.finished += 1;
        }

        fn on_known_end(&mut self, _split: usize, _end: u64) {}
    }

    const PLAN: &str = "events=3001,splits=3,seed=7";

    fn read(splits: &[Split], most: usize) -> Vec<(usize, u64, String)> {
        let mut reader = Reader::open(PLAN, splits).unwrap();
        let mut taker = Taker::new(most, splits);
        while taker.finished < splits.len() {
            reader.poll(Duration::ZERO, &mut taker).unwrap();
        }
        reader.poll(Duration::ZERO, &mut taker).unwrap();
        taker.taken.sort();
        taker.taken
    }

    #[test]
    fn every_bid_is_read_once_however_many_are_taken_at_a_time() {
        let splits = splits(PLAN).unwrap();
        let all = read(&splits, usize::MAX);
        let plan = Plan::parse(PLAN).unwrap();
        assert_eq!(all.len(), (0..plan.events()).filter_map(|event| plan.bid(event)).count());
        for most in [1, 100, 255] {
            assert_eq!(read(&splits, most), all, "{most} at a time");
        }
    }

    #[test]
    fn split_goes_on_where_it_was_left() {
        let mut splits = splits(PLAN).unwrap();
        let all = read(&splits, usize::MAX);
        let mut reader = Reader::open(PLAN, &splits).unwrap();
        let mut before = Taker::new(100, &splits);
        for _ in 0..7 {
            reader.poll(Duration::ZERO, &mut before).unwrap();
        }
        splits.iter_mut().zip(&before.next).for_each(|(split, &next)| split.start = next);
        let mut both = read(&splits, usize::MAX);
        assert!(!before.taken.is_empty() && !both.is_empty());
        both.extend(before.taken);
        both.sort();
        assert_eq!(both, all);
    }

    #[test]
    fn splits_have_ends_and_other_texts_are_refused() {
        let ends: Vec<_> = splits(PLAN).unwrap().iter().map(|split| (split.id.0.clone(), split.end)).collect();
        let expected = [("nexmark/0", 1001), ("nexmark/1", 1000), ("nexmark/2", 1000)];
        assert_eq!(ends, expected.map(|(id, end)| (id.to_owned(), Some(end))));
        let error = splits("rate=3").unwrap_err().to_string();
        assert_eq!(error, "`nexmark:rate=3`: it does not say how many events: write `nexmark:events=10000000`");
    }
}
