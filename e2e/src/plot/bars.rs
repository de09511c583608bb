//! Bars: what is small would not be seen beside Flink's, so the scale is logarithmic.

use std::fmt::Write as _;

use super::{OURS, WIDTH, escaped, figure, head};

const BAR_HEIGHT: f64 = 16.0;
const ROW_HEIGHT: f64 = 26.0;
/// Where the names end and the bars begin.
const LEFT: f64 = 190.0;
/// For the figure behind the longest bar.
const RIGHT: f64 = 90.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 28.0;

/// A bar: the median, and a line from the least to the most.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Beside it.
    pub name: String,
    /// The least.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The most.
    pub max: f64,
    /// Ours stand out.
    pub is_ours: bool,
}

/// A chart of them; `None` of none. All figures are above 0.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> Option<String> {
    let least = bars.iter().map(|bar| bar.min).reduce(f64::min)?.log10().floor();
    let most = bars.iter().map(|bar| bar.max).reduce(f64::max)?.log10().ceil().max(least + 1.0);
    let x = |value: f64| LEFT + (value.log10() - least) / (most - least) * (WIDTH - LEFT - RIGHT);
    #[expect(clippy::cast_precision_loss, reason = "a chart has few bars")]
    let bottom = TOP + ROW_HEIGHT * bars.len() as f64;
    let height = bottom + BOTTOM;
    let mut out = head(title, height);
    #[expect(clippy::cast_possible_truncation, reason = "powers of ten of measured figures")]
    for power in least as i32..=most as i32 {
        let (value, at) = (10_f64.powi(power), x(10_f64.powi(power)));
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{} {}</text>",
            bottom + 18.0,
            figure(value),
            escaped(unit)
        );
    }
    let mut y = TOP;
    for Bar { name, min, median, max, is_ours } in bars {
        let (middle, end) = (y + ROW_HEIGHT / 2.0, x(*median));
        let color = if *is_ours { OURS } else { "#9aa5b1" };
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{color}\"/>\
             <line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#222\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            middle + 4.0,
            escaped(name),
            middle - BAR_HEIGHT / 2.0,
            end - LEFT,
            x(*min),
            x(*max),
            x(*max) + 6.0,
            middle + 4.0,
            figure(*median)
        );
        y += ROW_HEIGHT;
    }
    Some(out + "</svg>\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bar(name: &str, median: f64) -> Bar {
        Bar { name: name.to_owned(), min: median / 2.0, median, max: median * 2.0, is_ours: false }
    }

    #[test]
    fn a_bar_ends_at_its_median_on_a_scale_of_powers_of_ten() {
        let svg = super::bars("a < b", "µs", &[bar("one", 0.5), bar("other", 50.0)]).unwrap();
        // From 0.1 to 100 over 480: three powers of ten.
        assert!(svg.contains("x=\"190\" y=\"49.0\" width=\"111.8\""), "{svg}");
        assert!(svg.contains("x=\"190\" y=\"75.0\" width=\"431.8\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains(">100 µs<") && svg.contains(">0.1 µs<"), "{svg}");
        assert_eq!(super::bars("", "", &[]), None);
    }
}
