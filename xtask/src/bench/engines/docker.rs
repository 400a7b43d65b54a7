//! Docker with a daemon of our own: one build a call, and the whole stack by `buildx bake`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::inputs::{BASE, Inputs, Recipe};
use super::daemon::{Daemon, socket_path};
use super::{Engine, required};
use crate::command;
use crate::error::ChoreError;

/// Docker's client before this version carries BuildKit's client inside.
const BUILDX_NEEDED_SINCE: u32 = 23;

/// A daemon and a client that can build with BuildKit.
#[derive(Debug)]
struct Dockerd {
    daemon: Daemon,
    client: PathBuf,
    socket: PathBuf,
    base: PathBuf,
}

impl Dockerd {
    /// Without a packet filter: nothing is reached from outside, and not every host has one.
    fn start(
        folder: &Path,
        client: PathBuf,
        base: PathBuf,
        network: &[&str],
    ) -> Result<Self, ChoreError> {
        let socket = socket_path(folder)?;
        let mut daemon = Command::new(required("dockerd")?);
        daemon.args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        daemon.args(network).arg("--host");
        daemon.arg(format!("unix://{}", socket.display()));
        for (option, name) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            daemon.arg(option).arg(folder.join(name));
        }
        let ready = || {
            let mut info = docker(&client, &socket);
            info.arg("info");
            info
        };
        Ok(Self {
            daemon: Daemon::start(daemon, folder, ready)?,
            client,
            socket,
            base,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = docker(&self.client, &self.socket);
        command.args(arguments);
        command
    }

    fn empty_cache(&self) -> Result<(), ChoreError> {
        command::capture(&mut self.command(&["system", "prune", "-af"]))?;
        // Removes the build cache also where `system prune` keeps what is recent.
        command::capture(&mut self.command(&["builder", "prune", "-af"]))?;
        let mut import = self.command(&["import", "-c", "ENV PATH=/bin"]);
        command::capture(import.arg(&self.base).arg(BASE)).map(drop)
    }
}

fn docker(client: &Path, socket: &Path) -> Command {
    let mut command = Command::new(client);
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    command.env("DOCKER_BUILDKIT", "1");
    command
}

/// `docker build`, once for each image.
#[derive(Debug)]
pub(super) struct Docker(Dockerd);

impl Docker {
    /// Starts a daemon for whichever client can build.
    pub(super) fn start(folder: &Path, base: PathBuf) -> Result<Self, ChoreError> {
        let client = clients().find(|client| has_buildx(client) || is_old(client));
        let client = client.ok_or_else(|| {
            let message = "no `docker` that can build: neither buildx nor a client before 23";
            ChoreError::Unmet(message.to_owned())
        })?;
        Dockerd::start(folder, client, base, &["--bridge=none"]).map(Self)
    }

    fn build_command(&self, recipe: &Recipe) -> Command {
        let build = ["build", "--network", "host", "-t", &recipe.name];
        let mut build = self.0.command(&build);
        build.arg(&recipe.context);
        build
    }
}

impl Engine for Docker {
    fn name(&self) -> &str {
        "docker"
    }

    fn daemons(&self) -> Vec<u32> {
        vec![self.0.daemon.pid()]
    }

    fn empty_cache(&self) -> Result<(), ChoreError> {
        self.0.empty_cache()
    }

    fn build_stack(&self, inputs: &Inputs) -> Vec<Command> {
        let images = inputs.stack_images.iter();
        images.map(|image| self.build_command(image)).collect()
    }

    fn build(&self, recipe: &Recipe) -> Vec<Command> {
        vec![self.build_command(recipe)]
    }

    /// The daemon's own builder writes no OCI archives, and `docker save` does not compress.
    fn build_archive(&self, _: &Recipe, _: &Path) -> Vec<Command> {
        Vec::new()
    }

    fn name_for_push(&self, recipe: &Recipe, reference: &str) -> Result<(), ChoreError> {
        command::capture(&mut self.0.command(&["tag", &recipe.name, reference])).map(drop)
    }

    fn push(&self, _: &Recipe, reference: &str) -> Vec<Command> {
        vec![self.0.command(&["push", reference])]
    }

    fn pull(&self, reference: &str) -> Vec<Command> {
        vec![self.0.command(&["pull", reference])]
    }

