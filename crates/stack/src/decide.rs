//! Which images a range of commits concerns, and what of that content confirms.
//!
//! | what changed | concerns |
//! | --- | --- |
//! | a file that `changes.ignore` means | nothing |
//! | a file that `changes.build-all` means | every image |
//! | a file in an image's context, its Dockerfile, a test of it | that image |
//! | the spec | the images whose settings it changes; not a mere change of tags |
//! | the lock | the images that are made of what it locks |
//! | an image | those that build on it |
//!
//! Content has the last word, both ways: a file that changed and that no step takes rebuilds
//! nothing, and where the store knows that something else is different, it is built although no
//! commit says so. Only where nothing is known of an image does it matter that no change concerns
//! it: it is skipped then.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_build::plan::Cause;
use cairn_diagnostic::Source;
use cairn_spec::{Image, ImageId, ImageSource, Stack, Surroundings, glob};
use serde::Serialize;

use crate::git;
use crate::load::{Choices, LoadedStack};
use crate::lockfile;
use crate::plan::{ImageDecision, PlanReport, StepAction};
use crate::suite;

/// Why an image is looked at, or built whatever the store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What sort of reason it is.
    pub kind: ReasonKind,
    /// The reason as a phrase that follows "because".
    pub because: String,
    /// File and line, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<(String, usize)>,
}

/// What sort of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    /// A file of it changed.
    File,
    /// A file changed that concerns every image.
    BuildAll,
    /// Its settings changed.
    Spec,
    /// The lock changed.
    Lock,
    /// What it builds on is concerned.
    Parent,
    /// Its `rebuild`.
    Policy,
    /// A word in a commit's message.
    Word,
    /// A flag.
    Flag,
    /// Its name does not mean this image yet.
    Name,
    /// No change concerns it.
    Unconcerned,
}

/// What a range of commits says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The images it concerns, each with the first reason.
    pub concerned: BTreeMap<ImageId, Reason>,
    /// A word that leaves every image alone.
    pub skip: Option<Reason>,
    /// A word that runs every step again.
    pub again: Option<Reason>,
    /// The revision it began at.
    pub since: String,
}

/// The revision is not there.
#[derive(Debug, thiserror::Error)]
#[error("git knows no commit `{0}`")]
pub struct NoRevision(pub String);

/// Reads the commits since a revision, and what is not committed yet (DH-32: all of them).
///
/// The stack comes once for each platform of the run: what it is made of may differ.
pub fn since(
    platforms: &[&LoadedStack],
    choices: &Choices<'_>,
    revision: &str,
) -> Result<Range, NoRevision> {
    let loaded = platforms[0];
    let directory = &loaded.directory;
    let base = git::merge_base(directory, revision);
    let base = base.ok_or_else(|| NoRevision(revision.to_owned()))?;
    let files = git::changed(directory, &base);
    let messages = git::messages(directory, &base);
    let changes = &loaded.stack.changes;
    let word_in = |words: &[String], (commit, message): &(String, String)| {
        let message = message.to_lowercase();
        let word = words
            .iter()
            .find(|word| message.contains(&word.to_lowercase()))?;
        Some(Reason {
            kind: ReasonKind::Word,
            because: format!("the message of {commit} says `{word}`"),
            place: None,
        })
    };
    // To leave images alone is the newest commit's to say: earlier ones may well have changed them.
    let skip = messages
        .first()
        .and_then(|it| word_in(&changes.skip_words, it));
    let again = messages
        .iter()
        .find_map(|it| word_in(&changes.rebuild_words, it));
    let before = old_spec(loaded, choices, &base);
    let mut all = BTreeMap::new();
    for loaded in platforms {
        for (id, reason) in concerned(loaded, &files, before.as_ref()) {
            all.entry(id).or_insert(reason);
        }
    }
    Ok(Range {
        concerned: all,
        skip,
        again,
        since: revision.to_owned(),
    })
}

/// The spec as it was; `None` if it could not be read then.
fn old_spec(loaded: &LoadedStack, choices: &Choices<'_>, revision: &str) -> Option<Stack> {
    let text = git::show(&loaded.directory, revision, cairn_spec::FILE_NAME)?;
    let surroundings = Surroundings {
        read: &|path| {
            let text = git::show(&loaded.directory, revision, path);
            text.map(|text| Source::new(path, text))
                .ok_or_else(|| "it was not there".to_owned())
        },
        overlay: choices.overlay,
        variables: choices.variables,
        environment: choices.environment,
    };
    cairn_spec::read(&Source::new(cairn_spec::FILE_NAME, text), &surroundings).ok()
}

