//! What differs between a terminal and a pipe.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

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
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Colors { is_on: std::io::stderr().is_terminal() && !is_unwanted }
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

/// Writes to standard output. A reader that has gone, as in `jobctl list | head -1`, is not a failure.
///
/// # Errors
/// If the output cannot be written, for instance to a full disk.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
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
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
