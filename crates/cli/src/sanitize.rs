//! Cleans text from outside before a terminal sees it.
//!
//! File names, image names, labels and the output of build steps may hold bytes that move the
//! cursor, change the title or fake a prompt. Escape sequences are dropped whole, every other
//! control character becomes `U+FFFD`, and so do the characters that reverse the direction of
//! text, because they can make a line read differently from what it says.

use std::borrow::Cow;

/// Tab stops of a terminal.
const TAB: usize = 8;

/// Cleans a name: one line, nothing that a terminal would act on.
pub fn name(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let visible = without_escapes(text);
    Cow::Owned(visible.chars().map(replaced).collect())
}

/// Cleans a text of several lines: line ends and tabs stay.
pub fn text(text: &str) -> Cow<'_, str> {
    let acts = |c: char| is_unsafe(c) && c != '\n' && c != '\t';
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let visible = without_escapes(text);
    Cow::Owned(
        visible
            .chars()
            .map(|c| if acts(c) { replaced(c) } else { c })
            .collect(),
    )
}

/// Cleans a line that a process printed: of what it drew over and over with carriage returns only
/// the last state stays, tabs become spaces.
pub fn output_line(line: &str) -> Cow<'_, str> {
    let last = line
        .rsplit('\r')
        .find(|part| !part.trim().is_empty())
        .unwrap_or("");
    if !last.chars().any(is_unsafe) {
        return Cow::Borrowed(last);
    }
    let visible = without_escapes(last);
    let mut out = String::with_capacity(visible.len());
    let mut column = 0;
    for c in visible.chars() {
        if c == '\t' {
            let spaces = TAB - column % TAB;
            out.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        } else if c == '\u{8}' {
            // A backspace takes back what was drawn before it, as spinners do.
            column -= usize::from(out.pop().is_some());
        } else {
            out.push(replaced(c));
            column += 1;
        }
    }
    Cow::Owned(out)
}

fn replaced(c: char) -> char {
    if is_unsafe(c) {
        char::REPLACEMENT_CHARACTER
    } else {
        c
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Drops escape sequences: `ESC [ ... letter`, `ESC ] ... BEL|ST`, `ESC P/X/^/_ ... ST`, `ESC x`.
fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let introducer = match c {
            '\u{1b}' => rest.next(),
            '\u{9b}' => Some('['),
            '\u{9d}' => Some(']'),
            _ => {
                out.push(c);
                continue;
            }
        };
        match introducer {
            Some('[') => {
                // Parameters and intermediates, up to and with the final byte.
                rest.by_ref().find(|c| ('\u{40}'..='\u{7e}').contains(c));
            }
            Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut rest),
            Some(' '..='/') => {
                rest.by_ref().find(|c| ('\u{30}'..='\u{7e}').contains(c));
            }
            _ => {}
        }
    }
    out
}

/// Skips a control string up to its terminator: BEL, ST, or ESC and a backslash.
fn skip_string(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_is_borrowed() {
        assert!(matches!(name("größe 東京"), Cow::Borrowed(_)));
        assert!(matches!(text("a\tb\nc"), Cow::Borrowed(_)));
        assert!(matches!(output_line("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn escape_sequences_vanish_whole() {
        assert_eq!(name("\u{1b}[31mred\u{1b}[0m"), "red");
        assert_eq!(name("a\u{1b}]0;title\u{7}b"), "ab");
        assert_eq!(name("a\u{1b}]8;;http://x\u{1b}\\link"), "alink");
        assert_eq!(name("a\u{1b}(Bb"), "ab");
        assert_eq!(name("a\u{9b}2Jb"), "ab");
        assert_eq!(name("tail\u{1b}["), "tail");
        assert_eq!(name("tail\u{1b}"), "tail");
    }

    #[test]
    fn controls_become_visible() {
        assert_eq!(name("a\nb\u{7}c\u{7f}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(name("abc\u{202e}fed"), "abc\u{fffd}fed");
        assert_eq!(text("a\nb\u{7}"), "a\nb\u{fffd}");
    }

    #[test]
    fn of_a_progress_bar_the_last_state_stays() {
        assert_eq!(output_line(" 10%\r 50%\r100%"), "100%");
        assert_eq!(output_line(" 10%\r 50%\r"), " 50%");
        assert_eq!(output_line("a\tb"), "a       b");
        assert_eq!(output_line("\tb"), "        b");
        assert_eq!(output_line("wait|\u{8}/\u{8}-"), "wait-");
        assert_eq!(output_line("\r\r"), "");
    }
}
