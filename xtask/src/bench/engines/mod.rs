//! Cairn and its peers behind one set of verbs.
//!
//! Every engine keeps its state in a folder of the benchmark's own, and daemons are started here
//! with private roots and sockets and ended by their process id, so that nothing of the machine's
//! own containers is touched. An engine that cannot do a row gives no commands for it.

mod buildkitd;
mod cairn;
mod daemon;
mod docker;
mod skopeo;
mod storage;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::inputs::{Inputs, Recipe};
use super::options::Options;
use crate::command;
use crate::error::ChoreError;

/// Cairn's name among the engines.
pub(super) const CAIRN: &str = "cairn";

/// The peers, in the order in which they take their turns.
const PEERS: &[&str] = &["docker", "bake", "buildkitd", "buildah", "podman", "skopeo"];

/// Something that builds images and runs them.
///
/// Commands are given, not run: what is measured starts with the process.
pub(super) trait Engine {
    /// The name in tables.
    fn name(&self) -> &str;

    /// The processes that work on the commands' behalf.
    fn daemons(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Makes the build cache empty and the base image known.
    fn empty_cache(&self) -> Result<(), ChoreError>;

    /// Makes the base image known, whatever else is there.
    fn ensure_base(&self) -> Result<(), ChoreError> {
        self.empty_cache()
    }

    /// Builds every image of the stack.
    fn build_stack(&self, inputs: &Inputs) -> Vec<Command>;

    /// Builds one image into the engine's own store.
    fn build(&self, recipe: &Recipe) -> Vec<Command>;

    /// Builds one image and writes it as an OCI archive with gzip layers.
    fn build_archive(&self, recipe: &Recipe, archive: &Path) -> Vec<Command>;

    /// Builds every image of the stack in a folder.
    fn build_all(&self, _stack: &Path) -> Vec<Command> {
        Vec::new()
    }

    /// Says what a build of the stack in a folder would do.
    fn plan(&self, _stack: &Path) -> Vec<Command> {
        Vec::new()
    }

    /// Runs the structure tests of the stack in a folder, whatever is known of them.
    fn test_again(&self, _stack: &Path) -> Vec<Command> {
        Vec::new()
    }

    /// Makes an image that can be pushed; for most, what a build leaves in their store.
    fn make(&self, recipe: &Recipe) -> Vec<Command> {
        self.build(recipe)
    }

    /// Gives an image that was made the name under which it is pushed, where a push wants that.
    fn name_for_push(&self, _recipe: &Recipe, _reference: &str) -> Result<(), ChoreError> {
        Ok(())
    }

    /// Pushes an image that was made to a registry of this machine, without TLS.
    fn push(&self, _recipe: &Recipe, _reference: &str) -> Vec<Command> {
        Vec::new()
    }

    /// Pushes every image of the stack that was built, each as `<prefix>/<name>:<tag>`.
    fn push_stack(&self, inputs: &Inputs, prefix: &str, tag: &str) -> Vec<Command> {
        let images = inputs.stack_images.iter();
        images
            .flat_map(|image| self.push(image, &format!("{prefix}/{}:{tag}", image.name)))
            .collect()
    }

    /// Pulls an image from such a registry, until containers can be started from it.
    fn pull(&self, _reference: &str) -> Vec<Command> {
        Vec::new()
    }

    /// Runs `true` in a new container of an image, which is removed afterwards.
    fn start(&self, image: &str) -> Vec<Command>;
}

/// Starts Cairn and the wanted peers.
///
/// A peer that was asked for by name and cannot start is an error; otherwise it is left out.
pub(super) fn start(
    options: &Options,
    place: &Path,
    inputs: &Inputs,
) -> Result<Vec<Box<dyn Engine>>, ChoreError> {
    let cairn = cairn::Cairn::new(options, place, inputs)?;
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(cairn.clone())];
    for name in PEERS {
        let asked = options
            .peers
            .as_ref()
            .map(|peers| peers.iter().any(|peer| peer == name));
        if asked == Some(false) {
            continue;
        }
        match start_peer(name, &place.join(name), inputs, &cairn) {
            Ok(engine) => engines.push(engine),
            Err(error) if asked == Some(true) => return Err(error),
            Err(error) => eprintln!("{name}: left out: {error}"),
        }
    }
    Ok(engines)
}

fn start_peer(
    name: &str,
    folder: &Path,
    inputs: &Inputs,
    cairn: &cairn::Cairn,
) -> Result<Box<dyn Engine>, ChoreError> {
    std::fs::create_dir_all(folder).map_err(ChoreError::file(folder))?;
    let base = inputs.base_tar.clone();
    Ok(match name {
        "docker" => Box::new(docker::Docker::start(folder, base)?),
        "bake" => Box::new(docker::Bake::start(folder, base)?),
        "buildkitd" => Box::new(buildkitd::Buildkitd::start(folder, inputs)?),
        "skopeo" => Box::new(skopeo::Skopeo::new(folder, cairn.elsewhere(folder))?),
        "buildah" => Box::new(storage::Buildah::new(folder, base)?),
        _ => Box::new(storage::Podman::new(folder, base)?),
    })
}

/// A program that must be there.
fn required(program: &str) -> Result<PathBuf, ChoreError> {
    command::find(program).ok_or_else(|| ChoreError::Unmet(format!("`{program}` is not installed")))
}
