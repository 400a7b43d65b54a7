//! One repository: which of its manifests nothing needs.

use std::collections::{BTreeMap, BTreeSet};

use cairn_oci::{Descriptor, Digest, Index, Manifest, Reference};

use super::super::Means;
use super::super::error::PublishError;
use super::super::switch::few_at_a_time;
use super::record::Thing;

/// What other tools note beside an image: `sha256-<hex>` and these behind it.
const BESIDE: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// What may go from a repository, by the ledger.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Manifests that no generation needs that stays.
    pub(super) manifests: BTreeSet<Digest>,
    /// Tags that do not stay, with what they may mean; one that means anything else is not ours.
    pub(super) tags: BTreeMap<String, BTreeSet<Digest>>,
    /// Manifests of generations that stay.
    pub(super) needed: BTreeSet<Digest>,
}

/// What a repository need not keep.
#[derive(Debug, Default)]
pub(super) struct Surveyed {
    /// In the order in which it goes: an index before its parts.
    pub(super) things: Vec<Thing>,
    /// For each manifest that goes: itself and its blobs, with their sizes.
    pub(super) freed: BTreeMap<Digest, Vec<(Digest, u64)>>,
    /// Those of what stays.
    pub(super) kept: BTreeSet<Digest>,
}

/// What is known of a manifest or an index.
#[derive(Debug, Clone)]
struct Known {
    descriptor: Descriptor,
    children: Vec<Digest>,
    blobs: Vec<(Digest, u64)>,
}

struct Survey<'a> {
    means: Means<'a>,
    repository: &'a Reference,
    tags: BTreeMap<String, Digest>,
    known: BTreeMap<Digest, Option<Known>>,
}

/// Looks at a repository.
pub(super) fn survey(
    means: Means<'_>,
    repository: &Reference,
    candidates: &Candidates,
) -> Result<Surveyed, PublishError> {
    let mut survey = Survey {
        means,
        repository,
        tags: tags(means, repository)?,
        known: BTreeMap::new(),
    };
    survey.run(candidates)
}

impl Survey<'_> {
    fn run(&mut self, candidates: &Candidates) -> Result<Surveyed, PublishError> {
        let beside: BTreeMap<String, &Digest> = candidates
            .manifests
            .iter()
            .flat_map(|digest| beside(digest).map(move |tag| (tag, digest)))
            .collect();
        let is_ours = |tag: &String, digest: &Digest| {
            let mut may_mean = candidates.tags.get(tag).into_iter().flatten();
            may_mean.any(|it| it == digest)
        };
        let mut roots = candidates.needed.clone();
        for (tag, digest) in &self.tags {
            if !is_ours(tag, digest) && !beside.contains_key(tag) {
                roots.insert(digest.clone());
            }
        }
        let wanted: BTreeSet<Digest> = candidates.manifests.clone();
        let mut kept = self.reached(roots.clone())?;
        // What refers to a manifest goes with it, unless something leads to it: then both stay.
        let mut referring: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
        let subjects: Vec<Digest> = wanted.difference(&kept).cloned().collect();
        for (subject, found) in subjects.iter().zip(self.referring(&subjects)?) {
            referring.insert(subject.clone(), found);
        }
        let held = |kept: &BTreeSet<Digest>| -> Vec<Digest> {
            let subjects = referring.iter().filter(|(subject, by)| {
                !kept.contains(*subject) && by.iter().any(|one| kept.contains(one))
            });
            subjects.map(|(subject, _)| subject.clone()).collect()
        };
        loop {
            let more = held(&kept);
            if more.is_empty() {
                break;
            }
            roots.extend(more);
            kept = self.reached(roots.clone())?;
        }
        // What stays keeps what refers to it.
        for (subject, by) in &referring {
            if kept.contains(subject) {
                roots.extend(by.iter().cloned());
            }
        }
        for (tag, subject) in &beside {
            if let Some(digest) = self.tags.get(tag)
                && kept.contains(*subject)
            {
                roots.insert(digest.clone());
            }
        }
        let kept = self.reached(roots)?;
        let mut going: BTreeSet<Digest> = wanted.difference(&kept).cloned().collect();
        for (tag, subject) in &beside {
            if let Some(digest) = self.tags.get(tag)
                && going.contains(*subject)
            {
                going.insert(digest.clone());
            }
        }
        going.extend(referring.into_values().flatten());
        let going = self.reached(going)?;
        let going: Vec<Digest> = going.difference(&kept).cloned().collect();
        self.report(candidates, &going, &kept, is_ours)
    }

    /// Those and everything that they lead to.
    fn reached(&mut self, roots: BTreeSet<Digest>) -> Result<BTreeSet<Digest>, PublishError> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<Digest> = roots.into_iter().collect();
        while !next.is_empty() {
            self.load(&next)?;
            reached.extend(next.iter().cloned());
            let known = next.iter().filter_map(|digest| self.known[digest].as_ref());
            let children: BTreeSet<Digest> = known
                .flat_map(|it| &it.children)
                .filter(|child| !reached.contains(*child))
                .cloned()
                .collect();
            next = children.into_iter().collect();
        }
        Ok(reached)
    }

    fn load(&mut self, digests: &[Digest]) -> Result<(), PublishError> {
        let new: Vec<&Digest> = digests
            .iter()
            .filter(|digest| !self.known.contains_key(*digest))
            .collect();
        let read = few_at_a_time(&new, |digest| look(self.means, self.repository, digest));
        for (digest, read) in new.into_iter().zip(read) {
            self.known.insert(digest.clone(), read?);
        }
        Ok(())
    }

    fn referring(&self, subjects: &[Digest]) -> Result<Vec<BTreeSet<Digest>>, PublishError> {
        let found = few_at_a_time(subjects, |subject| {
            let (client, watch) = (self.means.client, self.means.watch);
            client.referrers(self.repository, subject, None, watch)
        });
        let found = found.into_iter().map(|found| {
            let found = found.map_err(|source| unreadable("referrers", self.repository, source))?;
            Ok(found.into_iter().map(|one| one.digest).collect())
        });
        found.collect()
    }

    fn report(
        &self,
        candidates: &Candidates,
        going: &[Digest],
        kept: &BTreeSet<Digest>,
        is_ours: impl Fn(&String, &Digest) -> bool,
    ) -> Result<Surveyed, PublishError> {
        let mut surveyed = Surveyed::default();
        let tags_of = |digest: &Digest| -> Vec<String> {
            let tags = self.tags.iter().filter(|(_, to)| *to == digest);
            tags.map(|(tag, _)| tag.clone()).collect()
        };
        let known = |digest: &Digest| self.known.get(digest).and_then(Option::as_ref);
        for digest in kept {
            surveyed.kept.insert(digest.clone());
            let blobs = known(digest).map(|it| it.blobs.as_slice());
            let blobs = blobs.unwrap_or_default().iter();
            surveyed.kept.extend(blobs.map(|(blob, _)| blob.clone()));
        }
        for tag in candidates.tags.keys() {
            let Some(digest) = self.tags.get(tag).filter(|it| kept.contains(*it)) else {
                continue;
            };
            if is_ours(tag, digest) {
                surveyed.things.push(Thing {
                    repository: self.repository.name(),
                    digest: digest.clone(),
                    kind: None,
                    tags: vec![tag.clone()],
                    only_tags: true,
                });
            }
        }
        let mut manifests: Vec<&Known> = going.iter().filter_map(known).collect();
        manifests.sort_by_key(|it| !it.descriptor.media_type.is_index());
        for one in manifests {
            let Descriptor {
                media_type,
                digest,
                size,
                ..
            } = &one.descriptor;
            let blobs = one.blobs.iter().cloned();
            let bytes = blobs.chain([(digest.clone(), *size)]).collect();
            surveyed.freed.insert(digest.clone(), bytes);
            surveyed.things.push(Thing {
                repository: self.repository.name(),
                digest: digest.clone(),
                kind: Some((media_type.as_str().to_owned(), *size)),
                tags: tags_of(digest),
                only_tags: false,
            });
        }
        Ok(surveyed)
    }
}

