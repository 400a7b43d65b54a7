//! The second half of publishing: all tags of all images on all registries, moved together.
//!
//! What is to be moved is written to a journal in the store, `cairn:journal/<stack>`, before the
//! first tag moves, with what each tag meant before. If a tag cannot be moved, those that were go
//! back. If the process dies, the journal is ended by the next one: forward, since everything the
//! tags are to mean is in the registries and in the store.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use cairn_oci::{Descriptor, MediaType, Reference};
use cairn_registry::{Document, RegistryError, Watch};
use cairn_store::{KeyHasher, Store, StoreError, WorkLock};
use serde::{Deserialize, Serialize};

use super::Means;
use super::error::PublishError;
use super::generation::{Generation, LogEntry};
use super::ledger::Ledger;
use super::send::Target;

const MOVES_AT_ONCE: usize = 8;
const JOURNAL: &str = "application/vnd.cairn.journal.v1+json";

/// One tag to be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Repository and tag.
    pub reference: Reference,
    /// What it is to mean.
    pub to: Descriptor,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Descriptor>,
}

/// Everything that moves together, and what is written down of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The generation that the tags are to mean.
    pub generation: Generation,
    /// The registries, with their paths.
    pub registries: Vec<String>,
    /// The tags and why they mean it.
    pub entries: Vec<(String, LogEntry)>,
    /// The tags in the registries that mean something else now.
    pub moves: Vec<Move>,
}

/// What a switch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switched {
    /// How many tags were moved.
    pub moved: usize,
    /// How long there were tags of both generations.
    pub window: Duration,
}

impl Switch {
    /// Finds out which tags have to be moved; nothing is moved yet.
    ///
    /// The manifests that the tags are to mean must be in the store and in the registries.
    pub fn plan(
        means: Means<'_>,
        generation: Generation,
        registries: &[Target],
        entries: Vec<(String, LogEntry)>,
    ) -> Result<Self, PublishError> {
        let mut wanted = Vec::new();
        for registry in registries {
            for image in &generation.images {
                let repository = registry.repository(&image.repository)?;
                for (tag, _) in &entries {
                    wanted.push((repository.with_tag(tag)?, image.manifest.clone()));
                }
            }
        }
        let found = few_at_a_time(&wanted, |(reference, to)| {
            let from = means.client.look_up(reference, means.watch)?;
            Ok(Move {
                reference: reference.clone(),
                to: to.clone(),
                from,
            })
        });
        let mut moves = Vec::new();
        for ((reference, _), found) in wanted.iter().zip(found) {
            let found = found.map_err(|source| PublishError::Read {
                what: "what a tag means".to_owned(),
                place: reference.to_string(),
                source: Box::new(source),
            })?;
            let is_there = found.from.as_ref().map(|from| &from.digest) == Some(&found.to.digest);
            moves.extend((!is_there).then_some(found));
        }
        Ok(Self {
            generation,
            registries: registries.iter().map(|target| target.0.clone()).collect(),
            entries,
            moves,
        })
    }

    /// Moves the tags, and writes down what they mean.
    pub fn run(&self, means: Means<'_>) -> Result<Switched, PublishError> {
        self.fetch_previous(means)?;
        self.put_journal(means.store)?;
        // From here on it is sooner ended than undone: who asks to stop waits for the end.
        let means = Means {
            watch: Watch::NONE,
            ..means
        };
        let began = Instant::now();
        self.move_all(means)?;
        let switched = Switched {
            moved: self.moves.len(),
            window: began.elapsed(),
        };
        self.note(means)?;
        means
            .store
            .remove_ref(&journal_name(&self.generation.stack))?;
        Ok(switched)
    }

    /// What a tag meant must be at hand, should it have to be moved back.
    fn fetch_previous(&self, means: Means<'_>) -> Result<(), PublishError> {
        let fetched = few_at_a_time(&self.moves, |one| {
            let Some(from) = &one.from else { return Ok(()) };
            if means.store.has_blob(&from.digest) {
                return Ok(());
            }
            let by_digest = one.reference.with_digest(from.digest.clone());
            let document = means.client.current_document(&by_digest, means.watch)?;
            means.store.put_blob_bytes(&document.bytes)?;
            Ok(())
        });
        for (one, fetched) in self.moves.iter().zip(fetched) {
            fetched.map_err(|source: RegistryError| PublishError::Read {
                what: "what a tag means".to_owned(),
                place: one.reference.to_string(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    fn move_all(&self, means: Means<'_>) -> Result<(), PublishError> {
        let moved = few_at_a_time(&self.moves, |one| put(means, &one.reference, &one.to));
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
            means
                .store
                .remove_ref(&journal_name(&self.generation.stack))?;
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
        let noted = few_at_a_time(&self.registries, |registry| {
            let ledger = Ledger::new(registry, &self.generation.stack)?;
            ledger.put_generation(means, &self.generation)?;
            for (tag, entry) in &self.entries {
                let mut log = ledger.log(means, tag)?;
                if log.add(entry.clone()) {
                    ledger.put_log(means, &log)?;
                }
            }
            Ok(())
        });
        noted.into_iter().collect()
    }

    fn put_journal(&self, store: &Store) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).map_err(StoreError::encode)?;
        let digest = store.put_blob_bytes(&bytes)?;
        let kind = MediaType::from(JOURNAL.to_owned());
        let descriptor = Descriptor::new(kind, digest, bytes.len() as u64);
        store.publish(&[(journal_name(&self.generation.stack), descriptor)])
    }
}

/// Waits for the right to move the tags of a stack by the means of this store: the journal is one
/// for all its processes. `None` if the caller is stopped before.
pub fn turn(means: Means<'_>, stack: &str) -> Result<Option<WorkLock>, StoreError> {
    let mut hasher = KeyHasher::new("cairn publish");
    hasher.field("stack", stack);
    let key = hasher.finish_key();
    let mut keep_waiting = || !(means.watch.is_stopped)();
    means.store.lock_work(&key, &mut keep_waiting)
}

/// A switch of the stack that did not come to its end.
pub fn pending(store: &Store, stack: &str) -> Result<Option<Switch>, StoreError> {
    let Some(descriptor) = store.get_ref(&journal_name(stack))? else {
        return Ok(None);
    };
    let bytes = store.read_blob(&descriptor.digest)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(StoreError::decode)
}

fn journal_name(stack: &str) -> String {
    format!("cairn:journal/{stack}")
}

fn put(means: Means<'_>, reference: &Reference, to: &Descriptor) -> Result<(), RegistryError> {
    let document = Document {
        descriptor: to.clone(),
        bytes: means.store.read_blob(&to.digest)?,
    };
    means.client.put_manifest(reference, &document, means.watch)
}

/// Does the same to each, a few at the same time; one that fails stops no other.
fn few_at_a_time<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
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
