//! What `publish`, `promote`, `rollback`, `log` and `yank` share: the stack's registries, the
//! means, and what is told of a switch.

use cairn_oci::rfc3339;
use cairn_registry::{RegistryClient, Watch};
use cairn_sandbox::{Cancel, interrupt};
use cairn_spec::Stack;
use cairn_stack::publish::{
    Generation, Means, Promotion, PublishError, Switch, Switched, Target, pending, turn,
};
use cairn_store::{Store, WorkLock};
use clap::Args;
use serde::Serialize;

use super::options::StackOption;
use crate::error::{CommandError, Kind};
use crate::means::fetch_options;
use crate::progress::count;
use crate::registries;
use crate::session::{Session, host_platform};

/// Which registries.
#[derive(Debug, Clone, Args)]
pub struct RegistryOption {
    /// Registry and namespace, as in `ghcr.io/lab` [default: `registries` of the spec] (can be
    /// repeated)
    #[arg(long, value_name = "HOST/PATH")]
    pub registry: Vec<String>,
}

/// One image of a generation at one registry under one tag, as JSON.
#[derive(Debug, Serialize)]
pub struct PublishedImage {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    platform: String,
    reference: String,
    digest: String,
}

/// A generation in the registries, as JSON.
#[derive(Debug, Serialize)]
pub struct Published {
    generation: String,
    images: Vec<PublishedImage>,
}

/// What commands about generations need that build nothing.
pub struct Workplace {
    /// The name of the stack.
    pub stack: String,
    /// Where its images are.
    pub targets: Vec<Target>,
    store: Store,
    client: RegistryClient,
    cancel: Cancel,
}

impl Workplace {
    /// Reads the stack and opens the store. Conditions as for [`Session::open_store`].
    pub fn open(
        session: &Session,
        stack: &StackOption,
        registry: &RegistryOption,
    ) -> Result<Self, CommandError> {
        let loaded = stack.load(session, &host_platform())?;
        let targets = targets(&loaded.stack, registry)?;
        let client = registries::client(&session.settings.environment, fetch_options(session))?;
        let store = session.open_store()?;
        let cancel = Cancel::new();
        interrupt::cancel_on_signals(&cancel)?;
        Ok(Self {
            stack: loaded.stack.name,
            targets,
            store,
            client,
            cancel,
        })
    }

    /// Does something with the means of publishing, ending first what was begun before.
    pub fn with<T>(
        &self,
        session: &Session,
        work: impl FnOnce(Means<'_>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let watch = Watch {
            is_stopped: &|| self.cancel.is_cancelled(),
            moved: &|_| {},
        };
        let means = means(&self.store, &self.client, watch);
        let _turn = finish_pending(means, &self.stack, session)?;
        work(means)
    }
}

/// The means of publishing now.
pub fn means<'a>(store: &'a Store, client: &'a RegistryClient, watch: Watch<'a>) -> Means<'a> {
    Means {
        store,
        client,
        watch,
        now: jiff::Timestamp::now().as_second(),
    }
}

