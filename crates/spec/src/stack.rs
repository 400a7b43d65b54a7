//! The stack as meant: what [`resolve`](crate::resolve()) makes of a spec file.
//!
//! Nothing in here is optional that has a default, nothing is inherited, nothing is left to
//! check. Values that a later step may find wrong (a folder that does not exist) keep their place
//! in the spec, so that the message can point at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Index;

use cairn_diagnostic::Span;
use cairn_dockerfile::lint::Level;
use cairn_oci::{Platform, Reference};

use crate::info::InfoCommand;
use crate::promote::PromotionRule;
use crate::retention::Retention;
use crate::settings::{CaPolicy, EventKind, LockPolicy, NetworkPolicy, PackageSet, Rebuild};
use crate::signing::SignRule;
use crate::sources::Sources;
use crate::suggest::nearest;
use crate::suite::Tests;
use crate::tags::TagRules;
use crate::written::Spanned;

/// The images of one spec file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// The files that all spans point into.
    pub sources: Sources,
    /// Where images are to be published.
    pub registries: Vec<String>,
    /// The platforms to build for; empty means the machine's own.
    pub platforms: Vec<Platform>,
    /// Seconds since 1970 that times are set back to; the commit's time if absent.
    pub epoch: Option<i64>,
    /// How builds and tests run.
    pub build: BuildSettings,
    /// Levels of the checker's rules that differ from their own; `None` switches a rule off.
    pub lint: BTreeMap<&'static str, Option<Level>>,
    /// What to do when a locked package has disappeared.
    pub lock_policy: LockPolicy,
    /// The tag rules where no image has its own.
    pub tags: TagRules,
    /// Which tags may be promoted to which.
    pub promote: Vec<PromotionRule>,
    /// What stays in registries, if the spec says so.
    pub retention: Option<Retention>,
    /// Images from outside that must be signed.
    pub verify: Vec<VerifyRule>,
    /// How what is published is signed, if it is.
    pub sign: Option<SignRule>,
    /// How changed files decide what a run is about.
    pub changes: Changes,
    /// The images in the order of the file; an image with variants is there once per variant.
    pub images: Vec<Image>,
}

/// How builds and tests run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSettings {
    /// Which of the host's certificates are trusted.
    pub ca: Spanned<CaPolicy>,
    /// What steps reach.
    pub network: NetworkPolicy,
    /// How many steps run at a time, if the spec says so.
    pub jobs: Option<NonZeroUsize>,
    /// A file of secrets that steps may ask for, by its path from the spec's folder.
    pub secrets: Option<Spanned<String>>,
    /// Caches in registries whose results of steps are taken, in this order.
    pub cache_from: Vec<Reference>,
}

/// Images from outside that must be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyRule {
    /// Registry and namespace, as in `ghcr.io/lab`, or a glob over them.
    pub images: Spanned<String>,
    /// Files with public keys, by their paths from the spec's folder; never empty.
    pub keys: Vec<Spanned<String>>,
}

impl VerifyRule {
    /// Whether it is about an image of this name, `HOST/PATH`.
    pub fn concerns(&self, name: &str) -> bool {
        crate::glob::matches(&self.images, name)
    }
}

/// How changed files and a commit's message decide what a run is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Files whose changes concern no image: globs from the spec's folder.
    pub ignore: Vec<Spanned<String>>,
    /// Files whose changes concern every image: globs from the spec's folder.
    pub build_all: Vec<Spanned<String>>,
    /// Words in a commit's message that run every step again.
    pub rebuild_words: Vec<String>,
    /// Words in a commit's message that leave every image alone.
    pub skip_words: Vec<String>,
}

/// One image, or one variant of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name, unique in the stack.
    pub name: ImageName,
    /// How it is made.
    pub source: ImageSource,
    /// Labels to set when it is put together.
    pub labels: BTreeMap<String, String>,
    /// Tests that it must pass.
    pub tests: Tests,
    /// Commands that tell what it holds, in order; no name twice.
    pub info: Vec<InfoCommand>,
    /// Whether it is only there for other images.
    pub internal: bool,
    /// What holds on single platforms.
    pub platforms: Vec<PlatformRule>,
    /// Whether it is for no other platforms than those listed: the list is its own, and not that
    /// of the stack, which says what is published.
    pub only_listed: bool,
    /// When its steps run again; where the spec says so, or the image's place.
    pub rebuild: Spanned<Rebuild>,
    /// Where it is published; empty if the stack has no registry.
    pub repositories: Vec<Repository>,
    /// Its name in a registry that the spec says nothing of.
    pub published_name: String,
    /// The tags that events publish.
    pub tags: TagRules,
    /// What tags that do not name the variant themselves have around them.
    pub affixes: Affixes,
    /// The axes of its matrix with its values on them, in the order of the file; variants are on
    /// an axis called `variant`.
    pub axes: Vec<(String, String)>,
    /// Where the spec defines it: its name, or the variant's name.
    pub span: Span,
}

/// What stands around the tags of a variant and tells them from those of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affixes {
    /// What they begin with, as in `cuda12-`.
    pub prefix: String,
    /// What they end with, as in `-gpu`.
    pub suffix: String,
}

impl Affixes {
    /// Whether tags stay as they are.
    pub fn is_empty(&self) -> bool {
        self.prefix.is_empty() && self.suffix.is_empty()
    }

    /// A tag with what stands around it.
    pub fn around(&self, stem: &str) -> String {
        format!("{}{stem}{}", self.prefix, self.suffix)
    }

    pub(crate) fn len(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }
}

/// A place of images in a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// Registry and namespace, as in `ghcr.io/lab`.
    pub registry: String,
    /// The name below that.
    pub name: String,
}

