//! What a name of the store leads to: an image, for one platform or for several.
//!
//! For one platform it is the image's record. For several it is a small document that lists the
//! records, so that a name always changes whole. Who asks for no platform gets the image for this
//! machine, else the first.
//!
//! Two stacks of one store may have images of the same name. What a name leads to says which stack
//! made it, so that no image of one stack passes for the platform that another one lacks.

use cairn_oci::{Descriptor, MediaType, Platform};
use cairn_store::{KeyHasher, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::record::{self, ImageRecord, canonical};

/// The media type of the document that lists records.
const MEDIA_TYPE: &str = "application/vnd.cairn.images.v1+json";

/// An image for several platforms.
#[derive(Debug, Serialize, Deserialize)]
struct Listing {
    images: Vec<Descriptor>,
}

/// The annotation that says which stack an image was built of.
const STACK: &str = "cairn.stack";

/// What becomes of the images for other platforms that a name leads to already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Others {
    /// Those of this stack stay: the name leads to what it built last for each platform.
    OfStackStay(String),
    /// They go: the name leads to what is given, and to nothing else.
    Go,
}

/// Whether a reference of the store names an image, for one platform or several.
pub fn is_image(descriptor: &Descriptor) -> bool {
    let kind = descriptor.media_type.as_str();
    kind == record::MEDIA_TYPE || kind == MEDIA_TYPE
}

/// The records that a descriptor leads to, one for each platform.
pub fn read_all(store: &Store, descriptor: &Descriptor) -> Result<Vec<ImageRecord>, StoreError> {
    let records = descriptors(store, descriptor)?;
    let records = records.iter().map(|it| ImageRecord::read(store, it));
    records.collect()
}

/// The images of that name, one for each platform; `None` if the store has none.
pub fn open_all(store: &Store, name: &str) -> Result<Option<Vec<ImageRecord>>, StoreError> {
    match store.get_ref(&canonical(name))? {
        Some(descriptor) if is_image(&descriptor) => read_all(store, &descriptor).map(Some),
        _ => Ok(None),
    }
}

/// The image of that name which a stack built last for a platform. One of which nobody knows the
/// stack, out of a store of before or built by itself, passes for its own.
pub fn open_of_stack(
    store: &Store,
    name: &str,
    stack: &str,
    platform: &Platform,
) -> Result<Option<ImageRecord>, StoreError> {
    let Some(known) = store.get_ref(&canonical(name))?.filter(is_image) else {
        return Ok(None);
    };
    let all = descriptors(store, &known)?;
    let own = all.iter().find(|it| {
        let is_for = it.platform.as_ref().is_some_and(|it| platform.matches(it));
        is_for && stack_of(it).is_none_or(|it| it == stack)
    });
    own.map(|it| ImageRecord::read(store, it)).transpose()
}

/// The image among some that is for a platform, else the one for this machine, else the first.
pub fn choose(mut records: Vec<ImageRecord>, wanted: Option<&Platform>) -> Option<ImageRecord> {
    let here = Platform::of_this_program();
    let of = |platform: &Platform| records.iter().position(|it| platform.matches(&it.platform));
    let at = wanted.and_then(of).or_else(|| of(&here)).unwrap_or(0);
    (at < records.len()).then(|| records.swap_remove(at))
}

/// Writes records of one image, each for a platform of its own, and lets names lead to them.
pub fn save(
    store: &Store,
    names: &[String],
    records: &[ImageRecord],
    others: &Others,
) -> Result<(), StoreError> {
    let mut fresh = Vec::new();
    for record in records {
        let mut one = record.save(store, &[])?;
        if let Others::OfStackStay(stack) = others {
            one.annotations.insert(STACK.to_owned(), stack.clone());
        }
        fresh.push(one);
    }
    for name in names {
        // Two builds for two platforms may come to this at once.
        let _turn = match others {
            Others::OfStackStay(_) => store.lock_work(&turn(name), &mut || true)?,
            Others::Go => None,
        };
        let mut all = match (others, store.get_ref(name)?) {
            (Others::OfStackStay(stack), Some(known)) if is_image(&known) => {
                let mut known = descriptors(store, &known)?;
                known.retain(|it| stack_of(it) == Some(stack));
                known
            }
            _ => Vec::new(),
        };
        for one in &fresh {
            match all.iter_mut().find(|it| it.platform == one.platform) {
                Some(known) => *known = one.clone(),
                None => all.push(one.clone()),
            }
        }
        if let Some(target) = together(store, all)? {
            store.set_ref(name, &target)?;
        }
    }
    Ok(())
}

/// Takes the image for a platform away from a name; `false` if it has none. With the last one the
/// name goes.
pub fn remove(store: &Store, name: &str, platform: &Platform) -> Result<bool, StoreError> {
    let _turn = store.lock_work(&turn(name), &mut || true)?;
    let Some(known) = store.get_ref(name)?.filter(is_image) else {
        return Ok(false);
    };
    let mut all = descriptors(store, &known)?;
    let before = all.len();
    all.retain(|it| it.platform.as_ref().is_none_or(|it| !platform.matches(it)));
    if all.len() == before {
        return Ok(false);
    }
    match together(store, all)? {
        Some(target) => store.set_ref(name, &target)?,
        None => {
            store.remove_ref(name)?;
        }
    }
    Ok(true)
}

