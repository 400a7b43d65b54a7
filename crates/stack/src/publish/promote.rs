//! Promotion and rollback: a tag gets a generation that the registries have. No layer moves.

use cairn_spec::Stack;
use cairn_spec::promote::{allowed, sources};
use cairn_spec::suite::SuiteKind;

use super::Means;
use super::error::PublishError;
use super::generation::{Action, Evidence, Generation, GenerationImage, LogEntry};
use super::ledger::Ledger;
use super::send::{Place, fetch_manifest};
use super::switch::{Switch, few_at_a_time};

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

/// Decides how `to` comes to mean what `from` means, on every registry, if the stack's rules allow
/// it. Without `from` the rules say where it comes from; `skipped` names workflow tests that need not
/// have passed.
pub fn plan_promotion(
    means: Means<'_>,
    stack: &Stack,
    registries: &[String],
    from: Option<&str>,
    to: &str,
    skipped: &[String],
) -> Result<Promotion, PublishError> {
    let ledgers = Ledger::open_all(means, registries, &stack.name)?;
    let from = match from {
        Some(from) => from.to_owned(),
        None => only_source(stack, &ledgers, to)?,
    };
    let from = from.as_str();
    let rule = allowed(&stack.promote, from, to).map_err(|forbidden| {
        let sources = forbidden.from.join("`, `");
        PublishError::Refused(format!(
            "`{to}` does not come from `{from}`: `[promote]` of the spec allows `{sources}`"
        ))
    })?;
    let said = few_at_a_time(&ledgers, |ledger| ledger.current(means, from));
    let said = said.into_iter().collect::<Result<Vec<_>, _>>()?;
    let none = |ledger: &Ledger| {
        let place = ledger.place();
        format!("no generation was published as `{from}` at {place}")
    };
    let (ledgers, chosen) = agreed(means, ledgers, said, to, none)?;
    let entry = LogEntry {
        tag: to.to_owned(),
        action: Action::Promote,
        time: means.now,
        from: Some(from.to_owned()),
        ..chosen
    };
    if ledgers.iter().any(|it| it.is_yanked(&entry.generation)) {
        let generation = &entry.generation;
        return Err(PublishError::Refused(format!(
            "the generation {generation}, which `{from}` means, was yanked"
        )));
    }
    if rule.is_some_and(|rule| rule.tests) {
        tests_passed(means, &ledgers, &entry, stack)?;
    }
    for workflow in rule.iter().flat_map(|rule| &rule.workflows) {
        if !skipped.contains(&workflow.value) {
            workflow_passed(means, &ledgers, &entry, stack, workflow)?;
        }
    }
    plan(means, &stack.name, &ledgers, entry)
}

/// Every image that has these workflow tests must have passed them (DH-81).
fn workflow_passed(
    means: Means<'_>,
    ledgers: &[Ledger],
    entry: &LogEntry,
    stack: &Stack,
    workflow: &str,
) -> Result<(), PublishError> {
    let mut known = Vec::new();
    for ledger in ledgers {
        known.extend(ledger.evidence(means, &entry.generation)?);
    }
    let has_it = |image: &&String| {
        let image = stack.exact(image).map(|id| &stack[id]);
        let mut suites = image.into_iter().flat_map(|it| &it.tests.suites);
        suites.any(|suite| suite.kind == SuiteKind::Workflow && suite.name == workflow)
    };
    let lacks = |image: &&String| !known.iter().any(|it| it.has_workflow(image, workflow));
    let images = entry.images.keys().filter(has_it).filter(lacks);
    let without: Vec<&str> = images.map(String::as_str).collect();
    match (without.is_empty(), &entry.from) {
        (true, _) => Ok(()),
        (false, from) => Err(PublishError::Refused(format!(
            "`{}` is given to images that passed the workflow tests `{workflow}`: that is not known \
             of `{}` of generation {}; `cairn test --workflow {workflow} --for {}` tests them, on a \
             machine that has what they need, and `--skip-workflow {workflow}` goes on without",
            entry.tag,
            without.join("`, `"),
            entry.generation,
            from.as_deref().unwrap_or(&entry.tag)
        ))),
    }
}

