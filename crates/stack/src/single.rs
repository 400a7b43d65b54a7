//! A lone Dockerfile: what `cairn build CONTEXT` builds, with docker's habits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_build::attest::Origin;
use cairn_build::context::{Context, ContextError};
use cairn_build::graph::{BuildArgs, ContextId};
use cairn_build::image::load::LoadError as ImageLoadError;
use cairn_build::request::{Changes, DockerfileRecipe, ImageRequest, Lister, Named, Recipe};
use cairn_diagnostic::Diagnostic;
use cairn_dockerfile::ast::Dockerfile;
use cairn_oci::Platform;
use cairn_registry::FetchError;
use cairn_registry::git::{AddressError, GitError};
use cairn_store::StoreError;

use crate::contexts::{Fetched, Opener};
use crate::dockerfile_place::{dockerfile_at, dockerfile_beside, dockerfile_within};
use crate::epoch::settle_epoch;
use crate::git;
use crate::named_contexts::{NamedFiles, named_contexts};
use crate::pixi;
use crate::request::DEFAULT_EPOCH;
use crate::unused_args::{UnusedArg, unused_args};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct SingleBuild {
    /// The main context.
    pub context: ContextSource,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// What the image is called in messages.
    pub name: String,
    /// The stage to build.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BuildArgs,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Named contexts: name and source as written.
    pub contexts: Vec<(String, String)>,
    /// The platforms to build for: at least one.
    pub platforms: Vec<Platform>,
    /// The platform of this machine.
    pub build_platform: Platform,
    /// `SOURCE_DATE_EPOCH` of the environment.
    pub epoch: Option<i64>,
    /// Whether every step runs, whatever the store holds.
    pub no_cache: bool,
    /// Stages of which every step runs, whatever the store holds.
    pub no_cache_stages: Vec<String>,
    /// Whether steps see no network unless they ask.
    pub network_none: bool,
    /// The base of the first stage, whatever the Dockerfile says.
    pub base: Option<String>,
    /// What of the context is not part of it, in place of its own ignore file.
    pub ignore_file: Option<PathBuf>,
    /// What is changed of the image beside what the Dockerfile says.
    pub changes: Changes,
    /// Who lists packages.
    pub lister: Lister,
}

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory.
    Directory(PathBuf),
    /// A tar archive, plain or compressed.
    Archive(PathBuf),
    /// A repository, or a file of the web.
    Remote(String),
    /// No files: only the Dockerfile matters.
    Empty,
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileSource {
    /// `Dockerfile` in the context.
    Default,
    /// As named: beside the working directory for a directory, else in the context.
    Named(PathBuf),
    /// In this file of the host, whatever the context is: what was piped in.
    File(PathBuf),
}

impl DockerfileSource {
    /// What messages call the Dockerfile at a path. One that was piped in lies in a file for the
    /// while, whose name says nothing to anybody.
    pub fn called(&self, path: &Path) -> String {
        match self {
            Self::File(_) => "Dockerfile".to_owned(),
            Self::Default | Self::Named(_) => path.display().to_string(),
        }
    }
}

/// A request for each platform, and the contexts they name.
pub struct SingleRequest {
    /// The requests, in the order of the platforms.
    pub images: Vec<ImageRequest>,
    /// The contexts.
    pub contexts: Vec<Context>,
    /// Where each of them came from.
    pub origins: Vec<Origin>,
    /// Build arguments that no `ARG` takes.
    pub unused_args: Vec<UnusedArg>,
}

