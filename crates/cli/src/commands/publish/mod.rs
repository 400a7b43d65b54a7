//! `cairn publish`: all images of a stack into its registries, their tags moved together.

mod joining;
mod leaving;
mod parts;
mod requests;
mod signing;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cairn_build::resolve::whole;
use cairn_oci::{Compression, Digest, Reference};
use cairn_registry::{Pushed, Watch};
use cairn_spec::ImageId;
use cairn_spec::tags::{Facts, GitRef, ImageTags, Instead, Trigger, publication};
use cairn_stack::git;
use cairn_stack::publish::{
    Action, LogEntry, Made, Means, Naming, Other, Place, PublishError, Sending, Stem, Switch,
    check_brought, keep_made_of, send,
};
use clap::Args;
use serde::Serialize;

use self::joining::{Bringing, Brings};
use self::leaving::{only_leaves, tell_absent};
use self::parts::{Brought, content, evidence, needed, part_of};
use self::requests::refuse_disguised;
use self::signing::Signing;
use super::build::AttestArgs;
use super::generations::{
    Published, RegistryOption, finish_pending, means, moved_in_words, no_registry, tell_pending,
    tell_plan, tell_rivals,
};
use super::options::{BuildOptions, EventOption, JsonOption, ProgressOption, StackOption};
use super::signatures::SignatureForm;
use super::tags::clashes;
use super::up::{Done, RecordsOption, Report, Tests};
use crate::error::{CommandError, Kind};
use crate::platforms::Purpose;
use crate::progress::count;
use crate::sanitize;
use crate::session::Session;
use crate::stack_run::StackRun;

/// Build, test and publish images of a stack: all of them on all registries, or nothing
///
/// Names and tags are those that `cairn tags` prints. Everything goes to every registry by digest
/// first. Then the tags of all images move together; where one cannot be moved, all go back. A
/// publish that was killed is ended by the next one. Images with `internal = true` are left out,
/// nothing is published unless all tests passed, and a pull request publishes nothing.
///
/// An image for several platforms is published as an index. Where this machine brings not all of
/// them, it sends what it has and moves no tag; the machine that brings the last one of the same
/// commit puts the indexes together and moves the tags.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn publish                             by the `[tags]` of the spec
  cairn publish --dry-run                   say which tags would move
  cairn publish --tag 2026.3-main
  cairn publish --platform linux/arm64      a part; the machine that brings the last one ends it
  cairn publish --registry ghcr.io/lab --registry docker.io/lab --tag latest --tag 2026.3")]
pub struct PublishArgs {
    /// Images of the stack; the others stay in the generation as the tags have them now
    /// [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    registry: RegistryOption,
    /// Make this tag mean the generation, with the prefixes and suffixes of variants [default: those that the
    /// `[tags]` of the spec give for the event] (can be repeated)
    #[arg(long, short, value_name = "TAG")]
    tag: Vec<String>,
    #[command(flatten)]
    event: EventOption,
    /// Go on without registries that fail
    #[arg(long)]
    best_effort: bool,
    /// Sign every image with this private key before the tags move: PEM, on P-256 or Ed25519,
    /// without a password [default: as `[sign]` of the spec says]
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// How the signatures are kept beside the images
    #[arg(long, value_enum, default_value = "tag", requires = "sign_key")]
    sign_form: SignatureForm,
    /// Sign nothing, whatever `[sign]` of the spec says
    #[arg(long, conflicts_with = "sign_key")]
    no_sign: bool,
    /// What the parts that several machines bring have in common [default: the commit]
    #[arg(long, value_name = "NAME")]
    part_of: Option<String>,
    /// Move the tags even if platforms are missing that no machine has brought
    #[arg(long)]
    incomplete: bool,
    /// Publish also what this machine cannot run the tests of, being of another platform
    #[arg(long)]
    untested: bool,
    /// Build and test, and say which tags would move
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    attests: AttestArgs,
    /// Compress layers so: gzip, zstd or none
    #[arg(long, value_name = "FORM", default_value_t)]
    compression: Compression,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    options: BuildOptions,
    #[command(flatten)]
    records: RecordsOption,
    #[command(flatten)]
    progress: ProgressOption,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &PublishArgs, session: &mut Session) -> Result<(), CommandError> {
    let mut done = None;
    let result = publish(args, session, &mut done);
    match &result {
        Err(error) if args.json.json => Unpublished::of(error, done.as_ref()).print(session)?,
        _ => {}
    }
    result
}