/// The one tag that a tag may come from. Where there are several, that with the prefix of the
/// spec, for those of earlier times stay in the ledger.
fn only_source(stack: &Stack, ledgers: &[Ledger], to: &str) -> Result<String, PublishError> {
    let mut tags: Vec<&str> = ledgers.iter().flat_map(Ledger::tags).collect();
    tags.sort_unstable();
    tags.dedup();
    let mut found = sources(&stack.promote, &tags, to);
    if let Some(prefix) = stack.tags.prefix.as_ref().map(ToString::to_string)
        && found.len() > 1
        && found.iter().any(|tag| tag.starts_with(&prefix))
    {
        found.retain(|tag| tag.starts_with(&prefix));
    }
    match found.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(PublishError::Refused(format!(
            "nothing that was published may become `{to}` by `[promote]` of the spec; name the tag \
             that it comes from, as in `cairn promote main {to}`"
        ))),
        several => Err(PublishError::Refused(format!(
            "`{to}` may come from `{}`: name one of them",
            several.join("`, `")
        ))),
    }
}

/// Every image must have passed tests.
fn tests_passed(
    means: Means<'_>,
    ledgers: &[Ledger],
    entry: &LogEntry,
    stack: &Stack,
) -> Result<(), PublishError> {
    let mut known = Vec::new();
    for ledger in ledgers {
        known.extend(ledger.evidence(means, &entry.generation)?);
    }
    let lacks = |image: &&String| !Evidence::are_enough_for(&known, image);
    let without: Vec<&str> = entry
        .images
        .keys()
        .filter(lacks)
        .map(String::as_str)
        .collect();
    match without.is_empty() {
        true => Ok(()),
        false => Err(PublishError::Refused(untested(entry, &without, stack))),
    }
}

/// Says which images lack tests that passed: those that have none by the spec need some, the others
/// a run of them.
fn untested(entry: &LogEntry, without: &[&str], stack: &Stack) -> String {
    let has_none = |image: &&str| {
        let image = stack.exact(image).map(|id| &stack[id]);
        image.is_some_and(|it| it.tests.structure.is_empty() && it.tests.suites.is_empty())
    };
    let (none, unknown): (Vec<&str>, Vec<&str>) = without.iter().copied().partition(has_none);
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        let (images, generation) = (unknown.join("`, `"), &entry.generation);
        parts.push(format!(
            "that is not known of `{images}` of generation {generation}"
        ));
    }
    if !none.is_empty() {
        let images = none.join("`, `");
        let verb = if none.len() == 1 { "has" } else { "have" };
        parts.push(format!(
            "`{images}` {verb} no tests: add some, `tests` of an image names them, or take \
             `tests = true` out of the rule of `[promote]`"
        ));
    }
    let parts = parts.join("; ");
    let tag = &entry.tag;
    format!("`{tag}` is given to images whose tests passed, all of them: {parts}")
}

/// Decides how a tag comes to mean the generation before, or the one that is named.
pub fn plan_rollback(
    means: Means<'_>,
    stack: &str,
    registries: &[String],
    tag: &str,
    wanted: Option<&str>,
) -> Result<Promotion, PublishError> {
    let ledgers = Ledger::open_all(means, registries, stack)?;
    let named = wanted.map(|start| Ledger::generation_named(&ledgers, start));
    let named = named.transpose()?.flatten();
    let wanted = named.as_deref().or(wanted);
    let said = few_at_a_time(&ledgers, |ledger| {
        let log = ledger.log(means, tag)?;
        let found = match wanted {
            Some(wanted) => log.entries.iter().find(|entry| entry.generation == wanted),
            None => log.before(|generation| !ledger.is_yanked(generation)),
        };
        Ok::<_, PublishError>(found.cloned())
    });
    let said = said.into_iter().collect::<Result<Vec<_>, _>>()?;
    let none = |ledger: &Ledger| {
        let place = ledger.place();
        let what = wanted.map_or("an earlier generation".to_owned(), |wanted| {
            format!("the generation {wanted}")
        });
        format!("`{tag}` never meant {what}, says {place}")
    };
    let (ledgers, chosen) = agreed(means, ledgers, said, tag, none)?;
    let found = &chosen.generation;
    if ledgers.iter().any(|it| it.is_yanked(found)) {
        return Err(PublishError::Refused(format!(
            "the generation {found} was yanked; `cairn yank --undo {found}` takes that back"
        )));
    }
    let entry = LogEntry {
        action: Action::Rollback,
        time: means.now,
        from: None,
        ..chosen
    };
    plan(means, stack, &ledgers, entry)
}

