//! Promotion and rollback: a tag gets a generation that the registries have. No layer moves.

use super::Means;
use super::error::PublishError;
use super::generation::{Action, Generation, LogEntry};
use super::ledger::Ledger;
use super::send::Target;
use super::switch::Switch;

/// What a promotion or a rollback will do.
#[derive(Debug, Clone)]
pub struct Promotion {
    /// The tag that is moved.
    pub tag: String,
    /// The generation that it means now, where the ledger knows one.
    pub before: Option<String>,
    /// What will be done.
    pub switch: Switch,
}

/// Decides how `to` comes to mean what `from` means, on every registry.
pub fn plan_promotion(
    means: Means<'_>,
    stack: &str,
    registries: &[Target],
    from: &str,
    to: &str,
) -> Result<Promotion, PublishError> {
    let chosen = agreed(stack, registries, |ledger| {
        let log = ledger.log(means, from)?;
        let current = log.current().map(str::to_owned).ok_or_else(|| {
            let place = ledger.place();
            PublishError::Refused(format!(
                "no generation was published as `{from}` at {place}"
            ))
        })?;
        match ledger.yanked(means)?.contains(&current) {
            true => Err(PublishError::Refused(format!(
                "the generation {current}, which `{from}` means, was yanked"
            ))),
            false => Ok(current),
        }
    })?;
    let entry = LogEntry {
        generation: chosen.clone(),
        action: Action::Promote,
        time: means.now,
        from: Some(from.to_owned()),
    };
    plan(means, stack, registries, to, entry)
}

/// Decides how a tag comes to mean the generation before, or the one that is named.
pub fn plan_rollback(
    means: Means<'_>,
    stack: &str,
    registries: &[Target],
    tag: &str,
    wanted: Option<&str>,
) -> Result<Promotion, PublishError> {
    let chosen = agreed(stack, registries, |ledger| {
        let log = ledger.log(means, tag)?;
        let yanked = ledger.yanked(means)?;
        let is_yanked = |generation: &str| yanked.iter().any(|name| name == generation);
        let found = match wanted {
            Some(wanted) => log
                .entries
                .iter()
                .map(|entry| entry.generation.as_str())
                .find(|generation| generation.starts_with(wanted)),
            None => log.before(|generation| !is_yanked(generation)),
        };
        if let Some(found) = found.filter(|found| is_yanked(found)) {
            return Err(PublishError::Refused(format!(
                "the generation {found} was yanked; `cairn yank --undo {found}` takes that back"
            )));
        }
        found.map(str::to_owned).ok_or_else(|| {
            let place = ledger.place();
            let what = wanted.map_or("an earlier generation".to_owned(), |wanted| {
                format!("the generation {wanted}")
            });
            PublishError::Refused(format!("`{tag}` never meant {what}, says {place}"))
        })
    })?;
    let entry = LogEntry {
        generation: chosen.clone(),
        action: Action::Rollback,
        time: means.now,
        from: None,
    };
    plan(means, stack, registries, tag, entry)
}

/// Asks all ledgers; they must say the same.
fn agreed(
    stack: &str,
    registries: &[Target],
    ask: impl Fn(&Ledger) -> Result<String, PublishError>,
) -> Result<String, PublishError> {
    let mut answer: Option<(String, &Target)> = None;
    for registry in registries {
        let said = ask(&Ledger::new(&registry.0, stack)?)?;
        match &answer {
            Some((known, first)) if *known != said => {
                return Err(PublishError::Refused(format!(
                    "the registries do not agree: {} says {known}, {} says {said}",
                    first.0, registry.0
                )));
            }
            _ => answer = Some((said, registry)),
        }
    }
    answer
        .map(|(said, _)| said)
        .ok_or_else(|| PublishError::Refused("no registry is named".to_owned()))
}

fn plan(
    means: Means<'_>,
    stack: &str,
    registries: &[Target],
    tag: &str,
    entry: LogEntry,
) -> Result<Promotion, PublishError> {
    let mut generation: Option<Generation> = None;
    let mut before = None;
    for registry in registries {
        let ledger = Ledger::new(&registry.0, stack)?;
        before = before.or(ledger.log(means, tag)?.current().map(str::to_owned));
        let found = ledger.generation(means, &entry.generation)?;
        let found = found.ok_or_else(|| {
            let (name, place) = (&entry.generation, ledger.place());
            PublishError::Refused(format!(
                "the generation {name} is not written down at {place}"
            ))
        })?;
        fetch_manifests(means, registry, &found)?;
        generation = Some(found);
    }
    let generation =
        generation.ok_or_else(|| PublishError::Refused("no registry is named".to_owned()))?;
    let entries = vec![(tag.to_owned(), entry)];
    Ok(Promotion {
        tag: tag.to_owned(),
        before,
        switch: Switch::plan(means, generation, registries, entries)?,
    })
}

/// Makes sure that a registry still has all images of a generation, and the store their manifests.
fn fetch_manifests(
    means: Means<'_>,
    registry: &Target,
    generation: &Generation,
) -> Result<(), PublishError> {
    for image in &generation.images {
        let repository = registry.repository(&image.repository)?;
        let reference = repository.with_digest(image.manifest.digest.clone());
        let failed = |source| PublishError::Read {
            what: format!("`{}` of generation {}", image.image, generation.generation),
            place: registry.0.clone(),
            source: Box::new(source),
        };
        if means.store.has_blob(&image.manifest.digest) {
            let found = means.client.look_up(&reference, means.watch);
            if found.map_err(failed)?.is_some() {
                continue;
            }
        }
        let document = means.client.current_document(&reference, means.watch);
        means
            .store
            .put_blob_bytes(&document.map_err(failed)?.bytes)?;
    }
    Ok(())
}
