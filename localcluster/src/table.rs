//! Tables for people: columns aligned by blanks, two between them.

/// How a column's cells are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table with a head; every row has as many cells as there are columns.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.columns.len(), "a row has a cell for each column");
        self.rows.push(cells.into());
    }

    /// The lines, each ended, without blanks at their ends.
    #[must_use]
    pub fn render(&self) -> String {
        let head: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                std::iter::once(&head).chain(&self.rows).map(|row| row[column].chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let cells =
                row.iter().zip(&widths).zip(&self.columns).map(|((cell, width), (_, align))| pad(cell, *width, *align));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// The same as Markdown has it.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        let marks = |(_, align): &(&str, Align)| if *align == Align::Left { "---" } else { "---:" };
        let mut text = line(&mut self.columns.iter().map(|&(name, _)| name));
        text += &line(&mut self.columns.iter().map(marks));
        for row in &self.rows {
            text += &line(&mut row.iter().map(String::as_str));
        }
        text
    }
}

/// `text` with blanks up to `width` characters.
#[must_use]
pub fn pad(text: &str, width: usize, align: Align) -> String {
    match align {
        Align::Left => format!("{text:<width$}"),
        Align::Right => format!("{text:>width$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("NAME", Align::Left), ("MB", Align::Right), ("LOG", Align::Left)]);
        table.row(["jobmanager".into(), "7".into(), "a.log".into()]);
        table.row(["kafka".into(), "120".into(), String::new()]);
        assert_eq!(table.render(), "NAME         MB  LOG\njobmanager    7  a.log\nkafka       120\n");
        assert_eq!(
            table.to_markdown(),
            "| NAME | MB | LOG |\n| --- | ---: | --- |\n| jobmanager | 7 | a.log |\n| kafka | 120 |  |\n"
        );
    }
}
