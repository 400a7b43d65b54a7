//! Puts lines on a terminal: finished ones scroll up once, the changing ones stay at the bottom.
//!
//! The screen remembers what it drew, not where: when the terminal got narrower meanwhile, it has
//! broken the drawn lines into more rows, and that many rows are taken back. Everything of one
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
        self.take_back(&mut bytes, size)?;
        for line in scrolled.iter().chain(changing) {
            bytes.write_all(line.render(self.color).as_bytes())?;
            bytes.write_all(b"\r\n")?;
        }
        bytes.queue(EndSynchronizedUpdate)?;
        self.drawn = changing.iter().map(Line::width).collect();
        self.out.write_all(&bytes)?;
        self.out.flush()
    }

    fn take_back(&self, bytes: &mut Vec<u8>, size: Size) -> io::Result<()> {
        let columns = size.columns.max(1);
        let rows: usize = self
            .drawn
            .iter()
            .map(|width| width.div_ceil(columns).max(1))
            .sum();
        if rows == 0 {
            return Ok(());
        }
        // Rows that were pushed out at the top are out of reach.
        let reachable = rows
            .min(size.rows.saturating_sub(1))
            .min(usize::from(u16::MAX));
        bytes.queue(MoveToColumn(0))?;
        if reachable > 0 {
            bytes.queue(MoveUp(reachable as u16))?;
        }
        bytes.queue(Clear(ClearType::FromCursorDown))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::style::Tone;

    /// A terminal that breaks lines anew when its width changes, as most do.
    #[derive(Default)]
    struct Terminal {
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
            while let Some(c) = rest.chars().next() {
                rest = &rest[c.len_utf8()..];
                match c {
                    '\r' => {}
                    '\n' => self.at = (self.at.0 + 1, 0),
                    '\u{1b}' => {
                        let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                        self.control(&rest[1..end], &rest[end..=end]);
                        rest = &rest[end + 1..];
                    }
                    c => {
                        self.lines
                            .resize(self.lines.len().max(self.at.0 + 1), String::new());
                        self.lines[self.at.0].push(c);
                    }
                }
            }
        }

        fn control(&mut self, parameters: &str, name: &str) {
            match (parameters, name) {
                (rows, "A") => (0..rows.parse().unwrap()).for_each(|_| self.up()),
                ("1", "G") | ("?2026", "h" | "l") => {}
                ("", "J") => {
                    self.lines.truncate(self.at.0 + usize::from(self.at.1 > 0));
                    if self.at.1 > 0 {
                        let cells = self.at.1 * self.columns;
                        self.lines[self.at.0] = self.lines[self.at.0].chars().take(cells).collect();
                    }
                }
                other => panic!("unexpected control {other:?}"),
            }
        }

        fn up(&mut self) {
            self.at = match self.at {
                (0, 0) => (0, 0),
                (line, 0) => (line - 1, self.rows_of(line - 1) - 1),
                (line, row) => (line, row - 1),
            };
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
        assert_eq!(terminal.lines, ["done a", "done b", "status 3"]);
    }

    #[test]
    fn at_the_end_only_finished_lines_are_left() {
        let terminal = shown(&[(40, &[], &["running a", "status"]), (40, &["sum"], &[])]);
        assert_eq!(terminal.lines, ["sum"]);
        let idle = shown(&[(40, &["one"], &[]), (40, &["two"], &[])]);
        assert_eq!(idle.lines, ["one", "two"]);
    }

    #[test]
    fn a_terminal_made_narrower_leaves_nothing_behind() {
        let long = "running a step with a long title";
        for columns in [40, 33, 32, 31, 16, 7, 1] {
            let terminal = shown(&[
                (40, &["before"], &[long, "status"]),
                (columns, &["done"], &["status"]),
            ]);
            assert_eq!(
                terminal.lines,
                ["before", "done", "status"],
                "{columns} columns"
            );
        }
    }
}
