//! Query results in exactly the layout that `psql` prints: heads in the middle, numbers to the right, `(1 row)`.
//!
//! The examples in the tests were printed by psql 15. Values with line breaks are not laid out as psql would.

use crate::table::{Align, pad};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its head.
    pub name: String,
    /// Numbers stand to the right.
    pub align: Align,
}

/// The result of a query as text; `None` is NULL, which psql shows as nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, with a cell for each column.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Answer {
    /// The lines psql prints, with the number of rows at the end.
    #[must_use]
    pub fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let head =
            self.columns.iter().zip(&widths).map(|(column, width)| format!(" {} ", center(&column.name, *width)));
        let rule = widths.iter().map(|width| "-".repeat(width + 2));
        let mut text = format!("{}\n{}\n", join(head, "|"), join(rule, "+"));
        for row in &self.rows {
            text.push_str(&self.render_row(row, &widths));
            text.push('\n');
        }
        let rows = self.rows.len();
        text + &format!("({rows} row{})\n", if rows == 1 { "" } else { "s" })
    }

    /// The rows alone, cells joined by ` | ` without any padding: `psql -At -F ' | '`.
    #[must_use]
    pub fn render_unaligned(&self) -> String {
        let rows =
            self.rows.iter().map(|row| join(row.iter().map(|cell| cell.clone().unwrap_or_default()), " | ") + "\n");
        rows.collect()
    }

    fn render_row(&self, row: &[Option<String>], widths: &[usize]) -> String {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().enumerate().map(|(at, cell)| {
            let text = cell.as_deref().unwrap_or_default();
            match (self.columns[at].align, at == last) {
                // Nothing follows the last column's text, so nothing is padded.
                (Align::Left, true) => format!(" {text}"),
                (align, true) => format!(" {}", pad(text, widths[at], align)),
                (align, false) => format!(" {} ", pad(text, widths[at], align)),
            }
        });
        join(cells, "|")
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row[column].as_ref());
        cells.chain([&self.columns[column].name]).map(|text| text.chars().count()).max().unwrap_or(0)
    }
}

/// What cannot be halved goes to the right.
fn center(text: &str, width: usize) -> String {
    let blank = width - text.chars().count();
    format!("{}{text}{}", " ".repeat(blank / 2), " ".repeat(blank - blank / 2))
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(columns: &[(&str, Align)], rows: &[&[Option<&str>]]) -> Answer {
        let columns = columns.iter().map(|(name, align)| Column { name: (*name).to_owned(), align: *align });
        let rows = rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect());
        Answer { columns: columns.collect(), rows: rows.collect() }
    }

    #[test]
    fn one_number_is_laid_out_as_psql_does() {
        let avg = answer(&[("avg", Align::Right)], &[&[Some("1.5000000000000000")]]);
        assert_eq!(avg.render(), "        avg         \n--------------------\n 1.5000000000000000\n(1 row)\n");
    }

    #[test]
    fn null_is_blank() {
        let avg = answer(&[("avg", Align::Right)], &[&[None]]);
        assert_eq!(avg.render(), " avg \n-----\n    \n(1 row)\n");
    }

    #[test]
    fn text_stands_left_and_numbers_right_and_width_is_in_characters() {
        let columns = [("host", Align::Left), ("avg", Align::Right)];
        let rows: [&[Option<&str>]; 3] = [
            &[Some("a"), Some("1.00000000000000000000")],
            &[Some("bbbbbbbbbb"), None],
            &[Some("ü"), Some("22.0000000000000000")],
        ];
        let expected = "    host    |          avg           \n\
                        ------------+------------------------\n\
                        \x20a          | 1.00000000000000000000\n\
                        \x20bbbbbbbbbb |                       \n\
                        \x20ü          |    22.0000000000000000\n\
                        (3 rows)\n";
        assert_eq!(answer(&columns, &rows).render(), expected);
    }

    #[test]
    fn the_last_text_is_not_padded() {
        let two = answer(&[("a", Align::Right), ("lastcolumn", Align::Left)], &[&[Some("1"), Some("left")]]);
        assert_eq!(two.render(), " a | lastcolumn \n---+------------\n 1 | left\n(1 row)\n");
    }

    #[test]
    fn no_rows_still_have_a_head() {
        let none = answer(&[("host", Align::Left), ("avg", Align::Right)], &[]);
        assert_eq!(none.render(), " host | avg \n------+-----\n(0 rows)\n");
        assert_eq!(none.render_unaligned(), "");
    }

    #[test]
    fn unaligned_rows_have_no_padding() {
        let row = answer(&[("host", Align::Left), ("n", Align::Right)], &[&[Some("zachwilson"), Some("1")]]);
        assert_eq!(row.render_unaligned(), "zachwilson | 1\n");
    }
}
