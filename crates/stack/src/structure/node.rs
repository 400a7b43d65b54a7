//! A YAML document as a tree whose every part knows its place.
//!
//! The tree keeps plain scalars as the text they are written as: `value: 3.10` is "3.10" where a
//! string is wanted, whatever YAML thinks of it, as in the tool whose files these are.

use cairn_diagnostic::{Diagnostic, Source, Span};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// One part of the document.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

/// What a part is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Nothing, or `null`, or `~`.
    Null,
    /// Any scalar, as text.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping; no key is there twice.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// Reads a document.
    pub(crate) fn parse(source: &Source) -> Result<Self, Box<Diagnostic>> {
        let options = serde_saphyr::options! { with_snippet: false };
        let tree: Option<Spanned<Tree>> =
            serde_saphyr::from_str_with_options(&source.text, options)
                .map_err(|error| syntax(source, &error))?;
        Ok(match tree {
            Some(tree) => node(source, tree),
            None => Self {
                value: Value::Null,
                span: Span::default(),
            },
        })
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

fn syntax(source: &Source, error: &serde_saphyr::Error) -> Box<Diagnostic> {
    let text = error.to_string();
    let message = text.lines().next().unwrap_or("not YAML").to_owned();
    let finding = Diagnostic::error(message);
    Box::new(match error.location() {
        Some(location) => finding.at(source, span(source, location)),
        None => finding,
    })
}

fn span(source: &Source, location: serde_saphyr::Location) -> Span {
    let span = location.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), length) => {
            let start = usize::try_from(start).unwrap_or(0);
            let length = length.and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
            Span::new(start, start + length)
        }
        _ => line_span(source, location.line()),
    }
}

/// The whole line, where no more is known of the place.
fn line_span(source: &Source, line: u64) -> Span {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let start: usize = source
        .text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    let length = source.line(line).map_or(0, str::len);
    Span::new(start, start + length)
}

fn node(source: &Source, tree: Spanned<Tree>) -> Node {
    let place = span(source, tree.referenced);
    let value = match tree.value {
        Tree::Null => Value::Null,
        Tree::Text(text) => Value::Scalar(text),
        Tree::Plain(shown) => Value::Scalar(plain_text(source, tree.defined).unwrap_or(shown)),
        Tree::List(items) => {
            Value::List(items.into_iter().map(|item| node(source, item)).collect())
        }
        Tree::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_span: span(source, key.referenced),
                    key: key.value,
                    value: node(source, value),
                })
                .collect(),
        ),
    };
    Node { value, span: place }
}

/// The text of a plain scalar as it stands in the document.
fn plain_text(source: &Source, location: serde_saphyr::Location) -> Option<String> {
    let place = span(source, location);
    let text = source.text.get(place.start..place.end)?.trim();
    (!text.is_empty() && !text.starts_with(['!', '&', '*'])).then(|| text.to_owned())
}

/// What the YAML reader hands over.
enum Tree {
    Null,
    /// A string.
    Text(String),
    /// A number or boolean, and how it is shown if its text cannot be found.
    Plain(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Scalar(text) => format!("{text:?}"),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(shown).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|entry| format!("{}: {}", entry.key, shown(&entry.value)))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    #[test]
    fn plain_scalars_keep_their_text() {
        let cases = [
            ("a: 3.10", r#"{a: "3.10"}"#),
            ("a: 0x10\nb: 010", r#"{a: "0x10", b: "010"}"#),
            (
                "a: yes\nb: True\nc: 'no'",
                r#"{a: "yes", b: "True", c: "no"}"#,
            ),
            ("a:\nb: ~\nc: ''", r#"{a: null, b: null, c: ""}"#),
            ("[80, \"80\", 1e3, x]", r#"["80", "80", "1e3", "x"]"#),
            ("a: &x 1.50\nb: *x", r#"{a: "1.50", b: "1.50"}"#),
            ("a: |\n  x\n  y\n", r#"{a: "x\ny\n"}"#),
            ("{\"a\": [true, null]}", r#"{a: ["true", null]}"#),
            ("8080: x", r#"{8080: "x"}"#),
            ("", "null"),
        ];
        for (text, wanted) in cases {
            let source = Source::new("t.yaml", text);
            let tree = Node::parse(&source).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(shown(&tree), wanted, "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_text() {
        let source = Source::new("t.yaml", "é: x\nlist:\n  - 'two'\n  - 3\n");
        let Value::Map(entries) = Node::parse(&source).unwrap().value else {
            panic!("a mapping");
        };
        let text = |span: Span| &source.text[span.start..span.end];
        assert_eq!(text(entries[0].key_span), "é");
        assert_eq!(text(entries[0].value.span), "x");
        let Value::List(items) = &entries[1].value.value else {
            panic!("a list");
        };
        assert_eq!(text(items[0].span), "'two'");
        assert_eq!(text(items[1].span), "3");
    }

    #[test]
    fn broken_documents_are_refused_at_their_place() {
        for (text, line) in [("a: [1\nb: 2", 2), ("a: 1\na: 2", 2), ("a: b: c", 1)] {
            let source = Source::new("t.yaml", text);
            let finding = Node::parse(&source).expect_err(text);
            let position = finding.position().expect("a place");
            assert_eq!(position.line, line, "{text}: {finding}");
        }
    }
}
