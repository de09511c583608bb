//! Any text is a time or none, by the short cut and by the pattern alike; any pattern compiles or is refused.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use web_event::event_time::{Pattern, WEB_EVENT_PATTERN, to_timestamp, to_timestamp_with};

static WEB_EVENT: LazyLock<Pattern> = LazyLock::new(|| Pattern::compile(WEB_EVENT_PATTERN).expect("it is a pattern"));

fuzz_target!(|input: (&str, &str)| {
    let (text, pattern) = input;
    assert_eq!(to_timestamp(text), to_timestamp_with(text, &WEB_EVENT), "the short cut reads {text:?} otherwise");
    to_timestamp_with(text, &Pattern::unstated());
    if let Ok(pattern) = Pattern::compile(pattern) {
        to_timestamp_with(text, &pattern);
    }
});
