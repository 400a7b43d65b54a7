//! What registries have of a stack: for `plan` and `why`, which change nothing. How they are asked
//! is in [`asking`].

mod asking;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_build::engine::Engine;
use cairn_build::event::VertexId;
use cairn_build::filesystem::Filesystem;
use cairn_build::image::ImageRecord;
use cairn_build::resolve::whole;
use cairn_build::run::Prepared;
use cairn_registry::{FetchOptions, RegistryClient, RetryPolicy, Watch};
use cairn_spec::tags::{Instead, publication};
use cairn_stack::decide::{ReasonKind, reason};
use cairn_stack::made_of::{MadeOf, Unlike};
use cairn_stack::plan::{ImageDecision, PlanReport, PublishedPlan};
use cairn_stack::publish::{Found, PublishError, look, registries};

use self::asking::{Asking, NoAnswer, Question};
use crate::commands::generations::means;
use crate::error::CommandError;
use crate::means::fetch_options;
use crate::registries::client;
use crate::session::Session;
use crate::stack_run::StackRun;

/// A plan waits no longer than this for all that registries say.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the images of a run that has not begun are made of, as far as that is known.
pub fn made_of(
    prepared: &Prepared<'_>,
    engine: &Engine<'_>,
    records: &BTreeMap<String, ImageRecord>,
) -> BTreeMap<String, MadeOf> {
    let results: HashMap<VertexId, Arc<Filesystem>> = prepared.at_hand();
    let images = prepared.lowered.images.iter().map(|image| {
        let record = records.get(&image.name);
        let made_of = MadeOf::of(prepared, engine, image, &results, record);
        (image.name.clone(), made_of)
    });
    images.collect()
}

/// Looks up a generation by a tag, a reference or its name.
pub fn find(
    stack: &StackRun,
    client: &RegistryClient,
    registries: &[String],
    what: &str,
    wanted: &[String],
) -> Result<Option<Found>, PublishError> {
    let watch = Watch {
        is_stopped: &|| stack.means.cancel.is_cancelled(),
        moved: &|_| {},
    };
    let means = means(&stack.means.store, client, watch);
    let (name, platform) = (&stack.loaded.stack.name, &stack.loaded.platform);
    look(means, registries, name, what, platform, wanted)
}

/// Compares the images of a plan with what is published under the tags that this event would move
/// (DH-36: one cheap question for each). A registry that does not answer soon is told, and the
/// plan is about this store alone.
pub fn compare(
    plan: &mut PlanReport,
    made_of: &dyn Fn() -> BTreeMap<String, MadeOf>,
    stack: &StackRun,
    is_offline: bool,
    session: &Session,
) -> Result<(), CommandError> {
    let places = registries(&stack.loaded.stack);
    if places.is_empty() {
        return Ok(());
    }
    if is_offline {
        session
            .printer
            .note("compared with this store only: registries are not asked (`--offline`)");
        return Ok(());
    }
    let stems = stems(stack, session);
    if stems.is_empty() {
        return Ok(());
    }
    let asking = Asking {
        stack: &stack.loaded.stack.name,
        registries: &places,
        client: client(&session.settings.environment, impatient(session))?,
        store: &stack.means.store,
        cancel: &stack.means.cancel,
    };
    let questions = stems.iter().flat_map(|(tag, images)| {
        stack.platforms.iter().map(|run| Question {
            tag: tag.clone(),
            images: images.clone(),
            platform: run.loaded.platform.clone(),
        })
    });
    let asked = asking.begin(questions.collect(), Instant::now() + PATIENCE);
    let made_of = made_of();
    let answers = asked.answers();
    if stack.means.cancel.is_cancelled() {
        return Err(CommandError::interrupted());
    }
    let mut untold = None;
    for (question, answer) in answers {
        match answer {
            Ok(found) => tell(plan, &question, found.as_ref(), &made_of),
            Err(why) => untold = untold.or(Some(why)),
        }
    }
    let why = match untold {
        None => return Ok(()),
        Some(NoAnswer::Failed(error)) => whole(&error),
        Some(NoAnswer::Late(registry)) => {
            let seconds = PATIENCE.as_secs();
            format!("{registry} has not answered within {seconds} seconds")
        }
    };
    let text = format!("compared with this store only: {why}");
    session.printer.note(&text);
    Ok(())
}

