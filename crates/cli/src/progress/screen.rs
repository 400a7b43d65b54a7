//! Puts lines on a terminal: finished ones scroll up once, the changing ones stay at the bottom.
//!
//! The screen remembers what it drew, not where: when the terminal got narrower meanwhile, it has
//! broken the drawn lines into more rows, and that many rows are taken back. (A terminal that does
//! so before it tells us its new size, as tmux may, leaves some old rows above.) Everything of one
//! update is written in one go and inside a synchronized update, so nothing flickers. The cursor
//! stays visible, below the last line: a process that is killed leaves a usable terminal.

use std::io::{self, Write};

use crossterm::QueueableCommand;
use crossterm::cursor::{MoveToColumn, MoveUp};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};

use super::live::Size;
use crate::style::Line;

/// A terminal with a changing part at its bottom.
#[derive(Debug)]
pub struct Screen<W: Write> {
    out: W,
    color: bool,
    /// Widths in cells of the lines that stand there now.
    drawn: Vec<usize>,
}

impl<W: Write> Screen<W> {
    /// Takes a terminal over.
    pub fn new(out: W, color: bool) -> Self {
        Self {
            out,
            color,
            drawn: Vec::new(),
        }
    }

    /// Lets `scrolled` scroll up and puts `changing` at the bottom.
    pub fn update(&mut self, scrolled: &[Line], changing: &[Line], size: Size) -> io::Result<()> {
        if scrolled.is_empty() && changing.is_empty() && self.drawn.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        bytes.queue(BeginSynchronizedUpdate)?;
        let rows_before = self.go_back(&mut bytes, size)?;
        let mut rows = 0;
        for line in scrolled.iter().chain(changing) {
            // Before the text as well: what was broken into rows here before must not be taken
            // for one line with it later.
            bytes.queue(Clear(ClearType::UntilNewLine))?;
            bytes.write_all(line.render(self.color).as_bytes())?;
            match line.width() {
                // The row is full: there is nothing to remove, and some terminals would take the
                // last character away.
                width if width > 0 && width.is_multiple_of(size.columns.max(1)) => {
                    bytes.write_all(b"\r\n")?;
                }
                _ => end_row(&mut bytes)?,
            }
            rows += rows_of(line.width(), size);
        }
        // Row by row: to clear all below at once would make some terminals keep a copy of it.
        let rows_left = rows_before.saturating_sub(rows);
        for _ in 0..rows_left {
            end_row(&mut bytes)?;
        }
        move_up(&mut bytes, rows_left)?;
        bytes.queue(EndSynchronizedUpdate)?;
        self.drawn = changing.iter().map(Line::width).collect();
        self.out.write_all(&bytes)?;
        self.out.flush()
    }

    /// Goes to where the changing part begins; gives how many rows it has.
    fn go_back(&self, bytes: &mut Vec<u8>, size: Size) -> io::Result<usize> {
        let rows: usize = self.drawn.iter().map(|width| rows_of(*width, size)).sum();
        // Rows that were pushed out at the top are out of reach.
        let reachable = rows.min(size.rows.saturating_sub(1));
        bytes.queue(MoveToColumn(0))?;
        move_up(bytes, reachable)?;
        Ok(reachable)
    }
}

/// How many rows a line takes on a terminal of this size.
fn rows_of(width: usize, size: Size) -> usize {
    width.div_ceil(size.columns.max(1)).max(1)
}

/// Removes what an earlier drawing left on the row and goes to the next one.
fn end_row(bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.queue(Clear(ClearType::UntilNewLine))?;
    bytes.write_all(b"\r\n")
}

