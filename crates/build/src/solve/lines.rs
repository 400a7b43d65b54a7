//! A process's output as lines: cut and decoded.

/// A line is cut here; programs that never end a line must not fill the memory.
const LINE_MAX: usize = 64 * 1024;

/// Collects bytes and hands out whole lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// Takes bytes; calls `line` for each line that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.open.extend_from_slice(part);
            if part.ends_with(b"\n") || self.open.len() > LINE_MAX {
                self.finish(&mut line);
            }
        }
    }

    /// Hands out what is left without a line end.
    pub(super) fn finish(&mut self, mut line: impl FnMut(&str)) {
        if self.open.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.open);
        let text = String::from_utf8_lossy(&bytes);
        line(last_written(text.trim_end_matches(['\n', '\r'])));
    }
}

/// What a terminal would show of a line that was written over: the part after the last lone
/// carriage return, as progress bars leave it.
fn last_written(line: &str) -> &str {
    line.rsplit('\r')
        .find(|part| !part.is_empty())
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.push(chunk, |line| all.push(line.to_owned()));
        }
        lines.finish(|line| all.push(line.to_owned()));
        all
    }

    #[test]
    fn lines_survive_any_cut() {
        assert_eq!(
            lines(&[b"on", b"e\ntw", b"o\n", b"three"]),
            ["one", "two", "three"]
        );
        assert_eq!(lines(&[b"a\r\n\nb"]), ["a", "", "b"]);
        assert_eq!(lines(&[b"10%\r50%\r100%\n"]), ["100%"]);
        assert_eq!(lines(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let long = vec![b'x'; LINE_MAX * 2 + 10];
        let cut = lines(&[&long[..LINE_MAX + 1], &long[LINE_MAX + 1..]]);
        assert_eq!(cut.iter().map(String::len).sum::<usize>(), long.len());
        assert!(cut.len() > 1);
    }
}
