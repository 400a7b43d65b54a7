//! `[lint]`: levels of the checker's rules for the stack.

use std::collections::BTreeMap;

use cairn_dockerfile::lint::{self, Level};

use super::Resolver;
use crate::settings::LintLevel;
use crate::suggest::nearest;
use crate::written::{Spanned, SpecFile};

impl Resolver<'_> {
    /// The levels by the rules' own names; `None` switches a rule off.
    pub(super) fn lint(&mut self, file: &SpecFile) -> BTreeMap<&'static str, Option<Level>> {
        let mut levels = BTreeMap::new();
        for (name, written) in file.lint.iter().flatten() {
            let Some(rule) = lint::rule(name) else {
                let near = nearest(name, lint::RULES.iter().map(|rule| rule.name));
                let finding = self.error(written.span, format!("there is no rule `{name}`"));
                match near {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding.hint("`cairn lint --explain` lists the rules"),
                };
                continue;
            };
            let word = Spanned::new(written.value.0.clone(), written.span);
            let level = match self.word(&word, name, LintLevel::from_word, LintLevel::WORDS) {
                None => continue,
                Some(LintLevel::Off) => None,
                Some(LintLevel::Info) => Some(Level::Info),
                Some(LintLevel::Warning) => Some(Level::Warning),
                Some(LintLevel::Error) => Some(Level::Error),
            };
            levels.insert(rule.name, level);
        }
        levels
    }
}
