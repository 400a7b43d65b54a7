//! YAML and JSON as plain values, and what is asked of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ImportError;

/// Reads a file that must be good once it was recognised.
pub(super) fn parse(file: &str, text: &str) -> Result<Value, ImportError> {
    serde_saphyr::from_str(text).map_err(|error| ImportError::Broken {
        file: file.to_owned(),
        reason: error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    })
}

/// A scalar as text; nothing for lists, tables and null.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The scalar below a key.
pub(super) fn text_at(value: &Value, key: &str) -> Option<String> {
    text(value.get(key)?)
}

/// One value or a list of them; a text of several lines is a list of its lines.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    let lines = |text: String| {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(text).collect(),
        Some(one) => text(one).map(lines).unwrap_or_default(),
        None => Vec::new(),
    }
}

/// A table, or a list of `KEY=VALUE`, as both are written for arguments and labels.
pub(super) fn pairs(value: Option<&Value>) -> BTreeMap<String, String> {
    match value {
        Some(Value::Object(table)) => table
            .iter()
            .map(|(key, value)| (key.clone(), text(value).unwrap_or_default()))
            .collect(),
        list => texts(list)
            .iter()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect(),
    }
}

/// The entries of a table in the order of the file.
pub(super) fn entries(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    let table = value.and_then(Value::as_object).into_iter().flatten();
    table.map(|(key, value)| (key.as_str(), value))
}
