//! The build graph: one for all images of a run.
//!
//! A [`Vertex`] is one filesystem operation; its result is a filesystem: the snapshots of its
//! base with, at most, one snapshot of its own on top. Settings such as `ENV` or `CMD` are no
//! vertices: lowering folds them into the image configuration.
//!
//! Invariants:
//! - Inputs come before the vertices that use them, so ids are in topological order.
//! - Two vertices are never equal: [`Graph::add`] gives the one that is there.
//! - What a vertex *means* lies in [`Op`] alone; names, places and images are for people and
//!   change no key.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use cairn_diagnostic::Label;
use cairn_oci::Digest;
use cairn_registry::git::GitAddress;

use crate::device::Handed;
use crate::event::VertexId;
use crate::mount::MountRequest;
use crate::resolve::{BaseImage, DebianBase};

/// A filesystem state that the graph can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fs {
    /// Nothing at all: `FROM scratch`.
    Scratch,
    /// What a vertex leaves.
    Of(VertexId),
}

impl Fs {
    /// The vertex behind it, if there is one.
    pub fn vertex(self) -> Option<VertexId> {
        match self {
            Fs::Scratch => None,
            Fs::Of(vertex) => Some(vertex),
        }
    }
}

/// Names one of the contexts that a run may copy from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(pub u32);

/// Where `COPY`, `ADD` and bind mounts take files from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileSource {
    /// A context: a directory or archive beside the Dockerfile, or a named one.
    Context(ContextId),
    /// A stage, a sibling image or an external image.
    Fs(Fs),
}

/// What a vertex does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// An image that is in the store already: a base from outside the run.
    Image(Arc<BaseImage>),
    /// A base assembled from locked Debian packages.
    Debian(Arc<DebianBase>),
    /// `RUN`.
    Exec(Box<ExecOp>),
    /// `COPY` and `ADD`.
    Copy(Box<CopyOp>),
    /// `WORKDIR`: makes the directory if it is not there.
    MakeDir(MakeDirOp),
}

/// A process run over the base's filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExecOp {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The environment, in order; the step can observe all of it.
    pub env: Vec<(String, String)>,
    /// What its programs are built for, in Go's spelling; which machine runs them enters no key.
    pub architecture: String,
    /// The working directory inside.
    pub cwd: String,
    /// `USER` as written: `name`, `uid`, `name:group`; empty means root.
    pub user: String,
    /// Everything mounted over the base.
    pub mounts: Vec<MountRequest>,
    /// `RUN --network`.
    pub network: ExecNetwork,
    /// `RUN --security=insecure`.
    pub insecure: bool,
    /// Run even where a record exists.
    pub ignore_cache: bool,
    /// Proxy variables given as build arguments; they enter no key.
    pub proxies: Vec<(String, String)>,
    /// What else the step sees, in words: groups, volumes, privileges it lacks.
    pub surroundings: Vec<(String, String)>,
    /// The name of the machine that the step sees; it enters no key.
    pub hostname: Option<String>,
    /// Devices of this machine that it is handed.
    pub devices: Handed,
}

/// Which network a step sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecNetwork {
    /// The host's.
    Host,
    /// None but loopback.
    None,
}

/// One `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CopyOp {
    /// Where paths are looked up.
    pub from: FileSource,
    /// Paths and patterns in `from`.
    pub paths: Vec<String>,
    /// Files given in the Dockerfile itself: name and content.
    pub inline: Vec<(String, String)>,
    /// Files of an `ADD` that come from the network.
    pub remote: Vec<RemoteFile>,
    /// Repositories that an `ADD` takes files from.
    pub repositories: Vec<RepositorySource>,
    /// Where to: absolute; a trailing `/` means a directory.
    pub dest: String,
    /// `--chown` as written and expanded.
    pub chown: Option<String>,
    /// `--chmod` as written and expanded.
    pub chmod: Option<String>,
    /// `--link`: independent of the base.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// Whether local archives are unpacked: `ADD`, or `--unpack`.
    pub unpack: bool,
    /// Whether it is an `ADD`.
    pub add: bool,
}

/// A file that `ADD` fetches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteFile {
    /// The address.
    pub url: String,
    /// `--checksum`.
    pub checksum: Option<Digest>,
    /// Whether it is unpacked if it is an archive.
    pub unpack: bool,
}

/// A git repository that `ADD` takes files from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepositorySource {
    /// Where, which commit, which directory; with `--checksum`, if that was given.
    pub address: GitAddress,
    /// Whether `.git` is kept.
    pub keep_git_dir: bool,
}

