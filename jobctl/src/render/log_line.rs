//! A line of a log as text.

use super::time;
use crate::terminal::{Colors, harmless};
use crate::view::LogLine;

/// The widest names of processes that are aligned.
const PROCESS: usize = 12;

/// `jobctl logs`: time in UTC, level, process, message, fields.
pub(crate) fn log_line(line: &LogLine, colors: Colors) -> String {
    let level = format!("{:<5}", line.level.to_uppercase());
    let level = match line.level {
        "error" => colors.error(&level),
        "warn" => colors.warning(&level),
        _ => level,
    };
    let mut text =
        format!("{} {level} {:<PROCESS$} {}", time(line.time_ms), harmless(&line.process), harmless(&line.message));
    for (name, value) in &line.fields {
        text += &colors.dim(&format!(" {}=", harmless(name)));
        let value = harmless(value);
        text += &if value.is_empty() || value.contains([' ', '=']) { format!("{value:?}") } else { value };
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_one_line_whatever_stands_in_it() {
        let fields = [("attempt", "1"), ("reason", "lost\n\u{1b}[2Jit")];
        let line = LogLine {
            time_ms: 1_736_874_072_232,
            level: "warn",
            process: "tm-1".to_owned(),
            target: "taskmanager::service".to_owned(),
            message: "task\rfailed".to_owned(),
            fields: fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        assert_eq!(
            log_line(&line, Colors::OFF),
            "2025-01-14 17:01:12.232 WARN  tm-1         task\u{fffd}failed attempt=1 reason=lost\u{fffd}\u{fffd}[2Jit\n"
        );
    }
}