/// The images that changed files concern; `before` is the spec as it was.
fn concerned(
    loaded: &LoadedStack,
    files: &[String],
    before: Option<&Stack>,
) -> BTreeMap<ImageId, Reason> {
    let stack = &loaded.stack;
    let meant_by = |globs: &[cairn_spec::written::Spanned<String>], file: &str| {
        let glob = globs.iter().find(|glob| glob::matches(glob, file))?;
        let (name, line) = stack.sources.line(glob.span);
        Some((name.to_owned(), line))
    };
    let mut reasons = BTreeMap::new();
    for file in files {
        if meant_by(&stack.changes.ignore, file).is_some() {
            continue;
        }
        for id in stack.ids() {
            let reason = if let Some(place) = meant_by(&stack.changes.build_all, file) {
                Some(reason(
                    ReasonKind::BuildAll,
                    format!("`{file}` concerns every image"),
                    Some(place),
                ))
            } else if is_spec(loaded, file) {
                spec_reason(stack, id, before)
            } else if file == lockfile::FILE_NAME {
                let is_locked = matches!(loaded.source(id), ImageSource::Debian(_))
                    || loaded
                        .external
                        .get(&id)
                        .is_some_and(|names| !names.is_empty());
                is_locked.then(|| reason(ReasonKind::Lock, format!("`{file}` changed"), None))
            } else {
                is_of(loaded, id, file).then(|| {
                    reason(
                        ReasonKind::File,
                        format!("`{file}` changed"),
                        Some((file.clone(), 1)),
                    )
                })
            };
            if let Some(reason) = reason {
                reasons.entry(id).or_insert(reason);
            }
        }
    }
    for &id in loaded.graph.order() {
        if reasons.contains_key(&id) {
            continue;
        }
        let parents = loaded.graph.parents(id);
        if let Some(parent) = parents.iter().find(|parent| reasons.contains_key(parent)) {
            let because = format!("it builds on {}", stack[*parent].name);
            reasons.insert(id, reason(ReasonKind::Parent, because, None));
        }
    }
    reasons
}

/// Puts a reason together.
pub fn reason(kind: ReasonKind, because: String, place: Option<(String, usize)>) -> Reason {
    Reason {
        kind,
        because,
        place,
    }
}

fn is_spec(loaded: &LoadedStack, file: &str) -> bool {
    let path = loaded.directory.join(file);
    let mut sources = loaded.stack.sources.all();
    sources.any(|source| Path::new(&source.name) == path)
}

/// DH-29: an image's own settings, without those that only say where it goes.
fn spec_reason(stack: &Stack, id: ImageId, before: Option<&Stack>) -> Option<Reason> {
    let image = &stack[id];
    let (file, line) = stack.sources.line(image.span);
    let place = Some((file.to_owned(), line));
    let Some(before) = before else {
        let because = "the spec as it was cannot be read".to_owned();
        return Some(reason(ReasonKind::Spec, because, place));
    };
    let same_settings = before.build == stack.build && before.epoch == stack.epoch;
    let old = before.images.iter().find(|old| old.name == image.name);
    let because = match old {
        None => "it is new".to_owned(),
        Some(old) if same_settings && made_the_same(old, image) => return None,
        Some(_) => "its settings changed".to_owned(),
    };
    Some(reason(ReasonKind::Spec, because, place))
}

fn made_the_same(old: &Image, new: &Image) -> bool {
    old.source == new.source
        && old.labels == new.labels
        && old.tests == new.tests
        && old.platforms == new.platforms
}

/// Whether a file is one that the image is made of or tested by.
fn is_of(loaded: &LoadedStack, id: ImageId, file: &str) -> bool {
    let image = &loaded.stack[id];
    let plain = |path: &str| {
        path.trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned()
    };
    let is_below = |folder: &str| {
        let folder = plain(folder);
        file.strip_prefix(folder.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let suites = &image.tests.suites;
    let mut folders = suites
        .iter()
        .flat_map(|suite| std::iter::once(&suite.path).chain(&suite.python_path));
    let is_test = image.tests.structure.iter().any(|test| plain(test) == file)
        || folders.any(|folder| is_below(folder))
        || suites.iter().any(|suite| suite::reads(suite, file));
    let is_source = match loaded.source(id) {
        ImageSource::Debian(base) => base.keyring.as_ref().is_some_and(|it| plain(it) == file),
        ImageSource::Dockerfile(source) => {
            let context = plain(&source.context);
            let in_context = match context.as_str() {
                "" | "." => true,
                context => file
                    .strip_prefix(context)
                    .is_some_and(|rest| rest.starts_with('/')),
            };
            let dockerfile = loaded.dockerfiles.get(&id).map(|it| &it.path);
            in_context || dockerfile.is_some_and(|path| *path == loaded.directory.join(file))
        }
    };
    is_test || is_source
}

/// Brings together what content says and what the commits and the policies say.
pub fn decide(
    report: &mut PlanReport,
    loaded: &LoadedStack,
    range: Option<&Range>,
    again: &BTreeMap<ImageId, Reason>,
) {
    for image in &mut report.images {
        let Some(id) = loaded.stack.exact(&image.image) else {
            continue;
        };
        image.reasons.extend(again.get(&id).cloned());
        let Some(range) = range else { continue };
        if let Some(skip) = &range.skip {
            image.decision = ImageDecision::Skip;
            image.reasons = vec![skip.clone()];
            continue;
        }
        if let Some(reason) = &range.again {
            image.decision = ImageDecision::Build;
            image.reasons.push(reason.clone());
            continue;
        }
        match range.concerned.get(&id) {
            Some(reason) => image.reasons.push(reason.clone()),
            None if matches!(image.decision, ImageDecision::Build | ImageDecision::Maybe)
                && !again.contains_key(&id)
                && !is_known_to_differ(&image.steps) =>
            {
                image.decision = ImageDecision::Skip;
                let because = format!("no change since {} concerns it", range.since);
                image
                    .reasons
                    .push(reason(ReasonKind::Unconcerned, because, None));
            }
            None => {}
        }
    }
}

/// Whether the store holds an older result of a step, and knows what is different now.
fn is_known_to_differ(steps: &[crate::plan::StepPlan]) -> bool {
    steps.iter().any(|step| {
        matches!(
            &step.action,
            StepAction::Run {
                why: Cause::Changed { .. },
                ..
            }
        )
    })
}
