//! What this machine brings of a generation, and what it has to be put together with.

use std::collections::{BTreeMap, BTreeSet};

use cairn_build::image::push::Parcel;
use cairn_oci::{Compression, Digest, Platform};
use cairn_spec::ImageId;
use cairn_spec::tags::ImageTags;
use cairn_stack::publish::{Evidence, Item, Joined, Needed, Part, PartImage, Place, Tested};
use cairn_store::KeyHasher;

use super::PublishArgs;
use crate::commands::up::Done;
use crate::error::{CommandError, Kind};
use crate::platforms::can_run;
use crate::progress::count;
use crate::session::Session;
use crate::stack_run::StackRun;

/// The images that are to be published, with the platforms of each: those that the spec lists, else
/// those of this run.
pub(super) fn needed(
    stack: &StackRun,
    images: &[ImageTags],
) -> Result<Vec<(ImageId, Needed)>, CommandError> {
    let mut needed = Vec::new();
    let mut published: Vec<&Platform> = Vec::new();
    let chosen = images.iter().filter(|it| stack.asked.contains(&it.image));
    for it in chosen {
        let image = &stack.loaded.stack[it.image];
        let listed = it.event.map(|kind| image.published_for(kind));
        let mut platforms: Vec<Platform> = listed.into_iter().flatten().cloned().collect();
        if platforms.is_empty() {
            let runs = stack.platforms.iter();
            let runs = runs.filter(|run| run.selected.contains(&it.image));
            platforms.extend(runs.map(|run| run.loaded.platform.clone()));
        }
        let runs = stack.platforms.iter().map(|run| &run.loaded.platform);
        published.extend(runs.filter(|platform| platforms.contains(platform)));
        if it.tags.is_empty() || platforms.is_empty() {
            continue;
        }
        let one = Needed {
            image: image.name.image.clone(),
            variant: image.name.variant.clone(),
            platforms,
        };
        needed.push((it.image, one));
    }
    let asked = stack
        .platforms
        .iter()
        .filter(|run| !run.selected.is_empty());
    let mut asked = asked.map(|run| &run.loaded.platform);
    match asked.find(|platform| !published.contains(platform)) {
        Some(platform) => Err(CommandError::usage(format!(
            "by the spec nothing is published for {platform}"
        ))
        .hint("`platforms` of the stack or of an image says what is")),
        None => Ok(needed),
    }
}

/// What this machine has of them, packed.
pub(super) struct Brought {
    /// As it is noted in ledgers.
    pub part: Part,
    parcels: Vec<Parcel>,
}

impl Brought {
    /// Packs the images that were built here.
    pub fn pack(
        stack: &StackRun,
        done: &Done,
        needed: &[(ImageId, Needed)],
        compression: Compression,
        (of, commit): (String, Option<String>),
    ) -> Result<Self, CommandError> {
        let (mut images, mut parcels) = (Vec::new(), Vec::new());
        let tested = done.tested();
        for (id, it) in needed {
            for platform in &it.platforms {
                let mut runs = stack.platforms.iter();
                let run =
                    runs.find(|run| run.loaded.platform == *platform && run.selected.contains(id));
                let Some(label) = run.map(|run| run.loaded.label(*id)) else {
                    continue;
                };
                let Some(record) = done.run.record(&label) else {
                    continue;
                };
                let (parcel, attested) = Parcel::pack(&stack.means.store, record, compression)?;
                images.push(PartImage {
                    image: it.image.clone(),
                    variant: it.variant.clone(),
                    platform: platform.clone(),
                    manifest: parcel.manifest.descriptor.clone(),
                    attested: attested.as_ref().map(|it| it.manifest.descriptor.clone()),
                    content: record.content().to_string(),
                    tested: tested.get(&label).cloned().unwrap_or_default(),
                });
                parcels.push(parcel);
                parcels.extend(attested);
            }
        }
        stack.means.make_durable()?;
        Ok(Self {
            part: Part { of, commit, images },
            parcels,
        })
    }

    /// How many layers are not here.
    pub fn absent(&self) -> usize {
        let absent = self.parcels.iter().flat_map(|parcel| parcel.absent.keys());
        absent.collect::<BTreeSet<_>>().len()
    }

    /// Refuses images whose tests cannot be run here: somebody else's machine can.
    pub fn refuse_untested(&self) -> Result<(), CommandError> {
        let images = self.part.images.iter();
        let untested = images.filter(|it| it.tested.left_out > 0 && !can_run(&it.platform));
        let untested: Vec<String> = untested
            .map(|it| format!("{} for {}", it.name(), it.platform))
            .collect();
        match untested.is_empty() {
            true => Ok(()),
            false => Err(CommandError::new(
                Kind::Work,
                format!(
                    "nothing was published: this machine cannot run all tests of {}",
                    untested.join(", ")
                ),
            )
            .hint(
                "publish the others by `--platform`, and these on a machine that can: what several \
                 machines bring is put together",
            )
            .hint("`--untested` publishes them all the same")),
        }
    }

    /// As it is sent while it is not known what tags are to lead to.
    pub fn loose(&self) -> Vec<Item> {
        let mut images: BTreeMap<String, Vec<PartImage>> = BTreeMap::new();
        for image in &self.part.images {
            images.entry(image.name()).or_default().push(image.clone());
        }
        images
            .into_values()
            .filter_map(|images| {
                let parcels = self.parcels_of(&images);
                Item::loose(&images, parcels)
            })
            .collect()
    }

