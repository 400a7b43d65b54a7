//! The stack as meant: what [`resolve`](crate::resolve()) makes of a spec file.
//!
//! Nothing in here is optional that has a default, nothing is inherited, nothing is left to
//! check. Values that a later step may find wrong (a folder that does not exist) keep their place
//! in the spec, so that the message can point at it.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Index;

use cairn_diagnostic::{Source, Span};
use cairn_oci::Platform;

use crate::settings::{CaPolicy, LockPolicy, NetworkPolicy, PackageSet};
use crate::suggest::nearest;
use crate::written::Spanned;

/// The images of one spec file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// The text that all spans point into.
    pub source: Source,
    /// Where images are to be published.
    pub registries: Vec<String>,
    /// The platforms to build for; empty means the machine's own.
    pub platforms: Vec<Platform>,
    /// Seconds since 1970 that times are set back to; the commit's time if absent.
    pub epoch: Option<i64>,
    /// How builds and tests run.
    pub build: BuildSettings,
    /// What to do when a locked package has disappeared.
    pub lock_policy: LockPolicy,
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
    /// Whether it is only there for other images.
    pub internal: bool,
    /// Where the spec defines it: its name, or the variant's name.
    pub span: Span,
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

/// Tests that an image must pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tests {
    /// container-structure-test files, by their paths from the spec's folder; none twice.
    pub structure: Vec<Spanned<String>>,
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

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variant {
            Some(variant) => write!(f, "{}:{variant}", self.image),
            None => f.write_str(&self.image),
        }
    }
}