/// What all ledgers say: they must say the same. A registry where the tag `to` was never to be has
/// no say and no part in what follows; one that has it would stay behind the others unsaid.
fn agreed(
    means: Means<'_>,
    ledgers: Vec<Ledger>,
    said: Vec<Option<LogEntry>>,
    to: &str,
    none: impl Fn(&Ledger) -> String,
) -> Result<(Vec<Ledger>, LogEntry), PublishError> {
    let mut answer: Option<(LogEntry, String)> = None;
    let expected: Vec<String> = said
        .iter()
        .flatten()
        .flat_map(|entry| entry.registries.clone())
        .collect();
    let nobody_knows = said.iter().all(Option::is_none);
    let mut taking_part = Vec::new();
    for (ledger, said) in ledgers.into_iter().zip(said) {
        let Some(said) = said else {
            if nobody_knows || expected.contains(&ledger.registry) {
                return Err(PublishError::Refused(none(&ledger)));
            }
            if let Some(now) = ledger.current(means, to)? {
                return Err(PublishError::Refused(format!(
                    "{}, where `{to}` means {}: nothing is moved; `--registry` names the registries \
                     that are to go without it",
                    none(&ledger),
                    now.generation
                )));
            }
            continue;
        };
        match &answer {
            Some((known, first)) if known.generation != said.generation => {
                return Err(PublishError::Refused(format!(
                    "the registries do not agree: {first} says {}, {} says {}",
                    known.generation, ledger.registry, said.generation
                )));
            }
            Some(_) => {}
            None => answer = Some((said, ledger.registry.clone())),
        }
        taking_part.push(ledger);
    }
    let (chosen, _) =
        answer.ok_or_else(|| PublishError::Refused("no registry is named".to_owned()))?;
    Ok((taking_part, chosen))
}

fn plan(
    means: Means<'_>,
    stack: &str,
    ledgers: &[Ledger],
    mut entry: LogEntry,
) -> Result<Promotion, PublishError> {
    entry.registries = ledgers.iter().map(|it| it.registry.clone()).collect();
    let found = few_at_a_time(ledgers, |ledger| {
        let before = ledger.current(means, &entry.tag)?;
        let name = &entry.generation;
        let generation: Option<Generation> = ledger.generation(means, name)?;
        let generation = generation.ok_or_else(|| {
            let place = ledger.place();
            PublishError::Refused(format!(
                "the generation {name} is not written down at {place}"
            ))
        })?;
        let place = Place {
            registry: ledger.registry.clone(),
            generation,
        };
        Ok::<_, PublishError>((before, place))
    });
    let (before, places): (Vec<Option<LogEntry>>, Vec<Place>) = found
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    let mut wanted: Vec<(&Place, &GenerationImage)> = Vec::new();
    for place in &places {
        let images = place.generation.images.iter();
        let images = images.filter(|image| entry.images.contains_key(&image.name()));
        wanted.extend(images.map(|image| (place, image)));
    }
    let fetched = few_at_a_time(&wanted, |(place, image)| {
        fetch_manifest(means, place, image)
    });
    fetched.into_iter().collect::<Result<(), _>>()?;
    Ok(Promotion {
        tag: entry.tag.clone(),
        before: before.into_iter().flatten().next().map(|it| it.generation),
        switch: Switch::plan(means, stack, places, vec![entry], None)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_tests_is_told_so() {
        let text = "[stack]\nname = \"s\"\n[image.data]\ncontext = \".\"\n\
                    [image.ml]\ncontext = \".\"\ntests.structure = \"a.yaml\"\n";
        let source = cairn_diagnostic::Source::new("cairn.toml", text);
        let stack = cairn_spec::read(&source, &cairn_spec::Surroundings::none()).unwrap();
        let entry = LogEntry {
            number: 1,
            tag: "stable".to_owned(),
            generation: "abc".to_owned(),
            action: Action::Promote,
            time: 1,
            from: None,
            commit: None,
            registries: Vec::new(),
            images: Default::default(),
        };
        let told = |without: &[&str]| untested(&entry, without, &stack);
        let none = told(&["data"]);
        assert!(none.contains("`data` has no tests: add"), "{none}");
        assert!(!none.contains("not known"), "{none}");
        let both = told(&["data", "ml"]);
        assert!(
            both.contains("not known of `ml` of generation abc; `data` has no"),
            "{both}"
        );
        assert!(!told(&["ml"]).contains("no tests"));
    }
}
