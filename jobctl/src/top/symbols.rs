//! What bars are made of, and in which colours.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;

use crate::environment::Environment;

/// Characters and colours that the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbols {
    is_unicode: bool,
    is_colored: bool,
}

impl Symbols {
    #[cfg(test)]
    pub(crate) const PLAIN: Symbols = Symbols { is_unicode: true, is_colored: false };

    /// As the locale and `NO_COLOR` (<https://no-color.org>) have it.
    pub(crate) fn of(environment: &Environment) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| environment.get(name)).unwrap_or_default();
        let locale = locale.to_lowercase();
        Symbols {
            is_unicode: locale.contains("utf-8") || locale.contains("utf8"),
            is_colored: environment.get("NO_COLOR").is_none(),
        }
    }

    /// Of a load: at work, held up, idle.
    pub(super) fn load(self) -> [&'static str; 3] {
        if self.is_unicode { ["█", "▒", "·"] } else { ["#", "=", "."] }
    }

    /// Of a sparkline.
    pub(super) fn bars(self) -> bar::Set<'static> {
        const ASCII: bar::Set<'static> = bar::Set {
            full: "#",
            seven_eighths: "#",
            three_quarters: "*",
            five_eighths: "*",
            half: "+",
            three_eighths: "-",
            one_quarter: "-",
            one_eighth: ".",
            empty: " ",
        };
        if self.is_unicode { bar::NINE_LEVELS } else { ASCII }
    }

    /// What stands between two facts.
    pub(super) fn dot(self) -> &'static str {
        if self.is_unicode { " · " } else { " | " }
    }

    pub(super) fn heading(self, has_focus: bool) -> Style {
        let heading = Style::new().add_modifier(Modifier::BOLD);
        if has_focus { heading.add_modifier(Modifier::REVERSED) } else { heading.add_modifier(Modifier::UNDERLINED) }
    }

    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn good(self) -> Style {
        self.color(Color::Green)
    }

    pub(super) fn warning(self) -> Style {
        self.color(Color::Yellow)
    }

    pub(super) fn alarm(self) -> Style {
        self.color(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A job's, a subtask's, a partition's or a checkpoint's state.
    pub(super) fn state(self, state: &str) -> Style {
        match state {
            "running" | "active" | "completed" | "published" => self.good(),
            "failed" | "aborted" => self.alarm(),
            "finished" | "canceled" | "idle" => self.dim(),
            _ => self.warning(),
        }
    }

    fn color(self, color: Color) -> Style {
        if self.is_colored { Style::new().fg(color) } else { Style::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_what_bars_are_made_of() {
        let of = |variables: &[(&str, &str)]| Symbols::of(&Environment::of(variables));
        assert!(of(&[("LANG", "de_DE.UTF-8")]).is_unicode);
        assert!(!of(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]).is_unicode);
        assert!(!of(&[]).is_unicode && of(&[]).is_colored);
        assert!(!of(&[("NO_COLOR", "1")]).is_colored);
    }
}
