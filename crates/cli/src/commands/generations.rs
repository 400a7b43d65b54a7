//! What `publish`, `promote`, `rollback`, `log` and `yank` share: the stack's registries, the
//! means, and what is told of a switch.

use cairn_build::resolve::whole;
use cairn_oci::{Platform, redact, rfc3339};
use cairn_registry::{RegistryClient, Watch};
use cairn_sandbox::{Cancel, interrupt};
use cairn_spec::{Repository, Stack};
use cairn_stack::publish::{
    LogEntry, Means, Part, Place, Promotion, PublishError, Resumed, Switch, Switched, forget_done,
    pending, registries, turn, untold,
};
use cairn_store::{Store, WorkLock};
use clap::Args;
use serde::Serialize;
use tempfile::TempDir;

use super::options::StackOption;
use crate::error::{CommandError, Kind};
use crate::means::fetch_options;
use crate::progress::count;
use crate::registries::client;
use crate::session::{Session, host_platform};

/// Which registries.
#[derive(Debug, Clone, Args)]
pub struct RegistryOption {
    /// Registry and namespace, as in `ghcr.io/lab` [default: `registries` of the spec] (can be
    /// repeated)
    #[arg(long, value_name = "HOST/PATH")]
    pub registry: Vec<String>,
}

impl RegistryOption {
    /// The registries that are named; none if the spec is to say.
    pub fn named(&self) -> Result<Vec<String>, CommandError> {
        let mut named: Vec<String> = Vec::new();
        for text in &self.registry {
            let registry = text.trim_end_matches('/').to_owned();
            let host = host(&registry)?;
            if !registry.starts_with(&format!("{host}/")) && registry != host {
                let text = redact(text);
                return Err(CommandError::usage(format!("`{text}` names no registry"))
                    .hint(format!("with its host: `{host}/{text}`")));
            }
            if !named.contains(&registry) {
                named.push(registry);
            }
        }
        Ok(named)
    }

    /// The registries to use: those of the command line, else those of the spec.
    pub fn or_of(&self, stack: &Stack) -> Result<Vec<String>, CommandError> {
        let named = match self.named()? {
            named if named.is_empty() => registries(stack),
            named => named,
        };
        match named.is_empty() {
            true => Err(no_registry(stack)),
            false => Ok(named),
        }
    }
}

/// The registry's host, as it stands in references.
fn host(registry: &str) -> Result<String, CommandError> {
    let any = Repository {
        registry: registry.to_owned(),
        name: "x".to_owned(),
    };
    let any: cairn_oci::Reference = any.to_string().parse().map_err(PublishError::from)?;
    Ok(any.registry().to_owned())
}

pub fn no_registry(stack: &Stack) -> CommandError {
    CommandError::usage(format!("the stack `{}` has no registry", stack.name)).hint(
        "name one with `--registry HOST/PATH`, or with `registries = [\"HOST/PATH\"]` below \
         `[stack]` in cairn.toml",
    )
}

/// One image of a generation at one registry under one tag, as JSON.
#[derive(Debug, Serialize)]
pub struct PublishedImage {
    image: String,
    variant: Option<String>,
    platform: String,
    reference: String,
    digest: String,
    /// What the reference leads to: an index, where there are several platforms.
    #[serde(skip)]
    root: String,
}

/// An image for a platform that nobody has brought yet, as JSON.
#[derive(Debug, Serialize)]
pub struct Missing {
    image: String,
    platform: String,
}

/// A generation in the registries, or a part of one, as JSON.
#[derive(Debug, Default, Serialize)]
pub struct Published {
    generation: Option<String>,
    /// What it is a part of, where no tag was moved because others are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    part_of: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting_for: Vec<Missing>,
    images: Vec<PublishedImage>,
}

impl Published {
    /// What the registries have after a switch.
    pub fn by(switch: &Switch) -> Result<Self, CommandError> {
        let mut images = Vec::new();
        for tagged in switch.tagged()? {
            let image = tagged.image;
            for platform in &image.platforms {
                images.push(PublishedImage {
                    image: image.image.clone(),
                    variant: image.variant.clone(),
                    platform: platform.to_string(),
                    reference: tagged.reference.to_string(),
                    digest: image.manifest_for(platform).to_string(),
                    root: image.manifest.digest.to_string(),
                });
            }
        }
        Ok(Self {
            generation: Some(switch.generation.clone()),
            images,
            ..Self::default()
        })
    }

