//! What runs measured.

use crate::stages::Seconds;

/// One run of the job over one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Run {
    /// Of the jobmanager and all taskmanagers, as the system charged it.
    pub(crate) cpu_s: f64,
    pub(crate) wall_s: f64,
    /// The same CPU time by who took it.
    pub(crate) stages: Seconds,
    /// In Postgres.
    pub(crate) sessions: u64,
    /// What sources handed on, in bytes of batches.
    pub(crate) batch_bytes: u64,
}

/// Some runs that do the same, in turn with others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

impl Runs {
    /// The middle one of a figure.
    pub(crate) fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    /// Its least and its most.
    pub(crate) fn spread(&self, of: impl Fn(&Run) -> f64) -> (f64, f64) {
        let figures = self.0.iter().map(of);
        figures.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), figure| (least.min(figure), most.max(figure)))
    }

    /// Without what the same job takes that has next to nothing to read: its beginning and its end.
    pub(crate) fn without(&self, beginnings: &Runs) -> Runs {
        let cpu_s = beginnings.median(|run| run.cpu_s);
        let wall_s = beginnings.median(|run| run.wall_s);
        let stage = |place: usize| beginnings.median(|run| run.stages[place]);
        let stages: Seconds = std::array::from_fn(stage);
        let less = |run: &Run| Run {
            cpu_s: (run.cpu_s - cpu_s).max(0.0),
            wall_s: (run.wall_s - wall_s).max(0.0),
            stages: std::array::from_fn(|place| (run.stages[place] - stages[place]).max(0.0)),
            ..*run
        };
        Runs(self.0.iter().map(less).collect())
    }
}

/// Of an even number the mean of the two in the middle; 0 of none.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = |place: usize| figures.get(place).copied().unwrap_or(0.0);
    f64::midpoint(middle(figures.len().saturating_sub(1) / 2), middle(figures.len() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(cpu_s: &[f64]) -> Runs {
        Runs(
            cpu_s
                .iter()
                .map(|&cpu_s| Run { cpu_s, wall_s: 2.0 * cpu_s, stages: [cpu_s; 5], ..Run::default() })
                .collect(),
        )
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!([median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0]), median(Vec::new())], [2.0, 2.5, 0.0]);
        assert_eq!(runs(&[3.0, 1.0, 2.0]).spread(|run| run.cpu_s), (1.0, 3.0));
    }

    #[test]
    fn a_beginning_is_taken_off_everywhere_and_never_more_than_there_is() {
        let left = runs(&[1.0, 0.25]).without(&runs(&[0.5]));
        assert_eq!(
            left.0.iter().map(|run| (run.cpu_s, run.wall_s, run.stages[4])).collect::<Vec<_>>(),
            [(0.5, 1.0, 0.5), (0.0, 0.0, 0.0)]
        );
    }
}
