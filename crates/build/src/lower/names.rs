//! Which names of other images a Dockerfile uses: what a stack needs to know before lowering.

use std::collections::BTreeSet;

use cairn_diagnostic::{Diagnostic, Span};
use cairn_dockerfile::ast::{Dockerfile, InstructionKind, Stage};
use cairn_dockerfile::expand::Expander;
use cairn_oci::Platform;

use super::args;
use super::dockerfile::find_target;
use super::env::EnvList;
use crate::graph::BuildArgs;

/// A name that is no stage of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedName {
    /// The name, variables expanded.
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// Whether it stands in `FROM`: only then settings are inherited.
    pub is_base: bool,
}

/// What a name was given for, by named contexts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// It was not.
    Nothing,
    /// For something that is no stage of the file.
    Outside,
    /// For this stage.
    Stage(String),
}

/// Lists the names that the stages needed for a target use and do not define.
///
/// `given` tells what named contexts stand for: a stage of such a name is not built at all.
pub fn external_names(
    file: &Dockerfile,
    target: Option<&str>,
    args: &BuildArgs,
    platform: &Platform,
    given: &dyn Fn(&str) -> Given,
) -> Result<Vec<UsedName>, Box<Diagnostic>> {
    let expander = Expander::new(file.directives.escape);
    let mut globals = args::predefined(platform, platform, target.unwrap_or(""), args);
    args::add_global(
        &mut globals,
        &file.global_args,
        args,
        &expander,
        &file.source,
    )?;
    let first = find_target(file, target)?.index;
    let mut search = Search {
        file,
        given,
        expander,
        globals,
        seen: BTreeSet::new(),
        names: Vec::new(),
    };
    let mut open = vec![first];
    while let Some(index) = open.pop() {
        if search.seen.insert(index) {
            search.stage(&file.stages[index], &mut open)?;
        }
    }
    Ok(search.names)
}

struct Search<'a> {
    file: &'a Dockerfile,
    given: &'a dyn Fn(&str) -> Given,
    expander: Expander,
    globals: EnvList,
    seen: BTreeSet<usize>,
    names: Vec<UsedName>,
}

impl Search<'_> {
    fn stage(&mut self, stage: &Stage, open: &mut Vec<usize>) -> Result<(), Box<Diagnostic>> {
        match stage.name().map_or(Given::Nothing, self.given) {
            Given::Nothing => {}
            Given::Outside => return Ok(()),
            Given::Stage(other) => {
                open.extend(self.file.stage(&other).map(|stage| stage.index));
                return Ok(());
            }
        }
        let image = &stage.from.kind.image;
        let base = self
            .expander
            .word(image.as_str(), &self.globals)
            .map_err(|error| {
                Diagnostic::error(error.to_string()).at(&self.file.source, image.span)
            })?;
        self.used(&base.text, image.span, stage.index, true, open);
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Copy(copy) => {
                    if let Some(from) = &copy.from {
                        self.used(
                            from.as_str(),
                            from.span,
                            self.file.stages.len(),
                            false,
                            open,
                        );
                    }
                }
                InstructionKind::Run(run) => {
                    for mount in &run.mounts {
                        if let Some(from) = &mount.from {
                            let before = self.file.stages.len();
                            self.used(from, mount.span(), before, false, open);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Follows a name to a stage, or notes it as one from outside.
    fn used(
        &mut self,
        name: &str,
        span: Span,
        before: usize,
        is_base: bool,
        open: &mut Vec<usize>,
    ) {
        let stages = &self.file.stages[..before];
        let named = stages.iter().rev().find(|stage| {
            stage
                .name()
                .is_some_and(|known| known.eq_ignore_ascii_case(name))
        });
        let numbered = if is_base {
            None
        } else {
            name.parse::<usize>().ok()
        };
        if let Some(stage) = named {
            open.push(stage.index);
        } else if let Some(number) = numbered {
            if number < stages.len() {
                open.push(number);
            }
        } else if let Given::Stage(other) = (self.given)(name) {
            open.extend(self.file.stage(&other).map(|stage| stage.index));
        } else if !name.is_empty() && name != "scratch" {
            self.names.push(UsedName {
                name: name.to_owned(),
                span,
                is_base,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_diagnostic::Source;

    fn names(text: &str, target: Option<&str>) -> Vec<String> {
        given_names(text, target, &[])
    }

    fn given_names(text: &str, target: Option<&str>, given: &[&str]) -> Vec<String> {
        let file = cairn_dockerfile::parse(&Source::new("Dockerfile", text)).unwrap();
        let platform = Platform::new("linux", "amd64");
        let given = |name: &str| match given.contains(&name) {
            true if name == "alias" => Given::Stage("one".to_owned()),
            true => Given::Outside,
            false => Given::Nothing,
        };
        let found = external_names(&file, target, &BuildArgs::new(), &platform, &given).unwrap();
        found.into_iter().map(|used| used.name).collect()
    }

    #[test]
    fn a_stage_that_a_context_replaces_needs_nothing() {
        let text = "FROM big AS base\nCOPY --from=tools /x /\nFROM base\n";
        assert_eq!(given_names(text, None, &[]), ["big", "tools"]);
        assert_eq!(given_names(text, None, &["base"]), [""; 0]);
    }

    #[test]
    fn a_name_may_be_given_for_a_stage() {
        let text = "FROM big AS one\nFROM alias AS two\n";
        assert_eq!(given_names(text, None, &["alias"]), ["big"]);
        assert_eq!(given_names(text, None, &[]), ["alias"]);
    }

    #[test]
    fn only_names_from_outside_that_the_target_needs() {
        let text = "ARG B=base\nFROM ${B} AS one\nFROM other AS unused\nFROM one\n\
                    COPY --from=tools /x /\nCOPY --from=0 /y /\nCOPY --from=One /z /\n\
                    RUN --mount=from=data,target=/d true\n";
        assert_eq!(names(text, None), ["tools", "data", "base"]);
        assert_eq!(names(text, Some("unused")), ["other"]);
        assert_eq!(names("FROM scratch\n", None), [""; 0]);
    }
}
