//! Locks of pixi that a build would refuse, told before it (MAN-03, MAN-04, MAN-05).
//!
//! `pixi install --locked` fails when `pixi.lock` was made of another manifest, and `--frozen`
//! installs what is no longer asked for; both have nothing to install on a platform that the lock
//! lacks. All of that stands in two files of the context, so it is known before the first step
//! runs. Only what is certain is told: a version that cannot be compared by its numbers, and a
//! lock of an unknown form, pass.

mod lock;
mod manifest;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cairn_diagnostic::{Diagnostic, Source, Span};
use cairn_dockerfile::ast::{CopySource, Dockerfile, InstructionKind, RunScript, Stage};
use cairn_oci::Platform;
use cairn_spec::{ImageId, ImageSource};
use regex::Regex;

use self::lock::{Lock, Locked};
use self::manifest::{Dependency, Environment, Manifest};
use crate::load::LoadedStack;

/// No manifest and no lock is longer.
const FILE_LENGTH_MAX: u64 = 64 << 20;

/// What is wrong with the locks that these images are installed from.
pub fn findings(loaded: &LoadedStack, images: &[ImageId]) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<Diagnostic> = Vec::new();
    for id in images {
        let (ImageSource::Dockerfile(spec), Some(file)) =
            (loaded.source(*id), loaded.dockerfiles.get(id))
        else {
            continue;
        };
        let build = Build {
            dockerfile: &file.dockerfile,
            context: &file.context,
            target: spec.target.as_ref().map(|it| it.value.as_str()),
            arg: &|name| spec.args.get(name).map(|it| it.value.clone()),
        };
        build.look(&loaded.platform, &mut seen, &mut found);
    }
    found
}

/// The same of a lone Dockerfile in a directory.
pub(crate) fn of_lone(
    dockerfile: &Dockerfile,
    context: &Path,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
    platforms: &[Platform],
) -> Vec<Diagnostic> {
    let build = Build {
        dockerfile,
        context,
        target,
        arg: &|name| args.get(name).cloned(),
    };
    let mut seen = BTreeSet::new();
    let mut found: Vec<Diagnostic> = Vec::new();
    for platform in platforms {
        build.look(platform, &mut seen, &mut found);
    }
    found
}

/// What is built, as far as locks matter.
struct Build<'a> {
    dockerfile: &'a Dockerfile,
    context: &'a Path,
    target: Option<&'a str>,
    /// The value that an argument is given.
    arg: &'a dyn Fn(&str) -> Option<String>,
}

impl Build<'_> {
    /// Adds what is wrong for a platform; a file that was `seen` is not looked at again.
    fn look(&self, platform: &Platform, seen: &mut BTreeSet<PathBuf>, found: &mut Vec<Diagnostic>) {
        let Some(install) = install(self) else {
            return;
        };
        for directory in directories(self.dockerfile, self.context) {
            let of_files = &mut |path: &Path| seen.insert(path.to_owned());
            let source = &self.dockerfile.source;
            for finding in of_directory(&directory, source, &install, platform, of_files) {
                if !found.contains(&finding) {
                    found.push(finding);
                }
            }
        }
    }
}

/// A step that installs what a lock says and nothing else.
struct Install {
    span: Span,
    /// The environment that it names.
    environment: Option<String>,
}

