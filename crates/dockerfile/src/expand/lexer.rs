//! Reads a word character by character.

use std::collections::BTreeSet;

use super::pattern::{self, PatternError};
use super::{DEPTH_MAX, Env, ExpandErrorReason, Expanded, Expander, SUBSTITUTED_MAX};

/// Expands a text by the given rules.
pub(super) fn expand(rules: Expander, env: &dyn Env, text: &str) -> Lexed<Expanded> {
    let mut lexer = Lexer {
        rules,
        env,
        rest: text,
        raw_escapes: rules.raw_escapes,
        depth: 0,
        room: SUBSTITUTED_MAX,
        used: BTreeSet::new(),
        unmatched: BTreeSet::new(),
    };
    let Piece { text, words } = lexer.until(None)?;
    Ok(Expanded {
        text,
        words,
        used: lexer.used,
        unmatched: lexer.unmatched,
    })
}

type Lexed<T> = Result<T, ExpandErrorReason>;

/// A text, whole and in words.
#[derive(Default)]
struct Piece {
    text: String,
    words: Vec<String>,
}

/// Collects words from characters; quoted text never ends a word.
#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
}

impl Words {
    fn push_plain(&mut self, text: &str) {
        for ch in text.chars() {
            if ch.is_whitespace() {
                self.end_word();
            } else {
                self.word.push(ch);
            }
        }
    }

    fn push_quoted(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.end_word();
        self.words
    }
}

