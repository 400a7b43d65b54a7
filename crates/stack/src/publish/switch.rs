//! The second half of publishing: all tags of all images on all registries, moved together.
//!
//! What is to be moved is written to a journal in the store, `cairn:journal/<stack>`, before the
//! first tag moves, with what each tag meant before. If a tag cannot be moved, those that were go
//! back. If the process dies, the journal is ended by the next one: forward, since everything the
//! tags are to mean is in the registries and in the store; but for tags that somebody else moved
//! since, which stay.
//!
//! Two machines that move the same tag at once both write it down; who sees the other's entry lets
//! all images mean what the last entry says, so that they do not stay torn between the two.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use cairn_oci::{Descriptor, Reference};
use cairn_registry::{Document, RegistryError, Watch};
use serde::{Deserialize, Serialize};

use super::Means;
use super::error::PublishError;
use super::generation::{Evidence, GenerationImage, LogEntry};
use super::journal;
use super::ledger::{self, Ledger};
use super::send::Place;

const MOVES_AT_ONCE: usize = 8;

/// One tag to be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Repository and tag.
    pub reference: Reference,
    /// The tag without what tells the variant.
    pub stem: String,
    /// What it is to mean.
    pub to: Descriptor,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Descriptor>,
    /// Whether it means that already: a process moved it that did not live to end the switch.
    #[serde(skip)]
    pub is_there: bool,
}

/// Everything that moves together, and what is written down of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The stack.
    pub stack: String,
    /// The generation that the tags are to mean.
    pub generation: String,
    /// What the registries have of it.
    pub places: Vec<Place>,
    /// The tags and why they mean it.
    pub entries: Vec<LogEntry>,
    /// The registries and tags that are to be written down, by their places in these lists.
    pub news: Vec<(usize, usize)>,
    /// What its images passed, and the registries that are to be told, by their places.
    pub evidence: Option<(Evidence, Vec<usize>)>,
    /// The tags in the registries that mean something else now.
    pub moves: Vec<Move>,
    /// Whether it came to its end and is kept only because nobody was told.
    #[serde(default)]
    pub is_done: bool,
}

/// What a switch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switched {
    /// How many tags were moved.
    pub moved: usize,
    /// How long there were tags of both generations.
    pub window: Duration,
    /// Tags that another machine moved at the same time, with the generation they mean now.
    pub rivals: Vec<(String, String)>,
}

/// What became of a switch that a process did not live to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Its generation.
    pub generation: String,
    /// What was left to do.
    pub switched: Switched,
    /// Tags that somebody else has moved since; they stay.
    pub passed_over: Vec<String>,
}

impl Switch {
    /// Finds out which tags have to be moved; nothing is moved yet.
    ///
    /// The manifests that the tags are to mean must be in the store and in the registries. The
    /// numbers of the entries are chosen here.
    pub fn plan(
        means: Means<'_>,
        stack: &str,
        places: Vec<Place>,
        mut entries: Vec<LogEntry>,
        evidence: Option<Evidence>,
    ) -> Result<Self, PublishError> {
        let registries: Vec<String> = places.iter().map(|it| it.registry.clone()).collect();
        let ledgers = Ledger::open_all(means, &registries, stack)?;
        for entry in &mut entries {
            let numbers = ledgers.iter().map(|ledger| ledger.next_number(&entry.tag));
            entry.number = numbers.max().unwrap_or(1);
        }
        let mut switch = Self {
            stack: stack.to_owned(),
            generation: entries
                .first()
                .map_or_else(String::new, |it| it.generation.clone()),
            places,
            entries,
            news: Vec::new(),
            evidence: evidence.map(|evidence| {
                let lacking = |at: &usize| !ledgers[*at].has_evidence(&evidence);
                let lacking = (0..ledgers.len()).filter(lacking).collect();
                (evidence, lacking)
            }),
            moves: Vec::new(),
            is_done: false,
        };
        switch.news = switch.find_news(means, &ledgers)?;
        switch.moves = switch.find_moves(means)?;
        Ok(switch)
    }