    /// What the registries have of a part, by digest.
    pub fn part(part: &Part, places: &[Place], missing: &[(String, Platform)]) -> Self {
        let mut images = Vec::new();
        for place in places {
            for image in &place.generation.images {
                let of_it = part.images.iter().filter(|it| it.name() == image.name());
                images.extend(of_it.map(|it| PublishedImage {
                    image: it.image.clone(),
                    variant: it.variant.clone(),
                    platform: it.platform.to_string(),
                    reference: format!(
                        "{}/{}@{}",
                        place.registry, image.repository, it.manifest.digest
                    ),
                    digest: it.manifest.digest.to_string(),
                    root: it.manifest.digest.to_string(),
                }));
            }
        }
        let missing = missing.iter().map(|(image, platform)| Missing {
            image: image.clone(),
            platform: platform.to_string(),
        });
        Self {
            generation: None,
            part_of: Some(part.of.clone()),
            waiting_for: missing.collect(),
            images,
        }
    }

    /// Prints JSON, or one line for each reference.
    pub fn print(&self, session: &Session, json: bool) -> Result<(), CommandError> {
        if json {
            return Ok(session.printer.json(self)?);
        }
        let mut lines: Vec<String> = Vec::new();
        for image in &self.images {
            let line = match image.reference.contains('@') {
                true => format!("{}\n", image.reference),
                false => format!("{} {}\n", image.reference, image.root),
            };
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Ok(session.printer.data(&lines.concat())?)
    }
}

/// What commands about generations need that build nothing.
pub struct Workplace {
    /// The stack.
    pub stack: Stack,
    /// Where its images are.
    pub registries: Vec<String>,
    store: Store,
    client: RegistryClient,
    cancel: Cancel,
    /// A store for a command that only reads where there is none.
    _no_store_yet: Option<TempDir>,
}

/// A registry that failed before anything was done there, or elsewhere.
fn unchanged(error: CommandError) -> CommandError {
    match error.kind {
        Kind::Environment => error.hint("nothing was changed"),
        _ => error,
    }
}

impl Workplace {
    /// To change what registries have, or only to read. Conditions as for [`Workplace::open`].
    pub fn open_unless(
        is_dry: bool,
        session: &Session,
        stack: &StackOption,
        registry: &RegistryOption,
    ) -> Result<Self, CommandError> {
        match is_dry {
            true => Self::look(session, stack, registry),
            false => Self::open(session, stack, registry),
        }
    }

    /// For a command that changes what registries have. Conditions as for
    /// [`Session::open_store`].
    pub fn open(
        session: &Session,
        stack: &StackOption,
        registry: &RegistryOption,
    ) -> Result<Self, CommandError> {
        let open = || Ok((session.open_store()?, None));
        Self::over(open, session, stack, registry)
    }

    /// For a command that only reads: no store is made. Conditions as for [`Workplace::open`].
    pub fn look(
        session: &Session,
        stack: &StackOption,
        registry: &RegistryOption,
    ) -> Result<Self, CommandError> {
        Self::over(|| session.store_or_an_empty_one(), session, stack, registry)
    }

    fn over(
        open: impl FnOnce() -> Result<(Store, Option<TempDir>), CommandError>,
        session: &Session,
        stack: &StackOption,
        registry: &RegistryOption,
    ) -> Result<Self, CommandError> {
        let stack = stack.load(session, &host_platform())?.stack;
        let registries = registry.or_of(&stack)?;
        let client = client(&session.settings.environment, fetch_options(session))?;
        let (store, no_store_yet) = open()?;
        let cancel = Cancel::new();
        interrupt::cancel_on_signals(&cancel)?;
        Ok(Self {
            stack,
            registries,
            store,
            client,
            cancel,
            _no_store_yet: no_store_yet,
        })
    }

    /// Changes something, ending first what was begun before.
    pub fn change<T>(
        &self,
        session: &Session,
        work: impl FnOnce(Means<'_>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        self.with(|means| {
            let _turn = finish_pending(means, &self.stack.name, session)?;
            work(means)
        })
    }

