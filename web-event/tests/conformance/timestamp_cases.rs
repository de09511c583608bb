//! A text read as a time, by each pattern.

use anyhow::{Context as _, bail};
use serde_json::Value;
use web_event::event_time::{Pattern, WEB_EVENT_PATTERN, to_timestamp, to_timestamp_with};

use crate::Tally;

/// How the cases name `TO_TIMESTAMP(text)`.
const NO_PATTERN: &str = "(no pattern)";

pub(crate) fn run(case: &Value, tally: &mut Tally) -> anyhow::Result<()> {
    // NULL in, NULL out: that is the caller's `Option`.
    let text = case["text"].as_str();
    for (pattern, result) in case["expected"].as_object().context("no `expected`")? {
        let expected = match result {
            Value::Null => None,
            Value::Array(shown_and_ms) => {
                Some(shown_and_ms.get(1).and_then(Value::as_i64).context("a result has no milliseconds")?)
            }
            other => bail!("`{other}` is no result"),
        };
        let what = format!("{text:?} by {pattern}");
        let compiled = match pattern.as_str() {
            NO_PATTERN => Pattern::unstated(),
            _ => Pattern::compile(pattern)?,
        };
        tally.check(&what, &expected, &text.and_then(|text| to_timestamp_with(text, &compiled)));
        if pattern == WEB_EVENT_PATTERN {
            let what = format!("{text:?} by to_timestamp");
            tally.check(&what, &expected, &text.and_then(to_timestamp));
        }
    }
    Ok(())
}
