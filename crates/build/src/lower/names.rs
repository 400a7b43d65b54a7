//! Which names of other images a Dockerfile uses, and what of it must be run on its platform: what
//! a stack needs to know before lowering.

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
    /// The platform that its `FROM` names, where that is not the image's own.
    pub platform: Option<Platform>,
}

/// A Dockerfile as one platform sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The file.
    pub file: &'a Dockerfile,
    /// The stage to build; the last one if not given.
    pub target: Option<&'a str>,
    /// Build arguments.
    pub args: &'a BuildArgs,
    /// The platform to build for.
    pub platform: &'a Platform,
    /// The platform of the building machine.
    pub build_platform: &'a Platform,
}

/// A `RUN` of a stage that is for another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRun {
    /// The instruction.
    pub title: String,
    /// Where it stands.
    pub span: Span,
    /// The platform whose programs it runs.
    pub platform: Platform,
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
    seen: &Seen<'_>,
    given: &dyn Fn(&str) -> Given,
) -> Result<Vec<UsedName>, Box<Diagnostic>> {
    Ok(search(seen, given)?.names)
}

/// Finds the first `RUN` that a target needs and this machine cannot run, as far as the text
/// tells: whether its result is known already is not looked at.
pub fn foreign_run(
    seen: &Seen<'_>,
    can_run: &dyn Fn(&Platform) -> bool,
) -> Result<Option<ForeignRun>, Box<Diagnostic>> {
    let search = search(seen, &|_| Given::Nothing)?;
    let mut platforms: Vec<Platform> = Vec::new();
    for stage in &seen.file.stages {
        let platform = search.platform_of(stage, &platforms)?;
        platforms.push(platform);
    }
    for index in &search.seen {
        let stage = &seen.file.stages[*index];
        let platform = &platforms[*index];
        let is_run = |kind: &InstructionKind| matches!(kind, InstructionKind::Run(_));
        let run = stage.instructions.iter().find(|it| is_run(&it.kind));
        if let Some(run) = run.filter(|_| !can_run(platform)) {
            return Ok(Some(ForeignRun {
                title: run.text.clone(),
                span: run.span,
                platform: platform.clone(),
            }));
        }
    }
    Ok(None)
}

/// Goes through the stages that the target needs.
fn search<'a>(
    seen: &Seen<'a>,
    given: &'a dyn Fn(&str) -> Given,
) -> Result<Search<'a>, Box<Diagnostic>> {
    let file = seen.file;
    let expander = Expander::new(file.directives.escape);
    let stage = seen.target.unwrap_or("");
    let mut globals = args::predefined(seen.build_platform, seen.platform, stage, seen.args);
    args::add_global(
        &mut globals,
        &file.global_args,
        seen.args,
        &expander,
        &file.source,
    )?;
    let first = find_target(file, seen.target)?.index;
    let mut search = Search {
        file,
        given,
        expander,
        globals,
        own: seen.platform,
        seen: BTreeSet::new(),
        names: Vec::new(),
    };
    let mut open = vec![first];
    while let Some(index) = open.pop() {
        if search.seen.insert(index) {
            search.stage(&file.stages[index], &mut open)?;
        }
    }
    Ok(search)
}