/// What came of a publication that failed, as JSON.
#[derive(Debug, Serialize)]
struct Unpublished<'a> {
    failed: String,
    #[serde(flatten)]
    run: Option<Report<'a>>,
}

impl<'a> Unpublished<'a> {
    fn of(error: &CommandError, done: Option<&'a Done>) -> Self {
        Self {
            failed: error.in_words(),
            run: done.map(Done::report),
        }
    }

    fn print(&self, session: &Session) -> Result<(), CommandError> {
        Ok(session.printer.json(self)?)
    }
}

/// Builds, tests and publishes; what was built and tested stays with the caller.
fn publish(
    args: &PublishArgs,
    session: &mut Session,
    done: &mut Option<Done>,
) -> Result<(), CommandError> {
    check_tags(&args.tag)?;
    let instead = Instead {
        registries: args.registry.named()?,
        tags: args.tag.clone(),
    };
    let (images, options) = (&args.images, &args.options);
    let purpose = Purpose::Publish;
    let mut stack =
        StackRun::open_event(session, &args.stack, options, images, purpose, &args.event)?;
    // Whoever asks later what is different needs to know what these were made of.
    stack.tells_made_of = true;
    let event = args.event.detect(session, &stack.loaded);
    if !args.dry_run {
        refuse_disguised(&event)?;
    }
    stack.wish_for(&args.attests.wish_of_stack()?);
    stack.leave(only_leaves(args, &stack, &event.facts, &instead));
    let signing = Signing::of(args, &stack, &event.facts)?;
    let spec = &stack.loaded.stack;
    // What can be wrong with the names is said before anything is built.
    let first = publication(spec, &event.facts, &instead, &|_| None);
    clashes(&stack.loaded, &first)?;
    check_names(&stack, &first.images, &event.facts, &instead)?;
    // Which images get a tag does not depend on what they contain.
    let some = |id: ImageId| Some(Digest::sha256(spec[id].name.to_string().as_bytes()).to_string());
    let likely = publication(spec, &event.facts, &instead, &some).images;
    let needed = needed(&stack, &likely)?;
    let choice = args.progress.progress;
    let done = &*done.insert(Done::of(&stack, "publish", Tests::Run, choice, session)?);
    let references = likely.iter().map(|it| {
        let name = spec[it.image].name.to_string();
        (name, it.names().collect())
    });
    done.keep_records(&args.records, &stack, session, &references.collect())?;
    done.verdict(session, choice)?;
    if needed.is_empty() {
        let asked: Vec<_> = asked(&stack, likely).collect();
        tell_why_nothing(session, &asked);
        return Published::default().print(session, args.json.json);
    }
    let watch = Watch {
        is_stopped: &|| stack.means.cancel.is_cancelled(),
        moved: &|_| {},
    };
    let means = means(&stack.means.store, &stack.means.registry, watch);
    let changes = changes(&stack);
    let commit = event
        .facts
        .commit
        .clone()
        .map(|commit| match changes.is_empty() {
            true => commit,
            false => commit + "-dirty",
        });
    let of = part_of(args, event.facts.commit.as_deref(), changes.len());
    let named = (of.clone().unwrap_or_default(), commit.clone());
    let brought = Brought::pack(&stack, done, &needed, args.compression, named)?;
    tell_absent(session, brought.absent());
    if !args.untested {
        brought.refuse_untested()?;
    }
    let name = &spec.name;
    let _turn = match args.dry_run {
        true => {
            tell_pending(means, name, session)?;
            None
        }
        false => {
            warn_of_changes(session, &changes);
            Some(finish_pending(means, name, session)?)
        }
    };
    let asked: Vec<_> = asked(&stack, likely).collect();
    let bringing = Bringing {
        args,
        session,
        stack: name,
        targets: &Naming::of(spec, asked.iter()).targets,
        is_named: of.is_some(),
        made_of: &done.run.made_of,
    };
    let joined = match bringing.join(means, &brought, &needed)? {
        Brings::All(joined) => joined,
        Brings::Part(published) => return published.print(session, args.json.json),
    };
    let contents: BTreeMap<ImageId, String> = needed
        .iter()
        .filter_map(|(id, it)| Some((*id, content(joined.images.get(&it.name())?)?)))
        .collect();
    let content = |id: ImageId| contents.get(&id).cloned();
    let named = publication(spec, &event.facts, &instead, &content);
    clashes(&stack.loaded, &named)?;
    let mut named = named.images;
    let others = others(&stack, &named);
    named.retain(|it| contents.contains_key(&it.image));
    let naming = Naming::of(spec, named.iter());
    let items = brought.items(&stack, &needed, &joined)?;
    let places = Place::of(name, &items, &naming.targets);
    let mut made = Made {
        entries: entries(means, commit.as_deref(), &naming, &places),
        evidence: evidence(&joined, &places),
        places,
    };
    let carried = carry(&mut made, &others, means, &stack, session)?;
    if args.dry_run {
        let switch = Switch::plan(means, name, made.places, made.entries, made.evidence)?;
        return tell_plan(session, &switch, args.json.json);
    }
    let sending = send(means, &items, &made.places)?;
    // What was brought as a part has been told.
    if sending.pushed.sent > 0 || brought.is_all_of(&joined) {
        tell_sent(session, &sending.pushed);
    }
    made.places = complete(sending, args.best_effort, session)?;
    // Of what others brought and of images that are carried along it is known already.
    tell_unkept(
        session,
        &keep_made_of(means, &made.places, &done.run.made_of),
    );
    made.fetch_carried(means, &carried)?;
    check_brought(means, &items, &made.places)?;
    if let Some(signing) = &signing {
        signing.sign(means, &made.places, session)?;
    }
    let switch = Switch::plan(means, name, made.places, made.entries, made.evidence)?;
    let switched = switch.run(means)?;
    session.printer.note(&format!(
        "generation {}: {}",
        switch.generation,
        moved_in_words(&switched)
    ));
    tell_rivals(session, &switched);
    Published::by(&switch)?.print(session, args.json.json)
}

