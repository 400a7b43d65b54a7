//! `cairn publish`: all images of a stack into its registries, their tags moved together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cairn_build::image::push::Parcel;
use cairn_build::resolve::whole;
use cairn_oci::{Compression, Reference};
use cairn_registry::Watch;
use cairn_spec::tags::{Facts, GitRef, ImageTags, Instead, Trigger, publication};
use cairn_stack::git;
use cairn_stack::made_of::MadeOf;
use cairn_stack::publish::{
    Action, Evidence, Item, LogEntry, Made, Means, Naming, Other, Place, PublishError, Sending,
    Stem, Switch, Tested, keep_made_of, send, sign,
};
use clap::Args;

use super::generations::{
    Published, RegistryOption, finish_pending, means, moved_in_words, no_registry, tell_pending,
    tell_plan, tell_rivals,
};
use super::options::{BuildOptions, EventOption, JsonOption, ProgressOption, StackOption};
use super::signatures::signing_key;
use super::tags::clashes;
use super::up::{Done, RecordsOption, Tests};
use crate::error::{CommandError, Kind};
use crate::progress::count;
use crate::session::Session;
use crate::stack_run::StackRun;

/// Build, test and publish images of a stack: all of them on all registries, or nothing
///
/// Names and tags are those that `cairn tags` prints. Everything goes to every registry by digest
/// first. Then the tags of all images move together; where one cannot be moved, all go back. A
/// publish that was killed is ended by the next one. Images with `internal = true` are left out,
/// nothing is published unless all tests passed, and a pull request publishes nothing.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn publish                             by the `[tags]` of the spec
  cairn publish --dry-run                   say which tags would move
  cairn publish --tag 2026.3-main
  cairn publish --registry ghcr.io/lab --registry docker.io/lab --tag latest --tag 2026.3")]
