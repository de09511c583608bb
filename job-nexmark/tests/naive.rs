//! The job equals the naive answer to query 11, whatever the plan, the size of batches, the order of splits, and where it is
//! stopped and restored.

use nexmark::q11::{Session, sessions};
use nexmark::record::Writer;
use nexmark::{Plan, plan::BASE_TIME};
use proptest::prelude::*;
use stream_core::collector::Collector;
use stream_core::ids::{SplitId, TableIndex};
use stream_core::key_group::{KeyGroupRange, MaxParallelism};
use stream_core::operator::{Decoder, Hold, Operator, Record, SplitRecords};
use stream_core::random::SplitMix64;
use stream_core::row::Field;
use stream_core::snapshot::{Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

use job_nexmark::decoder::BidDecoder;
use job_nexmark::operator::SessionsOperator;
use job_nexmark::pipeline::columns;

/// The job without what lies between its parts.
struct Job {
    decoder: BidDecoder,
    operator: SessionsOperator,
    events: Collector,
    rows: Collector,
    found: Vec<Session>,
}

impl Job {
    fn new() -> Self {
        let max = MaxParallelism::DEFAULT;
        Job {
            decoder: BidDecoder::new(),
            operator: operator(),
            events: Collector::new(max, 1),
            rows: Collector::new(max, 1),
            found: Vec::new(),
        }
    }

    /// Reads up to `count` events of a split from `offset` on; the offset to go on from.
    fn read(&mut self, plan: &Plan, split: u32, offset: u64, count: u64) -> u64 {
        let end = plan.split_events(split).min(offset + count);
        let mut writer = Writer::new();
        let lines: Vec<(u64, Vec<u8>)> = (offset..end)
            .filter_map(|offset| {
                let (mut line, bid) = (Vec::new(), plan.bid(plan.event(split, offset))?);
                writer.write(&bid, &mut line);
                Some((offset, line))
            })
            .collect();
        let records: Vec<Record<'_>> =
            lines.iter().map(|(offset, line)| Record { payload: Some(line), offset: *offset }).collect();
        let id = SplitId(format!("nexmark/{split}"));
        let records = SplitRecords { split: &id, records: &records, not_after: EventTime(i64::MAX), hold: Hold::NEVER };
        let decoded = self.decoder.decode(records, &mut self.events).expect("nothing is refused");
        assert_eq!((decoded.events, decoded.bad), (lines.len() as u64, 0));
        let batches: Vec<_> = self.events.take_all().collect();
        for (_, batch) in batches {
            self.operator.on_events(&batch, &mut self.rows).expect("nothing is refused");
        }
        end
    }

    fn advance(&mut self, watermark: Watermark) {
        self.operator.on_watermark(watermark, &mut self.rows);
        let Some(rows) = self.rows.take_rows(TableIndex::RESULT) else { return };
        let columns = columns();
        let mut reader = rows.reader(&columns);
        let mut fields = Vec::new();
        while reader.next_row(|_, field| fields.push(field)).expect("own rows") {
            let [Field::BigInt(bidder), Field::BigInt(bids), Field::Timestamp(start), Field::Timestamp(end)] =
                fields[..]
            else {
                panic!("a row is {fields:?}")
            };
            self.found.push(Session { bidder: bidder.unsigned_abs(), start, end, bids: bids.unsigned_abs() });
            fields.clear();
        }
    }

    /// Stops, and goes on from what a snapshot holds.
    fn restart(&mut self) {
        self.operator.begin_snapshot(SnapshotKind::Full);
        let snapshot = self.operator.continue_snapshot(usize::MAX).expect("all keys at once");
        self.operator = operator();
        for group in snapshot.sections.chunk_by(|a, b| a.group == b.group) {
            let newest_first: Vec<&Section> = group.iter().collect();
            self.operator.restore(snapshot.watermark, &newest_first).expect("own sections");
        }
    }
}

fn operator() -> SessionsOperator {
    let max = MaxParallelism::DEFAULT;
    SessionsOperator::new(KeyGroupRange { start: 0, end: max.get() }, max)
}

/// Every split goes on by chance; the watermark is that of the slowest.
fn run(plan: &Plan, batch: u64, restarts: bool, seed: u64) -> Vec<Session> {
    let mut random = SplitMix64::new(seed);
    let mut job = Job::new();
    let mut next = vec![0; plan.splits() as usize];
    let is_unread = |split: u32, next: &[u64]| next[split as usize] < plan.split_events(split);
    while (0..plan.splits()).any(|split| is_unread(split, &next)) {
        let split = u32::try_from(random.bits() % u64::from(plan.splits())).expect("small");
        if !is_unread(split, &next) {
            continue;
        }
        next[split as usize] = job.read(plan, split, next[split as usize], batch);
        // All that is not read yet is not before this.
        let slowest = (0..plan.splits()).filter(|&split| is_unread(split, &next));
        let slowest = slowest.map(|split| plan.time(plan.event(split, next[split as usize])).0 - 1).min();
        if let Some(slowest) = slowest {
            job.advance(Watermark(slowest.max(BASE_TIME.0 - 1)));
        }
        if restarts && random.bits().is_multiple_of(8) {
            job.restart();
        }
    }
    job.advance(Watermark::END);
    assert_eq!(job.operator.counters().late, 0);
    job.found.sort_unstable();
    job.found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sessions_are_those_of_the_naive_answer(
        events in 0_u64..20_000,
        // From all sessions open at once to most of them of one bid.
        rate in prop_oneof![Just(1_u64), Just(20), Just(500), Just(10_000), Just(10_000_000)],
        splits in 1_u32..6,
        batch in 1_u64..3000,
        restarts in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let plan = Plan::new(events, rate, splits, seed).expect("in range");
        prop_assert_eq!(run(&plan, batch.max(events / 200), restarts, seed), sessions(&plan));
    }
}

#[test]
fn slow_bids_make_more_than_one_session_of_a_bidder() {
    let plan = Plan::new(20_000, 20, 3, 1).expect("in range");
    let sessions = sessions(&plan);
    let again = sessions.windows(2).filter(|pair| pair[0].bidder == pair[1].bidder).count();
    assert!(again > 100, "only {again} bidders come back: the comparison would not see a merge too many");
    assert_eq!(run(&plan, 100, true, 1), sessions);
}
