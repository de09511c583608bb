//! A failure as the user reads it: one line that says what, where and what to do, then causes where they add something.

use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, cause_chain};

use crate::exit::Exit;
use crate::terminal::Colors;

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// One line, lower case, without a secret.
    pub(crate) message: String,
    /// What lies behind it, nearest first.
    pub(crate) causes: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into(), causes: Vec::new() }
    }

    /// A value that cannot be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something that only the machine can be blamed for.
    pub(crate) fn failed(message: impl Into<String>, cause: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(Exit::Failed, message).because(cause_chain(cause))
    }

    /// A source or a sink that was asked from here.
    pub(crate) fn connector(error: &ConnectorError) -> Self {
        let exit = match error.kind {
            ConnectorErrorKind::Invalid => Exit::Usage,
            ConnectorErrorKind::NotFound => Exit::NotFound,
            ConnectorErrorKind::Denied | ConnectorErrorKind::Unreachable => Exit::Unreachable,
            ConnectorErrorKind::Mismatch | ConnectorErrorKind::DataLoss | ConnectorErrorKind::Failed => Exit::Failed,
        };
        Self::new(exit, error.to_string()).because(cause_chain(error))
    }

    /// The answer could not be written.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        Self::failed("cannot write the output", error)
    }

    /// With causes, nearest first; those that the message or a nearer cause already says are left out.
    #[must_use]
    pub(crate) fn because(mut self, causes: impl IntoIterator<Item = String>) -> Self {
        for cause in causes {
            let is_said = self.message.contains(&cause) || self.causes.iter().any(|said| said.contains(&cause));
            if !cause.is_empty() && !is_said {
                self.causes.push(cause);
            }
        }
        self
    }

    /// The same with `what` as its message, and its own message as the nearest cause.
    #[must_use]
    pub(crate) fn after(self, what: &str) -> Self {
        let Failure { exit, message, causes } = self;
        Self::new(exit, what).because(std::iter::once(message).chain(causes))
    }

    /// The lines to print.
    pub(crate) fn show(&self, colors: Colors) -> String {
        let mut lines = format!("{}: {}\n", colors.error("error"), one_line(&self.message));
        for cause in &self.causes {
            lines += &format!("  {} {}\n", colors.dim("because"), one_line(cause));
        }
        lines
    }
}

/// Messages of other programs may hold line breaks, and worse.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_shown_where_they_add_something() {
        let failure = Failure::new(Exit::Failed, "cannot write `a.csv`: disk full").because([
            "disk full".to_owned(),
            "os error 28".to_owned(),
            "os error 28".to_owned(),
            String::new(),
        ]);
        assert_eq!(failure.show(Colors::OFF), "error: cannot write `a.csv`: disk full\n  because os error 28\n");
    }

    #[test]
    fn a_message_is_one_line_without_escape_sequences() {
        let failure = Failure::usage("no\nsuch\u{1b}[31m thing");
        assert_eq!(failure.show(Colors::OFF), "error: no such [31m thing\n");
    }
}
