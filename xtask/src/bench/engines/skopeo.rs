//! Skopeo, which copies images and builds none.
//!
//! What it pushes is an OCI layout with layers that are not compressed, made by Cairn and not timed:
//! as after a build, compressing is part of the push. What it pulls becomes a layout again; nobody
//! unpacks it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::inputs::{Inputs, Recipe};
use super::cairn::Cairn;
use super::{Engine, required};
use crate::error::ChoreError;

/// Skopeo, and who builds for it.
pub(super) struct Skopeo {
    program: PathBuf,
    builder: Cairn,
    folder: PathBuf,
}

impl Skopeo {
    /// Finds the program.
    pub(super) fn new(folder: &Path, builder: Cairn) -> Result<Self, ChoreError> {
        Ok(Self {
            program: required("skopeo")?,
            builder,
            folder: folder.to_path_buf(),
        })
    }

    fn layout(&self, name: &str) -> PathBuf {
        self.folder.join("layouts").join(name)
    }

    fn copy(&self, from: &str, to: &str) -> Command {
        let mut copy = Command::new(&self.program);
        copy.args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false"]);
        copy.args([from, to]);
        copy
    }
}

impl Engine for Skopeo {
    fn name(&self) -> &str {
        "skopeo"
    }

    fn empty_cache(&self) -> Result<(), ChoreError> {
        let layouts = self.folder.join("layouts");
        if layouts.exists() {
            fs::remove_dir_all(&layouts).map_err(ChoreError::file(&layouts))?;
        }
        fs::create_dir_all(&layouts).map_err(ChoreError::file(&layouts))?;
        self.builder.empty_cache()
    }

    fn build_stack(&self, _: &Inputs) -> Vec<Command> {
        Vec::new()
    }

    fn build(&self, _: &Recipe) -> Vec<Command> {
        Vec::new()
    }

    fn build_archive(&self, _: &Recipe, _: &Path) -> Vec<Command> {
        Vec::new()
    }

    fn make(&self, recipe: &Recipe) -> Vec<Command> {
        vec![
            self.builder
                .build_layout(recipe, &self.layout(&recipe.name)),
        ]
    }

    fn push(&self, recipe: &Recipe, reference: &str) -> Vec<Command> {
        let from = format!("oci:{}", self.layout(&recipe.name).display());
        vec![self.copy(&from, &format!("docker://{reference}"))]
    }

    fn pull(&self, reference: &str) -> Vec<Command> {
        let to = format!("oci:{}:1", self.layout("pulled").display());
        vec![self.copy(&format!("docker://{reference}"), &to)]
    }

    fn start(&self, _: &str) -> Vec<Command> {
        Vec::new()
    }
}
