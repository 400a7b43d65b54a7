//! Mending a text: the changes of findings, put into it.

use std::collections::BTreeSet;

use super::finding::{Edit, Finding};

/// The changes of findings that can be made together, in the order of the text.
///
/// Of two that would change the same bytes the first is made; the other is left for another run.
pub fn edits<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<&'a Edit> {
    let mut fixes: Vec<_> = findings
        .into_iter()
        .filter_map(|finding| finding.fix.as_ref())
        .collect();
    fixes.sort_by_key(|fix| fix.edits.first().map(|edit| edit.span.start));
    let mut made: Vec<&Edit> = Vec::new();
    for fix in fixes {
        if !fix
            .edits
            .iter()
            .any(|edit| made.iter().any(|other| collide(edit, other)))
        {
            made.extend(&fix.edits);
        }
    }
    made.sort_by_key(|edit| edit.span.start);
    made
}

/// What mending these changes in the image: rule and effect, each once.
pub fn effects<'a>(
    findings: impl IntoIterator<Item = &'a Finding>,
) -> BTreeSet<(&'static str, &'static str)> {
    let effect = |finding: &Finding| Some((finding.rule.name, finding.fix.as_ref()?.effect?));
    findings.into_iter().filter_map(effect).collect()
}

/// Whether two changes cannot both be made. Two texts may be put in at one place.
fn collide(one: &Edit, other: &Edit) -> bool {
    let is_same = one.span == other.span && one.text == other.text;
    is_same || one.span.start < other.span.end && other.span.start < one.span.end
}

/// Makes changes in a text; they are in order and do not overlap.
pub fn apply(text: &str, edits: &[&Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        out.push_str(&text[at..edit.span.start]);
        out.push_str(&edit.text);
        at = edit.span.end;
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Span;

    use super::super::rules::RULES;
    use super::*;
    use crate::lint::{Fix, Level};

    fn finding(edits: &[(usize, usize, &str)]) -> Finding {
        Finding {
            rule: RULES[0],
            level: Level::Info,
            span: Span::default(),
            detail: String::new(),
            fix: Some(Fix {
                effect: None,
                edits: edits
                    .iter()
                    .map(|&(start, end, text)| Edit {
                        span: Span::new(start, end),
                        text: text.to_owned(),
                    })
                    .collect(),
            }),
        }
    }

    #[test]
    fn changes_are_made_together() {
        let findings = [finding(&[(4, 5, "X")]), finding(&[(1, 1, "a"), (2, 3, "")])];
        assert_eq!(apply("012345", &edits(&findings)), "0a13X5");
    }

    #[test]
    fn of_two_that_collide_the_first_is_made() {
        let findings = [
            finding(&[(1, 3, "a")]),
            finding(&[(2, 4, "b"), (5, 5, "c")]),
        ];
        assert_eq!(apply("012345", &edits(&findings)), "0a345");
        let twice = [finding(&[(1, 1, " -y")]), finding(&[(1, 1, " -y")])];
        assert_eq!(apply("01", &edits(&twice)), "0 -y1");
        let both = [finding(&[(1, 1, " -y")]), finding(&[(1, 1, " -q")])];
        assert_eq!(apply("01", &edits(&both)), "0 -y -q1");
    }
}
