//! `cairn publish`: all images of a stack into its registries, their tags moved together.

use cairn_build::image::push::Parcel;
use cairn_oci::{Compression, Reference};
use cairn_registry::Watch;
use cairn_stack::publish::{
    Action, Generation, GenerationImage, Item, LogEntry, PublishError, Sending, Switch, Target,
    send,
};
use clap::Args;

use super::generations::{
    RegistryOption, finish_pending, means, moved_in_words, print, published, targets, tell_plan,
};
use super::options::{BuildOptions, JsonOption, ProgressOption, StackOption};
use super::up::{Done, Tests};
use crate::environment::Environment;
use crate::error::{CommandError, Kind};
use crate::progress::count;
use crate::session::Session;
use crate::stack_run::StackRun;

/// Build, test and publish images of a stack: all of them on all registries, or nothing
///
/// Everything goes to every registry by digest first. Then the tags of all images move together;
/// where one cannot be moved, all go back. A publish that was killed is ended by the next one.
/// Images with `internal = true` are left out, and nothing is published unless all tests passed.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn publish --tag 2026.3-main
  cairn publish --registry ghcr.io/lab --registry docker.io/lab --tag latest --tag 2026.3
  cairn publish --tag try --dry-run         say which tags would move")]
pub struct PublishArgs {
    /// Images of the stack [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    registry: RegistryOption,
    /// Make this tag mean the generation (can be repeated)
    #[arg(long, short, value_name = "TAG", required = true)]
    tag: Vec<String>,
    /// Go on without registries that fail
    #[arg(long)]
    best_effort: bool,
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
    progress: ProgressOption,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &PublishArgs, session: &mut Session) -> Result<(), CommandError> {
    check_tags(&args.tag)?;
    let stack = StackRun::open(session, &args.stack, &args.options, &args.images)?;
    let targets = targets(&stack.loaded.stack, &args.registry)?;
    let choice = args.progress.progress;
    let done = Done::of(&stack, "publish", Tests::Run, choice, session)?;
    done.verdict(session, choice)?;
    let items = items(&stack, &done, args.compression)?;
    let generation = generation(&stack, &items);
    let watch = Watch {
        is_stopped: &|| stack.means.cancel.is_cancelled(),
        moved: &|_| {},
    };
    let means = means(&stack.means.store, &stack.means.registry, watch);
    let entries = args.tag.iter().map(|tag| {
        let entry = LogEntry {
            generation: generation.generation.clone(),
            action: Action::Publish,
            time: means.now,
            from: None,
        };
        (tag.clone(), entry)
    });
    let entries: Vec<(String, LogEntry)> = entries.collect();
    let is_request = is_pull_request(&session.settings.environment);
    if args.dry_run || is_request {
        if is_request {
            session.printer.note("a pull request publishes nothing");
        }
        let switch = Switch::plan(means, generation, &targets, entries)?;
        return tell_plan(session, &switch);
    }
    let _turn = finish_pending(means, &generation.stack, session)?;
    let sending = send(means, &items, &targets)?;
    let targets = complete(sending, args.best_effort, session)?;
    let switch = Switch::plan(means, generation, &targets, entries)?;
    let switched = switch.run(means)?;
    session.printer.note(&format!(
        "generation {}: {}",
        switch.generation.generation,
        moved_in_words(switched)
    ));
    let tags: Vec<&str> = args.tag.iter().map(String::as_str).collect();
    let published = published(&switch.generation, &targets, &tags)?;
    print(session, args.json.json, &published)
}

/// A tag must be one before anything is built.
fn check_tags(tags: &[String]) -> Result<(), CommandError> {
    // The ledger keeps what tags mean under tags of its own.
    const LENGTH_MAX: usize = 120;
    let any: Reference = "x".parse().map_err(PublishError::from)?;
    for tag in tags {
        any.with_tag(tag).map_err(PublishError::from)?;
        if tag.len() > LENGTH_MAX {
            let text = format!("the tag `{tag}` is longer than {LENGTH_MAX} characters");
            return Err(CommandError::usage(text));
        }
    }
    Ok(())
}

/// The images to be published, packed.
fn items(
    stack: &StackRun,
    done: &Done,
    compression: Compression,
) -> Result<Vec<Item>, CommandError> {
    let mut items = Vec::new();
    for &id in &stack.selected {
        let image = &stack.loaded.stack[id];
        let Some(record) = done.run.record(&image.name.to_string()) else {
            continue;
        };
        if image.internal {
            continue;
        }
        let parcel = Parcel::pack(&stack.means.store, record, compression)?;
        items.push(Item {
            image: GenerationImage {
                image: image.name.image.clone(),
                variant: image.name.variant.clone(),
                platform: record.platform.clone(),
                repository: image.name.dashed(),
                manifest: parcel.manifest.descriptor.clone(),
            },
            parcel,
        });
    }
    stack.means.make_durable()?;
    match items.is_empty() {
        true => Err(CommandError::usage(
            "there is nothing to publish: all images are internal",
        )),
        false => Ok(items),
    }
}

fn generation(stack: &StackRun, items: &[Item]) -> Generation {
    let loaded = &stack.loaded;
    let commit = loaded.commit.as_ref().map(|commit| commit.hash.clone());
    let images = items.iter().map(|item| item.image.clone()).collect();
    Generation::new(&loaded.stack.name, commit, images)
}

/// The registries that have everything: all of them, or with `--best-effort` those that did.
fn complete(
    sending: Sending,
    best_effort: bool,
    session: &Session,
) -> Result<Vec<Target>, CommandError> {
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
            .replace("registrys", "registries")
    ));
    Ok(sending.complete)
}

/// Whether a forge runs this for a pull request, whose author may be anybody.
fn is_pull_request(environment: &Environment) -> bool {
    let event = environment.text("GITHUB_EVENT_NAME").unwrap_or_default();
    event.starts_with("pull_request") || environment.text("CI_MERGE_REQUEST_IID").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_requests_are_known_by_their_forge() {
        let is = |name: &str, value: &str| is_pull_request(&Environment::from([(name, value)]));
        assert!(is("GITHUB_EVENT_NAME", "pull_request"));
        assert!(is("GITHUB_EVENT_NAME", "pull_request_target"));
        assert!(is("CI_MERGE_REQUEST_IID", "7"));
        assert!(!is("GITHUB_EVENT_NAME", "push"));
    }

    #[test]
    fn tags_are_checked_before_anything_is_built() {
        let check = |tag: &str| check_tags(&[tag.to_owned()]);
        assert!(check("2026.3-main").is_ok());
        assert!(check("a/b").is_err() && check("").is_err() && check(&"t".repeat(121)).is_err());
    }
}