    /// The images that are published, in the order of the stack.
    pub fn items(
        &self,
        stack: &StackRun,
        needed: &[(ImageId, Needed)],
        joined: &Joined,
    ) -> Result<Vec<Item>, CommandError> {
        let mut items = Vec::new();
        for (_, it) in needed {
            let Some(images) = joined.images.get(&it.name()) else {
                continue;
            };
            let parcels = self.parcels_of(images);
            items.extend(Item::new(&stack.means.store, images, parcels)?);
        }
        stack.means.make_durable()?;
        Ok(items)
    }

    /// Whether nobody else's part is needed.
    pub fn is_all_of(&self, joined: &Joined) -> bool {
        let mut images = joined.images.values().flatten();
        images.all(|it| self.part.images.contains(it))
    }

    /// The parcels of these images that are this machine's.
    fn parcels_of(&self, images: &[PartImage]) -> Vec<Parcel> {
        let own = self.parcels.iter().filter(|parcel| {
            let digest = &parcel.manifest.descriptor.digest;
            let mut manifests = images
                .iter()
                .flat_map(|it| it.attested.iter().chain([&it.manifest]));
            manifests.any(|manifest| manifest.digest == *digest)
        });
        own.cloned().collect()
    }
}

/// What parts of several machines are parts of: what was said, else the commit with the choices that
/// change what the spec means. `None` where nothing tells.
pub(super) fn part_of(args: &PublishArgs, commit: Option<&str>, changes: usize) -> Option<String> {
    if let Some(name) = &args.part_of {
        return Some(name.clone());
    }
    let commit = commit.filter(|_| changes == 0)?;
    let mut of = format!("commit {commit}");
    if let Some(overlay) = args.stack.overlay.last() {
        of.push_str(&format!(" env {overlay}"));
    }
    let mut variables = args.stack.variables.clone();
    variables.sort();
    for (name, value) in variables {
        // A value may be nobody's business.
        let digest = Digest::sha256(value.as_bytes());
        of.push_str(&format!(" {name} {}", digest.short()));
    }
    Some(of)
}

/// Says that nothing tells which parts belong together.
pub(super) fn nameless(missing: &[(String, Platform)]) -> CommandError {
    CommandError::usage(format!(
        "this machine does not bring {}, and nothing says what it is to be put together with: \
         there is no commit that has all files as they are",
        in_words(missing)
    ))
    .hint("commit, or name what the parts of all machines have in common: `--part-of NAME`")
    .hint("`--incomplete` publishes without them")
}

/// Tells what the tags wait for.
pub(super) fn tell_waiting(session: &Session, part: &Part, missing: &[(String, Platform)]) {
    let (images, are) = match part.images.len() {
        1 => ("1 image".to_owned(), "is"),
        many => (count(many, "image"), "are"),
    };
    session.printer.note(&format!(
        "{images} of `{}` {are} there; no tag is moved before somebody brings {}",
        part.of,
        in_words(missing)
    ));
}

/// Tells what is published without some platforms.
pub(super) fn tell_incomplete(session: &Session, missing: &[(String, Platform)]) {
    let text = format!(
        "the generation is incomplete: it lacks {}",
        in_words(missing)
    );
    session.printer.warning(&text);
}

fn in_words(missing: &[(String, Platform)]) -> String {
    const NAMES_MAX: usize = 4;
    let mut platforms: BTreeMap<&Platform, Vec<&str>> = BTreeMap::new();
    for (image, platform) in missing {
        platforms.entry(platform).or_default().push(image);
    }
    let told = platforms.into_iter().map(|(platform, images)| {
        let names = images[..images.len().min(NAMES_MAX)].join(", ");
        let more = match images.len().saturating_sub(NAMES_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{platform} of {names}{more}")
    });
    told.collect::<Vec<_>>().join("; ")
}

/// The digest of what a container of an image can observe, on all its platforms.
pub(super) fn content(images: &[PartImage]) -> Option<String> {
    match images {
        [] => None,
        [one] => Some(one.content.clone()),
        several => {
            let mut hasher = KeyHasher::new("cairn index");
            for image in several {
                hasher.field("platform", image.platform.to_string());
                hasher.field("content", image.content.as_bytes());
            }
            Some(hasher.finish_content().to_string())
        }
    }
}

/// What the images passed, as far as they have tests.
pub(super) fn evidence(joined: &Joined, places: &[Place]) -> Option<Evidence> {
    let generation = &places.first()?.generation;
    let mut evidence = Evidence {
        generation: generation.generation.clone(),
        images: BTreeMap::new(),
        platforms: BTreeMap::new(),
    };
    for (name, images) in &joined.images {
        let mut published = places.iter().flat_map(|place| &place.generation.images);
        let all = Tested::together(images.iter().map(|it| &it.tested));
        if all == Tested::default() || published.all(|it| it.name() != *name) {
            continue;
        }
        evidence.images.insert(name.clone(), all);
        if images.len() > 1 {
            let platforms = images
                .iter()
                .map(|it| (it.platform.to_string(), it.tested.clone()));
            evidence.platforms.insert(name.clone(), platforms.collect());
        }
    }
    (!evidence.images.is_empty()).then_some(evidence)
}
