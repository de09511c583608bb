//! The rules of a session window, as literally as they can be written.

use stream_core::session::Config;

/// Key, start, end, count.
pub(crate) type Row = (Vec<u8>, i64, i64, u64);

/// Every window in a list.
pub(crate) struct Model {
    config: Config,
    watermark: i64,
    by_clock: i64,
    pub(crate) windows: Vec<Row>,
}

impl Model {
    pub(crate) fn new(config: Config) -> Self {
        Model { config, watermark: i64::MIN, by_clock: i64::MIN, windows: vec![] }
    }

    /// The rows that an event fires at once, or `None` if it is late.
    pub(crate) fn event(&mut self, key: &[u8], time: i64) -> Option<Vec<Row>> {
        let mut joined = (key.to_vec(), time, time + self.config.gap_ms, 1);
        let touches = |w: &Row, joined: &Row| w.0 == joined.0 && w.1 <= joined.2 && w.2 >= joined.1;
        let own = joined.clone();
        for window in self.windows.iter().filter(|w| touches(w, &own)) {
            joined = (joined.0, joined.1.min(window.1), joined.2.max(window.2), joined.3 + window.3);
        }
        let is_behind_the_clock = joined.3 == 1 && time <= self.by_clock;
        if joined.2 - 1 + self.config.allowed_lateness_ms <= self.watermark || is_behind_the_clock {
            return None;
        }
        self.windows.retain(|w| !touches(w, &own));
        self.windows.push(joined.clone());
        Some(if joined.2 - 1 <= self.watermark { vec![joined] } else { vec![] })
    }

    pub(crate) fn watermark(&mut self, watermark: i64) -> Vec<Row> {
        if watermark <= self.watermark {
            return vec![];
        }
        let old = std::mem::replace(&mut self.watermark, watermark);
        let mut fired: Vec<Row> =
            self.windows.iter().filter(|w| old < w.2 - 1 && w.2 - 1 <= watermark).cloned().collect();
        fired.sort_by(|a, b| (a.2, &a.0).cmp(&(b.2, &b.0)));
        let lateness = self.config.allowed_lateness_ms;
        self.windows.retain(|w| (w.2 - 1).saturating_add(lateness) > watermark);
        fired
    }

    /// The clock, and not events, made the watermark.
    #[allow(dead_code, reason = "each test uses its part")]
    pub(crate) fn closed_by_clock(&mut self, by_clock: i64) {
        self.by_clock = self.by_clock.max(by_clock);
    }
}
