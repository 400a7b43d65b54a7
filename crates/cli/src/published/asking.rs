//! Asks registries side by side, and waits no longer than it was told to.
//!
//! A name server or a login's helper can take any time and cannot be interrupted. So each question
//! has a thread of its own, and one that is late is left behind: the process ends without it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use cairn_oci::Platform;
use cairn_registry::{RegistryClient, Watch};
use cairn_sandbox::Cancel;
use cairn_stack::publish::{Found, PublishError, look};
use cairn_store::Store;

use crate::commands::generations::means;

/// The user's Ctrl-C is looked for this often.
const TICK: Duration = Duration::from_millis(50);

/// What images are under a tag, for a platform.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The tag.
    pub(super) tag: String,
    /// The images that are to have it.
    pub(super) images: Vec<String>,
    /// The platform.
    pub(super) platform: Platform,
}

/// Why a question has no answer.
pub(super) enum NoAnswer {
    /// A registry said so.
    Failed(PublishError),
    /// A registry is late.
    Late(String),
}

/// What one registry says to one question; `None` while it says nothing.
type Said = Option<Result<Option<Found>, PublishError>>;

/// Who is asked, and with what.
pub(super) struct Asking<'a> {
    /// The stack's name.
    pub(super) stack: &'a str,
    /// The registries in the order in which their answers count.
    pub(super) registries: &'a [String],
    pub(super) client: RegistryClient,
    pub(super) store: &'a Store,
    pub(super) cancel: &'a Cancel,
}

impl Asking<'_> {
    /// Begins to ask; the answers are waited for later.
    pub(super) fn begin(&self, questions: Vec<Question>, until: Instant) -> Asked {
        let (tell, told) = channel();
        let said = |_: &Question| self.registries.iter().map(|_| None).collect();
        let asked = Asked {
            registries: self.registries.to_vec(),
            said: questions.iter().map(said).collect(),
            questions,
            told,
            until,
            cancel: self.cancel.clone(),
        };
        for (number, question) in asked.questions.iter().enumerate() {
            for (place, registry) in self.registries.iter().enumerate() {
                let (tell, question, registry) = (tell.clone(), question.clone(), registry.clone());
                let (client, store) = (self.client.clone(), self.store.clone());
                let (stack, cancel) = (self.stack.to_owned(), self.cancel.clone());
                std::thread::spawn(move || {
                    let watch = Watch {
                        is_stopped: &|| Instant::now() > until || cancel.is_cancelled(),
                        moved: &|_| {},
                    };
                    let means = means(&store, &client, watch);
                    let Question {
                        tag,
                        images,
                        platform,
                    } = &question;
                    let said = look(means, &[registry], &stack, tag, platform, images);
                    // Nobody may be waiting any more.
                    drop(tell.send((number, place, said)));
                    // Dropping the client would wait for a name server that is late.
                    std::mem::forget(client);
                });
            }
        }
        asked
    }
}

/// Questions that were asked.
pub(super) struct Asked {
    registries: Vec<String>,
    questions: Vec<Question>,
    /// For each question, what each registry said.
    said: Vec<Vec<Said>>,
    told: Receiver<(usize, usize, Result<Option<Found>, PublishError>)>,
    until: Instant,
    cancel: Cancel,
}

impl Asked {
    /// Waits for the answers: until all questions have one, or the time is over.
    pub(super) fn answers(mut self) -> Vec<(Question, Result<Option<Found>, NoAnswer>)> {
        while !self.is_settled() && !self.cancel.is_cancelled() {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match self.told.recv_timeout(left.min(TICK)) {
                Ok((number, place, said)) => self.said[number][place] = Some(said),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let answered = self.questions.into_iter().zip(self.said);
        let answered = answered.map(|(question, said)| {
            let answer = answer(&question.images, &self.registries, said);
            (question, answer)
        });
        answered.collect()
    }

    fn is_settled(&self) -> bool {
        let mut pairs = self.questions.iter().zip(&self.said);
        pairs.all(|(question, said)| {
            let mut known: Vec<&String> = Vec::new();
            for said in said {
                match said {
                    None => return false,
                    Some(Err(_)) => return true,
                    Some(Ok(found)) => known.extend(found.iter().flat_map(|it| it.images.keys())),
                }
                if question.images.iter().all(|image| known.contains(&image)) {
                    return true;
                }
            }
            true
        })
    }
}

/// Puts together what registries said in their order: the first that has the tag says what it
/// means, others add the images that it lacks.
fn answer(
    wanted: &[String],
    registries: &[String],
    said: Vec<Said>,
) -> Result<Option<Found>, NoAnswer> {
    let mut answer: Option<Found> = None;
    for (registry, said) in registries.iter().zip(said) {
        let found = match said {
            Some(Ok(found)) => found,
            Some(Err(error)) => return Err(NoAnswer::Failed(error)),
            None => return Err(NoAnswer::Late(registry.clone())),
        };
        match (&mut answer, found) {
            (None, found) => answer = found,
            (Some(known), Some(found)) if known.generation == found.generation => {
                for (image, made_of) in found.images {
                    known.images.entry(image).or_insert(made_of);
                }
            }
            _ => {}
        }
        let has = |image: &String| {
            let answer = answer.as_ref();
            answer.is_some_and(|answer| answer.images.contains_key(image))
        };
        if wanted.iter().all(has) {
            break;
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn found(generation: &str, images: &[&str]) -> Said {
        Some(Ok(Some(Found {
            registry: "r".into(),
            tag: None,
            generation: generation.into(),
            images: images.iter().map(|it| ((*it).to_owned(), None)).collect(),
        })))
    }

    fn told(said: Vec<Said>) -> Result<Vec<String>, String> {
        let registries = ["one".to_owned(), "two".to_owned()];
        let wanted = ["a".to_owned(), "b".to_owned()];
        match answer(&wanted, &registries, said) {
            Ok(found) => {
                let images: BTreeMap<_, _> = found.map(|it| it.images).unwrap_or_default();
                Ok(images.into_keys().collect())
            }
            Err(NoAnswer::Late(registry)) => Err(registry),
            Err(NoAnswer::Failed(error)) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_first_registry_counts_and_others_add_what_it_lacks() {
        let own = |list: &[&str]| Ok(list.iter().map(|it| (*it).to_owned()).collect());
        let both = || found("1", &["a", "b"]);
        assert_eq!(told(vec![both(), None]), own(&["a", "b"]), "nobody waits");
        assert_eq!(
            told(vec![found("1", &["a"]), found("1", &["b"])]),
            own(&["a", "b"])
        );
        assert_eq!(
            told(vec![found("1", &["a"]), found("2", &["b"])]),
            own(&["a"]),
            "another generation is not mixed in"
        );
        assert_eq!(told(vec![Some(Ok(None)), both()]), own(&["a", "b"]));
        assert_eq!(told(vec![Some(Ok(None)), Some(Ok(None))]), own(&[]));
        assert_eq!(told(vec![found("1", &["a"]), None]), Err("two".to_owned()));
        assert_eq!(told(vec![None, both()]), Err("one".to_owned()));
    }
}
