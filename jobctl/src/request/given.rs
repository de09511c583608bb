//! A value with the name under which it came in, so that a complaint can point at it.

use std::fmt::Display;
use std::time::Duration;

use stream_runtime::duration;

use crate::environment::Environment;
use crate::failure::Failure;

/// A text that the user gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    /// `--gap`, or `GAPWISE_GAP`.
    pub(crate) name: String,
}

impl Given {
    /// What was typed, else the variable named after the option.
    pub(crate) fn find(flag: &str, typed: &Option<String>, environment: &Environment) -> Option<Given> {
        if let Some(text) = typed {
            return Some(Given { text: text.clone(), name: flag.to_owned() });
        }
        let variable = format!("GAPWISE_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
        Self::variable(&variable, environment)
    }

    /// A variable.
    pub(crate) fn variable(name: &str, environment: &Environment) -> Option<Given> {
        environment.get(name).map(|text| Given { text: text.to_owned(), name: name.to_owned() })
    }

    /// # Errors
    /// If it is no duration.
    pub(crate) fn duration(&self) -> Result<Duration, Failure> {
        duration::parse(&self.text).map_err(|error| Failure::usage(self.refused(&error)))
    }

    /// A whole number; whether it is in range is the caller's to see.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn number(&self, what: &str, max: u64) -> Result<u64, Failure> {
        let is_number = self.text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_number { self.text.parse().ok() } else { None };
        number.ok_or_else(|| self.not(what, &format!("choose from 1 to {max}")))
    }

    /// A switch.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn switch(&self) -> Result<bool, Failure> {
        match self.text.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(self.not("a switch", "write `true` or `false`")),
        }
    }

    /// A complaint about the value, by an error that says what to do.
    pub(crate) fn refused(&self, error: &dyn Display) -> String {
        format!("{}: {error}", self.name)
    }

    /// A complaint that the value is not what it should be.
    pub(crate) fn not(&self, what: &str, remedy: &str) -> Failure {
        Failure::usage(format!("{}: `{}` is not {what}: {remedy}", self.name, self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_comes_before_the_environment() {
        let environment = Environment::of(&[("GAPWISE_IDLE_TIMEOUT", "9s")]);
        let typed = Given::find("--idle-timeout", &Some("5s".to_owned()), &environment);
        assert_eq!(typed, Some(Given { text: "5s".to_owned(), name: "--idle-timeout".to_owned() }));
        let of_variable = Given::find("--idle-timeout", &None, &environment);
        assert_eq!(of_variable, Some(Given { text: "9s".to_owned(), name: "GAPWISE_IDLE_TIMEOUT".to_owned() }));
        assert_eq!(Given::find("--gap", &None, &environment), None);
    }
}
