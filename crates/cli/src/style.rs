//! Text with tones: what is drawn bold, dim or coloured, apart from whether colour is on.
//!
//! A tone never carries a meaning that the words do not carry as well.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a piece of text is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As the terminal draws text.
    Plain,
    /// Names that the eye looks for.
    Strong,
    /// Detail that may be passed over.
    Dim,
    /// It went well.
    Good,
    /// It failed.
    Bad,
    /// It needs attention.
    Warn,
    /// It is going on.
    Busy,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Strong => Some("\u{1b}[1m"),
            Tone::Dim => Some("\u{1b}[2m"),
            Tone::Good => Some("\u{1b}[1;32m"),
            Tone::Bad => Some("\u{1b}[1;31m"),
            Tone::Warn => Some("\u{1b}[1;33m"),
            Tone::Busy => Some("\u{1b}[1;36m"),
        }
    }
}

const RESET: &str = "\u{1b}[0m";

/// Gives `text` in `tone`, or as it is where colour is off.
pub fn paint(text: &str, tone: Tone, color: bool) -> String {
    match tone.code() {
        Some(code) if color && !text.is_empty() => format!("{code}{text}{RESET}"),
        _ => text.to_owned(),
    }
}

/// One line made of pieces. Holds no control characters: whoever builds it cleans its parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    pieces: Vec<(Tone, String)>,
    /// The piece that gives way on a narrow terminal.
    soft: Option<usize>,
}

impl Line {
    /// A line with one piece.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self::default().with(tone, text)
    }

    /// Adds a piece.
    #[must_use]
    pub fn with(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.pieces.push((tone, text.into()));
        self
    }

    /// Adds the piece that is cut where the line has to [fit](Self::fit).
    #[must_use]
    pub fn with_soft(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.soft = Some(self.pieces.len());
        self.with(tone, text)
    }

    /// The text alone.
    pub fn plain(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// How many terminal cells it takes.
    pub fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| text.width()).sum()
    }

    /// Cuts the line to `cells` terminal cells; `mark` stands where something was cut off.
    #[must_use]
    pub fn cut(&self, cells: usize, mark: &str) -> Self {
        if self.width() <= cells {
            return self.clone();
        }
        let mark_cells = mark.width();
        let Some(mut left) = cells.checked_sub(mark_cells) else {
            return Self::new(Tone::Plain, cut_text(&self.plain(), cells).0);
        };
        let mut line = Self::default();
        for (tone, text) in &self.pieces {
            let (part, used) = cut_text(text, left);
            let whole = part.len() == text.len();
            line.pieces.push((*tone, part.to_owned()));
            left -= used;
            if !whole {
                break;
            }
        }
        line.with(Tone::Dim, mark)
    }

    /// Cuts the soft piece, if there is one, so that the line takes at most `cells`, or as little
    /// more as can be; all other pieces stay whole.
    #[must_use]
    pub fn fit(mut self, cells: usize, mark: &str) -> Self {
        let excess = self.width().saturating_sub(cells);
        if let Some((_, text)) = self.soft.and_then(|at| self.pieces.get_mut(at))
            && excess > 0
        {
            let left = text.width().saturating_sub(excess + mark.width());
            *text = cut_text(text, left).0.to_owned() + mark;
        }
        self
    }

    /// The line as bytes for a terminal or a file.
    pub fn render(&self, color: bool) -> String {
        self.pieces
            .iter()
            .map(|(tone, text)| paint(text, *tone, color))
            .collect()
    }
}

/// Gives the longest start of `text` that fits into `cells`, and the cells it takes. A wide
/// character that would stick out is left away.
fn cut_text(text: &str, cells: usize) -> (&str, usize) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let width = c.width().unwrap_or(0);
        if used + width > cells {
            return (&text[..at], used);
        }
        used += width;
    }
    (text, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_left_out_where_it_is_off() {
        let line = Line::new(Tone::Good, "Built").with(Tone::Plain, " base");
        assert_eq!(line.render(false), "Built base");
        assert_eq!(line.render(true), "\u{1b}[1;32mBuilt\u{1b}[0m base");
    }

    #[test]
    fn cutting_counts_cells_not_characters() {
        let line = Line::new(Tone::Plain, "ab東京cd");
        assert_eq!(line.width(), 8);
        assert_eq!(line.cut(8, "…").plain(), "ab東京cd");
        assert_eq!(line.cut(7, "…").plain(), "ab東京…");
        assert_eq!(line.cut(6, "…").plain(), "ab東…", "京 would stick out");
        assert_eq!(line.cut(1, "…").plain(), "…");
        assert_eq!(line.cut(0, "…").plain(), "");
        assert_eq!(line.cut(2, "...").plain(), "ab");
    }

    #[test]
    fn only_what_is_soft_gives_way() {
        let line = |soft: &str| {
            Line::new(Tone::Good, "Done ")
                .with_soft(Tone::Plain, soft)
                .with(Tone::Dim, " (same)")
        };
        let fit = |soft: &str, cells| line(soft).fit(cells, "…").plain();
        assert_eq!(fit("RUN x", 17), "Done RUN x (same)");
        assert_eq!(fit("RUN make", 17), "Done RUN … (same)");
        assert_eq!(fit("RUN make", 5), "Done … (same)", "the rest stays");
        let hard = Line::new(Tone::Plain, "a long error");
        assert_eq!(hard.clone().fit(4, "…"), hard);
    }

    #[test]
    fn cutting_keeps_tones() {
        let line = Line::new(Tone::Good, "Built").with(Tone::Plain, " base");
        let cut = line.cut(7, "…");
        assert_eq!(
            cut.render(true),
            "\u{1b}[1;32mBuilt\u{1b}[0m \u{1b}[2m…\u{1b}[0m"
        );
    }
}
