//! What is checked: Dockerfiles, each with the context and arguments it is built with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_build::context::IgnoreFile;
use cairn_diagnostic::{Diagnostic, Source};
use cairn_dockerfile::Dockerfile;
use cairn_dockerfile::ignore::Patterns;
use cairn_dockerfile::lint::{self, Finding, Group, Input, Level, Reach, Rule};
use cairn_oci::Platform;
use cairn_spec::{ImageSource, StackGraph};
use cairn_stack::load::{LoadError, LoadedStack};
use cairn_stack::lockfile::LockFile;
use cairn_stack::pixi;
use cairn_stack::single::{ContextSource, SingleBuild};

use super::LintArgs;
use super::levels::LevelChoice;
use crate::commands::options::StackOption;
use crate::error::{CommandError, Kind};
use crate::session::{Session, host_platform};
use crate::settings::Settings;

/// A Dockerfile to check, and how it is built.
#[derive(Clone)]
pub struct Subject {
    /// The file.
    pub file: Arc<Dockerfile>,
    args: BTreeMap<String, String>,
    target: Option<String>,
    ignore: Option<Patterns>,
    pinned: BTreeSet<String>,
    package_files: BTreeMap<String, String>,
    /// The levels that the stack gives rules.
    levels: Levels,
    platform: Platform,
    wants: fn(&Rule) -> bool,
}

/// What was found in one file.
pub struct Checked {
    /// The file.
    pub source: Source,
    /// What was found, in the order of the text.
    pub findings: Vec<Finding>,
    /// How many findings are below the level that is shown.
    pub unshown: usize,
    /// The rules that were violated, if the file itself asks that this be an error.
    pub violations: Vec<&'static str>,
}

/// Where standard input stands in messages.
pub const STANDARD_INPUT: &str = "<stdin>";

/// Levels of rules by name; `None` switches one off.
pub type Levels = BTreeMap<&'static str, Option<Level>>;

type Found = (Vec<Subject>, Vec<Diagnostic>);

impl Subject {
    /// Finds what the command line asks for. Files that are no Dockerfiles come back as errors.
    pub fn find(args: &LintArgs, session: &Session) -> Result<Found, CommandError> {
        let build_args = build_args(args, &session.settings);
        if !args.files.is_empty() {
            return lone(&args.files, args, &build_args, session);
        }
        let directory = args.stack.as_deref().unwrap_or(Path::new("."));
        let has_spec = directory.join(cairn_spec::FILE_NAME).is_file();
        let dockerfile = Path::new("Dockerfile");
        if args.stack.is_none() && (args.target.is_some() || !has_spec) && dockerfile.is_file() {
            return lone(&[dockerfile.to_owned()], args, &build_args, session);
        }
        if args.stack.is_none() && !has_spec {
            return Err(CommandError::usage("there is nothing to check here")
                .hint("name a Dockerfile, or a stack with `--stack DIR`"));
        }
        of_stack(directory, args, &build_args, session)
    }

    /// The Dockerfile of a build, by BuildKit's rules. One with mistakes comes back as what
    /// stands before them, if that says anything, and the mistakes.
    pub fn of_build(
        build: &SingleBuild,
        dockerfile: &Path,
    ) -> Result<(Option<Self>, Vec<Diagnostic>), CommandError> {
        let text = read(dockerfile)?.text.to_string();
        let source = Source::new(build.dockerfile.called(dockerfile), text);
        let (file, errors) = parsed(&source);
        let Some(file) = file else {
            return Ok((None, errors));
        };
        let subject = Self {
            file: Arc::new(file),
            args: build.args.clone(),
            target: build.target.clone(),
            ignore: match &build.context {
                ContextSource::Directory(context) => ignore_file(context, Some(dockerfile))?,
                ContextSource::Archive(_) | ContextSource::Remote(_) | ContextSource::Empty => None,
            },
            pinned: BTreeSet::new(),
            package_files: BTreeMap::new(),
            levels: Levels::new(),
            platform: build.platforms[0].clone(),
            wants: match errors.is_empty() {
                true => |rule| rule.group == Group::BuildKit,
                false => is_of_parser,
            },
        };
        Ok((Some(subject), errors))
    }

    /// The same with another text; `None` if that is no Dockerfile.
    pub fn with_text(&self, text: &str) -> Option<Self> {
        let source = Source::new(self.file.source.name.clone(), text);
        let file = cairn_dockerfile::parse(&source).ok()?;
        Some(Self {
            file: Arc::new(file),
            ..self.clone()
        })
    }

