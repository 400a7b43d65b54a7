//! Commands that tell what an image holds, as written.

use schemars::JsonSchema;

use super::reader::{Entry, Reader};
use super::shape;
use super::value::{Spanned, StringOrList};

/// A command that images may name in `info`.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct InfoSection {
    /// The heading above what it prints; its name without.
    pub title: Option<Spanned<String>>,
    /// What is run in the image: a list of words, or a line for the shell.
    #[schemars(required)]
    pub command: Option<StringOrList>,
}

impl Reader<'_> {
    pub(super) fn info(&mut self, entry: Entry<'_>, at: &str) -> Option<InfoSection> {
        let table = self.table(entry)?;
        let fields = self.fields(table, &shape::INFO, at);
        Some(InfoSection {
            title: self.string(&fields, "title"),
            command: self.words(&fields, "command"),
        })
    }
}
