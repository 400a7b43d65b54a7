//! Heredoc words: what `<<EOF`, `<<-EOF` and `3<<"EOF"` on a line ask for.

use crate::expand::{ExpandError, Expander, NoEnv};

/// A heredoc word, before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeredocWord {
    pub(crate) name: String,
    pub(crate) expand: bool,
    pub(crate) strip_tabs: bool,
    pub(crate) file_descriptor: u32,
}

/// Finds the heredocs that a line opens, in order.
pub(crate) fn words_of_line(line: &str) -> Result<Vec<HeredocWord>, ExpandError> {
    let rules = Expander {
        raw_quotes: true,
        raw_escapes: true,
        skip_unset: true,
        ..Expander::new('\\')
    };
    // A line that is no sequence of words (an apostrophe in a comment, say) has no heredocs.
    let Ok(words) = rules.words(line, &NoEnv) else {
        return Ok(Vec::new());
    };
    words
        .iter()
        .filter_map(|word| parse_word(word).transpose())
        .collect()
}

/// Reads a single heredoc word; `None` if it is none.
pub(crate) fn parse_word(word: &str) -> Result<Option<HeredocWord>, ExpandError> {
    let digits = word.len()
        - word
            .trim_start_matches(|ch: char| ch.is_ascii_digit())
            .len();
    let Some(rest) = word[digits..].strip_prefix("<<") else {
        return Ok(None);
    };
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let terminator = rest.trim_start_matches(|ch: char| ch.is_ascii_whitespace());
    if terminator.is_empty() || terminator.contains('<') {
        return Ok(None);
    }
    let rules = Expander {
        skip_unset: true,
        ..Expander::new('\\')
    };
    let plain = rules.words(terminator, &NoEnv)?;
    let [name] = plain.as_slice() else {
        return Ok(None);
    };
    let with_quotes = Expander {
        raw_quotes: true,
        ..rules
    }
    .word(terminator, &NoEnv)?
    .text;
    Ok(Some(HeredocWord {
        name: name.clone(),
        // Quotes that are gone from the plain form did quote something.
        expand: quotes(name) == quotes(&with_quotes),
        strip_tabs,
        file_descriptor: word[..digits].parse().unwrap_or(0),
    }))
}

/// Whether a whole text is one heredoc word.
pub(crate) fn is_heredoc(text: &str) -> bool {
    matches!(parse_word(text), Ok(Some(_)))
}

/// Strips the tabs at the start of each line.
pub(crate) fn strip_tabs(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| line.trim_start_matches('\t'))
        .collect()
}

fn quotes(text: &str) -> usize {
    text.matches(['\'', '"']).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[(&str, bool, bool, u32)]) {
        let found: Vec<_> = words_of_line(line)
            .unwrap()
            .into_iter()
            .map(|word| {
                (
                    word.name,
                    word.expand,
                    word.strip_tabs,
                    word.file_descriptor,
                )
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(name, expand, tabs, fd)| (name.to_owned(), expand, tabs, fd))
            .collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn finds_heredocs() {
        check("RUN <<EOF", &[("EOF", true, false, 0)]);
        check("RUN << EOF", &[("EOF", true, false, 0)]);
        check("RUN cat <<-EOF | sh", &[("EOF", true, true, 0)]);
        check("RUN 3<<EOF cat", &[("EOF", true, false, 3)]);
        check("COPY <<'a b' /x", &[("a b", false, false, 0)]);
        check(
            "COPY <<X <<\"Y\" /x",
            &[("X", true, false, 0), ("Y", false, false, 0)],
        );
        check("RUN <<eo\\'f", &[("eo'f", true, false, 0)]);
        check("RUN <<'e'o\\'f", &[("eo'f", false, false, 0)]);
        check("RUN <<$EOF", &[("$EOF", true, false, 0)]);
    }

    #[test]
    fn leaves_other_words_alone() {
        check("RUN cat <<<EOF", &[]);
        check("RUN \"<<EOF\"", &[]);
        check("RUN echo $((1<<2))", &[]);
        check("RUN echo it's <<EOF", &[]);
        check("RUN <<", &[]);
    }

    #[test]
    fn strips_only_leading_tabs() {
        assert_eq!(strip_tabs("\t\ta\tb\n c\n"), "a\tb\n c\n");
    }
}
