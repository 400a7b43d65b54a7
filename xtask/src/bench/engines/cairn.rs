//! Cairn, as its users call it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::inputs::{BASE, Inputs, Recipe};
use super::super::options::Options;
use super::{CAIRN, Engine};
use crate::error::ChoreError;
use crate::{command, workspace};

/// A binary and a store of its own.
#[derive(Debug, Clone)]
pub(super) struct Cairn {
    program: PathBuf,
    home: PathBuf,
    base_layout: PathBuf,
}

impl Cairn {
    /// Takes the program that the options name, or builds it.
    pub(super) fn new(
        options: &Options,
        place: &Path,
        inputs: &Inputs,
    ) -> Result<Self, ChoreError> {
        let program = match &options.cairn {
            Some(program) => fs::canonicalize(program).map_err(ChoreError::file(program))?,
            None => release_build()?,
        };
        Ok(Self {
            program,
            home: place.join(CAIRN),
            base_layout: inputs.base_layout.clone(),
        })
    }

    /// The same program with a store below another folder.
    pub(super) fn elsewhere(&self, place: &Path) -> Self {
        Self {
            home: place.join(CAIRN),
            ..self.clone()
        }
    }

    /// Builds an image and writes it as a layout of layers that are not compressed.
    pub(super) fn build_layout(&self, recipe: &Recipe, layout: &Path) -> Command {
        let mut build = self.command(&["build", "--progress", "plain", "--output"]);
        let layout = layout.display();
        build.arg(format!(
            "type=oci,tar=false,compression=uncompressed,dest={layout}"
        ));
        build.arg(&recipe.context);
        build
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("CAIRN_HOME", &self.home).args(arguments);
        command
    }
}

impl Engine for Cairn {
    fn name(&self) -> &str {
        CAIRN
    }

    fn empty_cache(&self) -> Result<(), ChoreError> {
        if self.home.exists() {
            fs::remove_dir_all(&self.home).map_err(ChoreError::file(&self.home))?;
        }
        self.ensure_base()
    }

    fn ensure_base(&self) -> Result<(), ChoreError> {
        let source = format!("oci:{}", self.base_layout.display());
        command::capture(&mut self.command(&["load", "-t", BASE, &source])).map(drop)
    }

    fn build_stack(&self, inputs: &Inputs) -> Vec<Command> {
        let mut build = self.command(&["build", "--progress", "plain", "--stack"]);
        build.arg(&inputs.stack);
        vec![build]
    }

    fn build(&self, recipe: &Recipe) -> Vec<Command> {
        let mut build = self.command(&["build", "--progress", "plain", "-t", &recipe.name]);
        build.arg(&recipe.context);
        vec![build]
    }

    fn build_archive(&self, recipe: &Recipe, archive: &Path) -> Vec<Command> {
        let mut build = self.command(&["build", "--progress", "plain", "-t", &recipe.name]);
        build.arg("--output");
        build.arg(format!("type=oci,dest={}", archive.display()));
        build.arg(&recipe.context);
        vec![build]
    }

    fn build_all(&self, stack: &Path) -> Vec<Command> {
        let mut build = self.command(&["build", "--progress", "quiet", "--stack"]);
        build.arg(stack);
        vec![build]
    }

    fn plan(&self, stack: &Path) -> Vec<Command> {
        let mut plan = self.command(&["plan", "--stack"]);
        plan.arg(stack);
        vec![plan]
    }

    fn test_again(&self, stack: &Path) -> Vec<Command> {
        let mut test = self.command(&["test", "--again", "--progress", "quiet", "--stack"]);
        test.arg(stack);
        vec![test]
    }

    fn push(&self, recipe: &Recipe, reference: &str) -> Vec<Command> {
        vec![self.command(&["push", &recipe.name, reference])]
    }

    fn push_stack(&self, inputs: &Inputs, prefix: &str, tag: &str) -> Vec<Command> {
        let mut publish = self.command(&["publish", "--progress", "plain", "--registry", prefix]);
        publish.args(["--tag", tag, "--stack"]).arg(&inputs.stack);
        vec![publish]
    }

    fn pull(&self, reference: &str) -> Vec<Command> {
        vec![self.command(&["pull", reference])]
    }

    fn start(&self, image: &str) -> Vec<Command> {
        vec![self.command(&["run", image, "true"])]
    }
}

/// What users run is the release build; cargo decides whether there is anything to do.
fn release_build() -> Result<PathBuf, ChoreError> {
    let build = [
        "build",
        "--release",
        "--locked",
        "--package",
        "cairn-cli",
        "--message-format=json-render-diagnostics",
    ];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace::root()).args(build);
    command::built_program(&mut cargo)
}
