//! Expansion of variables, quotes and escapes in words, as BuildKit's shell lexer does it.
//!
//! The lexer looks like `sh` but is not: `\x` loses its backslash outside quotes whatever `x` is,
//! an unset variable is empty, patterns know `*` and `?` only, and a word is split at the spaces
//! that came out of unquoted variables. Everything here follows BuildKit where the two differ.

mod lexer;
mod pattern;
mod template;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

/// How deeply `${a:-${b:-...}}` may nest; a limit keeps hostile text off the stack.
const DEPTH_MAX: usize = 100;
/// All substitutions in one text together may make so many bytes, on the way too: each can
/// multiply what those inside it made.
const SUBSTITUTED_MAX: usize = 1 << 20;

/// Where the values of variables come from.
pub trait Env {
    /// The value of a variable; `None` when it is not set.
    fn get(&self, name: &str) -> Option<&str>;
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Env for BTreeMap<K, V> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(AsRef::as_ref)
    }
}

impl<K: Borrow<str> + Eq + std::hash::Hash, V: AsRef<str>, S: BuildHasher> Env
    for HashMap<K, V, S>
{
    fn get(&self, name: &str) -> Option<&str> {
        HashMap::get(self, name).map(AsRef::as_ref)
    }
}

/// Pairs in order; the last of a name counts.
impl<K: AsRef<str>, V: AsRef<str>> Env for &[(K, V)] {
    fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .rev()
            .find(|(key, _)| key.as_ref() == name)
            .map(|(_, value)| value.as_ref())
    }
}

/// Pairs in order; the last of a name counts.
impl<K: AsRef<str>, V: AsRef<str>> Env for Vec<(K, V)> {
    fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .rev()
            .find(|(key, _)| key.as_ref() == name)
            .map(|(_, value)| value.as_ref())
    }
}

/// An environment without variables.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEnv;

impl Env for NoEnv {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }
}

/// A word after expansion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The whole text, spaces kept.
    pub text: String,
    /// The text split at spaces that were not quoted.
    pub words: Vec<String>,
    /// The variables that were asked for and set.
    pub used: BTreeSet<String>,
    /// The variables that were asked for and not set.
    pub unmatched: BTreeSet<String>,
}

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word:?}: {reason}")]
pub struct ExpandError {
    /// The word as written.
    pub word: String,
    /// What is wrong with it.
    pub reason: ExpandErrorReason,
}

/// What is wrong with a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandErrorReason {
    /// A quote or brace is not closed.
    #[error("unexpected end of statement while looking for matching {0}")]
    Unclosed(&'static str),
    /// `${...` without an end.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${x/y` without the second slash.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${}` and the like.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${x!...}`
    #[error("unsupported modifier ({0}) in substitution")]
    UnsupportedModifier(String),
    /// `${x:?message}` of a variable that has no value.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The author's message, or ours.
        message: String,
    },
    /// A pattern after `#`, `%` or `/` that is none.
    #[error("invalid pattern ({pattern}) in substitution: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Substitutions inside substitutions without measure.
    #[error("substitutions are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// Substitutions that multiply each other: `${a//x/${a//x/...}}`.
    #[error("the substitutions of one word make more than {SUBSTITUTED_MAX} bytes")]
    TooLong,
}

/// How words are expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expander {
    /// The character that takes the meaning from the next one.
    pub escape: char,
    /// Whether quotes stay in the result.
    pub raw_quotes: bool,
    /// Whether escape characters stay in the result.
    pub raw_escapes: bool,
    /// Whether quotes are characters like any other.
    pub skip_quotes: bool,
    /// Whether variables that are not set stay as written.
    pub skip_unset: bool,
}

impl Expander {
    /// The expansion of instruction arguments under an escape character.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            raw_quotes: false,
            raw_escapes: false,
            skip_quotes: false,
            skip_unset: false,
        }
    }

    /// The expansion of heredoc bodies in `COPY` and `ADD`: variables only, quotes are text.
    /// The escape character is `\` whatever the file's directive says.
    pub fn for_heredoc() -> Self {
        Self {
            skip_quotes: true,
            ..Self::new('\\')
        }
    }

    /// Expands a text; the result holds it whole and split into words.
    pub fn word(&self, text: &str, env: &dyn Env) -> Result<Expanded, ExpandError> {
        lexer::expand(*self, env, text).map_err(|reason| ExpandError {
            word: text.to_owned(),
            reason,
        })
    }

    /// Expands a text and splits it at unquoted spaces.
    pub fn words(&self, text: &str, env: &dyn Env) -> Result<Vec<String>, ExpandError> {
        Ok(self.word(text, env)?.words)
    }
}

#[cfg(test)]
mod tests;
