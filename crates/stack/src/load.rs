//! A directory to a stack: spec and Dockerfiles, each read and parsed once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_build::lower::names::{Given, Seen, external_names, foreign_run};
use cairn_diagnostic::{Diagnostic, Source};
use cairn_dockerfile::Dockerfile;
use cairn_oci::Platform;
use cairn_spec::graph::{ImageNames, NameUse};
use cairn_spec::stack::DockerfileSource;
use cairn_spec::{ImageId, ImageSource, Stack, StackGraph, Surroundings};

use crate::git::{self, Commit};
use crate::target::label;

/// No Dockerfile is longer in BuildKit.
const DOCKERFILE_LENGTH_MAX: u64 = 16 << 20;

/// A stack with everything that was read to know it.
#[derive(Debug, Clone)]
pub struct LoadedStack {
    /// The directory of its spec, as the user named it.
    pub directory: PathBuf,
    /// The spec as meant.
    pub stack: Stack,
    /// The platform it was loaded for.
    pub platform: Platform,
    /// Its Dockerfiles by image.
    pub dockerfiles: BTreeMap<ImageId, LoadedDockerfile>,
    /// The edges between its images.
    pub graph: StackGraph,
    /// For each image, the names in its Dockerfile that mean images from outside the stack.
    pub external: BTreeMap<ImageId, BTreeSet<String>>,
    /// For each image, the names that its Dockerfile takes for another platform.
    pub elsewhere: BTreeMap<ImageId, Vec<Elsewhere>>,
    /// The commit of the directory.
    pub commit: Option<Commit>,
}

impl LoadedStack {
    /// How an image is made on the platform of this run.
    pub fn source(&self, id: ImageId) -> &ImageSource {
        self.stack[id].source_on(&self.platform)
    }

    /// What an image is called in a run.
    pub fn label(&self, id: ImageId) -> String {
        label(&self.stack[id].name.to_string(), &self.platform)
    }

    /// The same stack for another platform; what was read is not read again.
    pub fn on(&self, platform: &Platform) -> Result<Self, LoadError> {
        let files = self.dockerfiles.values();
        let known = files.map(|file| (file.path.clone(), file.dockerfile.clone()));
        let (dockerfiles, used) =
            read_dockerfiles(&self.directory, &self.stack, platform, known.collect())?;
        let graph = StackGraph::new(&self.stack, &used.names).map_err(LoadError::Findings)?;
        Ok(Self {
            directory: self.directory.clone(),
            stack: self.stack.clone(),
            platform: platform.clone(),
            dockerfiles,
            external: external(&used.names, &graph),
            elsewhere: used.elsewhere,
            graph,
            commit: self.commit.clone(),
        })
    }

    /// The siblings that an image takes for other platforms than its own.
    pub fn parents_elsewhere(&self, id: ImageId) -> impl Iterator<Item = (ImageId, &Platform)> {
        let names = self.elsewhere.get(&id).into_iter().flatten();
        names.filter_map(move |used| {
            let mut edges = self.graph.edges(id).iter();
            let edge = edges.find(|edge| edge.name == used.name)?;
            Some((edge.parent, &used.platform))
        })
    }

    /// The siblings that an image takes for its own platform.
    pub fn parents_here(&self, id: ImageId) -> BTreeSet<ImageId> {
        let elsewhere = self.elsewhere.get(&id);
        let is_here = |name: &str| {
            let mut elsewhere = elsewhere.into_iter().flatten();
            elsewhere.all(|used| used.name != name || used.also_here)
        };
        let edges = self.graph.edges(id).iter();
        let here = edges.filter(|edge| is_here(&edge.name));
        here.map(|edge| edge.parent).collect()
    }

