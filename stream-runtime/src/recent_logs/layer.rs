//! From `tracing` into the rings.

use std::fmt;
use std::sync::Arc;

use stream_core::ids::JobId;
use stream_core::log_line::{Level, LogLine};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::RecentLogs;
use crate::clock::{Clock, SystemClock};

/// The field that says whose line it is.
const JOB_ID: &str = "job_id";
/// Fields of one line that are kept.
const FIELDS: usize = 32;

/// Keeps the lines that belong to a job.
#[derive(Debug)]
pub struct RecentLogsLayer {
    logs: Arc<RecentLogs>,
    clock: SystemClock,
}

impl RecentLogsLayer {
    /// Keeps them in `logs`.
    pub fn new(logs: Arc<RecentLogs>) -> Self {
        RecentLogsLayer { logs, clock: SystemClock::new() }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RecentLogsLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut all = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                all.job = fields.job.or(all.job);
                all.values.extend(fields.values.iter().cloned());
            }
        }
        event.record(&mut all);
        let Some(job) = all.job else { return };
        all.values.truncate(FIELDS);
        let metadata = event.metadata();
        self.logs.add(
            job,
            LogLine {
                time: self.clock.now(),
                level: level(*metadata.level()),
                process: String::new(),
                target: metadata.target().to_owned(),
                message: all.message,
                fields: all.values,
            },
        );
    }
}

/// The fields of a span, or of an event with those around it.
#[derive(Debug, Default)]
struct Fields {
    job: Option<JobId>,
    message: String,
    values: Vec<(String, String)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            JOB_ID => self.job = value.parse().ok().or(self.job),
            "message" => self.message = value,
            name => self.values.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    /// Everything else; what is given by its `Display` comes as a value whose `Debug` is that.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::TEXT_BYTES;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::Lines;
    use super::*;

    const JOB: JobId = JobId(7);

    fn logged(log: impl FnOnce()) -> Lines {
        let logs = Arc::new(RecentLogs::new(1 << 20));
        let subscriber = tracing_subscriber::registry().with(RecentLogsLayer::new(Arc::clone(&logs)));
        tracing::subscriber::with_default(subscriber, log);
        logs.since(JOB, 0)
    }

    fn fields(line: &LogLine) -> Vec<(&str, &str)> {
        line.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn line_belongs_to_the_job_of_its_field_or_of_a_span_around_it() {
        let read = logged(|| {
            tracing::info!(job_id = %JOB, splits = 3, "submitted");
            let task = tracing::error_span!("task", job_id = %JOB, subtask = "source[0]");
            task.in_scope(|| tracing::warn!(reason = %"away", "cannot reach Kafka"));
            tracing::info!("nobody's");
            tracing::info!(job_id = %JobId(8), "another's");
        });
        let [submitted, away] = read.lines.as_slice() else { panic!("{read:?}") };
        assert_eq!((submitted.level, submitted.message.as_str()), (Level::Info, "submitted"));
        assert_eq!(fields(submitted), [("splits", "3")]);
        assert_eq!((away.level, away.message.as_str()), (Level::Warn, "cannot reach Kafka"));
        assert_eq!(fields(away), [("subtask", "source[0]"), ("reason", "away")]);
        assert!(away.time >= submitted.time && away.target.ends_with("layer::tests"), "{away:?}");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let long = "ä".repeat(TEXT_BYTES);
        let read = logged(|| tracing::info!(job_id = %JOB, long, "m"));
        assert_eq!(read.lines[0].fields[0].1, "ä".repeat(TEXT_BYTES / 2) + "…");
    }
}