pub struct PublishArgs {
    /// Images of the stack; the others stay in the generation as the tags have them now
    /// [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    registry: RegistryOption,
    /// Make this tag mean the generation, with the suffixes of variants [default: those that the
    /// `[tags]` of the spec give for the event] (can be repeated)
    #[arg(long, short, value_name = "TAG")]
    tag: Vec<String>,
    #[command(flatten)]
    event: EventOption,
    /// Go on without registries that fail
    #[arg(long)]
    best_effort: bool,
    /// Sign every image with this private key before the tags move: PEM, on P-256 or Ed25519,
    /// without a password
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Build and test, and say which tags would move
    #[arg(long)]
    dry_run: bool,
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
    check_tags(&args.tag)?;
    let key = args.sign_key.as_deref().map(signing_key).transpose()?;
    let instead = Instead {
        registries: args.registry.named()?,
        tags: args.tag.clone(),
    };
    let (images, options) = (&args.images, &args.options);
    let mut stack = StackRun::open_for(session, &args.stack, options, images, &args.event)?;
    // Whoever asks later what is different needs to know what these were made of.
    stack.tells_made_of = true;
    let event = args.event.detect(session, &stack.loaded);
    // What can be wrong with the names is said before anything is built.
    let first = publication(&stack.loaded.stack, &event.facts, &instead, &|_| None);
    clashes(&stack.loaded, &first)?;
    check_names(&stack, &first.images, &event.facts, &instead)?;
    let choice = args.progress.progress;
    let done = Done::of(&stack, "publish", Tests::Run, choice, session)?;
    let content = |id| {
        let name = stack.loaded.stack[id].name.to_string();
        let record = done.run.record(&name)?;
        Some(record.content().to_string())
    };
    let named = publication(&stack.loaded.stack, &event.facts, &instead, &content);
    let references = named.images.iter().map(|it| {
        let name = stack.loaded.stack[it.image].name.to_string();
        (name, it.names().collect())
    });
    done.keep_records(&args.records, &stack, session, &references.collect())?;
    done.verdict(session, choice)?;
    clashes(&stack.loaded, &named)?;
    let mut named = named.images;
    let others = others(&stack, &named);
    named.retain(|it| stack.selected.contains(&it.image) && content(it.image).is_some());
    if named.iter().all(|it| it.tags.is_empty()) {
        tell_why_nothing(session, &named);
        return Published::NOTHING.print(session, args.json.json);
    }
    let naming = Naming::of(&stack.loaded.stack, named.iter());
    let items = items(&stack, &done, &named, args.compression)?;
    let watch = Watch {
        is_stopped: &|| stack.means.cancel.is_cancelled(),
        moved: &|_| {},
    };
    let means = means(&stack.means.store, &stack.means.registry, watch);
    let name = &stack.loaded.stack.name;
    let places = Place::of(name, &items, &naming.targets);
    let changes = changes(&stack);
    let commit = event.facts.commit.clone().map(|commit| match changes {
        0 => commit,
        _ => commit + "-dirty",
    });
    let mut made = Made {
        entries: entries(means, commit.as_deref(), &naming, &places),
        evidence: evidence(&done, &places),
        places,
    };
    if args.dry_run {
        tell_pending(means, name, session)?;
        carry(&mut made, &others, means, &stack, session)?;
        let switch = Switch::plan(means, name, made.places, made.entries, made.evidence)?;
        return tell_plan(session, &switch, args.json.json);
    }
    warn_of_changes(session, changes);
    warn_of_platforms(session, &stack, &named);
    let _turn = finish_pending(means, name, session)?;
    let carried = carry(&mut made, &others, means, &stack, session)?;
    let sending = send(means, &items, &made.places)?;
    made.places = complete(sending, args.best_effort, session)?;
    // Of images that are carried along it is known since they were sent.
    let made_of: BTreeMap<String, MadeOf> = items
        .iter()
        .filter_map(|item| Some((item.name(), done.run.made_of.get(&item.name())?.clone())))
        .collect();
    for error in keep_made_of(means, &made.places, &made_of) {
        let text = whole(&error);
        session
            .printer
            .warning(&format!("`cairn why --against` will know nothing: {text}"));
    }
    made.fetch_carried(means, &carried)?;
    if let Some(key) = &key {
        let new = sign(means, &made.places, key)?;
        let name = key.public().name();
        session.printer.note(&format!(
            "{} by the key {name}",
            count(new, "new signature")
        ));
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

/// The images that were not chosen, and where they go.
fn others(stack: &StackRun, images: &[ImageTags]) -> Vec<Other> {
    let known = &stack.loaded.stack;
    let left = images
        .iter()
        .filter(|it| !stack.selected.contains(&it.image));
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
        .filter(|it| stack.selected.contains(&it.image))
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

/// The images to be published, packed.
fn items(
    stack: &StackRun,
    done: &Done,
    named: &[ImageTags],
    compression: Compression,
) -> Result<Vec<Item>, CommandError> {
    let mut items = Vec::new();
    for it in named.iter().filter(|it| !it.tags.is_empty()) {
        let name = &stack.loaded.stack[it.image].name;
        let Some(record) = done.run.record(&name.to_string()) else {
            continue;
        };
        items.push(Item {
            image: name.image.clone(),
            variant: name.variant.clone(),
            platforms: vec![record.platform.clone()],
            parcel: Parcel::pack(&stack.means.store, record, compression)?,
        });
    }
    stack.means.make_durable()?;
    Ok(items)
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

/// What the images passed, as far as they have tests.
fn evidence(done: &Done, places: &[Place]) -> Option<Evidence> {
    let generation = &places.first()?.generation;
    let mut tested = done.tested();
    tested.retain(|image, tested| {
        let mut published = places.iter().flat_map(|place| &place.generation.images);
        *tested != Tested::default() && published.any(|it| it.name() == *image)
    });
    (!tested.is_empty()).then(|| Evidence {
        generation: generation.generation.clone(),
        images: tested,
    })
}

/// How many files are not as the commit has them; those that git does not know are nobody's.
fn changes(stack: &StackRun) -> usize {
    match &stack.loaded.commit {
        Some(commit) => git::modified(&stack.loaded.directory, &commit.hash).len(),
        None => 0,
    }
}

/// A tag means one manifest: that of this run's platform.
fn warn_of_platforms(session: &Session, stack: &StackRun, named: &[ImageTags]) {
    let here = &stack.loaded.platform;
    let mut others: Vec<String> = Vec::new();
    for it in named.iter().filter(|it| !it.tags.is_empty()) {
        let Some(kind) = it.event else { continue };
        for platform in stack.loaded.stack[it.image].published_for(kind) {
            let platform = platform.to_string();
            if platform != here.to_string() && !others.contains(&platform) {
                others.push(platform);
            }
        }
    }
    if !others.is_empty() {
        session.printer.warning(&format!(
            "the spec names {}, too: this run publishes {here} only, and the tags mean nothing \
             else then",
            others.join(", ")
        ));
    }
}

fn warn_of_changes(session: &Session, changes: usize) {
    if changes > 0 {
        let (files, are) = match changes {
            1 => ("1 file".to_owned(), "is"),
            _ => (count(changes, "file"), "are"),
        };
        session.printer.warning(&format!(
            "{files} {are} not as the commit has it: others cannot build this generation from it"
        ));
    }
}

/// The registries that have everything: all of them, or with `--best-effort` those that did.
fn complete(
    sending: Sending,
    best_effort: bool,
    session: &Session,
) -> Result<Vec<Place>, CommandError> {
    let pushed = &sending.pushed;
    if sending.complete.is_empty() {
        return Err(PublishError::Unsent(sending.failed).into());
    }
    session.printer.note(&format!(
        "{} sent, {} from other repositories, {} there: {:.1} MB",
        pushed.sent,
        pushed.mounted,
        pushed.there,
        pushed.bytes as f64 / 1e6
    ));
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