/// What holds for an image on one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformRule {
    /// The platform.
    pub platform: Platform,
    /// Whether it is among the platforms to publish.
    pub is_listed: bool,
    /// The events that build for it; every one if absent.
    pub when: Option<BTreeSet<EventKind>>,
    /// How the image is made there, if differently.
    pub source: Option<ImageSource>,
}

/// The name of an image: `model`, or `model:cloud` for a variant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    /// The name of the image in the spec.
    pub image: String,
    /// The name of the variant, if it is one.
    pub variant: Option<String>,
}

/// How an image is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// By a Dockerfile.
    Dockerfile(DockerfileSource),
    /// From Debian packages.
    Debian(DebianSource),
}

/// A Dockerfile with what it is built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileSource {
    /// The folder it may copy from, by its path from the spec's folder.
    pub context: Spanned<String>,
    /// The Dockerfile, by its path from the context.
    pub dockerfile: Spanned<String>,
    /// The stage to build; the last one if absent.
    pub target: Option<Spanned<String>>,
    /// Build arguments.
    pub args: BTreeMap<String, Spanned<String>>,
}

/// A base to be assembled from Debian packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianSource {
    /// The release.
    pub suite: Spanned<String>,
    /// Packages to install besides the package set; no name twice.
    pub packages: Vec<Spanned<String>>,
    /// Which packages are there in any case.
    pub package_set: PackageSet,
    /// Where to fetch from, in order; empty means Debian's own mirrors.
    pub mirrors: Vec<Spanned<String>>,
    /// Debian's name of the processor; that of the platform if absent.
    pub arch: Option<Spanned<String>>,
    /// A file of keys to trust instead of Debian's, by its path from the spec's folder.
    pub keyring: Option<Spanned<String>>,
    /// The parts of the archive; never empty.
    pub components: Vec<String>,
}

/// The place of an image in its [`Stack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub usize);

impl Stack {
    /// All ids, in the order of the file.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ImageId> + use<> {
        (0..self.images.len()).map(ImageId)
    }

    /// The images that a name on the command line stands for: one, or all variants of an image.
    ///
    /// A variant may be written `model:cloud` or `model-cloud`. Empty if the name is unknown.
    pub fn select(&self, name: &str) -> Vec<ImageId> {
        if let Some(id) = self.exact(name) {
            return vec![id];
        }
        self.ids()
            .filter(|&id| self[id].name.image == name)
            .collect()
    }

    /// The one image that goes by this name in either spelling.
    pub fn exact(&self, name: &str) -> Option<ImageId> {
        self.ids().find(|&id| self[id].name.is_written(name))
    }

    /// The name in the stack nearest to one that is not in it, to be suggested.
    pub fn nearest(&self, name: &str) -> Option<String> {
        let full: Vec<String> = self.images.iter().map(|it| it.name.to_string()).collect();
        let plain = self.images.iter().map(|it| it.name.image.as_str());
        nearest(name, plain.chain(full.iter().map(String::as_str))).map(str::to_owned)
    }
}

impl Image {
    /// Its place in a registry, whether the spec sends it there or not.
    pub fn repository_at(&self, registry: &str) -> Repository {
        let mut known = self.repositories.iter();
        let known = known.find(|repository| repository.registry == registry);
        known.cloned().unwrap_or_else(|| Repository {
            registry: registry.to_owned(),
            name: self.published_name.clone(),
        })
    }

    /// How it is made on a platform.
    pub fn source_on(&self, platform: &Platform) -> &ImageSource {
        let rule = self.rule(platform);
        rule.and_then(|rule| rule.source.as_ref())
            .unwrap_or(&self.source)
    }

    /// Whether a run for this event builds it for a platform.
    pub fn is_for(&self, platform: &Platform, event: EventKind) -> bool {
        match self.rule(platform) {
            Some(rule) if self.only_listed && !rule.is_listed => false,
            Some(rule) => rule.when.as_ref().is_none_or(|when| when.contains(&event)),
            None => !self.only_listed,
        }
    }

    /// The platforms that this event publishes; empty means the machine's own.
    pub fn published_for(&self, event: EventKind) -> Vec<&Platform> {
        let listed = self.platforms.iter().filter(|rule| rule.is_listed);
        let platforms = listed.map(|rule| &rule.platform);
        platforms
            .filter(|platform| self.is_for(platform, event))
            .collect()
    }

    fn rule(&self, platform: &Platform) -> Option<&PlatformRule> {
        self.platforms
            .iter()
            .find(|rule| rule.platform == *platform)
    }
}

impl PlatformRule {
    /// A platform of which nothing else is said.
    pub(crate) fn listed(platform: Platform) -> Self {
        Self {
            platform,
            is_listed: true,
            when: None,
            source: None,
        }
    }
}

impl Index<ImageId> for Stack {
    type Output = Image;

    fn index(&self, id: ImageId) -> &Image {
        &self.images[id.0]
    }
}

impl ImageName {
    /// The name of an image without variants.
    pub fn plain(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            variant: None,
        }
    }

    /// The name of a variant.
    pub fn variant(image: impl Into<String>, variant: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            variant: Some(variant.into()),
        }
    }

    /// The name with `-` in place of `:`, for file names and the like.
    pub fn dashed(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{}-{variant}", self.image),
            None => self.image.clone(),
        }
    }

    /// Whether the text is this name in one of its spellings.
    pub fn is_written(&self, text: &str) -> bool {
        text == self.to_string() || text == self.dashed()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variant {
            Some(variant) => write!(f, "{}:{variant}", self.image),
            None => f.write_str(&self.image),
        }
    }
}
