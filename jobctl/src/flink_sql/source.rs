//! The source as a table of Flink's Kafka connector, with its watermark.

use std::time::Duration;

use connectors::kafka::TopicSettings;
use stream_core::pipeline::{SourceSpec, StartPosition};
use stream_core::time::millis;
use web_intake::OnBadRecord;

use super::Passwords;
use super::client_settings::client_settings;
use super::text::{duration, interval, too_long, with};
use crate::failure::Failure;

/// Records as they are in the topic.
const EVENTS: &str = "`events`";
/// Those that have a time.
pub(super) const TIMED_EVENTS: &str = "`timed_events`";

/// `TO_TIMESTAMP` gives NULL for what is not of this pattern, and never fails.
const EVENT_TIME: &str = "TO_TIMESTAMP(`event_time`, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''')";

pub(super) fn table(
    source: &SourceSpec,
    on_bad_record: OnBadRecord,
    passwords: Passwords,
    notes: &mut Vec<String>,
) -> Result<String, Failure> {
    if !source.uri.starts_with("kafka:") {
        return Err(Failure::usage(format!(
            "--source: `{}` is not Kafka, which the job on Flink reads from",
            source.uri
        )));
    }
    let kafka = TopicSettings::from_spec(source).map_err(|error| Failure::usage(error.to_string()))?;
    let settings = client_settings(source, passwords, notes);
    let mut options = vec![
        ("connector", "kafka".to_owned()),
        ("topic", kafka.topic),
        ("properties.bootstrap.servers", kafka.client.brokers().to_owned()),
    ];
    options.extend(settings.iter().map(|(name, value)| (name.as_str(), value.clone())));
    options.extend(start(source.from));
    options.extend(source.is_bounded.then(|| ("scan.bounded.mode", "latest-offset".to_owned())));
    if !source.idle_timeout.is_zero() {
        options.push(("scan.watermark.idle-timeout", duration(source.idle_timeout)));
    }
    options.push(("format", "json".to_owned()));
    options.push(("json.ignore-parse-errors", (on_bad_record != OnBadRecord::Fail).to_string()));
    Ok(format!(
        "CREATE TEMPORARY TABLE {EVENTS} (\n  `ip` STRING,\n  `host` STRING,\n  `event_time` STRING,\n  \
         `event_timestamp` AS {EVENT_TIME},\n  WATERMARK FOR `event_timestamp` AS {}\n) {}",
        watermark(source.watermark_delay)?,
        with(&options)
    ))
}

/// A record without a time is skipped, as it is by us: Flink's window fails on it, which is what `fail` asks for.
pub(super) fn timed_events(on_bad_record: OnBadRecord) -> String {
    let filter = if on_bad_record == OnBadRecord::Fail { "" } else { "\nWHERE `event_timestamp` IS NOT NULL" };
    format!("CREATE TEMPORARY VIEW {TIMED_EVENTS} AS\nSELECT `ip`, `host`, `event_timestamp` FROM {EVENTS}{filter}")
}

fn watermark(delay: Duration) -> Result<String, Failure> {
    if delay.is_zero() {
        return Ok("`event_timestamp`".to_owned());
    }
    let delay = interval(millis(delay).unsigned_abs()).ok_or_else(|| too_long("--watermark-delay"))?;
    Ok(format!("`event_timestamp` - {delay}"))
}

fn start(from: StartPosition) -> Vec<(&'static str, String)> {
    let mode = |mode: &str| ("scan.startup.mode", mode.to_owned());
    match from {
        StartPosition::Earliest => vec![mode("earliest-offset")],
        StartPosition::Latest => vec![mode("latest-offset")],
        // Where the group has committed nothing.
        StartPosition::Committed => {
            vec![mode("group-offsets"), ("properties.auto.offset.reset", "earliest".to_owned())]
        }
        StartPosition::At(time) => {
            vec![mode("timestamp"), ("scan.startup.timestamp-millis", time.0.to_string())]
        }
    }
}