static INSTALL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\bpixi\s[^&;|\n]*\b(?:install|run|shell|shell-hook|reinstall)\b[^&;|\n]*").ok()
});
static ENVIRONMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\s(?:-e|--environment)[\s=]+["']?([^\s"']+)"#).ok());

/// The first step that keeps to the lock, in the stages that the image is made of.
fn install(build: &Build<'_>) -> Option<Install> {
    let keeps = |text: &str| text.contains("--locked") || text.contains("--frozen");
    for stage in needed(build) {
        for step in &stage.instructions {
            let InstructionKind::Run(run) = &step.kind else {
                continue;
            };
            let text = match run.script() {
                RunScript::Exec(words) => words.join(" "),
                RunScript::Shell(text) | RunScript::File { content: text, .. } => {
                    text.replace("\\\n", " ")
                }
            };
            let mut commands = INSTALL.as_ref()?.find_iter(&text).map(|it| it.as_str());
            let Some(command) = commands.find(|text| keeps(text)) else {
                continue;
            };
            let named = ENVIRONMENT.as_ref()?.captures(command);
            let named = named.and_then(|it| it.get(1)).map(|it| it.as_str());
            return Some(Install {
                span: step.span,
                environment: named.and_then(|name| meant(name, build)),
            });
        }
    }
    None
}

/// The target's stage and the stages that it is made of.
fn needed<'f>(build: &Build<'f>) -> Vec<&'f Stage> {
    let file = build.dockerfile;
    let target = match build.target {
        Some(name) => file.stage(name),
        None => file.stages.last(),
    };
    let mut open: Vec<&Stage> = target.into_iter().collect();
    let mut found: BTreeSet<usize> = BTreeSet::new();
    while let Some(stage) = open.pop() {
        if !found.insert(stage.index) {
            continue;
        }
        let copied = stage.instructions.iter().filter_map(|it| match &it.kind {
            InstructionKind::Copy(copy) => copy.from.as_ref().map(|from| from.as_str()),
            _ => None,
        });
        let mounted = stage.instructions.iter().flat_map(|it| match &it.kind {
            InstructionKind::Run(run) => run
                .mounts
                .iter()
                .filter_map(|it| it.from.as_deref())
                .collect(),
            _ => Vec::new(),
        });
        let names = copied
            .chain(mounted)
            .chain([stage.from.kind.image.as_str()]);
        let before = &file.stages[..stage.index];
        open.extend(names.filter_map(|name| {
            let by_name = before.iter().rfind(|it| it.name() == Some(name));
            by_name.or_else(|| before.get(name.parse::<usize>().ok()?))
        }));
    }
    file.stages
        .iter()
        .filter(|it| found.contains(&it.index))
        .collect()
}

/// What a word of a step means, where it is a name or one variable that an `ARG` has.
fn meant(word: &str, build: &Build<'_>) -> Option<String> {
    let file = build.dockerfile;
    let Some(variable) = word.strip_prefix('$') else {
        return Some(word.to_owned());
    };
    let name = variable.trim_start_matches('{').trim_end_matches('}');
    if let Some(given) = (build.arg)(name) {
        return Some(given);
    }
    let in_stages = file.stages.iter().flat_map(|it| &it.instructions);
    let in_stages = in_stages.filter_map(|it| match &it.kind {
        InstructionKind::Arg(arg) => Some(arg),
        _ => None,
    });
    let all = file.global_args.iter().map(|it| &it.kind).chain(in_stages);
    let mut declared = all.flat_map(|arg| &arg.declarations);
    let default =
        declared.find_map(|it| (it.name.as_str() == name).then_some(it.default.as_ref()?))?;
    let default = default.as_str().trim_matches(['"', '\'']);
    (!default.contains('$')).then(|| default.to_owned())
}

/// The directories of the context that a manifest is copied from.
fn directories(file: &Dockerfile, context: &Path) -> BTreeSet<PathBuf> {
    let steps = file.stages.iter().flat_map(|it| &it.instructions);
    let sources = steps.flat_map(|step| match &step.kind {
        InstructionKind::Copy(copy) if copy.from.is_none() => copy.files.sources.as_slice(),
        InstructionKind::Add(add) => add.files.sources.as_slice(),
        _ => &[],
    });
    let paths = sources.filter_map(|source| match source {
        CopySource::Path(word) => Some(word.as_str()),
        CopySource::Heredoc(_) => None,
    });
    let found = paths.filter_map(|path| {
        let path = path.trim_start_matches('/');
        let is_manifest = manifest::NAMES.iter().any(|name| path.ends_with(name));
        let directory = match is_manifest {
            true => context.join(path).parent()?.to_owned(),
            false => context.join(path),
        };
        manifest::NAMES
            .iter()
            .any(|name| directory.join(name).is_file())
            .then_some(directory)
    });
    found.collect()
}

