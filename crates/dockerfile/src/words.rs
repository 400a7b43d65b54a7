//! How the arguments of an instruction are cut apart before any expansion.

use serde_json::Value;

use crate::ast::{KeyValue, Word};
use crate::lines::Part;

/// Arguments that are no arguments of the instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A JSON array of something else than strings.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    /// `ENV name`
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    /// `ENV a=b c`
    #[error("syntax error - can't find = in {0:?}. Must be of the form: name=value")]
    NoEqualSign(String),
}

/// Reads a JSON array of strings; `None` if the text is no JSON array.
pub(crate) fn json(text: Part<'_>) -> Result<Option<Vec<Word>>, WordsError> {
    let text = text.trim_start();
    if !text.as_str().starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(text.as_str()) else {
        return Ok(None);
    };
    let mut places = json_strings(text).into_iter();
    values
        .into_iter()
        .map(|value| match (value, places.next()) {
            (Value::String(value), Some(place)) => Ok(Word::new(value, place.span())),
            _ => Err(WordsError::NotStrings),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Finds the string literals of a text that is known to be a JSON array of strings.
fn json_strings(text: Part<'_>) -> Vec<Part<'_>> {
    let mut strings = Vec::new();
    let mut start = None;
    let mut escaped = false;
    for (at, byte) in text.as_str().bytes().enumerate() {
        match (start, byte) {
            (None, b'"') => start = Some(at),
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(from), b'"') => {
                strings.push(text.part(from..at + 1));
                start = None;
            }
            _ => {}
        }
    }
    strings
}

/// Cuts at runs of space; quotes mean nothing.
pub(crate) fn spaced(text: Part<'_>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = 0;
    for piece in text.as_str().split(is_separator) {
        if !piece.is_empty() {
            let part = text.part(at..at + piece.len());
            words.push(Word::new(piece.to_owned(), part.span()));
        }
        // Every separator is one byte.
        at += piece.len() + 1;
    }
    words
}

/// The space that separates arguments: ASCII only, line ends not among it.
pub(crate) fn is_separator(ch: char) -> bool {
    matches!(ch, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Cuts at space outside quotes; quotes and escapes stay in the words.
pub(crate) fn quoted(text: Part<'_>, escape: char) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<Builder> = None;
    let mut quote: Option<char> = None;
    let source = text.as_str();
    let mut chars = source.char_indices().peekable();
    while let Some((at, ch)) = chars.next() {
        let Some(current) = word.as_mut() else {
            if ch.is_whitespace() {
                continue;
            }
            let mut started = Builder::at(at);
            quote = started.push(ch, escape, None, &mut chars);
            word = Some(started);
            continue;
        };
        if quote.is_none() && ch.is_whitespace() {
            words.extend(word.take().and_then(|word| word.finish(text, at)));
            continue;
        }
        quote = current.push(ch, escape, quote, &mut chars);
    }
    words.extend(word.and_then(|word| word.finish(text, source.len())));
    words
}

/// A word in the making.
struct Builder {
    start: usize,
    value: String,
    /// A word of nothing but an escape at the end of the text is none; `''` is one.
    had_quote: bool,
}

impl Builder {
    fn at(start: usize) -> Self {
        Self {
            start,
            value: String::new(),
            had_quote: false,
        }
    }

    /// Takes a character, and the one it escapes; returns the quote that is open afterwards.
    fn push(
        &mut self,
        ch: char,
        escape: char,
        quote: Option<char>,
        rest: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
    ) -> Option<char> {
        let mut after = quote;
        match quote {
            None if ch == '\'' || ch == '"' => {
                self.had_quote = true;
                after = Some(ch);
            }
            Some(open) if ch == open => after = None,
            _ => {}
        }
        if ch == escape && quote != Some('\'') {
            // An escape at the very end is dropped.
            let (_, escaped) = rest.next()?;
            self.value.push(ch);
            self.value.push(escaped);
        } else {
            self.value.push(ch);
        }
        after
    }

    fn finish(self, text: Part<'_>, end: usize) -> Option<Word> {
        (self.had_quote || !self.value.is_empty())
            .then(|| Word::new(self.value, text.part(self.start..end).span()))
    }
}

/// Reads the pairs of `ENV` and `LABEL`: `name=value ...`, or the old `name the rest`.
pub(crate) fn pairs(
    text: Part<'_>,
    instruction: &'static str,
    escape: char,
) -> Result<Vec<KeyValue>, WordsError> {
    let words = quoted(text, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.value.contains('=') {
        return legacy_pair(text, instruction).map(|pair| vec![pair]);
    }
    words
        .into_iter()
        .map(|word| {
            let Some((key, value)) = word.value.split_once('=') else {
                return Err(WordsError::NoEqualSign(word.value));
            };
            let (key_span, value_span) = split_span(&word, key.len());
            Ok(KeyValue {
                key: Word::new(key.to_owned(), key_span),
                value: Word::new(value.to_owned(), value_span),
                legacy: false,
            })
        })
        .collect()
}

/// The places of the two sides of a word's `=`.
///
/// Exact unless a continuation runs through the name, which stays inside the word's place.
pub(crate) fn split_span(
    word: &Word,
    key_length: usize,
) -> (cairn_diagnostic::Span, cairn_diagnostic::Span) {
    let middle = (word.span.start + key_length).min(word.span.end);
    let value_start = (middle + 1).min(word.span.end);
    (
        cairn_diagnostic::Span::new(word.span.start, middle),
        cairn_diagnostic::Span::new(value_start, word.span.end),
    )
}

fn legacy_pair(text: Part<'_>, instruction: &'static str) -> Result<KeyValue, WordsError> {
    let source = text.as_str();
    let key_end = source
        .find(is_separator)
        .ok_or(WordsError::TwoArguments(instruction))?;
    let value_start = source[key_end..]
        .find(|ch| !is_separator(ch))
        .map_or(source.len(), |at| key_end + at);
    let word = |part: Part<'_>| Word::new(part.as_str().to_owned(), part.span());
    Ok(KeyValue {
        key: word(text.part(0..key_end)),
        value: word(text.from(value_start)),
        legacy: true,
    })
}
