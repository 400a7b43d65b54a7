//! Lines of scripts as a shell splits them: simple commands of words, as far as that can be told
//! without running anything.

/// The simple commands of a text, each with its words. Lines that end in `\` go on in the next one;
/// what `$(...)` and `${...}` hold stays in its word.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut splitter = Splitter::default();
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        let next = letters.peek().copied();
        match (splitter.quote, c) {
            (Some('\''), '\'') => splitter.quote = None,
            (Some('\''), c) => splitter.letter(c),
            (_, '\\') => match letters.next() {
                Some('\n') if splitter.quote.is_none() => splitter.word_ends(),
                Some('\n') | None => {}
                Some(escaped) => splitter.letter(escaped),
            },
            (Some(quote), c) if quote == c && splitter.depth == 0 => splitter.quote = None,
            (None, '\'' | '"') if splitter.depth == 0 => {
                splitter.quote = Some(c);
                splitter.is_word = true;
            }
            (_, '$') if matches!(next, Some('(' | '{')) => {
                splitter.letter('$');
                splitter.letter(letters.next().unwrap_or_default());
                splitter.depth += 1;
            }
            (_, ')' | '}') if splitter.depth > 0 => {
                splitter.depth -= 1;
                splitter.letter(c);
            }
            (Some(_), c) => splitter.letter(c),
            (None, c) if splitter.depth > 0 => splitter.letter(c),
            (None, '#') if !splitter.is_word => while letters.next_if(|c| *c != '\n').is_some() {},
            (None, '\n' | ';' | '|') => splitter.command_ends(),
            (None, '&') if next == Some('&') => {
                letters.next();
                splitter.command_ends();
            }
            (None, c) if c.is_whitespace() => splitter.word_ends(),
            (None, c) => splitter.letter(c),
        }
    }
    splitter.command_ends();
    splitter.commands
}

#[derive(Default)]
struct Splitter {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: String,
    is_word: bool,
    quote: Option<char>,
    /// So many `$(` and `${` are open.
    depth: usize,
}

impl Splitter {
    fn letter(&mut self, c: char) {
        self.word.push(c);
        self.is_word = true;
    }

    fn word_ends(&mut self) {
        if std::mem::take(&mut self.is_word) {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn command_ends(&mut self) {
        self.word_ends();
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            self.commands.push(words);
        }
    }
}

/// The name and the value of `NAME=value`.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    is_name(name).then_some((name, value))
}

/// Whether a word can name a variable.
pub(super) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_does() {
        let split = |text: &str| -> Vec<String> {
            let commands = commands(text).into_iter();
            commands.map(|it| it.join("|")).collect()
        };
        assert_eq!(
            split("cd x && docker build \\\n  -t \"a b\" '$x' . # why\nnext"),
            ["cd|x", "docker|build|-t|a b|$x|.", "next"]
        );
        assert_eq!(
            split("A=$(git rev-parse HEAD) B=\"$(date '+%Y %m')\" make; a || b | c&&d"),
            [
                "A=$(git rev-parse HEAD)|B=$(date '+%Y %m')|make",
                "a",
                "b",
                "c",
                "d"
            ]
        );
        assert_eq!(
            split("docker build $(notdir $@)/x ''"),
            ["docker|build|$(notdir $@)/x|"]
        );
        assert_eq!(split("a 'unclosed $("), ["a|unclosed $("]);
        assert_eq!(split("x\\"), ["x"]);
    }
}