    fn start(&self, image: &str) -> Vec<Command> {
        let run = ["run", "--rm", "--network", "host", image, "true"];
        vec![self.0.command(&run)]
    }
}

/// `docker buildx bake` on the daemon's own builder: the whole stack in one call.
///
/// Some releases of buildx (0.13 is one) drop the bake file's `network`, so this daemon has a bridge.
#[derive(Debug)]
pub(super) struct Bake {
    dockerd: Dockerd,
    /// Dropped after the daemon.
    _bridge: Bridge,
    /// Whether this buildx wants to be told that host networking is meant.
    asks_for_network: bool,
}

impl Bake {
    /// Starts a daemon for the first client with buildx.
    pub(super) fn start(folder: &Path, base: PathBuf) -> Result<Self, ChoreError> {
        let client = buildx_client()?;
        Ok(Self {
            asks_for_network: bake_asks(&client)?,
            _bridge: Bridge::before_daemon(),
            dockerd: Dockerd::start(folder, client, base, &[])?,
        })
    }
}

/// The bridge that a daemon makes and does not remove.
#[derive(Debug)]
struct Bridge {
    is_ours: bool,
}

impl Bridge {
    const NAME: &str = "docker0";

    /// Looks whether the host has one already, which then stays.
    fn before_daemon() -> Self {
        let device = Path::new("/sys/class/net").join(Self::NAME);
        Self {
            is_ours: !device.exists(),
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        let delete = ["link", "delete", Self::NAME];
        if let Err(error) = command::capture(Command::new("ip").args(delete)) {
            eprintln!("the bridge {} stays: {error}", Self::NAME);
        }
    }
}

impl Engine for Bake {
    fn name(&self) -> &str {
        "bake"
    }

    fn daemons(&self) -> Vec<u32> {
        vec![self.dockerd.daemon.pid()]
    }

    fn empty_cache(&self) -> Result<(), ChoreError> {
        self.dockerd.empty_cache()
    }

    fn build_stack(&self, inputs: &Inputs) -> Vec<Command> {
        let mut bake = self
            .dockerd
            .command(&["buildx", "bake", "-f", "docker-bake.json"]);
        if self.asks_for_network {
            bake.args(["--allow", "network.host"]);
        }
        bake.current_dir(&inputs.stack);
        vec![bake]
    }

    /// One image is what `docker build` does already.
    fn build(&self, _: &Recipe) -> Vec<Command> {
        Vec::new()
    }

    fn build_archive(&self, _: &Recipe, _: &Path) -> Vec<Command> {
        Vec::new()
    }

    fn start(&self, _: &str) -> Vec<Command> {
        Vec::new()
    }
}

/// The first client on the `PATH` with buildx.
pub(super) fn buildx_client() -> Result<PathBuf, ChoreError> {
    clients().find(|client| has_buildx(client)).ok_or_else(|| {
        let message = "no `docker` with buildx is installed";
        ChoreError::Unmet(message.to_owned())
    })
}

/// Whether a client's `bake` knows `--allow`; newer ones refuse host networking without it.
pub(super) fn bake_asks(client: &Path) -> Result<bool, ChoreError> {
    let help = command::capture(Command::new(client).args(["buildx", "bake", "--help"]))?;
    Ok(help.contains("--allow"))
}

/// Every `docker` on the `PATH`: a machine may have a bare client in front of a whole one.
fn clients() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders
        .into_iter()
        .map(|folder| folder.join("docker"))
        .filter(|client| client.is_file())
}

fn has_buildx(client: &Path) -> bool {
    command::capture(Command::new(client).args(["buildx", "version"])).is_ok()
}

fn is_old(client: &Path) -> bool {
    let version = ["--version"];
    let Ok(text) = command::capture(Command::new(client).args(version)) else {
        return false;
    };
    major_version(&text).is_some_and(|major| major < BUILDX_NEEDED_SINCE)
}

/// `Docker version 20.10.24+dfsg1, build 297e128` is 20.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split_once("version ")?.1;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clients_are_known_by_their_version() {
        let text = "Docker version 20.10.24+dfsg1, build 297e128\n";
        assert_eq!(major_version(text), Some(20));
        assert_eq!(
            major_version("Docker version 28.2.2, build e6534b4"),
            Some(28)
        );
        assert_eq!(major_version("podman"), None);
    }
}
