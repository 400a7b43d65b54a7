//! A rule of the checker as a value.

use super::facts::Facts;
use super::finding::{Findings, Level};

/// Whose rule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// BuildKit's: same name, line and wording.
    BuildKit,
    /// What makes results of research wrong, or impossible to get again.
    Science,
    /// What makes images large, slow to build or unsafe.
    Practice,
}

/// A kind of mistake: its page, and how it is found.
#[derive(Debug)]
pub struct Rule {
    /// The name that people write in comments, flags and directives.
    pub name: &'static str,
    /// The ids hadolint has for the same mistake; ignore comments may use them.
    pub aliases: &'static [&'static str],
    /// Whose rule it is.
    pub group: Group,
    /// How much it matters unless somebody says otherwise.
    pub level: Level,
    /// Whether it stays silent until `# check=experimental=` asks for it.
    pub is_experimental: bool,
    /// What it says, in one sentence; BuildKit's own words for its rules.
    pub summary: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// A Dockerfile that has the mistake. A test holds it to that.
    pub bad: &'static str,
    /// The same without it.
    pub good: &'static str,
    /// Looks for it.
    pub(super) check: fn(&Facts<'_>, &mut Findings),
}

impl Rule {
    /// Whether a name means this rule: its own, or one of its aliases, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self
                .aliases
                .iter()
                .any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// Where BuildKit tells about its rule.
    pub fn url(&self) -> Option<String> {
        (self.group == Group::BuildKit).then(|| {
            let name = kebab(self.name);
            format!("https://docs.docker.com/go/dockerfile/rule/{name}/")
        })
    }
}

/// `JSONArgsRecommended` to `json-args-recommended`.
fn kebab(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (at, ch) in chars.iter().enumerate() {
        let after_lower = at > 0 && chars[at - 1].is_lowercase();
        let before_lower = chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        if at > 0 && ch.is_uppercase() && (after_lower || before_lower) {
            out.push('-');
        }
        out.push(ch.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_addresses() {
        assert_eq!(kebab("JSONArgsRecommended"), "json-args-recommended");
        assert_eq!(kebab("SecretsUsedInArgOrEnv"), "secrets-used-in-arg-or-env");
        assert_eq!(kebab("UndefinedVar"), "undefined-var");
    }
}