/// The first tag that this event would move for each image, with the images that have it.
fn stems(stack: &StackRun, session: &Session) -> BTreeMap<String, Vec<String>> {
    let loaded = &stack.loaded;
    let event = stack.event(session);
    let named = publication(&loaded.stack, &event.facts, &Instead::default(), &|_| None);
    let mut stems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for image in named.images {
        if let Some(tag) = image.tags.first() {
            let name = loaded.stack[image.image].name.to_string();
            stems.entry(tag.stem.clone()).or_default().push(name);
        }
    }
    stems
}

/// Registries are asked once, and not for long.
fn impatient(session: &Session) -> FetchOptions {
    FetchOptions {
        connect_timeout: Duration::from_secs(2),
        idle_timeout: PATIENCE,
        retry: RetryPolicy {
            attempts: 1,
            connect_attempts: 1,
            ..RetryPolicy::default()
        },
        ..fetch_options(session)
    }
}

fn tell(
    plan: &mut PlanReport,
    question: &Question,
    found: Option<&Found>,
    made_of: &BTreeMap<String, MadeOf>,
) {
    let Question { tag, images, .. } = question;
    let platform = question.platform.to_string();
    for image in plan
        .images
        .iter_mut()
        .filter(|it| images.contains(&it.image) && it.platform == platform)
    {
        let there = found.and_then(|it| it.images.get(&image.image));
        let mut published = PublishedPlan {
            tag: tag.clone(),
            generation: there.and(found).map(|it| it.generation.clone()),
            same: None,
            because: None,
        };
        match (there, made_of.get(&image.label)) {
            (None, _) => {
                published.same = Some(false);
                published.because = Some("nothing is published under this tag yet".to_owned());
            }
            (Some(Some(there)), Some(here)) => {
                let unlike = here.first_difference(there);
                published.same = is_same(unlike.is_some(), here.is_known(), image.decision);
                published.because = unlike
                    .filter(|_| published.same.is_some())
                    .map(|it| in_words(&it));
            }
            _ => {}
        }
        // No step runs, and yet publishing would move the tag.
        if image.decision == ImageDecision::Reuse && published.same == Some(false) {
            image.decision = ImageDecision::Retag;
            let because = published.because.clone().unwrap_or_default();
            let because = format!("`{tag}` is published with another image: {because}");
            let because = match published.generation {
                Some(_) => because,
                None => format!("nothing is published as `{tag}` yet"),
            };
            image.reasons.push(reason(ReasonKind::Name, because, None));
        }
        image.published = Some(published);
    }
}

/// Whether an image is as published, where that can be told. What it copies from an image that is
/// built may well come out as it was, and then it is as it was, too.
fn is_same(is_unlike: bool, is_known: bool, decision: ImageDecision) -> Option<bool> {
    match (is_unlike, is_known) {
        (true, _) if decision == ImageDecision::Maybe => None,
        (true, _) => Some(false),
        (false, true) => Some(true),
        (false, false) => None,
    }
}

/// What is different, with its step.
pub fn in_words(unlike: &Unlike) -> String {
    match &unlike.step {
        Some(step) => format!("`{step}`: {}", unlike.because),
        None => unlike.because.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_not_said_to_be_another_image() {
        let table = [
            (true, true, ImageDecision::Build, Some(false)),
            (true, false, ImageDecision::Build, Some(false)),
            (true, false, ImageDecision::Maybe, None),
            (true, true, ImageDecision::Reuse, Some(false)),
            (false, true, ImageDecision::Reuse, Some(true)),
            (false, false, ImageDecision::Build, None),
        ];
        for (is_unlike, is_known, decision, same) in table {
            assert_eq!(is_same(is_unlike, is_known, decision), same, "{decision:?}");
        }
    }
}