struct Search<'a> {
    file: &'a Dockerfile,
    given: &'a dyn Fn(&str) -> Given,
    expander: Expander,
    globals: EnvList,
    /// The image's platform.
    own: &'a Platform,
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
        let base = self.expand(image.as_str(), image.span)?;
        let platform = self.named_platform(stage)?;
        let first = self.names.len();
        self.used(&base, image.span, stage.index, true, open);
        for used in &mut self.names[first..] {
            used.platform = platform.clone().filter(|it| it != self.own);
        }
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

    fn expand(&self, word: &str, span: Span) -> Result<String, Box<Diagnostic>> {
        let expanded = self.expander.word(word, &self.globals);
        expanded
            .map(|word| word.text)
            .map_err(|error| Box::new(self.error(&error.to_string(), span)))
    }

    fn error(&self, message: &str, span: Span) -> Diagnostic {
        Diagnostic::error(message).at(&self.file.source, span)
    }

    /// The platform that a stage's `FROM` names. One that is none is told, with all that lowering
    /// knows of it, when the stage is lowered.
    fn named_platform(&self, stage: &Stage) -> Result<Option<Platform>, Box<Diagnostic>> {
        let Some(word) = &stage.from.kind.platform else {
            return Ok(None);
        };
        let text = self.expand(word.as_str(), word.span)?;
        Ok(text.parse().ok())
    }

    /// The platform whose programs a stage runs; `before` are those of the stages before it.
    fn platform_of(&self, stage: &Stage, before: &[Platform]) -> Result<Platform, Box<Diagnostic>> {
        if let Some(platform) = self.named_platform(stage)? {
            return Ok(platform);
        }
        let image = &stage.from.kind.image;
        let base = self.expand(image.as_str(), image.span)?;
        let stages = self.file.stages[..stage.index].iter().rev();
        let mut named =
            stages.filter(|it| it.name().is_some_and(|it| it.eq_ignore_ascii_case(&base)));
        let earlier = named.next().map(|it| before[it.index].clone());
        Ok(earlier.unwrap_or_else(|| self.own.clone()))
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
                platform: None,
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
        let given = |name: &str| match given.contains(&name) {
            true if name == "alias" => Given::Stage("one".to_owned()),
            true => Given::Outside,
            false => Given::Nothing,
        };
        let (args, platform) = (BuildArgs::new(), Platform::new("linux", "amd64"));
        let seen = seen(&file, target, &args, &platform);
        let found = external_names(&seen, &given).unwrap();
        found.into_iter().map(|used| used.name).collect()
    }

    fn seen<'a>(
        file: &'a Dockerfile,
        target: Option<&'a str>,
        args: &'a BuildArgs,
        platform: &'a Platform,
    ) -> Seen<'a> {
        Seen {
            file,
            target,
            args,
            platform,
            build_platform: platform,
        }
    }

    #[test]
    fn only_what_runs_there_needs_a_machine_of_the_platform() {
        let here = Platform::new("linux", "amd64");
        let there = Platform::new("linux", "arm64");
        let first = |text: &str| {
            let file = cairn_dockerfile::parse(&Source::new("Dockerfile", text)).unwrap();
            let args = BuildArgs::new();
            let seen = Seen {
                build_platform: &here,
                ..seen(&file, None, &args, &there)
            };
            let found = foreign_run(&seen, &|platform| *platform == here).unwrap();
            found.map(|it| format!("{} {}", it.platform, it.title))
        };
        assert_eq!(first("FROM base\nCOPY a /\n"), None);
        let cross = "FROM --platform=$BUILDPLATFORM base AS one\nFROM one AS two\nRUN make\n\
                     FROM scratch\nCOPY --from=two /a /\n";
        assert_eq!(first(cross), None);
        let told = Some("linux/arm64 RUN true".to_owned());
        assert_eq!(first("FROM base\nCOPY a /\nRUN true\n"), told);
        let apart = "FROM base AS apart\nRUN true\nFROM base\n";
        assert_eq!(first(apart), None, "nobody needs that stage");
        let copied = "FROM base AS apart\nRUN true\nFROM base\nCOPY --from=apart /a /\n";
        assert_eq!(first(copied), told);
    }

    #[test]
    fn a_base_for_another_platform_is_told() {
        let (here, there) = (
            Platform::new("linux", "amd64"),
            Platform::new("linux", "arm64"),
        );
        let text =
            "FROM --platform=$BUILDPLATFORM tools AS work\nFROM base\nCOPY --from=work /a /\n";
        let file = cairn_dockerfile::parse(&Source::new("Dockerfile", text)).unwrap();
        let args = BuildArgs::new();
        let seen = Seen {
            build_platform: &here,
            ..seen(&file, None, &args, &there)
        };
        let names = external_names(&seen, &|_| Given::Nothing).unwrap();
        let told: Vec<_> = names.into_iter().map(|it| (it.name, it.platform)).collect();
        assert_eq!(
            told,
            [("base".to_owned(), None), ("tools".to_owned(), Some(here))]
        );
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
