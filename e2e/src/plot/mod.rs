//! Plots in SVG, by hand, for the documentation.

mod bars;
mod points;

pub use bars::{Bar, bars};
pub use points::{Points, points};

const WIDTH: f64 = 760.0;
/// What stands out.
const OURS: &str = "#1769aa";

/// The beginning of a picture of this height.
fn head(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"12\" y=\"22\" font-size=\"14\">{}</text>\n",
        escaped(title)
    )
}

/// With three digits that mean something.
fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => trimmed(format!("{value:.1}")),
        _ => trimmed(format!("{value:.2}")),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([0.4567, 0.5, 12.34, 50.0, 1234.5].map(figure), ["0.46", "0.5", "12.3", "50", "1234"]);
    }
}
