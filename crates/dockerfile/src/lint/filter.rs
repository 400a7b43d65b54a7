//! Which findings are let through: levels, the file's directive, and comments above instructions.

use std::collections::BTreeMap;

use cairn_diagnostic::Span;

use super::finding::{Finding, Level};
use super::options::{CheckOptions, Selection};
use super::rule::Rule;
use crate::ast::{Dockerfile, Word};

/// The comments that silence rules for the instruction below them, each with what it names after
/// the `=`.
const MARKERS: [&str; 3] = ["check=skip", "cairn ignore", "hadolint ignore"];

/// Decides about rules and findings.
pub(super) struct Filter<'a> {
    options: &'a CheckOptions,
    levels: &'a BTreeMap<&'static str, Option<Level>>,
    /// Rules that a comment at the top silences for the whole file.
    globally: Vec<Selection>,
    /// Instructions that have such a comment, and the rules it names.
    ignored: Vec<(Span, Selection)>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(
        file: &Dockerfile,
        options: &'a CheckOptions,
        levels: &'a BTreeMap<&'static str, Option<Level>>,
    ) -> Self {
        let mut ignored = Vec::new();
        let mut add = |span: Span, comments: &[Word]| {
            let selections = comments.iter().filter_map(|comment| read(comment.as_str()));
            ignored.extend(selections.map(|selection| (span, selection)));
        };
        for line in &file.global_args {
            add(line.span, &line.comments);
        }
        for stage in &file.stages {
            add(stage.from.span, &stage.from.comments);
            for line in &stage.instructions {
                add(line.span, &line.comments);
            }
        }
        let first = file.keywords().next();
        let top = &file.source.text[..first.map_or(0, |keyword| keyword.span.start)];
        let comments = top.lines().filter_map(|line| line.trim().strip_prefix('#'));
        let global = |comment: &str| {
            let (tool, rest) = comment.trim().split_once(" global ")?;
            read(&format!("{tool} {rest}"))
        };
        Self {
            options,
            levels,
            globally: comments.filter_map(global).collect(),
            ignored,
        }
    }

    /// How much a rule matters in this file; `None` if it is off.
    pub(super) fn level(&self, rule: &Rule) -> Option<Level> {
        let given = self.levels.get(rule.name);
        let is_on = match rule.is_experimental {
            true => self.options.experimental.has(rule) || given.is_some(),
            false => !self.options.skip.has(rule),
        };
        let is_on = is_on && !self.globally.iter().any(|selection| selection.has(rule));
        let level = given.copied().unwrap_or(Some(rule.level));
        level.filter(|_| is_on)
    }

    /// Whether a comment above the finding's instruction silences it.
    pub(super) fn is_ignored(&self, finding: &Finding) -> bool {
        self.ignored.iter().any(|(span, selection)| {
            (span.start..=span.end).contains(&finding.span.start) && selection.has(finding.rule)
        })
    }
}

/// The rules that a comment of our own form silences by name.
pub(super) fn silenced(comment: &str) -> Vec<String> {
    let comment = comment.replacen(" global ", " ", 1);
    match read(&comment).filter(|_| comment.starts_with("cairn")) {
        Some(Selection::Named(names)) => names,
        Some(Selection::All) | None => Vec::new(),
    }
}

/// Reads `check=skip=A,B`, `cairn ignore=A` and `hadolint ignore=DL3008`.
fn read(comment: &str) -> Option<Selection> {
    MARKERS.iter().find_map(|marker| {
        let (tool, verb) = marker.split_once([' ', '=']).unwrap_or((marker, ""));
        let rest = comment.strip_prefix(tool)?;
        let rest = match marker.contains('=') {
            true => rest.trim_start().strip_prefix('=')?,
            false => rest.strip_prefix(char::is_whitespace)?,
        };
        let rest = rest.trim_start().strip_prefix(verb)?;
        let names = rest.trim_start().strip_prefix('=')?;
        // Other options may follow, and so may a reason.
        let names = names.split([';', '#']).next().unwrap_or(names);
        let names = names.split("//").next().unwrap_or(names);
        Some(Selection::parse(names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_name_rules() {
        let named = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned());
            Some(Selection::Named(names.collect()))
        };
        assert_eq!(read("check=skip=A,B"), named(&["A", "B"]));
        assert_eq!(read("check = skip = all;error=true"), Some(Selection::All));
        assert_eq!(read("cairn ignore=A, B"), named(&["A", "B"]));
        assert_eq!(read("hadolint ignore=DL3008"), named(&["DL3008"]));
        assert_eq!(read("cairn  ignore = A # it is small"), named(&["A"]));
        assert_eq!(read("check=skip=all // only here"), Some(Selection::All));
    }

    #[test]
    fn other_comments_are_comments() {
        for text in [
            "check=error=true",
            "cairnignore=A",
            "ignore=A",
            "cairn",
            "checkskip=A",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
