//! When rows were due: the instants in event time at which their sessions closed, for how long ago that is at their commit.
//!
//! An operator fires what a watermark closes and sends the watermark behind the rows. So rows that come on an input between two
//! watermarks were due at the second, or by less than the step between the two before it. What comes without a watermark behind it
//! until the barrier was due at the one before it.

use stream_core::ids::CheckpointId;
use stream_core::time::Timestamp;
use stream_core::watermark::Watermark;
use telemetry::Spread;

/// When the rows of each epoch were due that is not published.
#[derive(Debug)]
pub(super) struct DueRows {
    inputs: Vec<Input>,
    gathered: Spread,
    sealed: Vec<(CheckpointId, Spread)>,
}

#[derive(Clone, Debug, Default)]
struct Input {
    watermark: Option<Watermark>,
    /// Rows that came since.
    rows: u64,
}

impl DueRows {
    pub(super) fn new(inputs: usize) -> Self {
        DueRows { inputs: vec![Input::default(); inputs], gathered: Spread::default(), sealed: Vec::new() }
    }

    /// Rows came on an input.
    pub(super) fn on_rows(&mut self, input: usize, rows: u64) {
        self.inputs[input].rows += rows;
    }

    /// A watermark came behind them. The end of event time closes what is left, whenever that was due.
    pub(super) fn on_watermark(&mut self, input: usize, watermark: Watermark) {
        let rows = std::mem::take(&mut self.inputs[input].rows);
        if watermark < Watermark::END {
            self.gathered.add(Timestamp(watermark.0), rows);
            self.inputs[input].watermark = Some(watermark);
        }
    }

    /// A barrier came on every input.
    pub(super) fn seal(&mut self, epoch: CheckpointId) {
        for input in &mut self.inputs {
            let rows = std::mem::take(&mut input.rows);
            if let Some(watermark) = input.watermark {
                self.gathered.add(Timestamp(watermark.0), rows);
            }
        }
        self.sealed.push((epoch, std::mem::take(&mut self.gathered)));
    }

    /// An epoch, and with it those before it, is published: when its rows were due.
    pub(super) fn on_published(&mut self, epoch: CheckpointId) -> Vec<Spread> {
        let (published, left) = std::mem::take(&mut self.sealed).into_iter().partition(|(sealed, _)| *sealed <= epoch);
        self.sealed = left;
        let published: Vec<(CheckpointId, Spread)> = published;
        published.into_iter().map(|(_, due)| due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_were_due_at_the_watermark_behind_them() {
        let mut due = DueRows::new(2);
        due.on_rows(0, 3);
        due.on_watermark(0, Watermark(1000));
        due.on_rows(1, 2);
        due.on_rows(0, 1);
        due.on_watermark(1, Watermark(900));
        due.seal(CheckpointId(1));
        due.on_rows(0, 5);
        due.on_watermark(0, Watermark::END);
        due.seal(CheckpointId(2));
        let mut expected = Spread::default();
        expected.add(Timestamp(900), 2);
        expected.add(Timestamp(1000), 4);
        assert_eq!(due.on_published(CheckpointId(1)), [expected]);
        assert_eq!(due.on_published(CheckpointId(2)), [Spread::default()], "nobody knows when these were due");
        assert!(due.on_published(CheckpointId(3)).is_empty());
    }
}
