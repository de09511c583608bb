//! The report for programs.

use serde_json::{Value, json};

use super::{Check, Report};
use crate::exchange::Exchange;
use crate::model::{Cost, Line};
use crate::stages::Stage;
use crate::wire::Limited;

impl Report<'_> {
    pub(crate) fn to_json(&self) -> Value {
        let line = |line: &Line| json!({ "event": line.event, "session": line.session });
        let cost = |cost: &Cost| json!({ "event": cost.event, "session": cost.session, "batch": cost.batch });
        let Exchange { event_ns, byte_ns, batch_ns, sender_share } = self.model.exchange;
        let of_stage = |stage: Stage| (stage.name().to_owned(), cost(&self.model.stages[stage as usize]));
        let check = |check: &Check| {
            json!({
                "traffic": check.kind.name(),
                "taskmanagers": check.layout.taskmanagers,
                "parallelism": check.layout.parallelism,
                "events_per_batch": check.events_per_batch,
                "predicted_ns": check.predicted_ns,
                "measured_ns": check.measured_ns,
                "least_ns": check.spread_ns.0,
                "most_ns": check.spread_ns.1,
            })
        };
        let wire = match &self.wire {
            Err(error) => json!({ "skipped": format!("{error:#}") }),
            Ok(bytes) => json!({
                "received_bytes": line(&bytes.received),
                "sent_bytes": line(&bytes.sent),
                "exchange_bytes": bytes.exchange,
                "limited": match &bytes.limited {
                    Limited::Measured { predicted, measured } => json!({ "predicted": predicted, "measured": measured }),
                    Limited::Skipped(reason) => json!({ "skipped": reason }),
                },
            }),
        };
        json!({
            "stages_ns": Stage::ALL.map(of_stage).into_iter().collect::<serde_json::Map<_, _>>(),
            "all_ns": cost(&self.model.all),
            "consume_alone_ns": self.limits.consume_ns,
            "scan_alone_ns": self.limits.scan_ns,
            "exchange": { "event_ns": event_ns, "byte_ns": byte_ns, "batch_ns": batch_ns, "sender_share": sender_share,
                          "batch_bytes": self.model.batch_bytes },
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
            "wire": wire,
            "sessions_per_event": self.web,
            "circumstances": self.circumstances().into_iter().map(|(name, value)| (name.to_owned(), value.into()))
                .collect::<serde_json::Map<_, _>>(),
        })
    }
}
