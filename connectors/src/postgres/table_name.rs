//! The name of a table as a user writes it, and as it stands in a statement.

use std::fmt;
use std::str::FromStr;

/// A table by schema and name. Without a schema it is `public`: a search path could lead anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub name: String,
}

/// A name that Postgres would not take, or would take for another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name of a table; write `TABLE` or `SCHEMA.TABLE`, with double quotes around a name of other characters than letters, digits and `_`"
)]
pub struct TableNameError(pub String);

/// What Postgres keeps of a name; it would cut off the rest.
const MAX_NAME_BYTES: usize = 63;

/// Reads `TABLE` or `SCHEMA.TABLE`. As in SQL, a name without quotes is in lower case whatever was written.
impl FromStr for TableName {
    type Err = TableNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || TableNameError(text.to_owned());
        let (first, rest) = identifier(text).ok_or_else(invalid)?;
        let Some(second) = rest.strip_prefix('.') else {
            let table = TableName { schema: "public".to_owned(), name: first };
            return if rest.is_empty() { Ok(table) } else { Err(invalid()) };
        };
        match identifier(second) {
            Some((name, "")) => Ok(TableName { schema: first, name }),
            _ => Err(invalid()),
        }
    }
}

/// Quoted, as it stands in a statement.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// A name as it stands in a statement, whatever characters it has.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as it stands in a statement, whatever characters it has and however the server reads backslashes.
pub(super) fn literal(text: &str) -> String {
    let escapes = if text.contains('\\') { "E" } else { "" };
    format!("{escapes}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The name at the beginning of `text`, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(inner) => quoted_identifier(inner)?,
        None => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
            let (name, rest) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
            if name.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
                return None;
            }
            (name.to_ascii_lowercase(), rest)
        }
    };
    (1..=MAX_NAME_BYTES).contains(&name.len()).then_some((name, rest))
}

fn quoted_identifier(inner: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = inner;
    loop {
        let (part, behind) = rest.split_once('"')?;
        name.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (!name.contains('\0')).then_some((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        for (text, expected) in [
            ("sessions", "\"public\".\"sessions\""),
            ("Web.Sessions_1", "\"web\".\"sessions_1\""),
            ("\"My Table\"", "\"public\".\"My Table\""),
            ("web.\"a\"\"b.c\"", "\"web\".\"a\"\"b.c\""),
        ] {
            assert_eq!(text.parse::<TableName>().map(|name| name.to_string()), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn a_literal_ends_where_its_text_does() {
        for (text, expected) in [("a", "'a'"), ("it's", "'it''s'"), (r"a\'", r"E'a\\'''")] {
            assert_eq!(literal(text), expected);
        }
    }

    #[test]
    fn what_could_end_a_name_early_is_refused() {
        let long = "x".repeat(64);
        for text in [
            "",
            ".",
            "a.",
            ".b",
            "a.b.c",
            "a b",
            "a;drop table b",
            "1a",
            "\"a",
            "a\"b\"",
            "\"\"",
            "a-b",
            "ä",
            "\"\0\"",
            &long,
        ] {
            assert_eq!(text.parse::<TableName>(), Err(TableNameError(text.to_owned())));
        }
    }
}