/// What is wrong in one directory: of its files, when they are looked at for the first time, and
/// of what this image needs of them.
fn of_directory(
    directory: &Path,
    dockerfile: &Source,
    install: &Install,
    platform: &Platform,
    is_new: &mut dyn FnMut(&Path) -> bool,
) -> Vec<Diagnostic> {
    let Some(manifest) = manifest::NAMES
        .iter()
        .find_map(|name| Manifest::parse(&read(&directory.join(name))?))
    else {
        return Vec::new();
    };
    let path = directory.join("pixi.lock");
    if !path.exists() {
        let text = format!("{} is not there, and this step keeps to it", path.display());
        let hint = "run `pixi lock`, and commit the lock beside the manifest";
        return vec![
            Diagnostic::error(text)
                .at(dockerfile, install.span)
                .hint(hint),
        ];
    }
    let Some(lock) = read(&path).and_then(|source| Lock::parse(&source.text)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if is_new(&path) {
        found.extend(
            manifest
                .environments
                .iter()
                .flat_map(|environment| stale(&manifest.source, environment, &lock)),
        );
    }
    let environment = install.environment.as_deref().unwrap_or("default");
    if let Some(text) = lacks_platform(&manifest, &lock, environment, platform) {
        let hint = "add it to `platforms` of the manifest and run `pixi lock`, or leave the platform out of `platforms` of the image";
        found.push(
            Diagnostic::error(format!("{} {text}", path.display()))
                .at(dockerfile, install.span)
                .hint(hint),
        );
    }
    found
}

fn read(path: &Path) -> Option<Source> {
    let length = std::fs::metadata(path).ok()?.len();
    let text = (length <= FILE_LENGTH_MAX).then(|| std::fs::read_to_string(path).ok())??;
    Some(Source::new(path.display().to_string(), text))
}

/// What the lock has to say of an environment and does not, once for each dependency.
fn stale(source: &Source, environment: &Environment, lock: &Lock) -> Vec<Diagnostic> {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for (platform, dependencies) in &environment.dependencies {
        let locked = lock.packages(&environment.name, platform);
        for dependency in dependencies {
            let Some(text) = disagreement(dependency, locked) else {
                continue;
            };
            if told.insert(&dependency.name) {
                let name = &environment.name;
                let text = format!("{text} (environment `{name}`, {platform})");
                let hint = "the manifest was changed and the lock was not: run `pixi lock`, and commit both files";
                found.push(
                    Diagnostic::error(text)
                        .at(source, dependency.span)
                        .hint(hint),
                );
            }
        }
    }
    found
}

fn disagreement(dependency: &Dependency, locked: Option<&[Locked]>) -> Option<String> {
    let name = &dependency.name;
    let is_it = |it: &&Locked| it.is_called(name) && (it.is_conda || !dependency.is_conda);
    let mut of_name = locked.into_iter().flatten().filter(is_it);
    let Some(first) = of_name.next() else {
        return Some(format!("pixi.lock has no `{name}`"));
    };
    let wanted = dependency.version.as_deref()?;
    let candidates = std::iter::once(first).chain(of_name);
    let verdicts: Vec<Option<bool>> = candidates
        // A package of conda that stands for one of PyPI may have another version there.
        .map(|it| match it.is_conda == dependency.is_conda {
            true => version::allows(wanted, it.version.as_deref()?),
            false => None,
        })
        .collect();
    let all_refused = verdicts.iter().all(|verdict| *verdict == Some(false));
    let version = first.version.as_deref().unwrap_or_default();
    all_refused.then(|| format!("pixi.lock has {name} {version}, which `{wanted}` does not allow"))
}

/// What an image that is built for a platform does not find.
fn lacks_platform(
    manifest: &Manifest,
    lock: &Lock,
    environment: &str,
    platform: &Platform,
) -> Option<String> {
    let name = match (platform.os.as_str(), platform.architecture.as_str()) {
        ("linux", "amd64") => "linux-64",
        ("linux", "arm64") => "linux-aarch64",
        ("linux", "ppc64le") => "linux-ppc64le",
        ("linux", "riscv64") => "linux-riscv64",
        ("linux", "s390x") => "linux-s390x",
        _ => return None,
    };
    let Some(known) = manifest
        .environments
        .iter()
        .find(|it| it.name == environment)
    else {
        return Some(format!("has no environment `{environment}`"));
    };
    let is_empty = known.dependencies.values().all(Vec::is_empty);
    let is_listed = known.dependencies.contains_key(name);
    let is_locked = lock.packages(environment, name).is_some();
    match is_locked || (is_listed && is_empty) || (is_empty && known.dependencies.is_empty()) {
        true => None,
        false => Some(format!(
            "has nothing for {name}, and environment `{environment}` is built for {platform}"
        )),
    }
}

#[cfg(test)]
mod tests;
