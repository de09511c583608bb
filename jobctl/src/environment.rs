//! The environment's variables, as a value: read once, given to whom needs it, made up in tests.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The variables and the folder in which the program was started.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    /// Relative paths are relative to this.
    pub(crate) folder: PathBuf,
}

impl Environment {
    /// What the process was started with. A variable that is not UTF-8 is none of ours.
    pub(crate) fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        // Without a current folder a path stays relative, and the file will be missed by its name.
        Environment { variables, folder: std::env::current_dir().unwrap_or_default() }
    }

    /// A variable's value; an empty one counts as not set, as files of variables have them.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| unquoted(value.trim())).filter(|value| !value.is_empty())
    }

    /// The same with another value of one variable.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.variables.insert(name.to_owned(), value.to_owned());
        changed
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Environment { variables, folder: PathBuf::from("/here") }
    }
}

/// `docker --env-file` hands quotes on as they stand in the file.
fn unquoted(value: &str) -> &str {
    ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_values_count_as_not_set_and_quotes_of_an_env_file_are_taken_off() {
        let environment = Environment::of(&[("A", " "), ("B", "\"b c\""), ("C", "'c'"), ("D", "d\"")]);
        assert_eq!(
            ["A", "B", "C", "D", "E"].map(|name| environment.get(name)),
            [None, Some("b c"), Some("c"), Some("d\""), None]
        );
    }
}
