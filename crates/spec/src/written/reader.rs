//! Fields of tables read as what they must be, with everything that is wrong noted.
//!
//! The tree is walked by hand: a derived deserializer would stop at the first error and could
//! neither suggest a key nor tell a key of a later version from a wrong one.

use std::collections::BTreeMap;

use cairn_diagnostic::{Diagnostic, Span};

use super::document::{Kind, Node, Table};
use super::include::join as join_path;
use super::shape::{self, Shape};
use super::value::{Scalar, Spanned, StringOrList};
use crate::sources::Sources;
use crate::suggest::{nearest, quoted};

/// One key of a table with its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'v> {
    pub(super) key: &'v str,
    pub(super) key_span: Span,
    pub(super) value: &'v Node,
}

/// The entries of one table whose keys are known to be good.
pub(super) struct Fields<'v>(Vec<Entry<'v>>);

impl<'v> Fields<'v> {
    pub(super) fn get(&self, key: &str) -> Option<Entry<'v>> {
        self.0.iter().find(|entry| entry.key == key).copied()
    }
}

/// Reads a tree and keeps what is wrong with it.
pub(super) struct Reader<'s> {
    pub(super) sources: &'s Sources,
    pub(super) findings: Vec<Diagnostic>,
}

/// Tables in general.
impl Reader<'_> {
    /// Sorts out the keys of a table: good ones are returned, others reported.
    pub(super) fn fields<'v>(&mut self, table: &'v Table, shape: &Shape, at: &str) -> Fields<'v> {
        let mut good = Vec::new();
        for entry in entries(table) {
            if shape.keys.contains(&entry.key) {
                good.push(entry);
            } else {
                self.unknown_key(entry, shape, at);
            }
        }
        Fields(good)
    }

    fn unknown_key(&mut self, entry: Entry<'_>, shape: &Shape, at: &str) {
        let place = match at {
            "" => shape.name.to_owned(),
            at => format!("`{at}`"),
        };
        let key = entry.key;
        let hint = if let Some(near) = nearest(key, shape.keys.iter().copied()) {
            format!("did you mean `{near}`?")
        } else if let Some(home) = shape::ALL.iter().find(|home| home.keys.contains(&key)) {
            format!("`{key}` is a key of {}", home.name)
        } else {
            format!("the keys here are {}", quoted(shape.keys.iter().copied()))
        };
        self.error(entry.key_span, format!("unknown key `{key}` in {place}"))
            .push(hint);
    }

    pub(super) fn section<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        at: &str,
        read: fn(&mut Self, &Table, &str) -> T,
    ) -> Option<T> {
        let table = self.table(fields.get(key)?)?;
        Some(read(self, table, &join(at, key)))
    }

    /// A table whose keys are names that the author chose.
    pub(super) fn named<T>(
        &mut self,
        entry: Entry<'_>,
        at: &str,
        mut read: impl FnMut(&mut Self, Entry<'_>, &str) -> Option<T>,
    ) -> Option<BTreeMap<String, Spanned<T>>> {
        let mut named = BTreeMap::new();
        for child in entries(self.table(entry)?) {
            let at = join(&join(at, entry.key), child.key);
            if let Some(section) = read(self, child, &at) {
                named.insert(child.key.to_owned(), Spanned::new(section, child.key_span));
            }
        }
        Some(named)
    }

    pub(super) fn table<'v>(&mut self, entry: Entry<'v>) -> Option<&'v Table> {
        if let Kind::Table(table) = &entry.value.kind {
            return Some(table);
        }
        self.wrong_type(entry, "a table");
        None
    }
}

