//! Buildah and Podman, which have no daemon and share a kind of storage.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::inputs::{BASE, Inputs, Recipe};
use super::{Engine, required};
use crate::command;
use crate::error::ChoreError;

/// Limits are named because both raise them by default, which not every root may.
const LIMITS: [&str; 4] = [
    "--ulimit",
    "nofile=1024:1024",
    "--ulimit",
    "nproc=1024:1024",
];

/// A program with storage of its own.
#[derive(Debug)]
struct Storage {
    program: PathBuf,
    folder: PathBuf,
    base: PathBuf,
    /// `runc` where it is installed: `crun` refuses hosts with both kinds of control groups.
    runtime: Option<PathBuf>,
}

impl Storage {
    fn new(program: &str, folder: &Path, base: PathBuf) -> Result<Self, ChoreError> {
        Ok(Self {
            program: required(program)?,
            folder: folder.to_path_buf(),
            base,
            runtime: command::find("runc"),
        })
    }

    /// The program with its storage, without a subcommand.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.folder.join("data"));
        command.arg("--runroot").arg(self.folder.join("run"));
        command.args(["--storage-driver", "overlay"]);
        command
    }

    /// The option that chooses the runtime; Podman wants it before the subcommand, Buildah after.
    fn add_runtime(&self, command: &mut Command) {
        if let Some(runtime) = &self.runtime {
            command.arg("--runtime").arg(runtime);
        }
    }

    fn remove_images(&self) -> Result<(), ChoreError> {
        command::capture(self.command().args(["rmi", "-af"])).map(drop)
    }

    fn archive(&self, recipe: &Recipe, archive: &Path) -> Command {
        self.push(recipe, &format!("oci-archive:{}", archive.display()))
    }

    /// Buildah and Podman take the same words here, and write OCI manifests only when told.
    fn push(&self, recipe: &Recipe, destination: &str) -> Command {
        let mut push = self.command();
        push.args(["push", "--format", "oci", "--tls-verify=false"]);
        push.arg(format!("localhost/{}", recipe.name));
        push.arg(destination);
        push
    }

    fn pull(&self, reference: &str) -> Command {
        let mut pull = self.command();
        pull.args(["pull", "--tls-verify=false", reference]);
        pull
    }
}

/// `buildah build`, with its layer cache, once for each image.
#[derive(Debug)]
pub(super) struct Buildah(Storage);

impl Buildah {
    /// Finds the program.
    pub(super) fn new(folder: &Path, base: PathBuf) -> Result<Self, ChoreError> {
        Storage::new("buildah", folder, base).map(Self)
    }

    fn build_command(&self, recipe: &Recipe) -> Command {
        let mut build = self.0.command();
        build.args(["build", "--layers", "--network", "host"]);
        self.0.add_runtime(&mut build);
        build
            .args(LIMITS)
            .args(["-t", &recipe.name])
            .arg(&recipe.context);
        build
    }

    /// Buildah imports no root file system, but it builds one.
    fn import_base(&self) -> Result<(), ChoreError> {
        let folder = self.0.folder.join("base");
        let dockerfile = "FROM scratch\nADD base.tar /\nENV PATH=/bin\n";
        super::super::inputs::write_file(&folder.join("Dockerfile"), dockerfile.as_bytes())?;
        let copy = folder.join("base.tar");
        std::fs::copy(&self.0.base, &copy).map_err(ChoreError::file(&copy))?;
        let mut build = self.0.command();
        command::capture(build.args(["build", "-t", BASE]).arg(folder)).map(drop)
    }
}

impl Engine for Buildah {
    fn name(&self) -> &str {
        "buildah"
    }

    fn empty_cache(&self) -> Result<(), ChoreError> {
        self.0.remove_images()?;
        self.import_base()
    }

    fn build_stack(&self, inputs: &Inputs) -> Vec<Command> {
        let images = inputs.stack_images.iter();
        images.map(|image| self.build_command(image)).collect()
    }

    fn build(&self, recipe: &Recipe) -> Vec<Command> {
        vec![self.build_command(recipe)]
    }

    fn build_archive(&self, recipe: &Recipe, archive: &Path) -> Vec<Command> {
        vec![self.build_command(recipe), self.0.archive(recipe, archive)]
    }

    fn push(&self, recipe: &Recipe, reference: &str) -> Vec<Command> {
        vec![self.0.push(recipe, &format!("docker://{reference}"))]
    }

    fn pull(&self, reference: &str) -> Vec<Command> {
        vec![self.0.pull(reference)]
    }

    /// `podman run` is the same code with the container's life around it.
    fn start(&self, _: &str) -> Vec<Command> {
        Vec::new()
    }
}

/// `podman build` and `podman run`.
#[derive(Debug)]
pub(super) struct Podman(Storage);

impl Podman {
    /// Finds the program.
    pub(super) fn new(folder: &Path, base: PathBuf) -> Result<Self, ChoreError> {
        Storage::new("podman", folder, base).map(Self)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command();
        self.0.add_runtime(&mut command);
        command.args(arguments);
        command
    }

    fn build_command(&self, recipe: &Recipe) -> Command {
        let build = ["build", "--layers", "--network", "host", "-t", &recipe.name];
        let mut build = self.command(&build);
        build.args(LIMITS).arg(&recipe.context);
        build
    }
}

impl Engine for Podman {
    fn name(&self) -> &str {
        "podman"
    }

    fn empty_cache(&self) -> Result<(), ChoreError> {
        self.0.remove_images()?;
        let mut import = self.command(&["import", "--quiet", "-c", "ENV PATH=/bin"]);
        command::capture(import.arg(&self.0.base).arg(BASE)).map(drop)
    }

    fn build_stack(&self, inputs: &Inputs) -> Vec<Command> {
        let images = inputs.stack_images.iter();
        images.map(|image| self.build_command(image)).collect()
    }

    fn build(&self, recipe: &Recipe) -> Vec<Command> {
        vec![self.build_command(recipe)]
    }

    fn build_archive(&self, recipe: &Recipe, archive: &Path) -> Vec<Command> {
        vec![self.build_command(recipe), self.0.archive(recipe, archive)]
    }

    fn push(&self, recipe: &Recipe, reference: &str) -> Vec<Command> {
        vec![self.0.push(recipe, &format!("docker://{reference}"))]
    }

    fn pull(&self, reference: &str) -> Vec<Command> {
        vec![self.0.pull(reference)]
    }

    fn start(&self, image: &str) -> Vec<Command> {
        let mut run = self.command(&["run", "--rm", "--network", "host"]);
        run.args(LIMITS).args([image, "true"]);
        vec![run]
    }
}
