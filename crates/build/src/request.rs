//! What a run is asked to build, after names and paths were found but before anything is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_dockerfile::ast::Dockerfile;
use cairn_oci::{Platform, Reference};

use crate::graph::{BuildArgs, ContextId};
use crate::lower::names::{Given, Seen};
use crate::resolve::{BaseImage, DebianBase};

/// One image to build.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    /// Its name in messages, which no other image of the run has.
    pub name: String,
    /// What siblings call it, together with its platform: `model`, `model:cloud`.
    pub called: String,
    /// How it is made.
    pub recipe: Recipe,
    /// The platform it is for.
    pub platform: Platform,
    /// Labels set when it is assembled; they rebuild nothing.
    pub labels: BTreeMap<String, String>,
    /// Annotations of its manifest; they rebuild nothing.
    pub annotations: BTreeMap<String, String>,
    /// What is changed beside what the recipe says.
    pub changes: Changes,
    /// When it was made, in seconds since 1970, where no build argument sets it.
    pub epoch: i64,
    /// Whether somebody gave that time: see [`ImageRecord::layer_epoch`](crate::image::ImageRecord::layer_epoch).
    pub epoch_is_given: bool,
}

/// What is changed of an image beside what its Dockerfile says, as other builders' flags can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Variables of every stage that begins on an image from outside; its own `ENV` wins.
    pub env: Vec<(String, String)>,
    /// Variables that the image does not have in the end.
    pub unset_env: Vec<String>,
    /// Labels that the image does not have in the end.
    pub unset_labels: Vec<String>,
    /// Whether labels of images from outside are dropped.
    pub drop_base_labels: bool,
    /// Whether all layers above those of the base become one.
    pub squash: bool,
    /// What steps see beside what their instructions ask for, in words: it enters their keys.
    pub surroundings: Vec<(String, String)>,
    /// Devices that every step is handed, by their CDI names.
    pub devices: Vec<String>,
}

/// How an image is made.
#[derive(Debug, Clone)]
pub enum Recipe {
    /// By a Dockerfile.
    Dockerfile(Box<DockerfileRecipe>),
    /// From Debian packages.
    Debian(Arc<DebianBase>),
}

/// A Dockerfile and everything its names may mean.
#[derive(Debug, Clone)]
pub struct DockerfileRecipe {
    /// The file, parsed.
    pub dockerfile: Arc<Dockerfile>,
    /// The main context.
    pub context: ContextId,
    /// Other things a name may stand for; they win over the store's images.
    pub names: BTreeMap<String, Named>,
    /// The stage to build; the last one if not given.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BuildArgs,
    /// Run every step, whatever the store holds.
    pub no_cache: bool,
    /// Stages of which every step runs, whatever the store holds.
    pub no_cache_stages: Vec<String>,
    /// No step sees the network unless it asks for it (`--network none`).
    pub network_none: bool,
    /// The platform that the building machine has.
    pub build_platform: Platform,
    /// Who makes lists of the image's packages.
    pub lister: Lister,
}

/// Who makes lists of packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lister {
    /// Nobody: none is wanted.
    #[default]
    Nobody,
    /// This program, when the image is there.
    Own,
    /// An image, as a step of the build.
    Image(Generator),
}

impl Lister {
    /// The image, if it is one.
    pub fn generator(&self) -> Option<&Generator> {
        match self {
            Self::Image(generator) => Some(generator),
            Self::Nobody | Self::Own => None,
        }
    }
}

/// An image that makes lists of packages, by BuildKit's protocol for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generator {
    /// Its name.
    pub image: String,
    /// What else it is told: names and values.
    pub parameters: BTreeMap<String, String>,
}

impl DockerfileRecipe {
    /// The file as a platform sees it.
    pub fn seen<'a>(&'a self, platform: &'a Platform) -> Seen<'a> {
        Seen {
            file: &self.dockerfile,
            target: self.target.as_deref(),
            args: &self.args,
            platform,
            build_platform: &self.build_platform,
        }
    }

    /// Finds a name among the named contexts, exactly or by the reference it normalises to.
    pub fn named(&self, name: &str) -> Option<&Named> {
        if let Some(named) = self.names.get(name) {
            return Some(named);
        }
        let wanted = name.parse::<Reference>().ok()?;
        let is_it = |known: &str| {
            known
                .parse::<Reference>()
                .is_ok_and(|known| known == wanted)
        };
        self.names
            .iter()
            .find(|(known, _)| is_it(known))
            .map(|(_, named)| named)
    }

    /// What somebody gave a name for, as far as it matters to which other names are used.
    pub fn given(&self, name: &str) -> Given {
        match self.named(name) {
            Some(Named::Stage(stage)) => Given::Stage(stage.clone()),
            Some(_) if self.replaces(name) => Given::Outside,
            _ => Given::Nothing,
        }
    }

    /// Whether a named context stands for the stage of this name. A sibling image does not: it
    /// was not given for this Dockerfile, and `FROM base AS base` is common.
    pub fn replaces(&self, stage: &str) -> bool {
        self.named(stage)
            .is_some_and(|named| !matches!(named, Named::Sibling(_)))
    }
}

/// What a name in `FROM`, `COPY --from` or `--mount=from=` stands for.
#[derive(Debug, Clone)]
pub enum Named {
    /// A directory or archive.
    Files(ContextId),
    /// Another image of this run, by what it is [called](ImageRequest::called).
    Sibling(String),
    /// An image of the store under another name.
    Image(String),
    /// An image that was read already (an OCI layout).
    Opened(Arc<BaseImage>),
    /// A stage of the same Dockerfile (`target:STAGE`).
    Stage(String),
}
