//! Settings in a file of `NAME=value` lines, as the Flink version of the job keeps them: `.env`, `flink-env.env`.
//!
//! Values may hold blanks, quotes and `#`. Nothing is expanded or executed. A value is never part of an error message:
//! it may be a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Read in this order; a name in an earlier file wins.
pub const FILES: [&str; 2] = [".env", "flink-env.env"];

/// A file of settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is there, but cannot be read.
    #[error("the settings in `{}` cannot be read; check the file's owner", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not a setting.
    #[error("line {line} of `{}` is no setting: write NAME=value, with quotes around a value that needs them", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

/// All settings of the files in `folder` that are there.
///
/// # Errors
/// If one of them cannot be read, or has a line that is no setting.
pub fn read_all(folder: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut all = BTreeMap::new();
    for path in FILES.map(|name| folder.join(name)) {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::Unreadable { path, source }),
        };
        for (name, value) in parse(&text).map_err(|line| Error::Malformed { path, line })? {
            all.entry(name).or_insert(value);
        }
    }
    Ok(all)
}

/// The settings of `text` in order, or the number of the first line that is none.
fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
    let settings = lines.filter(|(line, _)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    settings.map(|(line, number)| parse_line(line).ok_or(number)).collect()
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name {
        return None;
    }
    Some((name.to_owned(), parse_value(value.trim())?))
}

fn parse_value(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inside, after) = rest.split_once('\'')?;
        return is_comment(after).then(|| inside.to_owned());
    }
    if let Some(rest) = value.strip_prefix('"') {
        return parse_double_quoted(rest);
    }
    // As in a shell, `#` begins a comment only after a blank: passwords may hold one.
    let end = value.match_indices('#').map(|(at, _)| at).find(|at| *at == 0 || value[..*at].ends_with([' ', '\t']));
    Some(value[..end.unwrap_or(value.len())].trim_end().to_owned())
}

fn parse_double_quoted(rest: &str) -> Option<String> {
    let mut value = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return is_comment(chars.as_str()).then_some(value),
            '\\' => match chars.next()? {
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
}

fn is_comment(after: &str) -> bool {
    after.trim().is_empty() || after.trim_start().starts_with('#')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(line: &str) -> String {
        parse(line).unwrap().remove(0).1
    }

    #[test]
    fn quotes_blanks_and_hashes_are_kept_where_a_shell_keeps_them() {
        assert_eq!(one("A=plain"), "plain");
        assert_eq!(one("export A = spaced out  # comment"), "spaced out");
        assert_eq!(one("A=pa#ss"), "pa#ss");
        assert_eq!(one("A=# nothing"), "");
        assert_eq!(one(r#"A="two words # no comment" # comment"#), "two words # no comment");
        assert_eq!(one(r#"A="say \"hi\" \\ \n""#), r#"say "hi" \ \n"#);
        assert_eq!(one("A='it is \"raw\" \\'"), "it is \"raw\" \\");
        assert_eq!(one("A=a=b=="), "a=b==");
        assert_eq!(one("A="), "");
    }

    #[test]
    fn a_flink_environment_file_is_read_as_it_is() {
        let text = "\u{feff}# comment\r\n\r\nKAFKA_URL=pkc.example:9092\r\nPOSTGRES_URL=\"jdbc:postgresql://db:5432/postgres\"\r\n";
        let expected = [("KAFKA_URL", "pkc.example:9092"), ("POSTGRES_URL", "jdbc:postgresql://db:5432/postgres")];
        assert_eq!(parse(text).unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_bad_line_is_named_by_number_and_never_shown() {
        assert_eq!(parse("A=1\nsecret without a name\n"), Err(2));
        assert_eq!(parse("A=\"unfinished"), Err(1));
        assert_eq!(parse("A='x' y"), Err(1));
        assert_eq!(parse("A B=1"), Err(1));
    }

    #[test]
    fn the_first_file_wins_and_missing_ones_are_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_all(dir.path()).unwrap().is_empty());
        std::fs::write(dir.path().join("flink-env.env"), "A=flink\nB=flink\n").unwrap();
        std::fs::write(dir.path().join(".env"), "A=ours\n").unwrap();
        let all = read_all(dir.path()).unwrap();
        assert_eq!((all["A"].as_str(), all["B"].as_str()), ("ours", "flink"));
    }
}