    /// Every image with every tag that it is to have.
    pub fn tagged(&self) -> Result<Vec<Tagged<'_>>, PublishError> {
        let mut tagged = Vec::new();
        for place in &self.places {
            for image in &place.generation.images {
                let repository = place.repository(image)?;
                for entry in &self.entries {
                    let Some(tag) = entry.tag_of(&image.name()) else {
                        continue;
                    };
                    tagged.push(Tagged {
                        image,
                        reference: repository.with_tag(&tag)?,
                        stem: &entry.tag,
                    });
                }
            }
        }
        Ok(tagged)
    }

    fn find_news(
        &self,
        means: Means<'_>,
        ledgers: &[Ledger],
    ) -> Result<Vec<(usize, usize)>, PublishError> {
        let mut pairs = Vec::new();
        for (at, place) in self.places.iter().enumerate() {
            let images = &place.generation.images;
            for (number, entry) in self.entries.iter().enumerate() {
                let is_there = |image: &GenerationImage| entry.images.contains_key(&image.name());
                if images.iter().any(is_there) {
                    pairs.push((at, number));
                }
            }
        }
        let known = few_at_a_time(&pairs, |&(at, number)| {
            ledgers[at].current(means, &self.entries[number].tag)
        });
        let mut news = Vec::new();
        for ((at, number), known) in pairs.into_iter().zip(known) {
            let known = known?;
            let is_known = known.is_some_and(|it| it.means_the_same(&self.entries[number]));
            news.extend((!is_known).then_some((at, number)));
        }
        Ok(news)
    }

    fn find_moves(&self, means: Means<'_>) -> Result<Vec<Move>, PublishError> {
        let tagged = self.tagged()?;
        let found = few_at_a_time(&tagged, |it| {
            means.client.look_up(&it.reference, means.watch)
        });
        let mut moves = Vec::new();
        for (it, found) in tagged.into_iter().zip(found) {
            let from = found.map_err(|source| unreadable(&it.reference, source))?;
            let to = &it.image.manifest;
            if from.as_ref().map(|from| &from.digest) != Some(&to.digest) {
                moves.push(Move {
                    reference: it.reference,
                    stem: it.stem.to_owned(),
                    to: to.clone(),
                    from,
                    is_there: false,
                });
            }
        }
        Ok(moves)
    }

    /// Moves the tags, and writes down what they mean.
    pub fn run(&self, means: Means<'_>) -> Result<Switched, PublishError> {
        let is_told = |(_, lacking): &(Evidence, Vec<usize>)| lacking.is_empty();
        if self.moves.is_empty() && self.news.is_empty() && self.evidence.iter().all(is_told) {
            return Ok(Switched::default());
        }
        self.fetch_previous(means)?;
        journal::put(means.store, self)?;
        // From here on it is sooner ended than undone: who asks to stop waits for the end.
        let means = Means {
            watch: Watch::NONE,
            ..means
        };
        let began = Instant::now();
        self.move_all(means)?;
        let window = began.elapsed();
        self.note(means)?;
        // The tags are right and written down: that is what an error must say.
        let rivals = self.settle(means).map_err(PublishError::after_the_switch)?;
        journal::end(means.store, self)?;
        Ok(Switched {
            moved: self.moves.iter().filter(|one| !one.is_there).count(),
            window,
            rivals,
        })
    }

    /// Whether the registries are as this switch left them: nobody moved its tags since, and nobody
    /// wrote anything later of them.
    pub fn still_holds(&self, means: Means<'_>) -> Result<bool, PublishError> {
        if !self.find_moves(means)?.is_empty() {
            return Ok(false);
        }
        let registries: Vec<String> = self.places.iter().map(|it| it.registry.clone()).collect();
        let ledgers = Ledger::open_all(means, &registries, &self.stack)?;
        let is_last = |entry: &LogEntry| !ledgers.iter().any(|it| it.has_rival(entry));
        Ok(self.entries.iter().all(is_last))
    }

    /// Ends what a process did not live to end, as far as nobody else went on since.
    pub fn resume(mut self, means: Means<'_>) -> Result<Resumed, PublishError> {
        let now = few_at_a_time(&self.moves, |one| {
            means.client.look_up(&one.reference, means.watch)
        });
        let mut passed_over: Vec<String> = Vec::new();
        for (one, now) in self.moves.iter_mut().zip(now) {
            let now = now.map_err(|source| unreadable(&one.reference, source))?;
            let digest = |it: &Option<Descriptor>| it.as_ref().map(|it| it.digest.clone());
            let (now, from) = (digest(&now), digest(&one.from));
            one.is_there = now.as_ref() == Some(&one.to.digest);
            let is_as_left = now == from || one.is_there;
            if !is_as_left && !passed_over.contains(&one.stem) {
                passed_over.push(one.stem.clone());
            }
        }
        self.moves.retain(|one| !passed_over.contains(&one.stem));
        let (news, entries) = (&mut self.news, &self.entries);
        news.retain(|&(_, number)| !passed_over.contains(&entries[number].tag));
        let switched = self.run(means)?;
        match passed_over.is_empty() {
            true => journal::end(means.store, &self)?,
            false => journal::remove(means.store, &self.stack)?,
        }
        Ok(Resumed {
            generation: self.generation,
            switched,
            passed_over,
        })
    }

    /// What a tag meant must be at hand, should it have to be moved back.
    fn fetch_previous(&self, means: Means<'_>) -> Result<(), PublishError> {
        let fetched = few_at_a_time(&self.moves, |one| match &one.from {
            Some(from) => fetch(means, &one.reference, from),
            None => Ok(()),
        });
        fetched.into_iter().collect()
    }

    fn move_all(&self, means: Means<'_>) -> Result<(), PublishError> {
        let moved = few_at_a_time(&self.moves, |one| match one.is_there {
            true => Ok(()),
            false => put(means, &one.reference, &one.to),
        });
        let failure = moved
            .iter()
            .position(Result::is_err)
            .map(|at| self.moves[at].reference.to_string());
        let Some(reference) = failure else {
            return Ok(());
        };
        // A tag whose registry did not say no may have moved all the same.
        let may_have_moved = |moved: &Result<(), RegistryError>| match moved {
            Ok(()) => true,
            Err(error) => !error.is_without_effect(),
        };
        let done: Vec<&Move> = self
            .moves
            .iter()
            .zip(&moved)
            .filter_map(|(one, moved)| may_have_moved(moved).then_some(one))
            .collect();
        let source = moved.into_iter().find_map(Result::err);
        let source = Box::new(source.expect("one has failed"));
        let undone = few_at_a_time(&done, |one| match &one.from {
            Some(from) => put(means, &one.reference, from),
            None => means.client.remove_tag(&one.reference, means.watch),
        });
        let left: Vec<String> = done
            .iter()
            .zip(undone)
            .filter_map(|(one, undone)| undone.is_err().then(|| one.reference.to_string()))
            .collect();
        if left.is_empty() {
            journal::remove(means.store, &self.stack)?;
            return Err(PublishError::Undone { reference, source });
        }
        Err(PublishError::Torn {
            reference,
            left,
            source,
        })
    }

    /// Writes the ledgers, those of all registries at the same time.
    fn note(&self, means: Means<'_>) -> Result<(), PublishError> {
        let places: Vec<usize> = (0..self.places.len()).collect();
        let noted = few_at_a_time(&places, |&at| {
            let place = &self.places[at];
            let ledger = ledger::place(&place.registry, &self.stack)?;
            if let Some((evidence, lacking)) = &self.evidence
                && lacking.contains(&at)
            {
                ledger::put_evidence(means, &ledger, evidence)?;
            }
            let of_it = |(place, _): &&(usize, usize)| *place == at;
            let mut news = self.news.iter().filter(of_it).peekable();
            if news.peek().is_none() {
                return Ok(());
            }
            ledger::put_generation(means, &ledger, &place.generation)?;
            for &(_, number) in news {
                ledger::put_entry(means, &ledger, &self.entries[number])?;
            }
            Ok(())
        });
        noted.into_iter().collect()
    }

    /// Where another machine moved the same tag at the same time, lets all images of the tag mean
    /// what the last entry says. Whoever writes an entry later than all others sees them all.
    fn settle(&self, means: Means<'_>) -> Result<Vec<(String, String)>, PublishError> {
        let registries: Vec<String> = self.places.iter().map(|it| it.registry.clone()).collect();
        let ledgers = Ledger::open_all(means, &registries, &self.stack)?;
        let mut rivals: Vec<(String, String)> = Vec::new();
        for &(at, number) in &self.news {
            let (ledger, entry) = (&ledgers[at], &self.entries[number]);
            if !ledger.has_rival(entry) || ledger.agrees(means, entry)? {
                continue;
            }
            let Some(last) = ledger.current(means, &entry.tag)? else {
                continue;
            };
            let Some(generation) = ledger.generation(means, &last.generation)? else {
                continue;
            };
            let place = Place {
                registry: ledger.registry.clone(),
                generation,
            };
            for image in &place.generation.images {
                let Some(tag) = last.tag_of(&image.name()) else {
                    continue;
                };
                let reference = place.repository(image)?.with_tag(&tag)?;
                fetch(means, &reference, &image.manifest)?;
                put(means, &reference, &image.manifest).map_err(|source| PublishError::Ledger {
                    place: reference.to_string(),
                    source: Box::new(source),
                })?;
            }
            let rival = (entry.tag.clone(), last.generation);
            if !rivals.contains(&rival) {
                rivals.push(rival);
            }
        }
        Ok(rivals)
    }
}