/// A directory to be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MakeDirOp {
    /// Its absolute path.
    pub path: String,
    /// `USER` as written: owns what is made.
    pub user: String,
}

/// One operation of the graph.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// What it does.
    pub op: Op,
    /// What it starts from.
    pub base: Fs,
    /// Names and places for people.
    pub origin: Origin,
}

/// Where a vertex comes from, for messages; never part of a key.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The image it was first lowered for.
    pub image: String,
    /// The stage's name or number; empty where the Dockerfile has one stage.
    pub stage: String,
    /// Step number and count within the stage.
    pub step: (u32, u32),
    /// The instruction on one line.
    pub title: String,
    /// The instruction's place in its file.
    pub label: Option<Label>,
}

impl Vertex {
    /// Whether it takes files of another vertex, beside standing on one.
    pub(crate) fn takes_from_steps(&self) -> bool {
        match &self.op {
            Op::Exec(exec) => exec.mounts.iter().any(|mount| mount.fs().is_some()),
            Op::Copy(copy) => matches!(copy.from, FileSource::Fs(_)),
            Op::Image(_) | Op::Debian(_) | Op::MakeDir(_) => false,
        }
    }

    /// Every vertex this one needs first, in a fixed order without repeats.
    pub fn inputs(&self) -> Vec<VertexId> {
        let mut inputs = Vec::new();
        let mut add = |fs: Fs| {
            if let Some(vertex) = fs.vertex()
                && !inputs.contains(&vertex)
            {
                inputs.push(vertex);
            }
        };
        add(self.base);
        match &self.op {
            Op::Exec(exec) => exec
                .mounts
                .iter()
                .filter_map(MountRequest::fs)
                .for_each(add),
            Op::Copy(copy) => {
                if let FileSource::Fs(fs) = copy.from {
                    add(fs);
                }
            }
            Op::Image(_) | Op::Debian(_) | Op::MakeDir(_) => {}
        }
        inputs
    }
}

/// All vertices of a run.
#[derive(Debug, Default)]
pub struct Graph {
    vertices: Vec<Vertex>,
    known: HashMap<(Op, Fs), VertexId>,
}

impl Graph {
    /// Adds a vertex, or finds the equal one that is there already.
    pub fn add(&mut self, vertex: Vertex) -> VertexId {
        let identity = (vertex.op.clone(), vertex.base);
        if let Some(&known) = self.known.get(&identity) {
            return known;
        }
        let id = VertexId(u32::try_from(self.vertices.len()).expect("fewer than 2^32 vertices"));
        debug_assert!(vertex.inputs().iter().all(|input| *input < id));
        self.known.insert(identity, id);
        self.vertices.push(vertex);
        id
    }

    /// The vertex of that name.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0 as usize]
    }

    /// All vertices in topological order.
    pub fn iter(&self) -> impl Iterator<Item = (VertexId, &Vertex)> {
        (0u32..).map(VertexId).zip(&self.vertices)
    }

    /// Whether a vertex is a step to people: something is done there. An image that is in the
    /// store already is where steps begin.
    pub fn is_step(&self, id: VertexId) -> bool {
        !matches!(self.vertex(id).op, Op::Image(_))
    }

    /// How many vertices are steps.
    pub fn steps(&self) -> usize {
        self.iter().filter(|(id, _)| self.is_step(*id)).count()
    }

    /// How many vertices there are.
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Whether there is no vertex.
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }
}

/// Build arguments as given on the command line or in the spec.
pub type BuildArgs = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    fn make_dir(path: &str, base: Fs) -> Vertex {
        Vertex {
            op: Op::MakeDir(MakeDirOp {
                path: path.into(),
                user: String::new(),
            }),
            base,
            origin: Origin {
                image: path.into(),
                stage: String::new(),
                step: (1, 1),
                title: format!("WORKDIR {path}"),
                label: None,
            },
        }
    }

    #[test]
    fn equal_vertices_are_one_whatever_they_are_called() {
        let mut graph = Graph::default();
        let first = graph.add(make_dir("/a", Fs::Scratch));
        let mut again = make_dir("/a", Fs::Scratch);
        again.origin.image = "another".into();
        assert_eq!(graph.add(again), first);
        assert_ne!(
            graph.add(make_dir("/a", Fs::Of(first))),
            first,
            "another base"
        );
        assert_eq!(graph.len(), 2);
    }
}
