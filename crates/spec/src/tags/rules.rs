//! The tag rules of an image as meant, and what holds where a spec says nothing.
//!
//! | event | without a list of its own |
//! | --- | --- |
//! | `branch` | `{prefix}-{branch}`; `{branch}` where there is no prefix |
//! | `main` | as `branch` where there is a prefix; else `latest`, `sha-{commit}` |
//! | `release` | `{version}`, `{major}.{minor}`, `latest`, `sha-{commit}` |
//! | `prerelease` | `{version}`, `sha-{commit}` |
//! | `pull-request` | nothing |
//! | `schedule`, `manual` | what a push to the same branch or tag would publish |

use std::collections::BTreeMap;

use cairn_diagnostic::Span;

use super::template::{FACTS, Template};
use crate::settings::EventKind;
use crate::written::Spanned;

/// The tag rules of one image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagRules {
    /// What `{prefix}` stands for.
    pub prefix: Option<Template>,
    /// The branches that count as main, if the spec says so; names or globs.
    pub main_branches: Option<Vec<String>>,
    /// The lists that the spec has; see the module for the others.
    pub lists: BTreeMap<EventKind, Vec<Spanned<Template>>>,
}

impl TagRules {
    /// The list of an event, if the spec or the table above has one.
    pub fn list(&self, kind: EventKind) -> Option<Vec<Spanned<Template>>> {
        if let Some(list) = self.lists.get(&kind) {
            return Some(list.clone());
        }
        let texts: &[&str] = match (kind, self.prefix.is_some()) {
            (EventKind::Main, false) => &["latest", "sha-{commit}"],
            (EventKind::Branch | EventKind::Main, true) => &["{prefix}-{branch}"],
            (EventKind::Branch, false) => &["{branch}"],
            (EventKind::Release, _) => &["{version}", "{major}.{minor}", "latest", "sha-{commit}"],
            (EventKind::Prerelease, _) => &["{version}", "sha-{commit}"],
            (EventKind::PullRequest, _) => &[],
            (EventKind::Schedule | EventKind::Manual, _) => return None,
        };
        let templates = texts
            .iter()
            .filter_map(|text| Template::parse(text, FACTS, &[]).ok());
        Some(
            templates
                .map(|it| Spanned::new(it, Span::default()))
                .collect(),
        )
    }
}