    /// Images with everything that they build on for this platform.
    fn with_ancestors_here(&self, id: ImageId) -> Vec<ImageId> {
        let mut found = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(self.parents_here(id));
            }
        }
        let order = self.graph.order().iter().copied();
        order.filter(|id| found.contains(id)).collect()
    }

    /// What keeps a machine from building an image, unless the result is known: the first step of
    /// it, or of what it builds on, that is to be run there and cannot.
    pub fn cannot_be_run(
        &self,
        id: ImageId,
        can_run: &dyn Fn(&Platform) -> bool,
    ) -> Option<Obstacle> {
        self.with_ancestors_here(id).into_iter().find_map(|it| {
            let step = match self.source(it) {
                ImageSource::Debian(_) => {
                    (!can_run(&self.platform)).then(|| "the scripts of its packages".to_owned())
                }
                ImageSource::Dockerfile(_) => {
                    let file = self.dockerfiles.get(&it)?;
                    let found = foreign_run(&self.seen(it, file)?.as_seen(), can_run).ok()??;
                    let source = &file.dockerfile.source;
                    let line = source.position(found.span.start).line;
                    Some(format!("`{}` ({}:{line})", found.title, source.name))
                }
            };
            Some(Obstacle {
                image: it,
                step: step?,
            })
        })
    }

    fn seen<'a>(&'a self, id: ImageId, file: &'a LoadedDockerfile) -> Option<OwnedSeen<'a>> {
        let ImageSource::Dockerfile(spec) = self.source(id) else {
            return None;
        };
        Some(OwnedSeen {
            file: &file.dockerfile,
            target: spec.target.as_ref().map(|target| target.value.as_str()),
            args: plain_args(spec),
            platform: &self.platform,
            here: Platform::of_this_program(),
        })
    }
}

/// A name that a Dockerfile takes for another platform (`FROM --platform=$BUILDPLATFORM`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The name.
    pub name: String,
    /// The platform.
    pub platform: Platform,
    /// Whether it takes it for its own platform, too.
    pub also_here: bool,
}

/// A step that a machine cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The image that it is a step of.
    pub image: ImageId,
    /// The step, with its place.
    pub step: String,
}

/// What [`Seen`] borrows.
struct OwnedSeen<'a> {
    file: &'a Dockerfile,
    target: Option<&'a str>,
    args: BTreeMap<String, String>,
    platform: &'a Platform,
    here: Platform,
}

impl OwnedSeen<'_> {
    fn as_seen(&self) -> Seen<'_> {
        Seen {
            file: self.file,
            target: self.target,
            args: &self.args,
            platform: self.platform,
            build_platform: &self.here,
        }
    }
}

fn plain_args(spec: &DockerfileSource) -> BTreeMap<String, String> {
    let args = spec.args.iter();
    args.map(|(name, value)| (name.clone(), value.value.clone()))
        .collect()
}

/// What is chosen about a stack before it is read.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    /// The platform of the run.
    pub platform: &'a Platform,
    /// The environment: an `[env.NAME]` of the spec.
    pub overlay: Option<&'a str>,
    /// Values of variables of the spec.
    pub variables: &'a BTreeMap<String, String>,
    /// The variables of the process's environment.
    pub environment: &'a BTreeMap<String, String>,
}

/// A Dockerfile of a stack.
#[derive(Debug, Clone)]
pub struct LoadedDockerfile {
    /// Where it is.
    pub path: PathBuf,
    /// Where its context is.
    pub context: PathBuf,
    /// What it says.
    pub dockerfile: Arc<Dockerfile>,
}

/// Why a stack cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no spec.
    #[error("no {} in {}", cairn_spec::FILE_NAME, directory.display())]
    NoSpec {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The spec or a Dockerfile is wrong.
    #[error("{} in the stack", count(.0.len()))]
    Findings(Vec<Diagnostic>),
}

fn count(errors: usize) -> String {
    if errors == 1 {
        "1 error".to_owned()
    } else {
        format!("{errors} errors")
    }
}

