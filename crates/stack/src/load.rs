//! A directory to a stack: spec and Dockerfiles, each read and parsed once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_build::lower::names::{Given, external_names};
use cairn_diagnostic::{Diagnostic, Source};
use cairn_dockerfile::Dockerfile;
use cairn_oci::Platform;
use cairn_spec::graph::{ImageNames, NameUse};
use cairn_spec::{ImageId, ImageSource, Stack, StackGraph, Surroundings};

use crate::git::{self, Commit};

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
    /// The commit of the directory.
    pub commit: Option<Commit>,
}

impl LoadedStack {
    /// How an image is made on the platform of this run.
    pub fn source(&self, id: ImageId) -> &ImageSource {
        self.stack[id].source_on(&self.platform)
    }
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

/// Loads the stack of a directory.
pub fn load(directory: &Path, choices: &Choices<'_>) -> Result<LoadedStack, LoadError> {
    let platform = choices.platform;
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
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| git::commit(directory));
        let source = Source::new(path.display().to_string(), text);
        let surroundings = Surroundings {
            read: &|path| included(&directory.join(path)),
            overlay: choices.overlay,
            variables: choices.variables,
            environment: choices.environment,
        };
        let stack = cairn_spec::read(&source, &surroundings).map_err(LoadError::Findings)?;
        let (dockerfiles, used) = read_dockerfiles(directory, &stack, platform)?;
        let missing = missing_tests(directory, &stack);
        if !missing.is_empty() {
            return Err(LoadError::Findings(missing));
        }
        let graph = StackGraph::new(&stack, &used).map_err(LoadError::Findings)?;
        Ok(LoadedStack {
            directory: directory.to_owned(),
            stack,
            platform: platform.clone(),
            dockerfiles,
            external: external(&used, &graph),
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
fn external(used: &Used, graph: &StackGraph) -> BTreeMap<ImageId, BTreeSet<String>> {
    let outside = used.iter().map(|file| {
        let is_sibling = |name: &str| graph.edges(file.image).iter().any(|edge| edge.name == name);
        let names = file.uses.iter().map(|used| used.name.clone());
        (file.image, names.filter(|name| !is_sibling(name)).collect())
    });
    outside.collect()
}

type Dockerfiles = BTreeMap<ImageId, LoadedDockerfile>;
type Used = Vec<ImageNames>;

fn read_dockerfiles(
    directory: &Path,
    stack: &Stack,
    platform: &Platform,
) -> Result<(Dockerfiles, Used), LoadError> {
    let mut parsed: BTreeMap<PathBuf, Arc<Dockerfile>> = BTreeMap::new();
    let mut dockerfiles = Dockerfiles::new();
    let mut used = Used::new();
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
        let target = spec.target.as_ref().map(|target| target.value.as_str());
        let args = spec
            .args
            .iter()
            .map(|(name, value)| (name.clone(), value.value.clone()));
        match external_names(&dockerfile, target, &args.collect(), platform, &|_| {
            Given::Nothing
        }) {
            Ok(names) => {
                let uses = names.into_iter().map(|used| NameUse {
                    name: used.name,
                    span: used.span,
                });
                used.push(ImageNames {
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
