//! Promotion: which tag may come to mean what which other tag means.
//!
//! A rule names tags by patterns. `{name}` in one stands for any text, and for the same text in
//! the tag that is promoted and in the one that it comes from: `{prefix}-stable` from
//! `{prefix}-{branch}`.

use std::collections::BTreeMap;

use crate::tags::is_tag_character;
use crate::written::Spanned;

/// The texts that the names in a pattern stand for.
type Bindings = BTreeMap<String, String>;

/// Who may become what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromotionRule {
    /// The tags that it is about.
    pub to: Spanned<Pattern>,
    /// Where they may come from; never empty.
    pub from: Vec<Spanned<Pattern>>,
    /// Whether every image must have passed tests, and left none out.
    pub tests: bool,
    /// Workflow tests that the images that have them must have passed.
    pub workflows: Vec<Spanned<String>>,
}

/// A tag with places for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// Why a promotion is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// The tag that was to be promoted to.
    pub to: String,
    /// What it may come from, as the rules have it.
    pub from: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; an error is a phrase.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let Some(inside) = rest.strip_prefix('{') else {
                let end = rest.find('{').unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                if let Some(wrong) = word.chars().find(|c| !is_tag_character(*c)) {
                    return Err(format!("`{wrong}` cannot be in a tag"));
                }
                parts.push(Part::Text(word.to_owned()));
                rest = behind;
                continue;
            };
            let Some((name, behind)) = inside.split_once('}') else {
                return Err(format!("a brace in `{text}` has no partner"));
            };
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(format!("`{{{name}}}` is no name"));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = behind;
        }
        match parts.is_empty() {
            true => Err("a tag must not be empty".to_owned()),
            false => Ok(Self {
                text: text.to_owned(),
                parts,
            }),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a tag fits.
    pub fn fits(&self, tag: &str) -> bool {
        !self.bind(tag, &Bindings::new()).is_empty()
    }

    /// All ways in which a tag fits, with what is known of the names.
    fn bind(&self, tag: &str, known: &Bindings) -> Vec<Bindings> {
        let mut found = Vec::new();
        bind(&self.parts, tag, known.clone(), &mut found);
        found
    }
}

fn bind(parts: &[Part], rest: &str, known: Bindings, found: &mut Vec<Bindings>) {
    let Some((part, behind)) = parts.split_first() else {
        if rest.is_empty() {
            found.push(known);
        }
        return;
    };
    let text = match part {
        Part::Text(text) => Some(text.clone()),
        Part::Name(name) => known.get(name).cloned(),
    };
    match (text, part) {
        (Some(text), _) => {
            if let Some(rest) = rest.strip_prefix(text.as_str()) {
                bind(behind, rest, known, found);
            }
        }
        (None, Part::Name(name)) => {
            // Tags are ASCII: every place is one between two characters.
            for end in 1..=rest.len() {
                let Some((value, rest)) = rest.split_at_checked(end) else {
                    continue;
                };
                let mut known = known.clone();
                known.insert(name.clone(), value.to_owned());
                bind(behind, rest, known, found);
            }
        }
        (None, Part::Text(_)) => {}
    }
}

impl PromotionRule {
    /// Whether a tag may come from another one by this rule.
    pub fn allows(&self, from: &str, to: &str) -> bool {
        let ways = self.to.bind(to, &Bindings::new());
        let mut ways = ways.iter();
        ways.any(|known| self.from.iter().any(|it| !it.bind(from, known).is_empty()))
    }
}

/// The rule by which a tag may come to mean what another one means; none where no rule is about
/// the tag, for then anybody may.
pub fn allowed<'r>(
    rules: &'r [PromotionRule],
    from: &str,
    to: &str,
) -> Result<Option<&'r PromotionRule>, Forbidden> {
    let about: Vec<&PromotionRule> = rules.iter().filter(|rule| rule.to.fits(to)).collect();
    if about.is_empty() {
        return Ok(None);
    }
    let by = about.iter().find(|rule| rule.allows(from, to));
    by.map(|rule| Some(*rule)).ok_or_else(|| Forbidden {
        to: to.to_owned(),
        from: about
            .iter()
            .flat_map(|rule| rule.from.iter().map(|it| it.as_str().to_owned()))
            .collect(),
    })
}

/// Those of some tags that a tag may come from by the rules.
pub fn sources<'t>(rules: &[PromotionRule], tags: &[&'t str], to: &str) -> Vec<&'t str> {
    let is_source = |tag: &&&str| **tag != to && matches!(allowed(rules, tag, to), Ok(Some(_)));
    tags.iter().filter(is_source).copied().collect()
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Span;

    use super::*;

    fn rules() -> Vec<PromotionRule> {
        let pattern = |text: &str| Spanned::new(Pattern::parse(text).unwrap(), Span::default());
        let rule = |to: &str, from: &[&str], tests| PromotionRule {
            to: pattern(to),
            from: from.iter().map(|text| pattern(text)).collect(),
            tests,
            workflows: Vec::new(),
        };
        vec![
            rule("{prefix}-stable", &["{prefix}-{branch}"], false),
            rule("stable", &["{prefix}-stable"], true),
        ]
    }

    /// DH-78, DH-79.
    #[test]
    fn names_stand_for_the_same_text_on_both_sides() {
        let rules = rules();
        let may = |from: &str, to: &str| allowed(&rules, from, to).is_ok();
        assert!(may("2026.3-main", "2026.3-stable"));
        assert!(may("2026.3-fix-x", "2026.3-stable"));
        assert!(!may("2026.2-main", "2026.3-stable"));
        assert!(!may("main", "2026.3-stable"));
        assert!(may("2026.3-stable", "stable"));
        assert!(!may("2026.3-main", "stable"));
        assert!(may("anything", "nightly"), "no rule is about it");
        let refused = allowed(&rules, "main", "stable").unwrap_err();
        assert_eq!(refused.from, ["{prefix}-stable"]);
        let tags = ["2026.2-main", "2026.3-main", "2026.3-stable", "x"];
        assert_eq!(sources(&rules, &tags, "stable"), ["2026.3-stable"]);
        assert_eq!(sources(&rules, &tags, "2026.3-stable"), ["2026.3-main"]);
        assert_eq!(sources(&rules, &tags, "x"), [""; 0]);
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for (text, why) in [
            ("", "empty"),
            ("a b", "cannot be in a tag"),
            ("{a", "no partner"),
            ("{}", "no name"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
