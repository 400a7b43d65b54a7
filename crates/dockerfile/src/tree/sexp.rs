//! The tree as S-expressions, one instruction a line: the form that parsers are compared in.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{Arguments, Node, Tree};
use crate::ast::Word;

impl Display for Tree {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            writeln!(f, "({node})")?;
        }
        Ok(())
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.keyword.value.to_lowercase())?;
        if !self.flags.is_empty() {
            let flags: Vec<String> = self.flags.iter().map(quoted).collect();
            write!(f, " [{}]", flags.join(" "))?;
        }
        match &self.arguments {
            Arguments::Words(words) => words
                .iter()
                .try_for_each(|word| write!(f, " {}", quoted(word))),
            Arguments::Pairs(pairs) => pairs.iter().try_for_each(|pair| {
                let sign = if pair.legacy { "" } else { "=" };
                write!(
                    f,
                    " {} {} \"{sign}\"",
                    quoted(&pair.key),
                    quoted(&pair.value)
                )
            }),
            Arguments::Instruction(Some(inner)) => write!(f, " ({inner})"),
            Arguments::Instruction(None) => Ok(()),
            Arguments::Unknown => f.write_str(" \"\""),
        }
    }
}

/// Quotes a text as Go does.
fn quoted(word: &Word) -> String {
    let mut out = String::from('"');
    for ch in word.value.chars() {
        match ch {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ch if ch.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(ch));
            }
            ch => out.push(ch),
        }
    }
    out.push('"');
    out
}