fn move_up(bytes: &mut Vec<u8>, rows: usize) -> io::Result<()> {
    // Zero rows would mean one.
    if let Ok(rows @ 1..) = u16::try_from(rows) {
        bytes.queue(MoveUp(rows))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::style::Tone;

    /// A terminal that breaks lines anew when its width changes, as most do.
    #[derive(Default)]
    struct Terminal {
        /// Logical lines: what was written without a line end in between, however it is broken.
        lines: Vec<String>,
        columns: usize,
        /// The line the cursor is in, and how many rows of it are above the cursor.
        at: (usize, usize),
    }

    impl Terminal {
        fn rows_of(&self, line: usize) -> usize {
            let width = self.lines.get(line).map_or(0, |text| text.width());
            width.div_ceil(self.columns).max(1)
        }

        fn feed(&mut self, bytes: &[u8]) {
            let text = std::str::from_utf8(bytes).unwrap();
            let mut rest = text;
            let mut column = 0;
            while let Some(c) = rest.chars().next() {
                rest = &rest[c.len_utf8()..];
                match c {
                    '\r' => column = 0,
                    '\n' => self.down(),
                    '\u{1b}' => {
                        let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                        self.control(&rest[1..end], &rest[end..=end], column);
                        rest = &rest[end + 1..];
                    }
                    c => {
                        if column == self.columns {
                            (column, self.at.1) = (0, self.at.1 + 1);
                        }
                        self.put(c, column);
                        column += 1;
                    }
                }
            }
        }

        /// Writes over a cell. A line that is written on from its last column becomes one with
        /// the row below, so what stood there is part of it from then on.
        fn put(&mut self, c: char, column: usize) {
            self.lines
                .resize(self.lines.len().max(self.at.0 + 1), String::new());
            let cell = self.at.1 * self.columns + column;
            let mut cells: Vec<char> = self.lines[self.at.0].chars().collect();
            if cell >= cells.len()
                && column == 0
                && self.at.1 > 0
                && self.at.0 + 1 < self.lines.len()
            {
                let below = self.lines.remove(self.at.0 + 1);
                cells.extend(below.chars());
            }
            if cell < cells.len() {
                cells[cell] = c;
            } else {
                cells.push(c);
            }
            self.lines[self.at.0] = cells.into_iter().collect();
        }

        fn down(&mut self) {
            self.at = match self.at {
                (line, row) if row + 1 < self.rows_of(line) => (line, row + 1),
                (line, _) => (line + 1, 0),
            };
        }

        fn control(&mut self, parameters: &str, name: &str, column: usize) {
            match (parameters, name) {
                (rows, "A") => (0..rows.parse().unwrap()).for_each(|_| self.up()),
                ("1", "G") | ("?2026", "h" | "l") => {}
                ("", "K") => self.clear_row_from(column),
                other => panic!("unexpected control {other:?}"),
            }
        }

        /// Clears the rest of the row; the rows below it become a line of their own.
        fn clear_row_from(&mut self, column: usize) {
            let Some(line) = self.lines.get(self.at.0) else {
                return;
            };
            let cells: Vec<char> = line.chars().collect();
            let from = (self.at.1 * self.columns + column).min(cells.len());
            let below = ((self.at.1 + 1) * self.columns).min(cells.len());
            let kept: String = cells[..from].iter().collect();
            let rest: String = cells[below..].iter().collect();
            self.lines[self.at.0] = kept;
            if !rest.is_empty() {
                self.lines.insert(self.at.0 + 1, rest);
            }
        }

        fn up(&mut self) {
            self.at = match self.at {
                (0, 0) => (0, 0),
                (line, 0) => (line - 1, self.rows_of(line - 1) - 1),
                (line, row) => (line, row - 1),
            };
        }

        /// What can be read, without the empty rows at the end.
        fn shown(&self) -> Vec<&str> {
            let mut lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
            while lines.last().is_some_and(|line| line.is_empty()) {
                lines.pop();
            }
            lines
        }
    }

    fn lines(texts: &[&str]) -> Vec<Line> {
        texts
            .iter()
            .map(|text| Line::new(Tone::Plain, *text))
            .collect()
    }

    /// Makes the updates, each at its own width, and gives the terminal afterwards.
    fn shown(updates: &[(usize, &[&str], &[&str])]) -> Terminal {
        let mut terminal = Terminal::default();
        let mut screen = Screen::new(Vec::new(), false);
        for (columns, scrolled, changing) in updates {
            terminal.columns = *columns;
            let size = Size {
                columns: *columns,
                rows: 60,
            };
            let (scrolled, changing) = (lines(scrolled), lines(changing));
            screen.update(&scrolled, &changing, size).unwrap();
            terminal.feed(&std::mem::take(&mut screen.out));
        }
        terminal
    }

    #[test]
    fn finished_lines_stay_and_the_rest_is_replaced() {
        let terminal = shown(&[
            (40, &[], &["running a", "status 1"]),
            (40, &["done a"], &["running b", "last line", "status 2"]),
            (40, &["done b"], &["status 3"]),
        ]);
        assert_eq!(terminal.shown(), ["done a", "done b", "status 3"]);
    }

    #[test]
    fn at_the_end_only_finished_lines_are_left() {
        let terminal = shown(&[(40, &[], &["running a", "status"]), (40, &["sum"], &[])]);
        assert_eq!(terminal.shown(), ["sum"]);
        let idle = shown(&[(40, &["one"], &[]), (40, &["two"], &[])]);
        assert_eq!(idle.shown(), ["one", "two"]);
    }

    #[test]
    fn a_terminal_made_narrower_leaves_nothing_behind() {
        let long = "running a step with a long title";
        for columns in [40, 33, 32, 31, 16, 7, 5] {
            let terminal = shown(&[
                (40, &["before"], &[long, "status"]),
                (columns, &["done"], &["status"]),
            ]);
            assert_eq!(
                terminal.shown(),
                ["before", "done", "status"],
                "{columns} columns"
            );
        }
    }
}
