//! Debian's `docker-registry` on a free port, and what its files say. The benchmark pushes to one, too.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::error::ChoreError;

/// The program.
pub(crate) const PROGRAM: &str = "docker-registry";
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A running registry with an empty storage of its own.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    /// Its host and port.
    pub(crate) host: String,
    place: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Starts one.
    pub(super) fn start() -> Result<Self, ChoreError> {
        Self::start_in(Path::new("/var/tmp"))
    }

    /// Starts one that keeps its files in a new folder of `folder`, for as long as it lives.
    pub(crate) fn start_in(folder: &Path) -> Result<Self, ChoreError> {
        let place = TempDir::new_in(folder).map_err(ChoreError::file(folder))?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(ChoreError::file("127.0.0.1"))?;
        let address = listener.local_addr();
        let host = address.map_err(ChoreError::file("127.0.0.1"))?.to_string();
        drop(listener);
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
             delete:\n    enabled: true\nhttp:\n  addr: {host}\n  secret: of-this-campaign\n",
            place.path().join("storage").display()
        );
        let file = place.path().join("config.yml");
        fs::write(&file, config).map_err(ChoreError::file(&file))?;
        let process = Command::new(PROGRAM)
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = process.map_err(|source| ChoreError::Start {
            program: PROGRAM.to_owned(),
            source,
        })?;
        let registry = Self {
            process,
            host,
            place,
        };
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(&registry.host).is_err() {
            if Instant::now() > deadline {
                return Err(ChoreError::Unmet("a registry does not start".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }

    /// Its files.
    pub(super) fn shelf(&self) -> Shelf {
        Shelf {
            root: self.place.path().join("storage/docker/registry/v2"),
        }
    }
}

/// The files of a registry, read beside it.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    root: PathBuf,
}

impl Shelf {
    /// What a tag means.
    pub(super) fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        let link = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
        fs::read_to_string(self.root.join(link)).ok()
    }

    /// Whether a repository has a manifest, by digest.
    pub(super) fn has_manifest(&self, repository: &str, digest: &str) -> bool {
        let path = digest.replace(':', "/");
        let link = format!("repositories/{repository}/_manifests/revisions/{path}/link");
        self.root.join(link).is_file()
    }

    /// Whether a repository has a blob.
    pub(super) fn has_blob(&self, repository: &str, digest: &str) -> bool {
        let path = digest.replace(':', "/");
        let link = format!("repositories/{repository}/_layers/{path}/link");
        self.root.join(link).is_file() && self.data(digest).is_some()
    }

    fn data(&self, digest: &str) -> Option<Vec<u8>> {
        let (algorithm, hex) = digest.split_once(':')?;
        let path = format!("blobs/{algorithm}/{}/{hex}/data", hex.get(..2)?);
        fs::read(self.root.join(path)).ok()
    }

    /// How many manifests an index has that a tag means; none if it means no index.
    pub(super) fn parts(&self, repository: &str, tag: &str) -> usize {
        let bytes = self.tag(repository, tag).and_then(|it| self.data(&it));
        let index = bytes.and_then(|it| serde_json::from_slice::<serde_json::Value>(&it).ok());
        index.map_or(0, |it| it["manifests"].as_array().map_or(0, Vec::len))
    }

    /// Every tag of every repository that leads to something that is not there.
    pub(super) fn broken_tags(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for repository in self.repositories() {
            let tags = self
                .root
                .join(format!("repositories/{repository}/_manifests/tags"));
            for tag in names(&tags) {
                let digest = self.tag(&repository, &tag);
                if !digest.is_some_and(|digest| self.is_whole(&repository, &digest)) {
                    broken.push(format!("{repository}:{tag}"));
                }
            }
        }
        broken
    }

    fn is_whole(&self, repository: &str, digest: &str) -> bool {
        let manifest = self
            .data(digest)
            .filter(|_| self.has_manifest(repository, digest));
        let Some(manifest) = manifest else {
            return false;
        };
        let Ok(manifest) = serde_json::from_slice::<serde_json::Value>(&manifest) else {
            return false;
        };
        let listed = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
        let parts = listed("manifests");
        let mut parts = parts.iter().filter_map(|part| part["digest"].as_str());
        let mut blobs = listed("layers");
        blobs.extend(manifest.get("config").cloned());
        let mut blobs = blobs.iter().filter_map(|blob| blob["digest"].as_str());
        parts.all(|part| self.is_whole(repository, part))
            && blobs.all(|blob| self.has_blob(repository, blob))
    }

    /// Removes the first layer of what a tag means: of its first part, where that is an index.
    #[cfg(test)]
    pub(super) fn lose_a_layer(&self, repository: &str, tag: &str) {
        let document = |digest: &str| -> serde_json::Value {
            let bytes = self.data(digest).expect("a manifest");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        let mut manifest = document(&self.tag(repository, tag).expect("the tag"));
        if let Some(part) = manifest["manifests"][0]["digest"].as_str() {
            manifest = document(part);
        }
        let layer = manifest["layers"][0]["digest"].as_str().expect("a layer");
        let hex = layer.trim_start_matches("sha256:");
        let path = format!("blobs/sha256/{}/{hex}/data", &hex[..2]);
        fs::remove_file(self.root.join(path)).expect("the layer");
    }

    /// The repositories, all two folders deep.
    fn repositories(&self) -> Vec<String> {
        let root = self.root.join("repositories");
        let mut found = Vec::new();
        for first in names(&root) {
            for second in names(&root.join(&first)) {
                if root.join(&first).join(&second).join("_manifests").is_dir() {
                    found.push(format!("{first}/{second}"));
                }
            }
        }
        found
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
