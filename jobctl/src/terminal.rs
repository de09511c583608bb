//! What differs between a terminal and a pipe.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use unicode_width::UnicodeWidthChar as _;

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colors {
    is_on: bool,
}

impl Colors {
    /// For tests.
    #[cfg(test)]
    pub(crate) const OFF: Colors = Colors { is_on: false };

    /// On where standard error is a terminal and `NO_COLOR` (<https://no-color.org>) does not ask otherwise.
    pub(crate) fn of_stderr() -> Self {
        Colors { is_on: std::io::stderr().is_terminal() && !is_color_unwanted() }
    }

    /// The same for standard output.
    pub(crate) fn of_stdout() -> Self {
        Colors { is_on: std::io::stdout().is_terminal() && !is_color_unwanted() }
    }

    pub(crate) fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn is_color_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Writes to standard output. A reader that has gone, as in `jobctl list | head -1`, is not a failure.
///
/// # Errors
/// If the output cannot be written, for instance to a full disk.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    write(text).map(drop)
}

/// Writes to standard output. Whether anybody reads on: for those who would go on for ever.
///
/// # Errors
/// As [`print`].
pub(crate) fn write(text: &str) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}

/// From the first line on, with nothing below.
pub(crate) const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Columns and lines of the terminal that standard output is; `None` if it is none, or one that cannot move its cursor.
pub(crate) fn size() -> Option<(u16, u16)> {
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
    let is_terminal = std::io::stdout().is_terminal() && !is_dumb;
    is_terminal
        .then(|| ratatui::crossterm::terminal::size().ok())
        .flatten()
        .filter(|&(columns, lines)| columns > 0 && lines > 1)
}

/// A text as the whole of a screen of so many columns and lines, over the text before it; what does not fit is cut, and the lines that
/// are left out are counted. The first moves up what stood on the screen, so that it is not lost.
pub(crate) fn redrawn(text: &str, (columns, lines): (u16, u16), is_first: bool) -> String {
    let (room, all) = (usize::from(lines) - 1, text.lines().count());
    let (shown, note) = match all > room {
        true => (room - 1, Some(format!("({} more lines)", all - (room - 1)))),
        false => (all, None),
    };
    let mut screen = if is_first { "\n".repeat(lines.into()) } else { String::new() };
    screen += "\u{1b}[H";
    for line in text.lines().take(shown).chain(note.as_deref()) {
        screen += cut(line, columns.into());
        screen += "\u{1b}[K\n";
    }
    screen + "\u{1b}[J"
}

/// As much of a line as fits into so many columns.
fn cut(line: &str, columns: usize) -> &str {
    let mut width = 0;
    let end = line.char_indices().find(|(_, c)| {
        width += c.width().unwrap_or(0);
        width > columns
    });
    end.map_or(line, |(end, _)| &line[..end])
}

/// A text of somebody else's making as one cell or line: control characters would move the cursor, or worse.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_codes_around_the_text_or_nothing() {
        assert_eq!(Colors::OFF.error("x"), "x");
        assert_eq!(Colors { is_on: true }.error("x"), "\u{1b}[1;31mx\u{1b}[0m");
    }

    #[test]
    fn screen_is_overwritten_line_by_line_and_what_does_not_fit_is_counted() {
        let drawn = |text, is_first| redrawn(text, (4, 4), is_first).replace('\u{1b}', "^");
        assert_eq!(drawn("a\nbcdef\n", false), "^[Ha^[K\nbcde^[K\n^[J");
        assert_eq!(drawn("a\nb\nc\nd\ne\n", false), "^[Ha^[K\nb^[K\n(3 m^[K\n^[J");
        assert_eq!(drawn("a\n", true), "\n\n\n\n^[Ha^[K\n^[J");
        assert_eq!(cut("会話x", 4), "会話");
        assert_eq!(cut("会話x", 3), "会");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