struct Lexer<'a> {
    rules: Expander,
    env: &'a dyn Env,
    rest: &'a str,
    raw_escapes: bool,
    depth: usize,
    /// How many bytes substitutions may still make.
    room: usize,
    used: BTreeSet<String>,
    unmatched: BTreeSet<String>,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let ch = self.peek()?;
        self.rest = &self.rest[ch.len_utf8()..];
        Some(ch)
    }

    /// Reads up to a stop character, which is taken too, or to the end without one.
    fn until(&mut self, stop: Option<char>) -> Lexed<Piece> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(ch) = self.peek() {
            if Some(ch) == stop {
                self.next();
                return Ok(Piece {
                    text,
                    words: words.finish(),
                });
            }
            match ch {
                '$' => {
                    let value = self.dollar()?;
                    words.push_plain(&value);
                    text.push_str(&value);
                }
                '\'' if !self.rules.skip_quotes => {
                    let quoted = self.single_quoted()?;
                    words.push_quoted(&quoted);
                    text.push_str(&quoted);
                }
                '"' if !self.rules.skip_quotes => {
                    let quoted = self.double_quoted()?;
                    words.push_quoted(&quoted);
                    text.push_str(&quoted);
                }
                '<' => {
                    let start = self.heredoc_start();
                    words.push_quoted(&start);
                    text.push_str(&start);
                }
                _ if ch == self.rules.escape => {
                    self.next();
                    let mut escaped = String::new();
                    if self.raw_escapes {
                        escaped.push(ch);
                    }
                    escaped.extend(self.next());
                    words.push_quoted(&escaped);
                    text.push_str(&escaped);
                }
                _ => {
                    self.next();
                    words.push_plain(ch.encode_utf8(&mut [0; 4]));
                    text.push(ch);
                }
            }
        }
        match stop {
            Some(stop) => Err(missing(stop)),
            None => Ok(Piece {
                text,
                words: words.finish(),
            }),
        }
    }

    /// Reads a `<`, or `<<` with the spaces after it: they belong to the word, so that
    /// `<< EOF` is one.
    fn heredoc_start(&mut self) -> String {
        self.next();
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.next();
        let mut start = "<<".to_owned();
        while let Some(space @ (' ' | '\t' | '\r')) = self.peek() {
            self.next();
            start.push(space);
        }
        start
    }

    fn single_quoted(&mut self) -> Lexed<String> {
        let inside = &self.rest[1..];
        let Some(end) = inside.find('\'') else {
            self.rest = "";
            return Err(ExpandErrorReason::Unclosed("single-quote"));
        };
        self.rest = &inside[end + 1..];
        let text = &inside[..end];
        Ok(if self.rules.raw_quotes {
            format!("'{text}'")
        } else {
            text.to_owned()
        })
    }

    fn double_quoted(&mut self) -> Lexed<String> {
        let mut text = String::new();
        self.next();
        if self.rules.raw_quotes {
            text.push('"');
        }
        loop {
            match self.peek() {
                None => return Err(ExpandErrorReason::Unclosed("double-quote")),
                Some('"') => {
                    self.next();
                    if self.rules.raw_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(ch) => {
                    self.next();
                    if ch != self.rules.escape {
                        text.push(ch);
                        continue;
                    }
                    if self.raw_escapes {
                        text.push(ch);
                    }
                    match self.peek() {
                        // The quote is not closed; the next turn says so.
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == ch => {
                            self.next();
                            text.push(next);
                        }
                        Some(_) => text.push(ch),
                    }
                }
            }
        }
    }

    /// Reads a substitution and gives what it makes.
    fn dollar(&mut self) -> Lexed<String> {
        let made = self.substitution()?;
        let room = self.room.checked_sub(made.len());
        self.room = room.ok_or(ExpandErrorReason::TooLong)?;
        Ok(made)
    }

    fn substitution(&mut self) -> Lexed<String> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.value(&name).unwrap_or_else(|| {
                if self.rules.skip_unset {
                    format!("${name}")
                } else {
                    String::new()
                }
            }));
        }
        self.next();
        if self.depth == DEPTH_MAX {
            return Err(ExpandErrorReason::TooDeep);
        }
        self.depth += 1;
        let value = self.braces();
        self.depth -= 1;
        value
    }

    /// Reads what follows `${`.
    fn braces(&mut self) -> Lexed<String> {
        match self.peek() {
            None => return Err(ExpandErrorReason::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandErrorReason::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => Ok(self.value(&name).unwrap_or_else(|| {
                if self.rules.skip_unset {
                    format!("${{{name}}}")
                } else {
                    String::new()
                }
            })),
            Some(':') => match self.next() {
                Some(modifier @ ('+' | '-' | '?' | '#' | '%')) => {
                    self.modified(&name, modifier, true)
                }
                other => Err(ExpandErrorReason::UnsupportedModifier(
                    std::iter::once(':').chain(other).collect(),
                )),
            },
            Some(modifier @ ('+' | '-' | '?' | '#' | '%')) => self.modified(&name, modifier, false),
            Some('/') => self.replaced(&name),
            other => Err(ExpandErrorReason::UnsupportedModifier(
                other.into_iter().collect(),
            )),
        }
    }

    /// Reads the word of `${name<modifier>word}` and applies it.
    fn modified(&mut self, name: &str, modifier: char, null_is_unset: bool) -> Lexed<String> {
        let is_pattern = matches!(modifier, '#' | '%');
        let word = self.until_with_escapes('}', is_pattern)?;
        let value = self.value(name);
        if value.is_none() && self.rules.skip_unset {
            let colon = if null_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let is_set = match &value {
            Some(value) => !(null_is_unset && value.is_empty()),
            None => false,
        };
        let value_text = value.clone().unwrap_or_default();
        match modifier {
            '-' => Ok(if is_set { value_text } else { word }),
            '+' => Ok(if is_set { word } else { String::new() }),
            '?' if is_set => Ok(value_text),
            '?' => Err(ExpandErrorReason::Required {
                name: name.to_owned(),
                message: match (word.is_empty(), value) {
                    (false, _) => word,
                    (true, None) => "is not allowed to be unset".to_owned(),
                    (true, Some(_)) => "is not allowed to be empty".to_owned(),
                },
            }),
            _ => {
                let (pattern, greedy) = match word.strip_prefix(modifier) {
                    Some(pattern) => (pattern, true),
                    None => (word.as_str(), false),
                };
                let trimmed = if modifier == '#' {
                    pattern::trim_prefix(pattern, &value_text, greedy)
                } else {
                    pattern::trim_suffix(pattern, &value_text, greedy)
                };
                trimmed.map_err(|problem| pattern_error(pattern, problem))
            }
        }
    }

    /// Reads the rest of `${name/pattern/replacement}` and applies it.
    fn replaced(&mut self, name: &str) -> Lexed<String> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.until_with_escapes('/', true)?;
        let replacement = self.until_with_escapes('}', true)?;
        let value = self.value(name);
        if value.is_none() && self.rules.skip_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let value = value.unwrap_or_default();
        pattern::replace(&pattern, &replacement, &value, all, self.room)
            .map_err(|problem| pattern_error(&pattern, problem))
    }

    fn until_with_escapes(&mut self, stop: char, raw_escapes: bool) -> Lexed<String> {
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let piece = self.until(Some(stop));
        self.raw_escapes = before;
        match piece {
            // Whatever went wrong first, at the end of the text it is the stop that is missing.
            Err(_) if self.rest.is_empty() => Err(missing(stop)),
            other => Ok(other?.text),
        }
    }

    /// Reads a name: letters, digits and `_`; or only digits; or one special parameter.
    fn name(&mut self) -> String {
        let first = self.peek();
        let end = match first {
            Some(ch) if ch.is_ascii_digit() => self
                .rest
                .find(|ch: char| !ch.is_ascii_digit())
                .unwrap_or(self.rest.len()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => self
                .rest
                .find(|ch: char| !ch.is_alphanumeric() && ch != '_')
                .unwrap_or(self.rest.len()),
        };
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.env.get(name).map(str::to_owned);
        let seen = if value.is_some() {
            &mut self.used
        } else {
            &mut self.unmatched
        };
        seen.insert(name.to_owned());
        value
    }
}

fn missing(stop: char) -> ExpandErrorReason {
    match stop {
        '/' => ExpandErrorReason::MissingSlash,
        _ => ExpandErrorReason::MissingBrace,
    }
}

fn pattern_error(pattern: &str, problem: PatternError) -> ExpandErrorReason {
    match problem {
        PatternError::Wrong(problem) => ExpandErrorReason::Pattern {
            pattern: pattern.to_owned(),
            problem,
        },
        PatternError::ResultTooLong => ExpandErrorReason::TooLong,
    }
}
