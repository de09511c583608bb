//! The tables: which columns there are, and which of them have room. What stands in them is said in `cells`.

use ratatui::layout::Constraint;
use ratatui::text::Line;
use ratatui::widgets::{self, Row};

use super::cells::{self, Cells, LOAD};
use super::state::{State, Table};

/// The widest that names are shown.
const LONGEST_NAME: u16 = 40;

/// A column. The first of a table is as wide as its names.
struct Column {
    name: &'static str,
    width: u16,
    is_right: bool,
    /// Where there is no room for all, those of the highest rank are left out.
    rank: u8,
}

const fn left(name: &'static str, width: u16, rank: u8) -> Column {
    Column { name, width, is_right: false, rank }
}

const fn right(name: &'static str, width: u16, rank: u8) -> Column {
    Column { name, width, is_right: true, rank }
}

const JOBS: [Column; 7] = [
    left("JOB", 3, 0),
    left("STATE", 10, 1),
    right("FOR", 6, 2),
    right("IN", 6, 3),
    right("ROWS", 6, 4),
    right("PARALLEL", 8, 5),
    left("ID", 12, 6),
];

const SUBTASKS: [Column; 11] = [
    left("SUBTASK", 7, 0),
    left("LOAD", LOAD, 1),
    right("BUSY", 4, 2),
    right("BACKPR", 6, 3),
    right("IN/S", 6, 4),
    right("OUT/S", 6, 6),
    left("STATE", 12, 5),
    right("BEHIND", 6, 7),
    right("OPEN", 6, 8),
    left("TASKMANAGER", 16, 9),
    left("WATERMARK", 23, 10),
];

const PARTITIONS: [Column; 8] = [
    left("PARTITION", 9, 0),
    left("STATE", 8, 3),
    right("LAG", 6, 1),
    right("BEHIND", 6, 2),
    right("POSITION", 12, 5),
    right("END", 12, 6),
    left("READ BY", 10, 4),
    left("WATERMARK", 23, 7),
];

const CHECKPOINTS: [Column; 9] = [
    left("CHECKPOINT", 10, 0),
    left("STATE", 10, 1),
    right("AGO", 6, 2),
    right("TOOK", 6, 3),
    right("PAUSE", 6, 5),
    right("ALIGN", 6, 6),
    right("SIZE", 6, 4),
    right("NEW", 6, 7),
    left("WHY", 30, 8),
];

/// The number of lines that a table needs for all its rows, and for one that says that there are none.
pub(super) fn wanted(state: &State, table: Table) -> u16 {
    u16::try_from(rows(state, table).len().max(1)).unwrap_or(u16::MAX).saturating_add(1)
}

/// A table as wide as the screen, from its first row that is shown on.
pub(super) fn table(state: &State, table: Table, width: u16, height: u16) -> widgets::Table<'static> {
    let symbols = state.symbols;
    let rows = rows(state, table);
    let columns = columns(table);
    let offset = first_row(state, table, usize::from(height.saturating_sub(1)), rows.len());
    let names = rows.iter().map(|row| row[0].width());
    let longest = names.chain([heading(columns, 0, &rows, offset).len()]).max().unwrap_or(0);
    let name_width = u16::try_from(longest).unwrap_or(u16::MAX).min(LONGEST_NAME).min(width);
    let shown = fitting(columns, width, name_width);

    let heading =
        shown.iter().map(|&place| aligned(&columns[place], Line::from(heading(columns, place, &rows, offset))));
    let heading = Row::new(heading.collect::<Vec<_>>()).style(symbols.heading(state.focus == table));
    let widths =
        shown.iter().map(|&place| Constraint::Length(if place == 0 { name_width } else { columns[place].width }));
    let chosen = (table == Table::Jobs).then(|| state.chosen_row()).flatten();
    let body = rows.into_iter().enumerate().skip(offset).map(|(number, mut cells)| {
        let cells = shown.iter().map(|&place| aligned(&columns[place], std::mem::take(&mut cells[place])));
        let row = Row::new(cells.collect::<Vec<_>>());
        if Some(number) == chosen { row.style(symbols.chosen()) } else { row }
    });
    widgets::Table::new(body.collect::<Vec<_>>(), widths.collect::<Vec<_>>()).header(heading).column_spacing(1)
}

/// What is not shown above the first row is told in the heading of the names.
fn heading(columns: &[Column], place: usize, rows: &[Cells], offset: usize) -> String {
    let name = columns[place].name;
    if place == 0 && offset > 0 { format!("{name} {}/{}", offset + 1, rows.len()) } else { name.to_owned() }
}

fn aligned(column: &Column, line: Line<'static>) -> Line<'static> {
    // What is wider than its column is cut at its end: a number without its first digits would be another number.
    if column.is_right && line.width() <= usize::from(column.width) { line.right_aligned() } else { line }
}

/// The job that is shown stays in sight; other tables scroll by their offset, to where their last row is the lowest.
fn first_row(state: &State, table: Table, visible: usize, rows: usize) -> usize {
    let furthest = rows.saturating_sub(visible);
    match table {
        Table::Jobs => (state.chosen_row().unwrap_or(0) + 1).saturating_sub(visible).min(furthest),
        _ => {
            // Remembered as it is seen, so that no key is spent on what is beyond the end.
            let offset = &state.offsets[table as usize];
            offset.set(offset.get().min(furthest));
            offset.get()
        }
    }
}

/// The places of the columns for which there is room, in their order.
fn fitting(columns: &[Column], width: u16, name_width: u16) -> Vec<usize> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|&place| columns[place].rank);
    let mut left = width.saturating_sub(name_width);
    let mut shown = vec![0];
    for place in by_rank.into_iter().filter(|place| *place != 0) {
        let needed = columns[place].width + 1;
        if needed > left {
            // A less important one that happens to be narrow would only confuse.
            break;
        }
        left -= needed;
        shown.push(place);
    }
    shown.sort_unstable();
    shown
}

fn columns(table: Table) -> &'static [Column] {
    match table {
        Table::Jobs => &JOBS,
        Table::Subtasks => &SUBTASKS,
        Table::Partitions => &PARTITIONS,
        Table::Checkpoints => &CHECKPOINTS,
    }
}

fn rows(state: &State, table: Table) -> Vec<Cells> {
    let (look, symbols) = (&state.look, state.symbols);
    let details = look.details.as_ref();
    let now_ms = look.clock.0;
    match table {
        Table::Jobs => look.jobs.iter().map(|shown| cells::job(shown, symbols, now_ms)).collect(),
        Table::Subtasks => {
            let subtasks = details.map(|details| details.subtasks.as_slice()).unwrap_or_default();
            let figures = state.figures.iter().copied().chain(std::iter::repeat(None));
            subtasks
                .iter()
                .zip(figures)
                .map(|(shown, figures)| cells::subtask(shown, figures, symbols, now_ms))
                .collect()
        }
        Table::Partitions => {
            let splits = details.map(|details| details.splits.as_slice()).unwrap_or_default();
            splits.iter().map(|shown| cells::partition(shown, symbols, now_ms)).collect()
        }
        Table::Checkpoints => look.checkpoints.iter().map(|shown| cells::checkpoint(shown, symbols, now_ms)).collect(),
    }
}