/// Values.
impl Reader<'_> {
    pub(super) fn string(&mut self, fields: &Fields<'_>, key: &str) -> Option<Spanned<String>> {
        let entry = fields.get(key)?;
        match &entry.value.kind {
            Kind::String(text) => Some(Spanned::new(text.clone(), entry.value.span)),
            _ => {
                self.wrong_type(entry, "a string");
                None
            }
        }
    }

    /// A path that starts from the folder of the file it is written in; the value starts from
    /// the folder of the root.
    pub(super) fn path(&mut self, fields: &Fields<'_>, key: &str) -> Option<Spanned<String>> {
        let written = self.string(fields, key)?;
        Some(self.rebased(written))
    }

    pub(super) fn paths(&mut self, fields: &Fields<'_>, key: &str) -> Option<StringOrList> {
        let written = self.string_or_list(fields, key)?;
        let paths = written.0.into_iter().map(|path| self.rebased(path));
        Some(StringOrList(paths.collect()))
    }

    pub(super) fn rebased(&self, mut path: Spanned<String>) -> Spanned<String> {
        let folder = self.sources.folder(path.span);
        if !folder.is_empty() && !path.value.trim().is_empty() && !path.value.starts_with('/') {
            path.value = match join_path(folder, &path.value) {
                here if here.is_empty() => ".".to_owned(),
                below => below,
            };
        }
        path
    }

    pub(super) fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> Option<Spanned<bool>> {
        let entry = fields.get(key)?;
        match &entry.value.kind {
            Kind::Boolean(yes) => Some(Spanned::new(*yes, entry.value.span)),
            _ => {
                self.wrong_type(entry, "`true` or `false`");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, fields: &Fields<'_>, key: &str) -> Option<Spanned<i64>> {
        let entry = fields.get(key)?;
        if let Kind::Integer(digits, radix) = &entry.value.kind
            && let Ok(value) = i64::from_str_radix(digits, *radix)
        {
            return Some(Spanned::new(value, entry.value.span));
        }
        self.wrong_type(entry, "a whole number");
        None
    }

    pub(super) fn strings(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
    ) -> Option<Vec<Spanned<String>>> {
        let entry = fields.get(key)?;
        match &entry.value.kind {
            Kind::Array(items) => Some(self.items(entry, items, "a list of strings")),
            _ => {
                self.wrong_type(entry, "a list of strings");
                None
            }
        }
    }

    pub(super) fn string_or_list(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
    ) -> Option<StringOrList> {
        const EXPECTED: &str = "a string or a list of strings";
        let entry = fields.get(key)?;
        match &entry.value.kind {
            Kind::String(text) => Some(StringOrList(vec![Spanned::new(
                text.clone(),
                entry.value.span,
            )])),
            Kind::Array(items) => Some(StringOrList(self.items(entry, items, EXPECTED))),
            _ => {
                self.wrong_type(entry, EXPECTED);
                None
            }
        }
    }

    fn items(&mut self, entry: Entry<'_>, items: &[Node], expected: &str) -> Vec<Spanned<String>> {
        let mut strings = Vec::new();
        for item in items {
            match &item.kind {
                Kind::String(text) => strings.push(Spanned::new(text.clone(), item.span)),
                _ => self.wrong_type(
                    Entry {
                        value: item,
                        ..entry
                    },
                    expected,
                ),
            }
        }
        strings
    }

    /// A table of strings in which numbers and booleans stand for their own text, so that
    /// `PYTHON = 3.10` is "3.10" and not the number 3.1.
    pub(super) fn scalars(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
    ) -> Option<BTreeMap<String, Spanned<Scalar>>> {
        let mut scalars = BTreeMap::new();
        for entry in entries(self.table(fields.get(key)?)?) {
            if let Some(scalar) = self.scalar(entry) {
                scalars.insert(entry.key.to_owned(), scalar);
            }
        }
        Some(scalars)
    }

    pub(super) fn scalar(&mut self, entry: Entry<'_>) -> Option<Spanned<Scalar>> {
        let text = match &entry.value.kind {
            Kind::String(text) | Kind::Float(text) | Kind::Integer(text, 10) => text.clone(),
            Kind::Boolean(yes) => yes.to_string(),
            _ => {
                self.wrong_type(entry, "a string, a decimal number or a boolean");
                return None;
            }
        };
        Some(Spanned::new(Scalar(text), entry.value.span))
    }

    pub(super) fn wrong_type(&mut self, entry: Entry<'_>, expected: &str) {
        let found = entry.value.kind.noun();
        let message = format!("`{}` must be {expected}, not {found}", entry.key);
        self.error(entry.value.span, message);
    }

    /// Notes an error; gives its hints, to be added to.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Vec<String> {
        let finding = self.sources.point(Diagnostic::error(message), span);
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last].hints
    }
}

/// The fields of a table in the order of the text.
pub(super) fn entries(table: &Table) -> Vec<Entry<'_>> {
    let entries = table.iter().map(|(key, field)| Entry {
        key,
        key_span: field.key_span,
        value: &field.node,
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

/// The path of a key, for messages.
pub(super) fn join(at: &str, key: &str) -> String {
    match at {
        "" => key.to_owned(),
        at => format!("{at}.{key}"),
    }
}
