//! Commands about an image's contents: what its list names, looked up.

use std::collections::BTreeSet;

use super::Resolver;
use super::checks::distinct;
use super::merge::Merged;
use crate::info::InfoCommand;
use crate::written::SpecFile;

impl Resolver<'_> {
    pub(super) fn info(&mut self, file: &SpecFile, merged: &Merged<'_>) -> Vec<InfoCommand> {
        let mut names = distinct(merged.info.iter().copied().flatten());
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.value.clone()));
        let found = names.iter().map(|name| {
            let own = file.info.as_ref().and_then(|it| it.get(name.as_str()));
            match own {
                Some(own) => InfoCommand {
                    name: name.value.clone(),
                    title: match &own.value.title {
                        Some(title) => title.value.clone(),
                        None => name.value.clone(),
                    },
                    command: own
                        .value
                        .command
                        .as_ref()
                        .map(|it| it.0.iter().map(|word| word.value.clone()).collect()),
                },
                None => InfoCommand::built_in(name).unwrap_or_else(|| InfoCommand {
                    name: name.value.clone(),
                    title: name.value.clone(),
                    command: None,
                }),
            }
        });
        found.collect()
    }

    /// `[info.NAME]` without a command says nothing.
    pub(super) fn info_has_commands(&mut self, file: &SpecFile) {
        for (name, section) in file.info.iter().flatten() {
            let words = section.value.command.as_ref().map_or(0, |it| it.0.len());
            if words == 0 {
                self.error(section.span, format!("`info.{name}` has no `command`"))
                    .hint("a list of words, or a line for the shell: `command = \"pip list\"`");
            }
        }
    }
}