/// Reads the spec of a directory, and no file that it names but those that it includes.
pub fn read_spec(directory: &Path, choices: &Choices<'_>) -> Result<Stack, LoadError> {
    let path = directory.join(cairn_spec::FILE_NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(LoadError::NoSpec {
                directory: directory.to_owned(),
            });
        }
        Err(source) => return Err(LoadError::Read { path, source }),
    };
    let source = Source::new(path.display().to_string(), text);
    let surroundings = Surroundings {
        read: &|path| included(&directory.join(path)),
        overlay: choices.overlay,
        variables: choices.variables,
        environment: choices.environment,
    };
    cairn_spec::read(&source, &surroundings).map_err(LoadError::Findings)
}

/// Loads the stack of a directory.
pub fn load(directory: &Path, choices: &Choices<'_>) -> Result<LoadedStack, LoadError> {
    let platform = choices.platform;
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| git::commit(directory));
        let stack = read_spec(directory, choices)?;
        let (dockerfiles, used) = read_dockerfiles(directory, &stack, platform, BTreeMap::new())?;
        let missing = missing_tests(directory, &stack);
        if !missing.is_empty() {
            return Err(LoadError::Findings(missing));
        }
        let graph = StackGraph::new(&stack, &used.names).map_err(LoadError::Findings)?;
        Ok(LoadedStack {
            directory: directory.to_owned(),
            stack,
            platform: platform.clone(),
            dockerfiles,
            external: external(&used.names, &graph),
            elsewhere: used.elsewhere,
            graph,
            commit: commit.join().ok().flatten(),
        })
    })
}

fn included(path: &Path) -> Result<Source, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Source::new(path.display().to_string(), text)),
        Err(error) => Err(error.to_string()),
    }
}

/// Test files that the spec names and that are not there.
fn missing_tests(directory: &Path, stack: &Stack) -> Vec<Diagnostic> {
    let tests = stack.images.iter().map(|image| &image.tests);
    let files = tests.clone().flat_map(|tests| &tests.structure);
    let files = files.filter(|file| !directory.join(&file.value).is_file());
    let suites = tests.flat_map(|tests| &tests.suites);
    let folders = suites.flat_map(|suite| std::iter::once(&suite.path).chain(&suite.python_path));
    let folders = folders.filter(|path| !directory.join(&path.value).exists());
    let missing = files
        .map(|file| ("no test file", file))
        .chain(folders.map(|path| ("no tests", path)));
    let mut findings: Vec<Diagnostic> = missing
        .map(|(what, path)| {
            let finding = Diagnostic::error(format!("{what} `{}`", path.value));
            stack
                .sources
                .point(finding, path.span)
                .hint("Paths of tests start from the folder of the file they are written in.")
        })
        .collect();
    findings.sort_by_key(|finding| finding.label.as_ref().map(|label| label.span.start));
    findings.dedup();
    findings
}

/// The names that are no siblings.
fn external(used: &[ImageNames], graph: &StackGraph) -> BTreeMap<ImageId, BTreeSet<String>> {
    let outside = used.iter().map(|file| {
        let is_sibling = |name: &str| graph.edges(file.image).iter().any(|edge| edge.name == name);
        let names = file.uses.iter().map(|used| used.name.clone());
        (file.image, names.filter(|name| !is_sibling(name)).collect())
    });
    outside.collect()
}

type Dockerfiles = BTreeMap<ImageId, LoadedDockerfile>;
type ByPath = BTreeMap<PathBuf, Arc<Dockerfile>>;

/// The names that Dockerfiles use.
#[derive(Default)]
struct Used {
    names: Vec<ImageNames>,
    elsewhere: BTreeMap<ImageId, Vec<Elsewhere>>,
}