/// The images among these that the run was asked for.
fn asked(stack: &StackRun, images: Vec<ImageTags>) -> impl Iterator<Item = ImageTags> {
    let asked = images.into_iter();
    asked.filter(|it| stack.asked.contains(&it.image))
}

/// The images that were not chosen, and where they go.
fn others(stack: &StackRun, images: &[ImageTags]) -> Vec<Other> {
    let known = &stack.loaded.stack;
    let left = images.iter().filter(|it| !stack.asked.contains(&it.image));
    let others = left.map(|it| Other {
        name: known[it.image].name.to_string(),
        registries: it
            .repositories
            .iter()
            .map(|it| it.registry.clone())
            .collect(),
    });
    others.collect()
}

/// The others stay in the generation as they are.
fn carry(
    made: &mut Made,
    others: &[Other],
    means: Means<'_>,
    stack: &StackRun,
    session: &Session,
) -> Result<Vec<String>, CommandError> {
    let known = &stack.loaded.stack;
    let order: Vec<String> = known.ids().map(|id| known[id].name.to_string()).collect();
    let carried = made.carry(means, &known.name, others, &order)?;
    if !carried.is_empty() {
        session.printer.note(&format!(
            "the generation has other images as its tags have them now: `{}`",
            carried.join("`, `")
        ));
    }
    Ok(carried)
}

/// A tag must be one before anything is built.
fn check_tags(tags: &[String]) -> Result<(), CommandError> {
    let any: Reference = "x".parse().map_err(PublishError::from)?;
    for tag in tags {
        if any.with_tag(tag).is_err() {
            return Err(CommandError::usage(format!("`{tag}` cannot be a tag"))
                .hint("tags are made of letters, digits, `.`, `_` and `-`, at most 128 of them"));
        }
    }
    Ok(())
}

/// Whether there can be anything to publish, and somewhere to publish it.
fn check_names(
    stack: &StackRun,
    images: &[ImageTags],
    facts: &Facts,
    instead: &Instead,
) -> Result<(), CommandError> {
    let mut chosen = images.iter();
    let chosen: Vec<_> = chosen
        .by_ref()
        .filter(|it| stack.asked.contains(&it.image))
        .collect();
    if chosen.is_empty() {
        return Err(CommandError::usage(
            "there is nothing to publish: all images are internal",
        ));
    }
    if chosen.iter().all(|it| it.repositories.is_empty()) {
        return Err(no_registry(&stack.loaded.stack));
    }
    let mut left_out = chosen.iter().flat_map(|it| &it.left_out);
    let is_request = matches!(facts.trigger, Trigger::PullRequest { .. });
    if let Some(out) = left_out.next()
        && !instead.tags.is_empty()
        && !is_request
    {
        return Err(CommandError::usage(out.reason.clone()));
    }
    if facts.reference == GitRef::Detached && instead.tags.is_empty() && !is_request {
        let text = "nobody says what this is to be published as: the stack is on no branch of a \
                    repository, and has no tag";
        return Err(CommandError::usage(text)
            .hint("name the tag with `--tag TAG`, or the branch with `--ref NAME`"));
    }
    Ok(())
}

