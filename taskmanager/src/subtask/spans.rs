//! What a subtask did for a checkpoint, as spans of that checkpoint's trace.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stream_core::ids::{AttemptNumber, CheckpointId, JobId, SplitId, SubtaskId};
use stream_core::secret::Redaction;
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
    /// Takes the job's secrets out of what libraries say of a failure.
    redaction: Redaction,
}

impl fmt::Debug for SubtaskSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubtaskSpans").field(&self.name).finish()
    }
}

impl SubtaskSpans {
    /// Those of the subtask that is called `name`; nothing where nobody takes spans.
    pub(crate) fn new(
        spans: &Spans,
        clock: &Arc<dyn Clock>,
        holder: Holder,
        subtask: SubtaskId,
        name: &str,
        redaction: impl FnOnce() -> Redaction,
    ) -> Option<Self> {
        let Holder { job_id, attempt } = holder;
        let (taken, clock, name) = (spans.clone(), Arc::clone(clock), name.to_owned());
        let with = |redaction| SubtaskSpans { spans: taken, clock, job_id, attempt, subtask, name, redaction };
        spans.are_on().then(|| with(redaction()))
    }

    /// Its part of a checkpoint is over: phases that followed one another, the last of which ended now.
    pub(crate) fn tell_snapshot(
        &self,
        checkpoint: CheckpointId,
        phases: &[(&'static str, Duration)],
        failure: Option<&str>,
    ) {
        let now = self.clock.now();
        let root = SpanRef::of_checkpoint(self.job_id, checkpoint);
        let snapshot = root.child_at("snapshot", self.subtask);
        let took: Duration = phases.iter().map(|(_, took)| took).sum();
        self.spans.tell(|| Span {
            failure: self.redacted(failure),
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
            Span { failure: self.redacted(failure), ..self.identified(span, epoch).with("rows", rows) }
        });
    }

    /// A source has read its first records, so long after it was there.
    pub(crate) fn tell_first_records(&self, took: Duration) {
        self.spans.tell(|| {
            let root = SpanRef::of_attempt(self.job_id, self.attempt);
            let place = root.child_at("first records", self.subtask);
            self.of_subtask(Span::child(root, place, "first records", self.clock.now(), took))
        });
    }

    /// A record that is followed was read, so long after it was written, continuing the trace of whoever wrote it; where.
    pub(crate) fn tell_read(&self, parent: Option<SpanRef>, split: &SplitId, offset: u64, took: Duration) -> SpanRef {
        let place = match parent {
            Some(parent) => parent.child_for_record(split, offset),
            None => SpanRef::of_record(self.job_id, split, offset),
        };
        self.spans.tell(|| {
            let span =
                Span { parent: parent.map(|parent| parent.span), ..Span::root(place, "read", self.clock.now(), took) };
            self.of_subtask(span).with("partition", split).with("offset", offset)
        });
        place
    }

    /// A record that is followed got further: behind the span at `parent`; where.
    pub(crate) fn tell_followed(
        &self,
        parent: SpanRef,
        name: &'static str,
        took: Duration,
        epoch: Option<CheckpointId>,
    ) -> SpanRef {
        let place = parent.child_at(name, self.subtask);
        self.spans.tell(|| {
            let span = self.of_subtask(Span::child(parent, place, name, self.clock.now(), took));
            match epoch {
                Some(epoch) => {
                    Span { links: vec![SpanRef::of_checkpoint(self.job_id, epoch)], ..span.with("checkpoint", epoch) }
                }
                None => span,
            }
        });
        place
    }

    /// How long ago a moment was, by the wall clock.
    pub(crate) fn since(&self, moment: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.clock.now().0.saturating_sub(moment.0)).unwrap_or(0))
    }

    fn redacted(&self, failure: Option<&str>) -> Option<String> {
        failure.map(|failure| self.redaction.apply(failure.to_owned()))
    }

    fn identified(&self, span: Span, checkpoint: CheckpointId) -> Span {
        self.of_subtask(span).with("checkpoint", checkpoint)
    }

    fn of_subtask(&self, span: Span) -> Span {
        span.with("job.id", self.job_id).with("attempt", self.attempt).with("subtask", &self.name)
    }
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{StageIndex, SubtaskIndex, Token};
    use stream_core::secret::Secret;
    use stream_runtime::clock::SystemClock;

    use super::*;

    #[test]
    fn secret_that_a_library_quotes_stands_in_no_span() {
        let (spans, told) = Spans::kept();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let subtask = SubtaskId { stage: StageIndex(2), index: SubtaskIndex(0) };
        let holder = Holder { job_id: JobId(1), attempt: AttemptNumber(1) };
        let redaction = || Redaction::new(&[Secret::new("hunter2")], |_| false);
        let spans = SubtaskSpans::new(&spans, &clock, holder, subtask, "sink[0]", redaction).expect("they are taken");
        let (checkpoint, failure) = (CheckpointId::new(Token(1), 1), "no such user: me:hunter2");
        spans.tell_publication(checkpoint, Duration::ZERO, 0, Some(failure));
        spans.tell_snapshot(checkpoint, &[], Some(failure));
        let failures: Vec<_> = told.take().into_iter().filter_map(|span| span.failure).collect();
        assert_eq!(failures.len(), 2);
        assert!(failures.iter().all(|failure| failure.starts_with("no such user") && !failure.contains("hunter2")));
    }
}
