//! What an operator says at a barrier is of the epoch that the barrier closes, whatever becomes of its snapshot.

use super::*;

/// Says something at each barrier, and has no state.
#[derive(Default)]
struct Speaker(u64);

impl Operator for Speaker {
    fn on_events(&mut self, _events: &EventBatch, _out: &mut Collector) -> Result<(), Refusal> {
        Ok(())
    }
    fn on_watermark(&mut self, _watermark: Watermark, _out: &mut Collector) {}
    fn on_barrier(&mut self, out: &mut Collector) {
        self.0 += 1;
        out.row(TableIndex(1), 1).text(Some(&format!("said {}", self.0)));
    }
    fn counters(&self) -> OperatorCounters {
        OperatorCounters::default()
    }
    fn begin_snapshot(&mut self, _kind: SnapshotKind) {}
    fn continue_snapshot(&mut self, _keys: usize) -> Option<KeyedSnapshot> {
        None
    }
    fn restore(&mut self, _watermark: Watermark, _newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        Ok(())
    }
}

#[test]
fn what_is_said_at_a_barrier_goes_out_before_it() {
    let store = TestStore::new();
    for files in [None, Some(store.files())] {
        let mut f = fixture_of(Box::new(Speaker::default()), Box::new(NoLookup), files);
        for number in [1, 2] {
            // The second finds the snapshot of the first unfinished.
            f.push(0, Message::Barrier(barrier(number, 0)));
            f.push(1, Message::Barrier(barrier(number, 0)));
            for _ in 0..4 {
                f.operator.step().unwrap();
            }
            let Input::Message(0, Message::Rows(rows)) = f.output.try_pop().unwrap() else { panic!("no rows") };
            assert_eq!(texts(&rows), [format!("said {number}")]);
            assert_eq!(f.output.try_pop().unwrap(), Input::Message(0, Message::Barrier(barrier(number, 0))));
        }
    }
}