/// What a name is to point to.
fn together(store: &Store, mut all: Vec<Descriptor>) -> Result<Option<Descriptor>, StoreError> {
    if all.len() <= 1 {
        return Ok(all.pop());
    }
    let bytes = serde_json::to_vec(&Listing { images: all }).map_err(StoreError::encode)?;
    let digest = store.put_blob_bytes(&bytes)?;
    let kind = MediaType::from(MEDIA_TYPE.to_owned());
    Ok(Some(Descriptor::new(kind, digest, bytes.len() as u64)))
}

/// The descriptors of the records, each with its platform.
fn descriptors(store: &Store, descriptor: &Descriptor) -> Result<Vec<Descriptor>, StoreError> {
    if descriptor.media_type.as_str() != MEDIA_TYPE {
        let mut one = descriptor.clone();
        if one.platform.is_none() {
            one.platform = Some(ImageRecord::read(store, descriptor)?.platform);
        }
        return Ok(vec![one]);
    }
    let bytes = store.read_blob(&descriptor.digest)?;
    let listing: Listing = serde_json::from_slice(&bytes).map_err(StoreError::decode)?;
    Ok(listing.images)
}

fn stack_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations.get(STACK).map(String::as_str)
}

fn turn(name: &str) -> cairn_store::CacheKey {
    let mut hasher = KeyHasher::new("cairn image name");
    hasher.field("name", name);
    hasher.finish_key()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cairn_oci::RunConfig;
    use cairn_testkit::TempStore;

    use super::*;

    fn image(architecture: &str, word: &str) -> ImageRecord {
        ImageRecord {
            platform: Platform::new("linux", architecture),
            config: RunConfig {
                env: vec![format!("WORD={word}")],
                ..RunConfig::default()
            },
            author: None,
            epoch: 0,
            epoch_is_given: false,
            layers: Vec::new(),
            history: Vec::new(),
            annotations: BTreeMap::new(),
            outer: Vec::new(),
            packed: None,
            results: Vec::new(),
            attested: None,
            pulled: None,
            inherited: crate::image::record::Inherited::default(),
            marked: None,
            dialect: crate::image::dialect::Dialect::default(),
            absent: BTreeMap::new(),
        }
    }

    fn told(store: &Store) -> Vec<String> {
        let records = open_all(store, "a").unwrap().unwrap_or_default();
        let tell = |it: ImageRecord| format!("{} {}", it.platform, it.config.env[0]);
        records.into_iter().map(tell).collect()
    }

    #[test]
    fn a_name_leads_to_the_last_image_for_each_platform() {
        let store = TempStore::new();
        let names = [canonical("a")];
        let stay = |stack: &str| Others::OfStackStay(stack.to_owned());
        let put = |records: &[ImageRecord], others| save(&store, &names, records, &others).unwrap();
        put(&[image("s390x", "1")], stay("lab"));
        assert_eq!(told(&store), ["linux/s390x WORD=1"]);
        put(&[image("arm64", "1")], stay("lab"));
        put(&[image("s390x", "2")], stay("lab"));
        assert_eq!(told(&store), ["linux/s390x WORD=2", "linux/arm64 WORD=1"]);

        let opened = ImageRecord::open(&store, "a").unwrap().unwrap();
        assert_eq!(
            opened.platform.architecture, "s390x",
            "the first, for none is for here"
        );
        let arm = Platform::new("linux", "arm64");
        let all = open_all(&store, "a").unwrap().unwrap();
        assert_eq!(choose(all, Some(&arm)).unwrap().platform, arm);

        assert!(remove(&store, &names[0], &arm).unwrap());
        assert!(!remove(&store, &names[0], &arm).unwrap());
        assert_eq!(told(&store), ["linux/s390x WORD=2"]);
        put(&[image("arm64", "3"), image("riscv64", "3")], Others::Go);
        assert_eq!(told(&store), ["linux/arm64 WORD=3", "linux/riscv64 WORD=3"]);
        for architecture in ["arm64", "riscv64"] {
            let platform = Platform::new("linux", architecture);
            assert!(remove(&store, &names[0], &platform).unwrap());
        }
        assert_eq!(
            store.get_ref(&names[0]).unwrap(),
            None,
            "nothing is left to name"
        );
    }

    #[test]
    fn images_of_another_stack_leave_a_name() {
        let store = TempStore::new();
        let names = [canonical("a")];
        let built = |stack: &str, architecture: &str, word: &str| {
            let others = Others::OfStackStay(stack.to_owned());
            save(&store, &names, &[image(architecture, word)], &others).unwrap();
        };
        built("one", "s390x", "1");
        built("one", "arm64", "1");
        built("two", "arm64", "2");
        assert_eq!(told(&store), ["linux/arm64 WORD=2"]);
        built("two", "s390x", "2");
        assert_eq!(told(&store), ["linux/arm64 WORD=2", "linux/s390x WORD=2"]);

        let arm = Platform::new("linux", "arm64");
        let last = |stack: &str| open_of_stack(&store, "a", stack, &arm).unwrap();
        assert!(last("two").is_some());
        assert_eq!(last("one"), None);
        save(&store, &names, &[image("arm64", "3")], &Others::Go).unwrap();
        assert!(last("one").is_some(), "nobody knows whose it is");
    }
}