/// The registries to use: those of the command line, else those of the spec.
pub fn targets(stack: &Stack, option: &RegistryOption) -> Result<Vec<Target>, CommandError> {
    let named = match option.registry.as_slice() {
        [] => &stack.registries,
        named => named,
    };
    if named.is_empty() {
        let text = format!("the stack `{}` has no registry", stack.name);
        return Err(CommandError::usage(text).hint(
            "name one with `--registry HOST/PATH`, or with `registries = [\"HOST/PATH\"]` below \
             `[stack]` in cairn.toml",
        ));
    }
    let mut targets: Vec<Target> = Vec::new();
    for text in named {
        let target = Target(text.trim_end_matches('/').to_owned());
        let host = target.host().map_err(CommandError::from)?;
        if !target.0.starts_with(&format!("{host}/")) && target.0 != host {
            return Err(CommandError::usage(format!("`{text}` names no registry"))
                .hint(format!("with its host: `{host}/{text}`")));
        }
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// Ends a switch that a process did not live to end; gives the right to begin another one.
pub fn finish_pending(
    means: Means<'_>,
    stack: &str,
    session: &Session,
) -> Result<WorkLock, CommandError> {
    let turn = turn(means, stack)?.ok_or_else(CommandError::interrupted)?;
    let Some(switch) = pending(means.store, stack)? else {
        return Ok(turn);
    };
    let switched = switch.run(means)?;
    session.printer.note(&format!(
        "generation {} was being published when Cairn was stopped: {}",
        switch.generation.generation,
        moved_in_words(switched)
    ));
    Ok(turn)
}

/// What a switch did, in words.
pub fn moved_in_words(switched: Switched) -> String {
    if switched.moved == 0 {
        return "all tags mean it already".to_owned();
    }
    let milliseconds = switched.window.as_millis();
    format!(
        "{} moved within {milliseconds} ms",
        count(switched.moved, "tag")
    )
}

/// What the registries have after a switch.
pub fn published(
    generation: &Generation,
    targets: &[Target],
    tags: &[&str],
) -> Result<Published, CommandError> {
    let mut images = Vec::new();
    for image in &generation.images {
        for target in targets {
            for tag in tags {
                let reference = target
                    .repository(&image.repository)
                    .and_then(|repository| Ok(repository.with_tag(tag)?))?;
                images.push(PublishedImage {
                    image: image.image.clone(),
                    variant: image.variant.clone(),
                    platform: image.platform.to_string(),
                    reference: reference.to_string(),
                    digest: image.manifest.digest.to_string(),
                });
            }
        }
    }
    Ok(Published {
        generation: generation.generation.clone(),
        images,
    })
}

/// Prints what the registries have: JSON, or one line for each reference.
pub fn print(session: &Session, json: bool, published: &Published) -> Result<(), CommandError> {
    if json {
        return Ok(session.printer.json(published)?);
    }
    let lines: String = published
        .images
        .iter()
        .map(|image| format!("{} {}\n", image.reference, image.digest))
        .collect();
    Ok(session.printer.data(&lines)?)
}

/// Tells what a switch would do.
pub fn tell_plan(session: &Session, switch: &Switch) -> Result<(), CommandError> {
    let mut lines = String::new();
    for one in &switch.moves {
        let from = one
            .from
            .as_ref()
            .map_or("nothing", |from| from.digest.short());
        let to = one.to.digest.short();
        lines.push_str(&format!("{}: {from} -> {to}\n", one.reference));
    }
    let generation = &switch.generation.generation;
    match switch.moves.len() {
        0 => session
            .printer
            .note(&format!("all tags mean generation {generation} already")),
        number => session.printer.note(&format!(
            "{} would be moved to generation {generation}",
            count(number, "tag")
        )),
    }
    Ok(session.printer.data(&lines)?)
}

/// Carries out a promotion or a rollback, or tells what it would do.
pub fn carry_out(
    session: &Session,
    means: Means<'_>,
    promotion: &Promotion,
    targets: &[Target],
    is_dry: bool,
    json: bool,
) -> Result<(), CommandError> {
    if is_dry {
        return tell_plan(session, &promotion.switch);
    }
    let switched = promotion.switch.run(means)?;
    let generation = &promotion.switch.generation;
    let before = match &promotion.before {
        Some(before) if *before != generation.generation => format!(", before {before}"),
        _ => String::new(),
    };
    session.printer.note(&format!(
        "`{}` means generation {}{before}: {}",
        promotion.tag,
        generation.generation,
        moved_in_words(switched)
    ));
    let published = published(generation, targets, &[&promotion.tag])?;
    print(session, json, &published)
}

/// A time as people read it.
pub fn time(seconds: i64) -> String {
    rfc3339(seconds)
}

impl From<PublishError> for CommandError {
    fn from(error: PublishError) -> Self {
        if let PublishError::Store(error) = error {
            return error.into();
        }
        let kind = match &error {
            PublishError::Refused(_) | PublishError::Reference(_) => Kind::Usage,
            _ => Kind::Environment,
        };
        if error
            .registry()
            .is_some_and(cairn_registry::RegistryError::is_cancelled)
        {
            return Self::interrupted();
        }
        let mut told = Self::from_error(kind, &error);
        if let PublishError::Unsent(failed) = &error {
            told.messages
                .extend(failed.iter().map(|(_, error)| whole(error)));
        }
        if let PublishError::Torn { .. } | PublishError::Ledger { .. } = &error {
            told =
                told.hint("do the same again when the registry is there: it ends what was begun");
        }
        let hints = error.registry().map(cairn_registry::RegistryError::hints);
        hints.unwrap_or_default().into_iter().fold(told, Self::hint)
    }
}

/// An error with its causes on one line, each told once.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