fn tell_why_nothing(session: &Session, images: &[ImageTags]) {
    let mut reasons: Vec<&str> = Vec::new();
    for out in images.iter().flat_map(|it| &it.left_out) {
        if !reasons.contains(&out.reason.as_str()) {
            reasons.push(&out.reason);
        }
    }
    let reasons = match reasons.is_empty() {
        // A list that is empty says nothing.
        true => {
            let kinds = images.iter().find_map(|it| it.event);
            match kinds {
                Some(kind) => format!("the rules for `{kind}` give no tag"),
                None => "no rule gives a tag".to_owned(),
            }
        }
        false => reasons.join("; "),
    };
    session.printer.note(&format!(
        "built and tested, nothing is published: {reasons}"
    ));
}

/// What the ledgers are to say.
fn entries(
    means: Means<'_>,
    commit: Option<&str>,
    naming: &Naming,
    places: &[Place],
) -> Vec<LogEntry> {
    let generation = places.first().map(|it| it.generation.generation.clone());
    let generation = generation.unwrap_or_default();
    let goes_to = |stem: &Stem, place: &&Place| {
        let mut images = place.generation.images.iter();
        images.any(|image| stem.images.contains_key(&image.name()))
    };
    let entries = naming.stems.iter().map(|stem| LogEntry {
        tag: stem.tag.clone(),
        number: 0,
        generation: generation.clone(),
        action: Action::Publish,
        time: means.now,
        from: None,
        commit: commit.map(str::to_owned),
        registries: places
            .iter()
            .filter(|place| goes_to(stem, place))
            .map(|place| place.registry.clone())
            .collect(),
        images: stem.images.clone(),
    });
    entries.collect()
}

/// The files that are not as the commit has them; those that git does not know are nobody's.
fn changes(stack: &StackRun) -> Vec<String> {
    match &stack.loaded.commit {
        Some(commit) => git::modified(&stack.loaded.directory, &commit.hash),
        None => Vec::new(),
    }
}

fn warn_of_changes(session: &Session, changes: &[String]) {
    const TOLD_MAX: usize = 3;
    if changes.is_empty() {
        return;
    }
    let (files, are) = match changes.len() {
        1 => ("1 file".to_owned(), "is"),
        number => (count(number, "file"), "are"),
    };
    let mut names: Vec<_> = changes.iter().map(|name| sanitize::name(name)).collect();
    let more = names.len().saturating_sub(TOLD_MAX);
    names.truncate(TOLD_MAX);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    session.printer.warning(&format!(
        "{files} {are} not as the commit has it ({}{more}): others cannot build this generation \
         from it",
        names.join(", ")
    ));
}

/// Tells that it could not be written down what images were made of.
fn tell_unkept(session: &Session, errors: &[PublishError]) {
    for error in errors {
        let text = whole(error);
        session
            .printer
            .warning(&format!("`cairn why --against` will know nothing: {text}"));
    }
}

/// Tells what sending took.
fn tell_sent(session: &Session, pushed: &Pushed) {
    session.printer.note(&format!(
        "{} sent, {} from other repositories, {} there: {:.1} MB",
        pushed.sent,
        pushed.mounted,
        pushed.there,
        pushed.bytes as f64 / 1e6
    ));
}

/// The registries that have everything: all of them, or with `--best-effort` those that did.
fn complete(
    sending: Sending,
    best_effort: bool,
    session: &Session,
) -> Result<Vec<Place>, CommandError> {
    if sending.complete.is_empty() {
        return Err(PublishError::Unsent(sending.failed).into());
    }
    if sending.failed.is_empty() {
        return Ok(sending.complete);
    }
    if !best_effort {
        let told = CommandError::from(PublishError::Unsent(sending.failed));
        return Err(match told.kind {
            Kind::Environment => {
                told.hint("`--best-effort` goes on without the registries that fail")
            }
            _ => told,
        });
    }
    for (name, error) in &sending.failed {
        session
            .printer
            .warning(&format!("{name} is left as it was: {error}"));
    }
    session.printer.warning(&format!(
        "the generation is published on {} of {}",
        sending.complete.len(),
        count(sending.complete.len() + sending.failed.len(), "registry")
    ));
    Ok(sending.complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_checked_before_anything_is_built() {
        let check = |tag: &str| check_tags(&[tag.to_owned()]);
        assert!(check("2026.3-main").is_ok() && check(&"t".repeat(128)).is_ok());
        assert!(check("a/b").is_err() && check("").is_err() && check(&"t".repeat(129)).is_err());
    }
}
