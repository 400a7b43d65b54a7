//! How an image was asked for, in BuildKit's words, whoever asked: a lone build, or a stack.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_attest::provenance::{ConfigSource, SourceText};
use cairn_build::attest::Origin;
use cairn_build::request::{ImageRequest, Recipe};
use cairn_oci::{Platform, redact};

use super::request;
use crate::git;
use crate::load::LoadedStack;
use crate::request::Requests;
use crate::single::{SingleBuild, SingleRequest};

/// The main context, where it is a directory of this machine.
const CONTEXT: &str = "context";

/// How an image was asked for. Nothing tells where on this machine something lies.
#[derive(Debug, Clone)]
pub struct AskedFor {
    /// The options of the build.
    pub(super) args: BTreeMap<String, String>,
    /// What it began with.
    pub(super) config_source: ConfigSource,
    /// What came from this machine whether files were taken of it or not.
    own_locals: Vec<String>,
    /// Where each context of the run came from.
    pub(super) origins: Vec<Origin>,
    /// The time that stands for all times.
    pub(super) epoch: Option<i64>,
    pub(super) build_platform: Platform,
    /// What git says of the files.
    pub(super) vcs: BTreeMap<String, String>,
    /// The Dockerfile as it was read.
    pub(super) source: Option<SourceText>,
}

impl AskedFor {
    /// As a lone Dockerfile is asked for.
    pub fn of_single(single: &SingleBuild, asked: &SingleRequest) -> Self {
        let file_name = request::file_name(single);
        let source = asked.images.first().and_then(|it| source(it, &file_name));
        Self {
            args: request::args(single),
            config_source: request::config_source(single, asked.origins.first(), &file_name),
            own_locals: request::locals(single),
            origins: asked.origins.clone(),
            epoch: single.epoch,
            build_platform: single.build_platform.clone(),
            vcs: request::vcs(single),
            source,
        }
    }

    /// As an image of a stack is: times are the image's own, so that the same stack attests the same
    /// bytes on any machine.
    pub fn of_stack(
        loaded: &LoadedStack,
        requests: &Requests,
        image: &ImageRequest,
        build_platform: &Platform,
    ) -> Self {
        let mut args = BTreeMap::new();
        for (name, value) in &image.labels {
            args.insert(format!("label:{name}"), value.clone());
        }
        let mut own_locals = Vec::new();
        let mut own_context = None;
        let mut file_name = cairn_spec::FILE_NAME.to_owned();
        if let Recipe::Dockerfile(recipe) = &image.recipe {
            for (name, value) in &recipe.args {
                args.insert(format!("build-arg:{name}"), redact(value));
            }
            if let Some(target) = &recipe.target {
                args.insert("target".to_owned(), target.clone());
            }
            if recipe.network_none {
                args.insert("force-network-mode".to_owned(), "none".to_owned());
            }
            own_context = Some(recipe.context.0 as usize);
            own_locals.extend([CONTEXT.to_owned(), "dockerfile".to_owned()]);
            file_name = below(
                &loaded.directory,
                Path::new(&*recipe.dockerfile.source.name),
            );
        }
        let contexts = requests.dockerfiles.iter().enumerate();
        let contexts = contexts.map(|(at, dockerfile)| {
            Origin::Local(match own_context == Some(at) {
                true => CONTEXT.to_owned(),
                false => of_sibling(loaded, dockerfile),
            })
        });
        let mut vcs = BTreeMap::new();
        if let Some(commit) = &loaded.commit {
            vcs.insert("revision".to_owned(), commit.hash.clone());
            if let Some(remote) = git::remote_with_login(&loaded.directory) {
                vcs.insert("source".to_owned(), redact(&remote));
            }
        }
        Self {
            args,
            config_source: ConfigSource {
                uri: None,
                digest: None,
                path: file_name.clone(),
            },
            own_locals,
            origins: contexts.collect(),
            epoch: Some(image.epoch),
            build_platform: build_platform.clone(),
            vcs,
            source: source(image, &file_name),
        }
    }

    /// What of a build came from this machine: `used` are contexts that files were taken from.
    pub(super) fn locals(&self, used: &[String]) -> Vec<String> {
        let mut locals = used.to_vec();
        let own = self.own_locals.iter();
        locals.extend(own.filter(|name| !used.contains(name)).cloned());
        locals
    }
}

/// The context of a sibling that an image builds on or copies from. It is called the same whatever
/// else is built: by the stack's first image that has it, not by its place in the run.
fn of_sibling(loaded: &LoadedStack, dockerfile: &Path) -> String {
    let mut here = loaded.dockerfiles.iter();
    match here.find(|(_, file)| file.path == dockerfile) {
        Some((id, _)) => format!("{CONTEXT}-{}", loaded.stack[*id].name),
        // Only for another platform.
        None => format!("{CONTEXT}-{}", below(&loaded.directory, dockerfile)),
    }
}

fn source(image: &ImageRequest, file_name: &str) -> Option<SourceText> {
    let Recipe::Dockerfile(recipe) = &image.recipe else {
        return None;
    };
    Some(SourceText {
        file_name: file_name.to_owned(),
        text: recipe.dockerfile.source.text.to_string(),
    })
}

/// A file by its path from the stack's directory; by its last part where it lies elsewhere.
fn below(directory: &Path, path: &Path) -> String {
    let below = path.strip_prefix(directory).ok();
    let below = below.or_else(|| path.is_relative().then_some(path));
    match below.or_else(|| path.file_name().map(Path::new)) {
        Some(below) => below.display().to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_directory_of_this_machine_is_told() {
        let told = |path: &str| below(Path::new("/home/me/stack"), Path::new(path));
        assert_eq!(told("/home/me/stack/app/Dockerfile"), "app/Dockerfile");
        assert_eq!(told("app/Dockerfile"), "app/Dockerfile");
        assert_eq!(told("/home/me/other/Dockerfile"), "Dockerfile");
    }
}
