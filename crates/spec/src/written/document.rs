//! A TOML text as a tree with places, and how one tree is laid over another.
//!
//! Files that are included, and the overlay of an environment, are laid over each other as
//! trees, before anything is read from them: one rule for every key, those to come included.

use std::collections::BTreeMap;

use cairn_diagnostic::{Diagnostic, Source, Span};
use toml::de::{DeTable, DeValue};

/// A table: its fields by key.
pub(super) type Table = BTreeMap<String, Field>;

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Where the key stands.
    pub(super) key_span: Span,
    /// Its value.
    pub(super) node: Node,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    String(String),
    /// The digits as written, and their base.
    Integer(String, u32),
    /// As written.
    Float(String),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

impl Kind {
    /// What it is, in words.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Kind::String(_) => "a string",
            Kind::Integer(..) => "a whole number",
            Kind::Float(_) => "a number",
            Kind::Boolean(_) => "a boolean",
            Kind::Datetime => "a date",
            Kind::Array(_) => "a list",
            Kind::Table(_) => "a table",
        }
    }
}

/// Reads a text; all places get `base` added.
pub(super) fn document(source: &Source, base: usize) -> Result<Table, Vec<Diagnostic>> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        return Ok(table(document.get_ref(), base));
    }
    Err(errors.iter().map(|error| syntax(source, error)).collect())
}

fn syntax(source: &Source, error: &toml::de::Error) -> Diagnostic {
    let message = error.message().trim_end().replace('\n', ", ");
    let finding = Diagnostic::error(message);
    match error.span() {
        Some(span) => finding.at(source, span.into()),
        None => finding,
    }
}

fn table(table: &DeTable<'_>, base: usize) -> Table {
    let fields = table.iter().map(|(key, value)| {
        let field = Field {
            key_span: shifted(key.span(), base),
            node: node(value, base),
        };
        (key.get_ref().to_string(), field)
    });
    fields.collect()
}

fn node(value: &toml::Spanned<DeValue<'_>>, base: usize) -> Node {
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::String(text.to_string()),
        DeValue::Integer(number) => Kind::Integer(number.as_str().to_owned(), number.radix()),
        DeValue::Float(number) => Kind::Float(number.as_str().to_owned()),
        DeValue::Boolean(yes) => Kind::Boolean(*yes),
        DeValue::Datetime(_) => Kind::Datetime,
        DeValue::Array(items) => Kind::Array(items.iter().map(|it| node(it, base)).collect()),
        DeValue::Table(inner) => Kind::Table(table(inner, base)),
    };
    Node {
        span: shifted(value.span(), base),
        kind,
    }
}

fn shifted(range: std::ops::Range<usize>, base: usize) -> Span {
    Span::new(range.start + base, range.end + base)
}

/// Lays `upper` over `lower`: tables are merged key by key, anything else is replaced.
pub(super) fn lay_over(lower: &mut Table, upper: Table) {
    for (key, field) in upper {
        let merged = match (lower.get_mut(&key), &field.node.kind) {
            (Some(old), Kind::Table(_)) => matches!(old.node.kind, Kind::Table(_)),
            _ => false,
        };
        if !merged {
            lower.insert(key, field);
            continue;
        }
        if let (Some(old), Kind::Table(upper)) = (lower.get_mut(&key), field.node.kind)
            && let Kind::Table(lower) = &mut old.node.kind
        {
            lay_over(lower, upper);
        }
    }
}

/// The table below a key, if there is one and it is a table.
pub(super) fn sub_table<'t>(table: &'t Table, key: &str) -> Option<&'t Table> {
    match &table.get(key)?.node.kind {
        Kind::Table(inner) => Some(inner),
        _ => None,
    }
}