    /// Reads something; what was begun before stays as it is, and that is told.
    pub fn read<T>(
        &self,
        session: &Session,
        work: impl FnOnce(Means<'_>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        self.with(|means| {
            tell_pending(means, &self.stack.name, session)?;
            work(means)
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(Means<'_>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let watch = Watch {
            is_stopped: &|| self.cancel.is_cancelled(),
            moved: &|_| {},
        };
        work(means(&self.store, &self.client, watch))
    }

    /// Carries a promotion or a rollback out, or tells what it would do. One that was stopped on
    /// its way, by what `is_it` says, is ended and not done twice.
    pub fn carry_out(
        &self,
        session: &Session,
        is_dry: bool,
        json: bool,
        is_it: impl Fn(&LogEntry) -> bool,
        plan: impl FnOnce(Means<'_>) -> Result<Promotion, CommandError>,
    ) -> Result<(), CommandError> {
        if is_dry {
            return self.read(session, |means| {
                tell_plan(session, &plan(means)?.switch, json)
            });
        }
        self.with(|means| {
            let name = &self.stack.name;
            let _turn = finish_begun(means, name, session)?;
            let done = untold(means.store, name)?;
            if let Some(done) = done.filter(|it| it.entries.iter().any(is_it))
                && done.still_holds(means)?
            {
                session.printer.note(&format!(
                    "this was done before Cairn was stopped, and not told: nothing more is done; \
                     generation {}",
                    done.generation
                ));
                Published::by(&done)?.print(session, json)?;
                return Ok(forget_done(means.store, name)?);
            }
            forget_done(means.store, name)?;
            let promotion = plan(means).map_err(unchanged)?;
            let switched = promotion.switch.run(means)?;
            let generation = &promotion.switch.generation;
            let before = match &promotion.before {
                Some(before) if before != generation => format!(", before {before}"),
                _ => String::new(),
            };
            session.printer.note(&format!(
                "`{}` means generation {generation}{before}: {}",
                promotion.tag,
                moved_in_words(&switched)
            ));
            tell_rivals(session, &switched);
            Published::by(&promotion.switch)?.print(session, json)?;
            Ok(forget_done(means.store, name)?)
        })
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

/// Ends a switch that a process did not live to end, and gives the right to begin another one.
pub fn finish_pending(
    means: Means<'_>,
    stack: &str,
    session: &Session,
) -> Result<WorkLock, CommandError> {
    let turn = finish_begun(means, stack, session)?;
    // Somebody who does something else does not wait for an answer.
    forget_done(means.store, stack)?;
    Ok(turn)
}

/// As [`finish_pending`], but what was done and not told is still there.
fn finish_begun(
    means: Means<'_>,
    stack: &str,
    session: &Session,
) -> Result<WorkLock, CommandError> {
    let turn = turn(means, stack)?.ok_or_else(CommandError::interrupted)?;
    let Some(switch) = pending(means.store, stack)? else {
        return Ok(turn);
    };
    let Resumed {
        generation,
        switched,
        passed_over,
    } = switch.resume(means)?;
    let mut text = format!(
        "generation {generation} was being published when Cairn was stopped: {}",
        moved_in_words(&switched)
    );
    if !passed_over.is_empty() {
        let tags = passed_over.join("`, `");
        text.push_str(&format!(
            "; `{tags}` was moved by somebody else since, and stays"
        ));
    }
    session.printer.note(&text);
    tell_rivals(session, &switched);
    Ok(turn)
}

/// Tells of a switch that a process did not live to end.
pub fn tell_pending(means: Means<'_>, stack: &str, session: &Session) -> Result<(), CommandError> {
    if let Some(switch) = pending(means.store, stack)? {
        session.printer.note(&format!(
            "generation {} was being published when Cairn was stopped; the next `publish`, \
             `promote` or `rollback` ends that first",
            switch.generation
        ));
    }
    Ok(())
}

/// What a switch did, in words.
pub fn moved_in_words(switched: &Switched) -> String {
    if switched.moved == 0 {
        return "all tags mean it already".to_owned();
    }
    let milliseconds = switched.window.as_millis();
    format!(
        "{} moved within {milliseconds} ms",
        count(switched.moved, "tag")
    )
}

/// Tells which tags another machine moved at the same time.
pub fn tell_rivals(session: &Session, switched: &Switched) {
    for (tag, generation) in &switched.rivals {
        session.printer.warning(&format!(
            "another machine moved `{tag}` at the same time: it means generation {generation} now"
        ));
    }
}

/// Tells what a switch would do.
pub fn tell_plan(session: &Session, switch: &Switch, json: bool) -> Result<(), CommandError> {
    let generation = &switch.generation;
    match switch.moves.len() {
        0 => session
            .printer
            .note(&format!("all tags mean generation {generation} already")),
        number => session.printer.note(&format!(
            "{} would be moved to generation {generation}",
            count(number, "tag")
        )),
    }
    if json {
        return Published::by(switch)?.print(session, json);
    }
    let mut lines = String::new();
    for one in &switch.moves {
        let from = one
            .from
            .as_ref()
            .map_or("nothing", |from| from.digest.short());
        let to = one.to.digest.short();
        lines.push_str(&format!("{}: {from} -> {to}\n", one.reference));
    }
    Ok(session.printer.data(&lines)?)
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
