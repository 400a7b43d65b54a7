//! A lone Dockerfile: what `cairn build CONTEXT` builds, with docker's habits.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_build::context::{Context, ContextError};
use cairn_build::graph::{BuildArgs, ContextId};
use cairn_build::image::load::{LoadError as ImageLoadError, LoadOptions, Source as ImageSource};
use cairn_build::image::source::base_image;
use cairn_build::request::{DockerfileRecipe, ImageRequest, Named, Recipe};
use cairn_diagnostic::Diagnostic;
use cairn_oci::Platform;
use cairn_sandbox::Cancel;
use cairn_store::{Store, StoreError};

use crate::git;
use crate::load::read_dockerfile;
use crate::request::DEFAULT_EPOCH;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct SingleBuild {
    /// The main context.
    pub context: ContextSource,
    /// The Dockerfile, if it is not `Dockerfile` in the context.
    pub dockerfile: Option<PathBuf>,
    /// What the image is called in messages.
    pub name: String,
    /// The stage to build.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BuildArgs,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Named contexts: name and source as written.
    pub contexts: Vec<(String, String)>,
    /// The platform to build for.
    pub platform: Platform,
    /// The platform of this machine.
    pub build_platform: Platform,
    /// `SOURCE_DATE_EPOCH` of the environment.
    pub epoch: Option<i64>,
    /// Whether every step runs, whatever the store holds.
    pub no_cache: bool,
    /// Whether steps see no network unless they ask.
    pub network_none: bool,
}

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory.
    Directory(PathBuf),
    /// A tar archive, plain or compressed.
    Archive(PathBuf),
    /// No files: only the Dockerfile matters.
    Empty,
}

/// One request, and the contexts it names.
pub struct SingleRequest {
    /// The request.
    pub image: ImageRequest,
    /// The contexts.
    pub contexts: Vec<Context>,
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
        !matches!(self, Self::Store(_) | Self::Read { .. })
    }
}

/// Makes the request for a lone Dockerfile.
pub fn request(
    store: &Store,
    build: &SingleBuild,
    cancel: &Cancel,
) -> Result<SingleRequest, SingleError> {
    let path = dockerfile_path(build)?;
    let dockerfile = match read_dockerfile(&path) {
        Ok(parsed) => parsed.map_err(SingleError::Findings)?,
        Err(source) => return Err(SingleError::Read { path, source }),
    };
    let mut contexts = vec![match &build.context {
        ContextSource::Directory(directory) => open_context(store, directory, Some(&path))?,
        ContextSource::Archive(archive) => open_archive(store, archive, cancel)?,
        ContextSource::Empty => Context::empty(),
    }];
    let mut names = BTreeMap::new();
    for (name, source) in &build.contexts {
        let named = named_context(store, build, name, source, &mut contexts)?;
        names.insert(name.clone(), named);
    }
    let epoch = build.epoch.unwrap_or_else(|| match &build.context {
        ContextSource::Directory(directory) => {
            git::commit(directory).map_or(DEFAULT_EPOCH, |commit| commit.time)
        }
        ContextSource::Archive(_) | ContextSource::Empty => DEFAULT_EPOCH,
    });
    let image = ImageRequest {
        name: build.name.clone(),
        recipe: Recipe::Dockerfile(DockerfileRecipe {
            dockerfile,
            context: ContextId(0),
            names,
            target: build.target.clone(),
            args: build.args.clone(),
            no_cache: build.no_cache,
            network_none: build.network_none,
            build_platform: build.build_platform.clone(),
        }),
        platform: build.platform.clone(),
        labels: build.labels.clone(),
        annotations: BTreeMap::new(),
        epoch,
    };
    Ok(SingleRequest { image, contexts })
}

/// Opens a directory as a context, with its ignore file and what is known of its files.
pub(crate) fn open_context(
    store: &Store,
    directory: &Path,
    dockerfile: Option<&Path>,
) -> Result<Context, SingleError> {
    let context = match dockerfile {
        Some(dockerfile) => Context::directory(directory, dockerfile)?,
        None => Context::named_directory(directory)?,
    };
    Ok(context.keeping_digests(store))
}

