//! Tables whose columns line up on a terminal, whatever the names in them are.
//!
//! The last column is never padded, so lines have no trailing blanks; numbers align right.

use unicode_width::UnicodeWidthStr;

use crate::sanitize;
use crate::style::{Line, Tone};

/// Blanks between columns.
const GAP: usize = 2;

/// To which side a column's cells are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A cell: text and how it is drawn.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone. The text is cleaned here: most of it comes from outside.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self {
            text: sanitize::name(text.as_ref()).into_owned(),
            tone,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// Rows under a heading.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Missing cells are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The heading and the rows, lined up.
    pub fn lines(&self) -> Vec<Line> {
        let heading = self
            .columns
            .iter()
            .map(|(name, _)| Cell::new(Tone::Dim, name))
            .collect();
        let all: Vec<&Vec<Cell>> = std::iter::once(&heading).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                all.iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.text.width())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        all.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize]) -> Line {
        let last = row.iter().rposition(|cell| !cell.text.is_empty());
        let mut line = Line::default();
        for (column, cell) in row.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            if column > 0 {
                line = line.with(Tone::Plain, " ".repeat(GAP));
            }
            let blanks = " ".repeat(widths[column].saturating_sub(cell.text.width()));
            line = match self.columns[column].1 {
                Align::Right => line.with(Tone::Plain, blanks).with(cell.tone, &cell.text),
                Align::Left if Some(column) == last => line.with(cell.tone, &cell.text),
                Align::Left => line.with(cell.tone, &cell.text).with(Tone::Plain, blanks),
            };
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_width() {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("SIZE", Align::Right),
            ("NOTE", Align::Left),
        ]);
        table.row(["東京".into(), "7 B".into(), "x".into()]);
        table.row(["a".into(), "120 kB".into()]);
        table.row(["b\u{1b}[2Jc".into(), "1 B".into(), "".into()]);
        let lines: Vec<String> = table.lines().iter().map(Line::plain).collect();
        assert_eq!(
            lines,
            [
                "NAME    SIZE  NOTE",
                "東京     7 B  x",
                "a     120 kB",
                "bc       1 B",
            ]
        );
    }
}