/// Why a lone build cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SingleError {
    /// The context is no directory.
    #[error("the context {} is no directory", .0.display())]
    NoContext(PathBuf),
    /// There is no Dockerfile.
    #[error("no Dockerfile at {}", .0.display())]
    NoDockerfile(PathBuf),
    /// The Dockerfile is a directory.
    #[error("{} is a directory, and no Dockerfile", .0.display())]
    DockerfileIsDirectory(PathBuf),
    /// The Dockerfile is a link to something that its directory does not hold.
    #[error("{} is a link to `{}`, which is not in its directory", path.display(), target.display())]
    DockerfileOutside {
        /// The link.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// The Dockerfile would have to be made by the C preprocessor first.
    #[error("{0} is a template for the C preprocessor, which is not run here")]
    Template(String),
    /// The Dockerfile is part of a context that must be fetched or unpacked.
    #[error("the Dockerfile lies in the context: only one of this machine can be checked")]
    InContext,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The Dockerfile is wrong.
    #[error("the Dockerfile cannot be parsed")]
    Findings(Vec<Diagnostic>),
    /// A lock does not fit what a step installs from it.
    #[error("a step would refuse its lock")]
    Locks(Vec<Diagnostic>),
    /// A named context is not understood.
    #[error("named context `{name}`: {reason}: `{source_text}`")]
    NamedContext {
        /// Its name.
        name: String,
        /// Its source as written.
        source_text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An image layout given as a named context cannot be read.
    #[error("cannot read the image of named context `{name}`")]
    Layout {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ImageLoadError,
    },
    /// A repository cannot be fetched.
    #[error("cannot fetch the repository")]
    Git(#[from] GitError),
    /// An address of a repository means nothing.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A file of the web cannot be fetched.
    #[error("cannot fetch the context")]
    Fetch(#[source] Box<FetchError>),
    /// The context cannot be opened.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SingleError {
    /// Whether the command line or the files named on it are at fault.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Store(_) | Self::Read { .. } | Self::Fetch(_) => false,
            Self::Git(error) => !error.is_environment(),
            _ => true,
        }
    }
}

/// Makes the request for a lone Dockerfile.
pub fn request(build: &SingleBuild, opener: &Opener<'_>) -> Result<SingleRequest, SingleError> {
    let mut opened = open(build, opener)?;
    if let Some(base) = &build.base {
        replace_base(&mut opened.dockerfile, base);
    }
    if let Some(ignore_file) = &build.ignore_file {
        opened.context = opened.context.ignoring(ignore_file)?;
    }
    if let ContextSource::Directory(directory) = &build.context {
        let (target, platforms) = (build.target.as_deref(), &build.platforms);
        let found = pixi::of_lone(
            &opened.dockerfile,
            directory,
            target,
            &build.args,
            platforms,
        );
        if !found.is_empty() {
            return Err(SingleError::Locks(found));
        }
    }
    let unused_args = unused_args(&opened.dockerfile, &build.args);
    let mut contexts = vec![opened.context];
    let mut origins = vec![opened.origin];
    let epoch = build.epoch.or(opened.time).unwrap_or(DEFAULT_EPOCH);
    let mut names = BTreeMap::new();
    let mut times = BTreeMap::new();
    let mut images = Vec::new();
    for platform in &build.platforms {
        let opener = Opener {
            platform,
            ..*opener
        };
        let mut files = NamedFiles {
            contexts: &mut contexts,
            origins: &mut origins,
            times: &mut times,
        };
        names = named_contexts(build, &opened.dockerfile, &opener, &names, &mut files)?;
        let names = names.clone();
        images.push(image_request(
            build,
            platform,
            &opened.dockerfile,
            names,
            epoch,
        ));
    }
    let mut args = build.args.clone();
    settle_epoch(&mut args, &opened.dockerfile, opened.time, &times, opener)?;
    for image in &mut images {
        if let Recipe::Dockerfile(recipe) = &mut image.recipe {
            recipe.args.clone_from(&args);
        }
    }
    Ok(SingleRequest {
        images,
        contexts,
        origins,
        unused_args,
    })
}

/// Has the first stage begin on another image.
fn replace_base(dockerfile: &mut Arc<Dockerfile>, base: &str) {
    if let Some(first) = Arc::make_mut(dockerfile).stages.first_mut() {
        first.from.kind.image.value = base.to_owned();
    }
}

fn image_request(
    build: &SingleBuild,
    platform: &Platform,
    dockerfile: &Arc<Dockerfile>,
    names: BTreeMap<String, Named>,
    epoch: i64,
) -> ImageRequest {
    let name = match build.platforms.len() {
        1 => build.name.clone(),
        _ => format!("{} {platform}", build.name),
    };
    ImageRequest {
        called: name.clone(),
        name,
        recipe: Recipe::Dockerfile(Box::new(DockerfileRecipe {
            dockerfile: dockerfile.clone(),
            context: ContextId(0),
            names,
            target: build.target.clone(),
            args: build.args.clone(),
            no_cache: build.no_cache,
            no_cache_stages: build.no_cache_stages.clone(),
            network_none: build.network_none,
            build_platform: build.build_platform.clone(),
            lister: build.lister.clone(),
        })),
        platform: platform.clone(),
        labels: build.labels.clone(),
        annotations: build.annotations.clone(),
        changes: build.changes.clone(),
        epoch,
        epoch_is_given: build.epoch.is_some(),
    }
}

/// The main context and its Dockerfile.
struct Opened {
    context: Context,
    dockerfile: Arc<Dockerfile>,
    /// When what is in it was committed.
    time: Option<i64>,
    origin: Origin,
}

fn open(build: &SingleBuild, opener: &Opener<'_>) -> Result<Opened, SingleError> {
    let here = || Origin::Local("context".to_owned());
    let fetched = match &build.context {
        ContextSource::Directory(directory) => {
            let path = dockerfile_beside(directory, &build.dockerfile)?;
            return Ok(Opened {
                dockerfile: dockerfile_at(&path, &build.dockerfile.called(&path))?,
                context: opener.directory(directory, Some(&path))?,
                time: git::commit(directory).map(|commit| commit.time),
                origin: here(),
            });
        }
        ContextSource::Archive(archive) => Fetched {
            context: opener.archive(archive, "(standard input)")?,
            is_dockerfile: false,
            time: None,
            origin: here(),
        },
        ContextSource::Remote(text) => opener.remote(text, keeps_git_dir(&build.args))?,
        ContextSource::Empty => Fetched {
            context: Context::empty(),
            is_dockerfile: false,
            time: None,
            origin: here(),
        },
    };
    if let Some(path) = of_the_host(&build.dockerfile) {
        return Ok(Opened {
            dockerfile: dockerfile_at(path, &build.dockerfile.called(path))?,
            context: fetched.context,
            time: fetched.time,
            origin: fetched.origin,
        });
    }
    let name = match &build.dockerfile {
        // A lone file is the Dockerfile, whatever name was asked for.
        _ if fetched.is_dockerfile => "context".to_owned(),
        DockerfileSource::File(path) | DockerfileSource::Named(path) => path.display().to_string(),
        DockerfileSource::Default => "Dockerfile".to_owned(),
    };
    Ok(Opened {
        dockerfile: dockerfile_within(&fetched.context, &name)?,
        context: fetched.context,
        time: fetched.time,
        origin: fetched.origin,
    })
}

/// The Dockerfile beside a context that is no directory, if it is a file of the host: by its full
/// path, as with docker.
pub(crate) fn of_the_host(source: &DockerfileSource) -> Option<&PathBuf> {
    match source {
        DockerfileSource::File(path) => Some(path),
        DockerfileSource::Named(path) => Some(path).filter(|it| it.is_absolute() && it.is_file()),
        DockerfileSource::Default => None,
    }
}

/// Finds the Dockerfile, if it is a file of the host.
pub fn dockerfile_path(build: &SingleBuild) -> Result<PathBuf, SingleError> {
    match &build.context {
        ContextSource::Directory(directory) => dockerfile_beside(directory, &build.dockerfile),
        _ => of_the_host(&build.dockerfile)
            .cloned()
            .ok_or(SingleError::InContext),
    }
}

/// Whether `.git` of a context is wanted, as BuildKit is told.
fn keeps_git_dir(args: &BuildArgs) -> bool {
    let value = args
        .get("BUILDKIT_CONTEXT_KEEP_GIT_DIR")
        .map(String::as_str);
    matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}
