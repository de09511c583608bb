//! Points over two axes that begin at 0: what is proportional lies on a line through the corner.

use std::fmt::Write as _;

use super::{OURS, WIDTH, escaped, figure, head};

const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 56.0;
const PLOT_HEIGHT: f64 = 320.0;
const BOTTOM: f64 = 48.0;
const COLORS: [&str; 4] = [OURS, "#c05621", "#2f855a", "#805ad5"];
/// Lines of an axis, at least.
const LINES: f64 = 4.0;

/// Points of one colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// In the legend.
    pub name: String,
    /// Across and up, none below 0.
    pub at: Vec<(f64, f64)>,
}

/// A chart of them, its axes named; `None` without a point that is above 0 in both directions.
pub fn points(title: &str, (across, up): (&str, &str), all: &[Points]) -> Option<String> {
    let most = |value: fn(&(f64, f64)) -> f64| all.iter().flat_map(|points| &points.at).map(value).reduce(f64::max);
    let (step_x, end_x) = axis(most(|at| at.0)?)?;
    let (step_y, end_y) = axis(most(|at| at.1)?)?;
    let x = |value: f64| LEFT + value / end_x * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + PLOT_HEIGHT - value / end_y * PLOT_HEIGHT;
    let mut out = head(title, TOP + PLOT_HEIGHT + BOTTOM);
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64| {
        let _ = writeln!(out, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>");
    };
    ticks(step_x, end_x).for_each(|value| line(x(value), y(0.0), x(value), y(end_y)));
    ticks(step_y, end_y).for_each(|value| line(x(0.0), y(value), x(end_x), y(value)));
    let mut text = |at: (f64, f64), anchor: &str, text: &str| {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#444\">{}</text>",
            at.0,
            at.1,
            escaped(text)
        );
    };
    ticks(step_x, end_x).for_each(|value| text((x(value), y(0.0) + 16.0), "middle", &figure(value)));
    ticks(step_y, end_y).for_each(|value| text((LEFT - 8.0, y(value) + 4.0), "end", &figure(value)));
    text((x(end_x), y(0.0) + 36.0), "end", across);
    text((12.0, TOP - 12.0), "start", up);
    for (place, (points, color)) in all.iter().zip(COLORS.iter().cycle()).enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a chart has few colours")]
        let legend = y(end_y) + 18.0 + 18.0 * place as f64;
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{color}\"/><text x=\"{:.1}\" y=\"{legend:.1}\">{}</text>",
            LEFT + 14.0,
            legend - 4.0,
            LEFT + 24.0,
            escaped(&points.name)
        );
        for &(across, up) in &points.at {
            let (x, y) = (x(across), y(up));
            let _ =
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\" fill-opacity=\"0.6\"/>");
        }
    }
    Some(out + "</svg>\n")
}

/// The step between two lines of an axis that reaches `most`, of one digit, and where it ends.
fn axis(most: f64) -> Option<(f64, f64)> {
    let power = 10_f64.powf((most / LINES).log10().floor());
    let step = [5.0, 2.0, 1.0].map(|digit| digit * power).into_iter().find(|step| most / step >= LINES)?;
    step.is_normal().then(|| (step, (most / step).ceil() * step))
}

fn ticks(step: f64, end: f64) -> impl Iterator<Item = f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few lines")]
    let count = (end / step).round() as u32;
    (0..=count).map(move |tick| f64::from(tick) * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_a_round_figure_behind_the_most() {
        assert_eq!([100.0, 41.0, 7.9].map(axis), [Some((20.0, 100.0)), Some((10.0, 50.0)), Some((1.0, 8.0))]);
        assert_eq!([axis(0.0), axis(f64::NAN)], [None, None]);
    }

    #[test]
    fn what_is_proportional_lies_on_a_line_through_the_corner() {
        let series = Points { name: "a < b".to_owned(), at: vec![(0.0, 0.0), (50.0, 5.0), (100.0, 10.0)] };
        let svg = points("title", ("keys", "MiB"), std::slice::from_ref(&series)).expect("there are points");
        for circle in ["cx=\"70.0\" cy=\"376.0\"", "cx=\"400.0\" cy=\"216.0\"", "cx=\"730.0\" cy=\"56.0\""] {
            assert!(svg.contains(circle), "{circle}: {svg}");
        }
        assert!(svg.contains("a &lt; b") && svg.contains(">100<") && svg.contains(">MiB<"), "{svg}");
        assert_eq!(points("", ("", ""), &[Points { at: vec![(0.0, 0.0)], ..series }]), None);
        assert_eq!(points("", ("", ""), &[]), None);
    }
}