/// An image with a tag that it is to have.
#[derive(Debug)]
pub struct Tagged<'a> {
    /// The image.
    pub image: &'a GenerationImage,
    /// Repository and tag.
    pub reference: Reference,
    /// The tag without what tells the variant.
    pub stem: &'a str,
}

fn unreadable(reference: &Reference, source: RegistryError) -> PublishError {
    PublishError::Read {
        what: "what a tag means".to_owned(),
        place: reference.to_string(),
        source: Box::new(source),
    }
}

/// Makes sure that the store has a manifest that a repository has.
fn fetch(means: Means<'_>, place: &Reference, wanted: &Descriptor) -> Result<(), PublishError> {
    if means.store.has_blob(&wanted.digest) {
        return Ok(());
    }
    let by_digest = place.with_digest(wanted.digest.clone());
    let document = means.client.current_document(&by_digest, means.watch);
    let document = document.map_err(|source| unreadable(place, source))?;
    means.store.put_blob_bytes(&document.bytes)?;
    Ok(())
}

fn put(means: Means<'_>, reference: &Reference, to: &Descriptor) -> Result<(), RegistryError> {
    let document = Document {
        descriptor: to.clone(),
        bytes: means.store.read_blob(&to.digest)?,
    };
    means.client.put_manifest(reference, &document, means.watch)
}

/// Does the same to each, a few at the same time; one that fails stops no other.
pub(crate) fn few_at_a_time<T: Sync, R: Send>(
    things: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = Mutex::new(0..things.len());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..MOVES_AT_ONCE.min(things.len()) {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().expect("no panics while held").next();
                    let Some(number) = taken else { break };
                    let result = work(&things[number]);
                    let mut done = done.lock().expect("no panics while held");
                    done.push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panics while held");
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
