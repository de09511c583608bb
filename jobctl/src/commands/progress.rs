//! The progress bar: how much is read, how fast, and how far event time has come. On standard error, on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use stream_core::time::EventTime;
use stream_runtime::clock::{Clock as _, SystemClock};

use super::outcome::{Accounts, Rate};

/// How often the spinner turns while nothing else changes.
const TICK: Duration = Duration::from_millis(120);

/// A bar that is drawn, or nothing at all.
pub(super) struct Progress {
    bar: ProgressBar,
    clock: SystemClock,
    started: Duration,
}

impl Progress {
    /// Begins; a bar with a length appears once the end of the input is known.
    pub(super) fn begin(clock: SystemClock) -> Self {
        // Hidden by itself where standard error is no terminal; plain under NO_COLOR.
        let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg}"));
        bar.enable_steady_tick(TICK);
        Progress { bar, clock, started: clock.monotonic() }
    }

    /// Shows where the job is.
    pub(super) fn show(&self, accounts: &Accounts) {
        if self.bar.is_hidden() {
            return;
        }
        if let Some(end) = accounts.end {
            if self.bar.length().is_none() {
                self.bar.set_style(style("{bar:30} {percent:>3}%  {msg}").progress_chars("=> "));
            }
            self.bar.set_length(end);
            self.bar.set_position(accounts.position);
        }
        let took = self.clock.monotonic().saturating_sub(self.started);
        self.bar.set_message(message(accounts, took));
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn message(accounts: &Accounts, took: Duration) -> String {
    let events = accounts.events;
    let watermark = match accounts.watermark_ms {
        None | Some(i64::MIN | i64::MAX) => String::new(),
        Some(ms) => format!(", watermark {}", EventTime(ms)),
    };
    format!("{events} events, {}{watermark}", Rate { events, took })
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates in this file are well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_tells_amount_rate_and_watermark() {
        let accounts = Accounts { events: 500, watermark_ms: Some(0), ..Accounts::default() };
        assert_eq!(
            message(&accounts, Duration::from_millis(250)),
            "500 events, 2000 events/s, watermark 1970-01-01 00:00:00.000"
        );
        let accounts = Accounts { watermark_ms: Some(i64::MIN), ..accounts };
        assert_eq!(message(&accounts, Duration::from_secs(1)), "500 events, 500 events/s");
    }

    #[test]
    fn templates_are_well_formed() {
        let progress = Progress::begin(SystemClock::new());
        progress.show(&Accounts { end: Some(10), position: 5, ..Accounts::default() });
        progress.end();
        style("{bar:30} {percent:>3}%  {msg}");
    }
}
