//! What makes two vertices the same: their cache keys.
//!
//! A key is the digest of a list of named inputs. The same list is kept in the cache record, so
//! that `cairn why` can name the first input that differs between two runs.
//!
//! | input | enters as | why / why not |
//! | --- | --- | --- |
//! | format | `format` | [`FORMAT`] changes when the engine would make other files of equal inputs |
//! | base filesystem | content digest | not its key or name: a rebuilt base with equal files keeps its children (early cutoff) |
//! | base of `COPY --link` | no, unless `--chown` has a name in it | its layer does not depend on it, but what a name means does |
//! | files taken by `COPY`, `ADD`, bind mounts | digest of exactly those files | names, kinds, modes, owners (not for contexts), contents, links, xattrs; no times; nothing outside the selection |
//! | program and arguments, working directory, user, network, security | as they are | the step sees them |
//! | variables (`ENV`, declared `ARG`) | each by name | the step sees them |
//! | proxy variables, CA bundle | no | they say how to reach the network, not what to make |
//! | host name, `/etc/hosts`, `/etc/resolv.conf` | no | the same, and they leave no trace |
//! | `--group-add`, `--security-opt`, `--volume` | as they are; not what lies in a volume | the step sees them; a volume is as a cache mount is |
//! | devices | their names, and which variables, files and groups they bring | the step sees them; what a device does is not known |
//! | `--mount=type=cache` | target, name and options | what it holds may change speed, never the result |
//! | `--mount=type=secret`, `ssh` | target, name and options | never the value |
//! | downloads of `ADD` | address and checksum; without a checksum the bytes' digest | the bytes are what is added |
//! | repositories of `ADD` | address, commit, directory; not the branch or tag | the commit is what is added |
//! | Debian packages | the lock's digest | exact versions and hashes |
//! | times, host paths, tags, labels, annotations, git metadata | no | they are applied when the image is assembled |
//! | platform | through the base | a step sees the base's files |
//!
//! Known imprecision: a step that looks at file times of its base can see a difference that the
//! content digest leaves out; a step that reads the clock or the network is not a function of its
//! key at all. Both are as in BuildKit.

use cairn_oci::redact;
use cairn_store::{CacheKey, ContentDigest, KeyHasher};

use crate::graph::{CopyOp, ExecNetwork, ExecOp, FileSource, MakeDirOp, Op, Vertex};
use crate::mount::{CacheSharing, MountKind, MountRequest};

/// Changes when equal inputs would give other files than before.
pub const FORMAT: &str = "3";

/// The named inputs of a vertex, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyInputs(pub Vec<(String, String)>);

/// The digests of what a vertex takes from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// The base's content; `None` for nothing.
    pub base: Option<ContentDigest>,
    /// Of an image from outside: its content as its files have it, where a cache said otherwise.
    pub image: Option<ContentDigest>,
    /// The files of a `COPY` or `ADD`: selection first, then each download.
    pub files: Vec<ContentDigest>,
    /// The commit of each repository of an `ADD`.
    pub commits: Vec<String>,
    /// For each mount in order, the files it shows.
    pub mounts: Vec<Option<ContentDigest>>,
}

impl KeyInputs {
    /// Lists what a vertex depends on.
    pub fn of(vertex: &Vertex, taken: &Taken) -> Self {
        let mut inputs = Self::default();
        inputs.add("format", FORMAT);
        let linked = matches!(&vertex.op, Op::Copy(copy) if copy.link && !names_an_owner(copy));
        if !linked {
            let base = taken
                .base
                .as_ref()
                .map_or("scratch".to_owned(), ContentDigest::to_string);
            inputs.add("base", base);
        }
        match &vertex.op {
            Op::Image(image) => {
                let content = taken.image.unwrap_or(image.content);
                inputs.add("image", content.to_string());
            }
            Op::Debian(base) => inputs.add("debian lock", base.identity.to_string()),
            Op::Exec(exec) => inputs.exec(exec, taken),
            Op::Copy(copy) => inputs.copy(copy, taken),
            Op::MakeDir(dir) => inputs.make_dir(dir),
        }
        inputs
    }

    /// The key that these inputs give.
    pub fn key(&self) -> CacheKey {
        let mut hasher = KeyHasher::new("cairn vertex");
        for (name, value) in &self.0 {
            hasher.field(name, value.as_bytes());
        }
        hasher.finish_key()
    }

