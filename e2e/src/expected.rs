//! Expected sessions, from files as PostgreSQL writes CSV: a bare empty field is NULL, `""` is an empty string.

use std::path::Path;

use anyhow::{Result, ensure};

/// A session as the table has it: `event_hour, ip, host, num_hits`.
pub type Row = Vec<Option<String>>;

/// What a table of sessions is asked for, to be compared with [`sessions`].
pub const SELECT_SESSIONS: &str = "SELECT to_char(event_hour, 'YYYY-MM-DD HH24:MI:SS.MS'), ip, host, num_hits::text \
                                   FROM sessionized_aggregated_events";

/// The rows of a `*.sessions.csv` without its column `session_end`, sorted.
///
/// # Errors
/// If the file cannot be read or has other columns.
pub fn sessions(file: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(file)?;
    let mut rows = records(&text);
    ensure!(!rows.is_empty(), "`{}` is empty", file.display());
    let header: Vec<String> = rows.remove(0).into_iter().flatten().collect();
    ensure!(header == ["event_hour", "session_end", "ip", "host", "num_hits"], "unexpected columns {header:?}");
    for row in &mut rows {
        row.remove(1);
    }
    rows.sort();
    Ok(rows)
}

fn records(text: &str) -> Vec<Row> {
    let mut rows = vec![Row::new()];
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let row = rows.last_mut().expect("never empty");
        let mut field = String::new();
        let is_quoted = chars.next_if_eq(&'"').is_some();
        while let Some(c) = chars.next_if(|&c| is_quoted || (c != ',' && c != '\n')) {
            if c == '"' && chars.next_if_eq(&'"').is_none() {
                break;
            }
            field.push(c);
        }
        row.push((is_quoted || !field.is_empty()).then_some(field));
        match chars.next() {
            Some('\n') if chars.peek().is_some() => rows.push(Row::new()),
            // A trailing comma ends in one more field, which is empty.
            Some(',') if chars.peek().is_none_or(|&c| c == '\n') => {
                row.push(None);
                if chars.next().is_some() && chars.peek().is_some() {
                    rows.push(Row::new());
                }
            }
            _ => {}
        }
    }
    rows.retain(|row| !row.is_empty());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_and_quoted_fields_are_told_apart() {
        let field = |text: &str| Some(text.to_owned());
        assert_eq!(
            records("a,,\"\",\"x,\"\"y\"\"\nz\"\nb,\nc\n"),
            [vec![field("a"), None, field(""), field("x,\"y\"\nz")], vec![field("b"), None], vec![field("c")]]
        );
    }
}
