//! Images for two platforms between Cairn and others: who pulls what, with equal digests.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_oci::{Digest, Index};
use cairn_testkit::{DockerRegistry, Guard, needs, needs_of_root};

use crate::registries::skopeo;
use crate::workshop::Workshop;

const PLATFORMS: [&str; 2] = ["amd64", "arm64"];

/// Runs a command to its end; gives what it printed.
#[track_caller]
fn ran(command: &mut Command) -> String {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{command:?}: {ran:?}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// A stack's image for both platforms, published; its name, and the index that is there.
fn published(workshop: &Workshop, registry: &DockerRegistry) -> (String, Digest, Index) {
    let place = format!("{}/lab", registry.host());
    workshop.write(
        "cairn.toml",
        &format!(
            "[stack]\nname = \"s\"\nregistries = [\"{place}\"]\n\
             platforms = [\"linux/amd64\", \"linux/arm64\"]\n[image.one]\ncontext = \"a\"\n"
        ),
    );
    workshop.write("a/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    workshop.cairn(&["publish", "--tag", "t"]).success();
    let name = format!("{place}/one:t");
    let raw = skopeo()
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{name}"))
        .output()
        .unwrap();
    let index = Index::from_json_bytes(&raw.stdout).unwrap();
    assert_eq!(index.manifests.len(), 2);
    (name, Digest::sha256(&raw.stdout), index)
}

#[test]
fn an_index_goes_to_others_and_comes_back() {
    let workshop = Workshop::empty();
    if !needs("skopeo", is_installed("skopeo")) {
        return;
    }
    let Some(registry) = DockerRegistry::start(Guard::Open) else {
        return;
    };
    let (name, digest, index) = published(&workshop, &registry);
    let copied = format!("{}/copied/one:t", registry.host());
    ran(skopeo()
        .args(["--insecure-policy", "copy", "-q", "--all"])
        .args([
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ])
        .args([format!("docker://{name}"), format!("docker://{copied}")]));
    let pulled = format!("{}/copied/one@{digest}\n", registry.host());
    for architecture in PLATFORMS {
        let platform = format!("linux/{architecture}");
        let said = workshop.cairn(&["pull", &copied, "--platform", &platform]);
        let said = said.success();
        assert_eq!(said.out, pulled, "what skopeo copied is what was published");
        assert!(
            said.err.contains(&format!("for {platform}")),
            "{}",
            said.err
        );
    }
    podman_pulls(&workshop, &name, &digest, &index);
    docker_pulls(&workshop, &name, &digest);
}

/// The digest of the manifest for a platform.
fn of<'a>(index: &'a Index, architecture: &str) -> &'a Digest {
    let mut manifests = index.manifests.iter();
    let fits = manifests.find(|one| {
        let platform = one.platform.as_ref();
        platform.is_some_and(|platform| platform.architecture == architecture)
    });
    &fits.unwrap().digest
}

fn podman_pulls(workshop: &Workshop, name: &str, digest: &Digest, index: &Index) {
    let is_root = needs_of_root("root, for podman", rustix::process::geteuid().is_root());
    if !is_root || !needs("podman", is_installed("podman")) {
        return;
    }
    let policy = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}";
    workshop.write("policy.json", policy);
    let podman = |arguments: &[&str]| {
        let mut podman = Command::new("podman");
        podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        for (option, place) in [("--root", "podman"), ("--runroot", "podman-run")] {
            podman.arg(option).arg(workshop.path().join(place));
        }
        ran(podman.args(arguments).current_dir(workshop.path()))
    };
    for architecture in PLATFORMS {
        let platform = format!("linux/{architecture}");
        let policy = "--signature-policy=policy.json";
        podman(&[
            "pull",
            "-q",
            "--tls-verify=false",
            policy,
            "--platform",
            &platform,
            name,
        ]);
        let form = "{{.Architecture}} {{.RepoDigests}}";
        let told = podman(&["image", "inspect", "--format", form, name]);
        assert!(told.starts_with(architecture), "{told}");
        for known in [digest, of(index, architecture)] {
            assert!(told.contains(known.as_str()), "no {known} in {told}");
        }
    }
}

/// A daemon of the test's own, ended with it.
struct Dockerd {
    process: Child,
    socket: String,
}

impl Dockerd {
    /// None, with the reason printed, where there is no docker or its daemon does not start: CI
    /// installs none.
    #[allow(clippy::print_stderr, reason = "a skipped test must be seen")]
    fn start(place: &Path) -> Option<Self> {
        let is_there = is_installed("dockerd") && is_installed("docker");
        if !is_there || !rustix::process::geteuid().is_root() {
            eprintln!("skipped: docker is not installed, or the test is not root's");
            return None;
        }
        let socket = format!("unix://{}", place.join("docker.sock").display());
        let process = Command::new("dockerd")
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--storage-driver=vfs", "--host", &socket])
            .arg("--data-root")
            .arg(place.join("data"))
            .arg("--exec-root")
            .arg(place.join("exec"))
            .arg("--pidfile")
            .arg(place.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut daemon = Self {
            process: process.unwrap(),
            socket,
        };
        let until = Instant::now() + Duration::from_secs(30);
        while !daemon
            .docker()
            .arg("info")
            .output()
            .unwrap()
            .status
            .success()
        {
            let has_ended = daemon.process.try_wait().unwrap().is_some();
            if has_ended || Instant::now() > until {
                eprintln!("skipped: dockerd does not start here");
                return None;
            }
            sleep(Duration::from_millis(100));
        }
        Some(daemon)
    }

    fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_HOST", &self.socket);
        docker
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // Asked, it ends its containerd, too.
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
    }
}

fn docker_pulls(workshop: &Workshop, name: &str, digest: &Digest) {
    let place = workshop.path().join("d");
    std::fs::create_dir(&place).unwrap();
    let Some(daemon) = Dockerd::start(&place) else {
        return;
    };
    for architecture in PLATFORMS {
        let platform = format!("linux/{architecture}");
        let said = ran(daemon
            .docker()
            .args(["pull", "--platform", &platform, name]));
        assert!(said.contains(&format!("Digest: {digest}")), "{said}");
        let arguments = ["image", "inspect", "--format", "{{.Architecture}}", name];
        assert_eq!(ran(daemon.docker().args(arguments)), architecture);
    }
}
