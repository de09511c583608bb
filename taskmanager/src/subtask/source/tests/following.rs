//! Records that are followed on their way are records like the others.

use stream_core::collector::Collector;
use stream_core::ids::{AttemptNumber, JobId, StageIndex, SubtaskId};
use stream_core::operator::{Decoded, Decoder, Refusal, SplitRecords};
use telemetry::Spans;

use super::*;
use crate::slot::Holder;
use crate::subtask::spans::SubtaskSpans;

/// Notes the offset of each record that it decodes.
struct Noting(Arc<Mutex<Vec<u64>>>);

impl Decoder for Noting {
    fn decode(&mut self, records: SplitRecords<'_>, out: &mut Collector) -> Result<Decoded, Refusal> {
        self.0.lock().unwrap().extend(records.records.iter().map(|record| record.offset));
        KeyAtTime.decode(records, out)
    }
}

#[test]
fn record_that_is_followed_is_decoded_once_and_counted_once() {
    let (spans, told) = Spans::kept();
    let decoded = Arc::<Mutex<Vec<u64>>>::default();
    let mut splits = SourceSplits::new(0, Idleness { timeout: IDLE_TIMEOUT, advance: Duration::ZERO });
    splits.add(&[split("f")]);
    let script = [Tell::Records(0, &["a@10", "b@20", "bad", "c@30", "@@", "d@40", "e@5"]), Tell::Finished(0)];
    let mut f = fixture_but(splits, true, script, 1 << 20, |parts| {
        let holder = Holder { job_id: JobId(1), attempt: AttemptNumber(1) };
        let subtask = SubtaskId { stage: StageIndex(0), index: SubtaskIndex(0) };
        parts.teller = parts.teller.clone().traced(SubtaskSpans::new(
            &spans,
            &parts.clock,
            holder,
            subtask,
            "source[0]",
            Default::default,
        ));
        parts.decoder = Box::new(Noting(Arc::clone(&decoded)));
        parts.trace_sample = Some(2);
    });
    f.steps(10);
    assert_eq!(f.received(), ["a", "follow a", "b+c+d+e", "follow e", "Wend"]);
    assert_eq!(*decoded.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6]);
    let counted = f.counters.snapshot();
    assert_eq!((counted.records_in, counted.bad, counted.records_out), (7, 2, 5));
    let attribute = |span: &telemetry::Span, wanted| {
        span.attributes.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.clone())
    };
    let read = told.take();
    let offsets: Vec<_> =
        read.iter().filter(|span| span.name == "read").map(|span| attribute(span, "offset")).collect();
    assert_eq!(
        offsets,
        ["0", "2", "4", "6"].map(|offset| Some(offset.to_owned())),
        "bad ones are followed to their end"
    );
}