/// Reads the Dockerfiles of a stack; those in `parsed` were read before.
fn read_dockerfiles(
    directory: &Path,
    stack: &Stack,
    platform: &Platform,
    mut parsed: ByPath,
) -> Result<(Dockerfiles, Used), LoadError> {
    let mut dockerfiles = Dockerfiles::new();
    let mut used = Used::default();
    let mut findings = Vec::new();
    for id in stack.ids() {
        let ImageSource::Dockerfile(spec) = stack[id].source_on(platform) else {
            continue;
        };
        // `./.` reads badly in messages.
        let context = match spec.context.value.as_str() {
            "." => directory.to_owned(),
            path => directory.join(path),
        };
        if !context.is_dir() {
            let text = format!("context `{}` is no directory", spec.context.value);
            findings.push(
                stack
                    .sources
                    .point(Diagnostic::error(text), spec.context.span),
            );
            continue;
        }
        let path = context.join(&spec.dockerfile.value);
        let dockerfile = match parsed.get(&path) {
            Some(dockerfile) => dockerfile.clone(),
            None => match read_dockerfile(&path) {
                Ok(Ok(dockerfile)) => {
                    parsed.insert(path.clone(), dockerfile.clone());
                    dockerfile
                }
                Ok(Err(errors)) => {
                    findings.extend(errors);
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let text = format!(
                        "`{}` has no `{}`",
                        spec.context.value, spec.dockerfile.value
                    );
                    let finding = Diagnostic::error(text).hint(
                        "Set `dockerfile` if it has another name; it is looked for in the context.",
                    );
                    findings.push(stack.sources.point(finding, spec.dockerfile.span));
                    continue;
                }
                Err(source) => return Err(LoadError::Read { path, source }),
            },
        };
        let seen = OwnedSeen {
            file: &dockerfile,
            target: spec.target.as_ref().map(|target| target.value.as_str()),
            args: plain_args(spec),
            platform,
            here: Platform::of_this_program(),
        };
        match external_names(&seen.as_seen(), &|_| Given::Nothing) {
            Ok(names) => {
                let is_here = |name: &str| {
                    let mut names = names.iter();
                    names.any(|used| used.name == name && used.platform.is_none())
                };
                let elsewhere = names.iter().filter_map(|used| {
                    Some(Elsewhere {
                        name: used.name.clone(),
                        platform: used.platform.clone()?,
                        also_here: is_here(&used.name),
                    })
                });
                let elsewhere: Vec<Elsewhere> = elsewhere.collect();
                if !elsewhere.is_empty() {
                    used.elsewhere.insert(id, elsewhere);
                }
                let uses = names.into_iter().map(|used| NameUse {
                    name: used.name,
                    span: used.span,
                });
                used.names.push(ImageNames {
                    image: id,
                    source: dockerfile.source.clone(),
                    uses: uses.collect(),
                });
            }
            Err(error) => findings.push(*error),
        }
        dockerfiles.insert(
            id,
            LoadedDockerfile {
                path,
                context,
                dockerfile,
            },
        );
    }
    findings.dedup();
    if findings.is_empty() {
        Ok((dockerfiles, used))
    } else {
        Err(LoadError::Findings(findings))
    }
}

type Parsed = Result<Arc<Dockerfile>, Vec<Diagnostic>>;

/// Reads and parses one Dockerfile.
pub fn read_dockerfile(path: &Path) -> Result<Parsed, std::io::Error> {
    let text = dockerfile_text(std::fs::File::open(path)?)?;
    let source = Source::new(path.display().to_string(), text);
    Ok(cairn_dockerfile::parse(&source).map(Arc::new))
}

/// The text of a Dockerfile, which is refused where it is longer than BuildKit takes.
pub(crate) fn dockerfile_text(file: impl Read) -> Result<String, std::io::Error> {
    let mut bytes = Vec::new();
    file.take(DOCKERFILE_LENGTH_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > DOCKERFILE_LENGTH_MAX {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            "Dockerfile exceeds maximum allowed size of 16 MiB",
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{DOCKERFILE_LENGTH_MAX, dockerfile_text};

    #[test]
    fn a_dockerfile_may_be_long_but_not_too_long() {
        let length = usize::try_from(DOCKERFILE_LENGTH_MAX).unwrap();
        assert!(dockerfile_text(&*vec![b'#'; length]).is_ok());
        let error = dockerfile_text(&*vec![b'#'; length + 1]).unwrap_err();
        assert!(error.to_string().contains("exceeds maximum allowed size"));
    }
}
