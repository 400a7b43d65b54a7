//! The `--name=value` flags between an instruction's keyword and its arguments.

use crate::ast::{Spanned, Word};
use crate::lines::Part;
use crate::suggest;

/// A flag that the instruction does not take that way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// A name that does not exist.
    #[error("unknown flag: --{name}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest that exists.
        suggestion: Option<&'static str>,
    },
    /// The same flag again.
    #[error("duplicate flag specified: --{0}")]
    Duplicate(String),
    /// No value where one is needed.
    #[error("missing a value on flag: --{0}")]
    MissingValue(String),
    /// Something else than `true` or `false`.
    #[error("expecting boolean value for flag --{name}, not: {value}")]
    NotBoolean {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagKind {
    /// Nothing, `true` or `false`.
    Bool,
    /// A text, once.
    Text,
    /// A text, any number of times.
    List,
}

/// The flags an instruction knows.
pub(crate) type FlagSpec = &'static [(&'static str, FlagKind)];

/// Cuts the flags off the front; `--` ends them. Quotes and backslashes are taken away.
pub(crate) fn extract(text: Part<'_>) -> (Vec<Word>, Part<'_>) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.as_str().starts_with("--") {
        let (value, length) = unquote(rest.as_str());
        let place = rest.part(0..length);
        rest = rest.from(length);
        if value == "--" {
            break;
        }
        flags.push(Word::new(value, place.span()));
        rest = rest.trim_start();
    }
    (flags, rest.trim())
}

/// Reads one word, and how many bytes it took.
fn unquote(text: &str) -> (String, usize) {
    let mut value = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices();
    while let Some((at, ch)) = chars.next() {
        match quote {
            None if ch.is_whitespace() => return (value, at),
            None if ch == '\'' || ch == '"' => quote = Some(ch),
            Some(open) if ch == open => quote = None,
            _ if ch == '\\' => match chars.next() {
                Some((_, escaped)) => value.push(escaped),
                // A backslash at the end is dropped and closes a quote.
                None => quote = None,
            },
            _ => value.push(ch),
        }
    }
    (value, text.len())
}

/// The flags of one instruction, checked against what it knows.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    values: Vec<(&'static str, Word)>,
}

impl Flags {
    pub(crate) fn check(flags: &[Word], spec: FlagSpec) -> Result<Self, Spanned<FlagError>> {
        let mut checked = Self::default();
        for flag in flags {
            let fail = |error| Spanned::new(error, flag.span);
            let body = flag.value.get(2..).unwrap_or_default();
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let Some(&(name, kind)) = spec.iter().find(|(known, _)| *known == name) else {
                return Err(fail(FlagError::Unknown {
                    name: name.to_owned(),
                    suggestion: suggest::nearest(name, spec.iter().map(|&(known, _)| known)),
                }));
            };
            if kind != FlagKind::List && checked.find(name).is_some() {
                return Err(fail(FlagError::Duplicate(name.to_owned())));
            }
            let value = match (kind, value) {
                (FlagKind::Bool, None) => "true".to_owned(),
                (FlagKind::Bool, Some("")) | (_, None) => {
                    return Err(fail(FlagError::MissingValue(name.to_owned())));
                }
                (FlagKind::Bool, Some(value)) => boolean(name, value).map_err(fail)?,
                (_, Some(value)) => value.to_owned(),
            };
            let offset = (flag.span.start + 3 + name.len()).min(flag.span.end);
            let span = cairn_diagnostic::Span::new(offset, flag.span.end);
            checked.values.push((name, Word::new(value, span)));
        }
        Ok(checked)
    }

    fn find(&self, name: &str) -> Option<&Word> {
        let (_, word) = self.values.iter().find(|(known, _)| *known == name)?;
        Some(word)
    }

    /// A text flag; an empty value counts as none.
    pub(crate) fn text(&self, name: &str) -> Option<Word> {
        self.find(name)
            .filter(|word| !word.value.is_empty())
            .cloned()
    }

    /// A boolean flag, if it is given.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.find(name).map(|word| word.value == "true")
    }

    /// All values of a flag that may be given more than once.
    pub(crate) fn list(&self, name: &str) -> Vec<Word> {
        self.values
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, word)| word.clone())
            .collect()
    }
}

fn boolean(name: &str, value: &str) -> Result<String, FlagError> {
    let lower = value.to_lowercase();
    if lower == "true" || lower == "false" {
        return Ok(lower);
    }
    Err(FlagError::NotBoolean {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}
