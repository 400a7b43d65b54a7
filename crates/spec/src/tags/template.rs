//! A tag as a rule writes it: text with `{...}` for facts.

use std::fmt;

use crate::suggest::{nearest, quoted};

/// The facts that a rule can name, besides the axes of the image.
pub const FACTS: &[&str] = &[
    "prefix",
    "branch",
    "commit",
    "commit-full",
    "version",
    "pep440",
    "major",
    "minor",
    "patch",
    "prerelease",
    "tag",
    "number",
    "event",
    "date",
    "year",
    "quarter",
    "month",
    "day",
    "variant",
    "content",
];

/// What `{prefix}` itself may be made of.
pub(crate) const PREFIX_FACTS: &[&str] = &["year", "quarter", "month", "day"];

/// A tag with places for facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Fact(String),
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Template {
    /// Reads a rule; `axes` are names that may be used besides the facts.
    pub fn parse(text: &str, facts: &[&str], axes: &[&str]) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let Some((name, behind)) = rest[at..]
                .strip_prefix('{')
                .and_then(|inside| inside.split_once('}'))
            else {
                return Err(TemplateError {
                    message: format!("a brace in `{text}` has no partner"),
                    hint: "tags cannot have braces; `{branch}` and the like stand for facts"
                        .to_owned(),
                });
            };
            if !facts.contains(&name) && !axes.contains(&name) {
                return Err(unknown(name, facts, axes));
            }
            parts.push(Part::Fact(name.to_owned()));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        for part in &parts {
            if let Part::Text(text) = part
                && let Some(wrong) = text.chars().find(|c| !is_tag_character(*c))
            {
                return Err(TemplateError {
                    message: format!("`{wrong}` cannot be in a tag"),
                    hint: "tags are made of letters, digits, `.`, `_` and `-`".to_owned(),
                });
            }
        }
        if parts.is_empty() {
            return Err(TemplateError {
                message: "a tag must not be empty".to_owned(),
                hint: "an event that publishes nothing has an empty list".to_owned(),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// The facts it names.
    pub fn facts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Fact(name) => Some(name.as_str()),
        })
    }

    /// Puts the facts in; an error says which is missing and why.
    pub(crate) fn fill(
        &self,
        mut fact: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Fact(name) => filled.push_str(&fact(name)?),
            }
        }
        Ok(filled)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn unknown(name: &str, facts: &[&str], axes: &[&str]) -> TemplateError {
    let known = || facts.iter().chain(axes).copied();
    TemplateError {
        message: format!("`{{{name}}}` stands for nothing"),
        hint: match nearest(name, known()) {
            Some(near) => format!("did you mean `{{{near}}}`?"),
            None => format!("what can be used here: {}", quoted(known())),
        },
    }
}

pub(crate) fn is_tag_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// The one rule that makes a branch's name, or any other text, fit for a tag: every run of other
/// characters becomes one `-`, and what cannot begin a tag is taken off at both ends.
pub fn safe(text: &str) -> String {
    let mut safe = String::new();
    let mut in_run = false;
    for c in text.chars() {
        if is_tag_character(c) {
            safe.push(c);
        } else if !in_run {
            safe.push('-');
        }
        in_run = !is_tag_character(c);
    }
    safe.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_safe_by_one_rule() {
        for (name, tag) in [
            ("main", "main"),
            ("update_pytorch", "update_pytorch"),
            ("feature/a b", "feature-a-b"),
            ("a:/b", "a-b"),
            ("dependabot/pip/x-1.2", "dependabot-pip-x-1.2"),
            ("-x", "x"),
            (".hidden.", "hidden"),
            ("Ünï", "n"),
            ("日本", ""),
            ("1.0.0+build", "1.0.0-build"),
        ] {
            assert_eq!(safe(name), tag, "{name}");
        }
    }

    #[test]
    fn rules_are_read() {
        let parse = |text| Template::parse(text, FACTS, &["r"]);
        let template = parse("{prefix}-{branch}-x{r}").unwrap();
        assert_eq!(
            template.facts().collect::<Vec<_>>(),
            ["prefix", "branch", "r"]
        );
        let error = |text| parse(text).unwrap_err();
        assert_eq!(error("{brnch}").hint, "did you mean `{branch}`?");
        assert_eq!(error("a b").message, "` ` cannot be in a tag");
        assert_eq!(error("a}").message, "a brace in `a}` has no partner");
        assert_eq!(error("{a").message, "a brace in `{a` has no partner");
        assert_eq!(error("").message, "a tag must not be empty");
    }
}
