//! A BuildKit daemon of our own, driven by `buildx bake` and `buildx build`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::inputs::{BASE, Inputs, Recipe};
use super::daemon::{Daemon, socket_path};
use super::docker::{bake_asks, buildx_client};
use super::{Engine, required};
use crate::command;
use crate::error::ChoreError;

/// The name under which buildx knows our daemon.
const BUILDER: &str = "cairn-bench";

/// A daemon, and a buildx that has been told about it.
#[derive(Debug)]
pub(super) struct Buildkitd {
    daemon: Daemon,
    client: PathBuf,
    config: PathBuf,
    base_layout: PathBuf,
    asks_for_network: bool,
}

impl Buildkitd {
    /// Starts the daemon.
    pub(super) fn start(folder: &Path, inputs: &Inputs) -> Result<Self, ChoreError> {
        let client = buildx_client()?;
        let socket = socket_path(folder)?;
        let address = format!("unix://{}", socket.display());
        let buildctl = required("buildctl")?;
        let mut daemon = Command::new(required("buildkitd")?);
        daemon.arg("--root").arg(folder.join("data"));
        daemon.args(["--addr", &address]);
        daemon.args(["--allow-insecure-entitlement", "network.host"]);
        let ready = || {
            let mut workers = Command::new(&buildctl);
            workers.args(["--addr", &address, "debug", "workers"]);
            workers
        };
        let started = Self {
            asks_for_network: bake_asks(&client)?,
            daemon: Daemon::start(daemon, folder, ready)?,
            client,
            config: folder.join("buildx"),
            base_layout: inputs.base_layout.clone(),
        };
        let create = ["create", "--name", BUILDER, "--driver", "remote", &address];
        command::capture(&mut started.buildx(&create))?;
        Ok(started)
    }

    fn buildx(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.client);
        command.env("BUILDX_CONFIG", &self.config);
        command.arg("buildx").args(arguments);
        command
    }

    /// The base image is handed over as a named context: this daemon has no images of its own.
    fn base_context(&self) -> String {
        format!("oci-layout://{}:1", self.base_layout.display())
    }

    fn build_command(&self, recipe: &Recipe) -> Command {
        let mut build = self.buildx(&["build", "--builder", BUILDER, "--network", "host"]);
        build.args(["--allow", "network.host", "--build-context"]);
        build.arg(format!("{BASE}={}", self.base_context()));
        build.arg("-t").arg(&recipe.name).arg(&recipe.context);
        build
    }
}

impl Engine for Buildkitd {
    fn name(&self) -> &str {
        "buildkitd"
    }

    fn daemons(&self) -> Vec<u32> {
        vec![self.daemon.pid()]
    }

    fn empty_cache(&self) -> Result<(), ChoreError> {
        command::capture(&mut self.buildx(&["prune", "--builder", BUILDER, "-af"])).map(drop)
    }

    fn build_stack(&self, inputs: &Inputs) -> Vec<Command> {
        let mut bake = self.buildx(&["bake", "--builder", BUILDER, "-f", "docker-bake.json"]);
        if self.asks_for_network {
            bake.args(["--allow", "network.host"]);
        }
        bake.arg("--set");
        bake.arg(format!("*.contexts.{BASE}={}", self.base_context()));
        bake.current_dir(&inputs.stack);
        vec![bake]
    }

    fn build(&self, recipe: &Recipe) -> Vec<Command> {
        vec![self.build_command(recipe)]
    }

    fn build_archive(&self, recipe: &Recipe, archive: &Path) -> Vec<Command> {
        let mut build = self.build_command(recipe);
        build.arg("--output");
        build.arg(format!(
            "type=oci,compression=gzip,dest={}",
            archive.display()
        ));
        vec![build]
    }

    /// It builds; running is for others.
    fn start(&self, _: &str) -> Vec<Command> {
        Vec::new()
    }
}