    /// Checks the file.
    pub fn check(&self, levels: &Levels) -> Result<Checked, Box<Diagnostic>> {
        let platform = cairn_build::lint::platform_parts(&self.platform);
        let mut all = self.levels.clone();
        all.extend(levels);
        let input = Input {
            args: &self.args,
            reach: match &self.target {
                Some(target) => Reach::Target(Some(target)),
                None => Reach::AllStages,
            },
            ignore: self.ignore.as_ref(),
            build_platform: platform,
            target_platform: platform,
            bases: &BTreeMap::new(),
            pinned: &self.pinned,
            package_files: &self.package_files,
            levels: &all,
            wants: self.wants,
        };
        let checked = lint::check(&self.file, &input)?;
        Ok(Checked {
            source: self.file.source.clone(),
            violations: checked.violations(),
            findings: checked.findings,
            unshown: 0,
        })
    }
}

impl Checked {
    /// Leaves out what is below a level, and counts it.
    pub fn hide_below(&mut self, level: LevelChoice) {
        let before = self.findings.len();
        self.findings.retain(|finding| level.has(finding.level));
        self.unshown += before - self.findings.len();
    }
}

/// Adds what was found; images that share a file are told once.
pub fn merge(all: &mut Vec<Checked>, checked: Checked) {
    match all.iter_mut().find(|other| other.source == checked.source) {
        Some(other) => {
            for finding in checked.findings {
                if !other.findings.contains(&finding) {
                    other.findings.push(finding);
                }
            }
            other.findings.sort_by_key(|finding| finding.span.start);
            other.violations.extend(checked.violations);
        }
        None => all.push(checked),
    }
}

/// Build arguments; one without a value comes from the environment, and is left out if it is not
/// there.
fn build_args(args: &LintArgs, settings: &Settings) -> BTreeMap<String, String> {
    let given = args.build_arg.iter().filter_map(|(name, value)| {
        let value = match value {
            Some(value) => value.clone(),
            None => settings.environment.exact(name)?.to_str()?.to_owned(),
        };
        Some((name.clone(), value))
    });
    given.collect()
}

fn lone(
    files: &[PathBuf],
    args: &LintArgs,
    build_args: &BTreeMap<String, String>,
    session: &Session,
) -> Result<Found, CommandError> {
    let mut subjects = Vec::new();
    let mut refused = Vec::new();
    for path in files {
        let source = read(path)?;
        let is_input = path.as_os_str() == "-";
        let ignore = match (&args.context, is_input) {
            (Some(context), true) => ignore_file(context, None)?,
            (Some(context), false) => ignore_file(context, Some(path))?,
            (None, true) => None,
            (None, false) => ignore_file(directory_of(path), Some(path))?,
        };
        let (pinned, levels) = match is_input {
            true => Default::default(),
            false => stack_around(path, args, session),
        };
        let (file, errors) = parsed(&source);
        if let Some(file) = file {
            subjects.push(Subject {
                file: Arc::new(file),
                args: build_args.clone(),
                target: args.target.clone(),
                ignore,
                pinned,
                levels,
                package_files: match (&args.context, is_input) {
                    (Some(context), _) => package_files(context),
                    (None, true) => BTreeMap::new(),
                    (None, false) => package_files(directory_of(path)),
                },
                platform: host_platform(),
                wants: match errors.is_empty() {
                    true => |_| true,
                    false => is_of_parser,
                },
            });
        }
        refused.extend(errors);
    }
    Ok((subjects, refused))
}

/// A Dockerfile, or what stands before its first mistake, and the mistakes.
fn parsed(source: &Source) -> (Option<Dockerfile>, Vec<Diagnostic>) {
    match cairn_dockerfile::parse(source) {
        Ok(file) => (Some(file), Vec::new()),
        Err(errors) => (cairn_dockerfile::parse_leading(source), errors),
    }
}

/// Whether BuildKit notices a violation while it parses, so that it tells of it even where a
/// later line is a mistake.
fn is_of_parser(rule: &Rule) -> bool {
    const RULES: [&str; 6] = [
        "FromAsCasing",
        "InvalidDefinitionDescription",
        "LegacyKeyValueFormat",
        "MaintainerDeprecated",
        "NoEmptyContinuation",
        "StageNameCasing",
    ];
    RULES.contains(&rule.name)
}

fn read(path: &Path) -> Result<Source, CommandError> {
    let mut bytes = Vec::new();
    let (name, read) = match path.as_os_str() == "-" {
        true => {
            let read = std::io::stdin().lock().read_to_end(&mut bytes).map(drop);
            (STANDARD_INPUT.to_owned(), read)
        }
        false => {
            let read = std::fs::read(path).map(|read| bytes = read);
            (path.display().to_string(), read)
        }
    };
    read.map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory => Kind::Usage,
            _ => Kind::Environment,
        };
        let told = CommandError::from_error(kind, &error)
            .while_doing(format!("cannot read {}", path.display()));
        match error.kind() {
            std::io::ErrorKind::IsADirectory => {
                told.hint(format!("name the file: {}/Dockerfile", path.display()))
            }
            _ => told,
        }
    })?;
    Ok(Source::new(name, String::from_utf8_lossy(&bytes)))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn ignore_file(
    context: &Path,
    dockerfile: Option<&Path>,
) -> Result<Option<Patterns>, CommandError> {
    let found = IgnoreFile::find(context, dockerfile)
        .map_err(|error| CommandError::from_error(Kind::Usage, &error))?;
    Ok(found.map(|file| file.patterns))
}