/// All tags of a repository and what they lead to.
fn tags(
    means: Means<'_>,
    repository: &Reference,
) -> Result<BTreeMap<String, Digest>, PublishError> {
    let failed = |source| unreadable("the tags", repository, source);
    let names = means.client.tags(repository, means.watch).map_err(failed)?;
    let found = few_at_a_time(&names, |name| {
        let reference = repository.with_tag(name)?;
        let found = means.client.look_up(&reference, means.watch);
        Ok::<_, PublishError>(found.map_err(failed)?.map(|found| found.digest))
    });
    let mut tags = BTreeMap::new();
    for (name, found) in names.into_iter().zip(found) {
        tags.extend(found?.map(|digest| (name, digest)));
    }
    Ok(tags)
}

/// Reads a manifest or index, from the store if it is there, too.
fn look(
    means: Means<'_>,
    repository: &Reference,
    digest: &Digest,
) -> Result<Option<Known>, PublishError> {
    let reference = repository.with_digest(digest.clone());
    let failed = |source| unreadable("a manifest", repository, source);
    let (descriptor, bytes) = match means.store.has_blob(digest) {
        true => {
            let found = means.client.look_up(&reference, means.watch);
            let Some(found) = found.map_err(failed)? else {
                return Ok(None);
            };
            (found, means.store.read_blob(digest)?)
        }
        false => match means.client.current_document(&reference, means.watch) {
            Ok(document) => {
                means.store.put_blob_bytes(&document.bytes)?;
                (document.descriptor, document.bytes)
            }
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(failed(error)),
        },
    };
    let mut known = Known {
        descriptor,
        children: Vec::new(),
        blobs: Vec::new(),
    };
    // One of a kind that we do not know leads nowhere, and stays or goes as it is.
    if known.descriptor.media_type.is_index() {
        if let Ok(index) = Index::from_json_bytes(&bytes) {
            known.children = index.manifests.into_iter().map(|it| it.digest).collect();
        }
    } else if let Ok(manifest) = Manifest::from_json_bytes(&bytes) {
        let blobs = manifest.layers.into_iter().chain([manifest.config]);
        known.blobs = blobs.map(|it| (it.digest, it.size)).collect();
    }
    Ok(Some(known))
}

/// The tags that other tools give to what they note beside a manifest.
fn beside(digest: &Digest) -> impl Iterator<Item = String> {
    let (algorithm, hex) = (digest.algorithm().name(), digest.hex().to_owned());
    BESIDE
        .into_iter()
        .map(move |end| format!("{algorithm}-{hex}{end}"))
}

fn unreadable(
    what: &str,
    repository: &Reference,
    source: cairn_registry::RegistryError,
) -> PublishError {
    PublishError::Read {
        what: what.to_owned(),
        place: repository.name(),
        source: Box::new(source),
    }
}