fn open_archive(store: &Store, path: &Path, cancel: &Cancel) -> Result<Context, SingleError> {
    let file = File::open(path).map_err(|source| SingleError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Context::archive(
        file,
        &path.display().to_string(),
        store,
        cancel,
    )?)
}

/// Finds the Dockerfile: the one named, or `Dockerfile` in any case in the context.
pub fn dockerfile_path(build: &SingleBuild) -> Result<PathBuf, SingleError> {
    let directory = match &build.context {
        ContextSource::Directory(directory) if directory.is_dir() => directory.clone(),
        ContextSource::Directory(directory) => {
            return Err(SingleError::NoContext(directory.clone()));
        }
        ContextSource::Archive(_) | ContextSource::Empty => PathBuf::from("."),
    };
    let path = build
        .dockerfile
        .clone()
        .unwrap_or_else(|| directory.join("Dockerfile"));
    if path.is_file() {
        return Ok(path);
    }
    let lower = path.with_file_name("dockerfile");
    if path.file_name().is_some_and(|name| name == "Dockerfile") && lower.is_file() {
        return Ok(lower);
    }
    // Docker takes `-f` from the working directory; people expect the context to be tried too.
    let inside = directory.join(&path);
    if build.dockerfile.is_some() && inside.is_file() {
        return Ok(inside);
    }
    Err(SingleError::NoDockerfile(path))
}

fn named_context(
    store: &Store,
    build: &SingleBuild,
    name: &str,
    source: &str,
    contexts: &mut Vec<Context>,
) -> Result<Named, SingleError> {
    let wrong = |reason| SingleError::NamedContext {
        name: name.to_owned(),
        source_text: source.to_owned(),
        reason,
    };
    if let Some(reference) = source.strip_prefix("docker-image://") {
        return Ok(Named::Image(reference.to_owned()));
    }
    if let Some(layout) = source.strip_prefix("oci-layout://") {
        return layout_image(store, build, name, layout);
    }
    if source.starts_with("target:") {
        return Err(wrong("a `target:` exists in a stack only"));
    }
    let remote = ["http://", "https://", "git://", "ssh://", "git@"];
    if remote.iter().any(|start| source.starts_with(start)) {
        return Err(wrong("contexts from the network are not supported yet"));
    }
    let directory = Path::new(source);
    if !directory.is_dir() {
        return Err(wrong("no such directory"));
    }
    let id = ContextId(u32::try_from(contexts.len()).unwrap_or(u32::MAX));
    contexts.push(open_context(store, directory, None)?);
    Ok(Named::Files(id))
}

/// Reads an image of a layout directory: `PATH`, `PATH:TAG` or `PATH@DIGEST`.
fn layout_image(
    store: &Store,
    build: &SingleBuild,
    name: &str,
    layout: &str,
) -> Result<Named, SingleError> {
    let (path, digest) = match layout.split_once('@') {
        Some((path, digest)) => (path, Some(digest)),
        None => (layout, None),
    };
    let (path, tag) = match path.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag.to_owned())),
        _ => (path, None),
    };
    let source = ImageSource::Oci {
        path: PathBuf::from(path),
        tag,
    };
    let options = LoadOptions {
        platform: build.platform.clone(),
        platform_required: false,
    };
    let failed = |source| SingleError::Layout {
        name: name.to_owned(),
        source,
    };
    let loaded = cairn_build::image::load::load(store, &source, &options).map_err(failed)?;
    let wanted = loaded.into_iter().find(|loaded| match digest {
        Some(digest) => {
            let packed = loaded.record.packed.as_ref();
            packed.is_some_and(|packed| packed.digest.as_str() == digest)
        }
        None => true,
    });
    match wanted {
        Some(loaded) => Ok(Named::Opened(Arc::new(base_image(layout, loaded.record)))),
        None => Err(SingleError::NamedContext {
            name: name.to_owned(),
            source_text: layout.to_owned(),
            reason: "the layout has no such image",
        }),
    }
}