    /// Names the first input that is not the same in `older`, with both values.
    pub fn first_difference(&self, older: &Self) -> Option<Difference> {
        let value = |list: &Self, name: &str| {
            list.0
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        // What a person changed says more than the digest of what follows from it.
        let later = |name: &str| name == "base" || name == "files";
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.extend(older.0.iter().map(|(name, _)| name.as_str()));
        names.sort_by_key(|name| later(name));
        names.into_iter().find_map(|name| {
            let (old, new) = (value(older, name), value(self, name));
            (old != new).then(|| Difference {
                input: name.to_owned(),
                old,
                new,
            })
        })
    }

    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    fn exec(&mut self, exec: &ExecOp, taken: &Taken) {
        self.add("operation", "run");
        self.add(
            "command",
            serde_json::to_string(&exec.argv).unwrap_or_default(),
        );
        self.add("workdir", &exec.cwd);
        self.add("user", &exec.user);
        for (name, value) in &exec.env {
            self.add(format!("variable {name}"), value);
        }
        if exec.network == ExecNetwork::None {
            self.add("network", "none");
        }
        if exec.insecure {
            self.add("security", "insecure");
        }
        for (name, value) in &exec.surroundings {
            self.add(name, value);
        }
        for (name, brings) in &exec.devices.devices {
            self.add(format!("device {name}"), brings);
        }
        for (index, mount) in exec.mounts.iter().enumerate() {
            let files = taken.mounts.get(index).and_then(Option::as_ref);
            self.add(format!("mount {}", mount.target), describe(mount, files));
        }
    }

    fn copy(&mut self, copy: &CopyOp, taken: &Taken) {
        self.add("operation", if copy.add { "add" } else { "copy" });
        self.add("destination", &copy.dest);
        if let Some(owner) = &copy.chown {
            self.add("owner", owner);
        }
        if let Some(mode) = &copy.chmod {
            self.add("mode", mode);
        }
        for (name, on) in [
            ("link", copy.link),
            ("parents", copy.parents),
            ("unpack", copy.unpack),
        ] {
            if on {
                self.add(name, "yes");
            }
        }
        for (name, content) in &copy.inline {
            self.add(format!("heredoc {name}"), content);
        }
        for (remote, digest) in copy.remote.iter().zip(taken.files.iter().skip(1)) {
            // `why` shows these names, and the store keeps them.
            let url = redact(&remote.url);
            self.add(format!("download {url}"), digest.to_string());
            if remote.unpack {
                self.add(format!("unpack {url}"), "yes");
            }
        }
        for (repository, commit) in copy.repositories.iter().zip(&taken.commits) {
            let address = &repository.address;
            let what = (
                &address.subdir,
                repository.keep_git_dir,
                address.skip_submodules,
            );
            let name = format!("repository {}", redact(&address.remote));
            self.add(name, format!("{commit} {what:?} {:?}", copy.exclude));
        }
        if let Some(selection) = taken.files.first() {
            self.add("files", selection.to_string());
        }
    }

    fn make_dir(&mut self, dir: &MakeDirOp) {
        self.add("operation", "make directory");
        self.add("path", &dir.path);
        self.add("user", &dir.user);
    }
}

/// Whether `--chown` has a name in it, which the base's account files give a meaning.
fn names_an_owner(copy: &CopyOp) -> bool {
    let owner = copy.chown.iter().flat_map(|owner| owner.split(':'));
    owner
        .into_iter()
        .any(|part| !part.is_empty() && part.parse::<u32>().is_err())
}

fn describe(mount: &MountRequest, files: Option<&ContentDigest>) -> String {
    let files = files.map_or("nothing".to_owned(), ContentDigest::to_string);
    match &mount.kind {
        MountKind::Bind {
            path,
            writable,
            from,
        } => {
            let source = match from {
                FileSource::Context(_) => "context",
                FileSource::Fs(_) => "filesystem",
            };
            format!("bind {source} {path} writable={writable} {files}")
        }
        MountKind::Cache {
            name,
            from,
            sharing,
            read_only,
            mode,
            uid,
            gid,
        } => {
            let sharing = match sharing {
                CacheSharing::Shared => "shared",
                CacheSharing::Private => "private",
                CacheSharing::Locked => "locked",
            };
            let seed = if from.is_some() { files } else { String::new() };
            format!("cache {name} {sharing} {read_only} {mode:o} {uid} {gid} {seed}")
        }
        MountKind::Tmpfs { size } => format!("tmpfs {size:?}"),
        MountKind::Secret {
            name,
            required,
            file,
            env,
            mode,
            uid,
            gid,
        } => {
            format!("secret {name} {required} {file} {env:?} {mode:o} {uid} {gid}")
        }
        MountKind::Script { content } => format!("script {content}"),
        MountKind::Ssh {
            name,
            required,
            mode,
            uid,
            gid,
        } => {
            format!("ssh {name} {required} {mode:o} {uid} {gid}")
        }
    }
}

/// An input that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Its name.
    pub input: String,
    /// What it was; `None` if it was not there.
    pub old: Option<String>,
    /// What it is; `None` if it is gone.
    pub new: Option<String>,
}

#[cfg(test)]
mod tests;
