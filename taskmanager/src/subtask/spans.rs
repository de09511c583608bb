//! What a subtask did for a checkpoint, as spans of that checkpoint's trace.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stream_core::ids::{AttemptNumber, CheckpointId, JobId, SubtaskId};
use stream_core::time::{Timestamp, millis};
use stream_runtime::clock::Clock;
use telemetry::trace::SpanRef;
use telemetry::{Span, Spans};

use crate::slot::Holder;

/// Tells the spans of one subtask.
#[derive(Clone)]
pub(crate) struct SubtaskSpans {
    spans: Spans,
    clock: Arc<dyn Clock>,
    job_id: JobId,
    attempt: AttemptNumber,
    subtask: SubtaskId,
    name: String,
}

impl fmt::Debug for SubtaskSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubtaskSpans").field(&self.name).finish()
    }
}

impl SubtaskSpans {
    /// Those of the subtask that is called `name`; nothing where nobody takes spans.
    pub(crate) fn new(spans: &Spans, clock: &Arc<dyn Clock>, holder: Holder, subtask: SubtaskId, name: &str) -> Option<Self> {
        let Holder { job_id, attempt } = holder;
        let (taken, clock, name) = (spans.clone(), Arc::clone(clock), name.to_owned());
        spans.are_on().then_some(SubtaskSpans { spans: taken, clock, job_id, attempt, subtask, name })
    }

    /// Its part of a checkpoint is over: phases that followed one another, the last of which ended now.
    pub(crate) fn tell_snapshot(&self, checkpoint: CheckpointId, phases: &[(&'static str, Duration)], failure: Option<&str>) {
        let now = self.clock.now();
        let root = SpanRef::of_checkpoint(self.job_id, checkpoint);
        let snapshot = root.child_at("snapshot", self.subtask);
        let took = phases.iter().map(|(_, took)| took).sum();
        self.spans.tell(|| Span {
            failure: failure.map(str::to_owned),
            ..self.identified(Span::child(root, snapshot, "snapshot", now, took), checkpoint)
        });
        let mut left = took;
        for &(name, took) in phases {
            left = left.saturating_sub(took);
            let place = snapshot.child_at(name, self.subtask);
            let ended = Timestamp(now.0.saturating_sub(millis(left)));
            self.spans.tell(|| self.identified(Span::child(snapshot, place, name, ended, took), checkpoint));
        }
    }

    /// An epoch was published, or never will be.
    pub(crate) fn tell_publication(&self, epoch: CheckpointId, took: Duration, rows: u64, failure: Option<&str>) {
        self.spans.tell(|| {
            let root = SpanRef::of_checkpoint(self.job_id, epoch);
            let span = Span::child(root, root.child("publish"), "publish", self.clock.now(), took);
            Span { failure: failure.map(str::to_owned), ..self.identified(span, epoch).with("rows", rows) }
        });
    }

    fn identified(&self, span: Span, checkpoint: CheckpointId) -> Span {
        let span = span.with("job.id", self.job_id).with("attempt", self.attempt);
        span.with("checkpoint", checkpoint).with("subtask", &self.name)
    }
}
