//! Lines of scripts as a shell splits them: simple commands of words, as far as that can be told
//! without running anything.

/// Stands where a subshell begins, as a command of its own.
pub(super) const OPENS: &str = "(";
/// Stands where one ends.
pub(super) const CLOSES: &str = ")";

/// The simple commands of a text, each with its words. Lines that end in `\` go on in the next one;
/// what `$(...)`, `${...}`, `<(...)` and `NAME=(...)` hold stays in its word. Redirections are left
/// out; a subshell stands between [`OPENS`] and [`CLOSES`].
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
            (_, '(' | '{') if splitter.depth > 0 => {
                splitter.depth += 1;
                splitter.letter(c);
            }
            (_, ')' | '}') if splitter.depth > 0 => {
                splitter.depth -= 1;
                splitter.letter(c);
            }
            (Some(_), c) => splitter.letter(c),
            (None, c) if splitter.depth > 0 => splitter.letter(c),
            (None, '#') if !splitter.is_word => while letters.next_if(|c| *c != '\n').is_some() {},
            // A list of words for a variable, and a command in the place of a file.
            (None, '(') if splitter.word.ends_with('=') => {
                splitter.letter(c);
                splitter.depth += 1;
            }
            (None, '<' | '>') if next == Some('(') => {
                splitter.letter(c);
                splitter.letter(letters.next().unwrap_or_default());
                splitter.depth += 1;
            }
            (None, '&') if next == Some('>') => splitter.word_ends(),
            (None, '<' | '>') => {
                splitter.redirection_begins();
                let is_operator = |c: &char| matches!(c, '<' | '>' | '&' | '|');
                while letters.next_if(is_operator).is_some() {}
            }
            (None, '(' | ')') => {
                splitter.command_ends();
                splitter.commands.push(vec![c.to_string()]);
            }
            (None, '\n' | ';' | '|' | '&') => splitter.command_ends(),
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
    /// So many `$(`, `${` and what else keeps a word together are open.
    depth: usize,
    /// The next word is where something is sent to or comes from.
    is_redirected: bool,
}

impl Splitter {
    fn letter(&mut self, c: char) {
        self.word.push(c);
        self.is_word = true;
    }

    fn word_ends(&mut self) {
        if std::mem::take(&mut self.is_word) {
            let word = std::mem::take(&mut self.word);
            if !std::mem::take(&mut self.is_redirected) {
                self.words.push(word);
            }
        }
    }

    /// The number before the operator belongs to it, as in `2>log`.
    fn redirection_begins(&mut self) {
        if self.word.chars().all(|c| c.is_ascii_digit()) {
            self.word.clear();
            self.is_word = false;
        }
        self.word_ends();
        self.is_redirected = true;
    }

    fn command_ends(&mut self) {
        self.word_ends();
        self.is_redirected = false;
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

    #[test]
    fn operators_need_no_blanks_and_redirections_are_no_words() {
        let table = [
            ("a b&c d &", "a b;c d"),
            ("(cd x&&a .)|b", "(;cd x;a .;);b"),
            ("f() { a; }", "f;(;);{ a;}"),
            ("case $x in y) a;; esac", "case $x in y;);a;esac"),
            ("a . >/dev/null 2>log", "a ."),
            ("a >>x b 2>&1 c&>d e", "a b c e"),
            ("a > x b 2> y < z c >| w d <<< 'v v' e", "a b c d e"),
            ("a >&2 b x3>y c >", "a b x3 c"),
            ("a >\nb", "a;b"),
            ("a '>x' \"2>y\" \\> '&' '('", "a >x 2>y > & ("),
            ("a -f <(gen x) .", "a -f <(gen x) ."),
            ("A=(b 'c d') e", "A=(b 'c d') e"),
            (
                "a $((1 + 2)) $(x '{y}' (z)) b",
                "a $((1 + 2)) $(x '{y}' (z)) b",
            ),
        ];
        for (text, split) in table {
            let commands: Vec<String> = commands(text).iter().map(|it| it.join(" ")).collect();
            assert_eq!(commands.join(";"), split, "{text}");
        }
    }
}