/// Files of a context that say which packages are installed.
const PACKAGE_FILES: [&str; 9] = [
    "conda-lock.yml",
    "environment.yaml",
    "environment.yml",
    "pixi.lock",
    "pixi.toml",
    "pyproject.toml",
    "requirements.in",
    "requirements.txt",
    "uv.lock",
];

/// Larger files are no lists of packages.
const PACKAGE_FILE_MAX: u64 = 8 << 20;

/// Reads those that are there.
fn package_files(context: &Path) -> BTreeMap<String, String> {
    let texts = PACKAGE_FILES.iter().filter_map(|name| {
        let path = context.join(name);
        let length = std::fs::metadata(&path).ok()?.len();
        let text = (length <= PACKAGE_FILE_MAX).then(|| std::fs::read_to_string(&path).ok());
        Some(((*name).to_owned(), text??))
    });
    texts.collect()
}

fn load(directory: &Path, args: &LintArgs, session: &Session) -> Result<LoadedStack, LoadError> {
    let stack = StackOption {
        stack: directory.to_owned(),
        overlay: args.overlay.iter().cloned().collect(),
        variables: args.variables.clone(),
    };
    stack.load(session, &host_platform())
}

/// The names that mean images of the stack a file lies in, if it lies in one, and the levels that
/// stack gives rules.
fn stack_around(path: &Path, args: &LintArgs, session: &Session) -> (BTreeSet<String>, Levels) {
    let Ok(path) = std::path::absolute(path) else {
        return Default::default();
    };
    let directory = path
        .ancestors()
        .skip(1)
        .find(|directory| directory.join(cairn_spec::FILE_NAME).is_file());
    // A stack that cannot be loaded is not what was asked about.
    let Some(Ok(stack)) = directory.map(|directory| load(directory, args, session)) else {
        return Default::default();
    };
    let mut names = locked(&stack.directory);
    for image in &stack.stack.images {
        names.extend([
            image.name.to_string(),
            image.name.dashed(),
            image.name.image.clone(),
        ]);
    }
    (names, stack.stack.lint)
}

/// The names of images from outside that the stack's lock pins.
fn locked(directory: &Path) -> BTreeSet<String> {
    let lock = LockFile::read(directory);
    lock.map_or_else(
        |_| BTreeSet::new(),
        |lock| lock.external.into_keys().collect(),
    )
}

fn of_stack(
    directory: &Path,
    args: &LintArgs,
    build_args: &BTreeMap<String, String>,
    session: &Session,
) -> Result<Found, CommandError> {
    let platform = host_platform();
    let loaded = match load(directory, args, session) {
        Ok(loaded) => loaded,
        Err(LoadError::Findings(findings)) => return Ok((Vec::new(), findings)),
        Err(error @ LoadError::NoSpec { .. }) => {
            return Err(CommandError::from_error(Kind::Usage, &error));
        }
        Err(error) => return Err(CommandError::from_error(Kind::Environment, &error)),
    };
    let locked = locked(directory);
    let mut subjects = Vec::new();
    for (id, dockerfile) in &loaded.dockerfiles {
        let ImageSource::Dockerfile(spec) = loaded.source(*id) else {
            continue;
        };
        let own = spec.args.iter();
        let mut args: BTreeMap<String, String> = own
            .map(|(name, value)| (name.clone(), value.value.clone()))
            .collect();
        args.extend(build_args.clone());
        let mut pinned = locked.clone();
        pinned.extend(siblings(&loaded, &loaded.graph, *id));
        subjects.push(Subject {
            file: dockerfile.dockerfile.clone(),
            args,
            target: spec.target.as_ref().map(|target| target.value.clone()),
            ignore: ignore_file(&dockerfile.context, Some(&dockerfile.path))?,
            pinned,
            levels: loaded.stack.lint.clone(),
            package_files: package_files(&dockerfile.context),
            platform: platform.clone(),
            wants: |_| true,
        });
    }
    let images: Vec<_> = loaded.dockerfiles.keys().copied().collect();
    Ok((subjects, pixi::findings(&loaded, &images)))
}

fn siblings(
    loaded: &LoadedStack,
    graph: &StackGraph,
    image: cairn_spec::ImageId,
) -> impl Iterator<Item = String> {
    let edges = graph.edges(image).iter();
    let parents = edges.clone().map(|edge| &loaded.stack[edge.parent].name);
    let parents: Vec<String> = parents.map(ToString::to_string).collect();
    edges
        .map(|edge| edge.name.clone())
        .collect::<Vec<_>>()
        .into_iter()
        .chain(parents)
}
