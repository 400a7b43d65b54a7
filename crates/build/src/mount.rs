//! What `RUN --mount` asks for, after expansion.

use crate::graph::{FileSource, Fs};

/// One mount of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MountRequest {
    /// Where it appears: absolute.
    pub target: String,
    /// What it is.
    pub kind: MountKind,
}

/// The kinds of mount a Dockerfile can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MountKind {
    /// Files of a context, a stage or an image. Writes, if allowed, are thrown away.
    Bind {
        /// Whose files.
        from: FileSource,
        /// The part of it that is mounted: absolute inside `from`.
        path: String,
        /// Whether the step may write (to be discarded).
        writable: bool,
    },
    /// A directory that outlives the step.
    Cache {
        /// Its name; equal names are the same directory.
        name: String,
        /// What it starts with, and the path in it.
        from: Option<(FileSource, String)>,
        /// Who may use it at once.
        sharing: CacheSharing,
        /// Whether the step may only read.
        read_only: bool,
        /// Mode of the directory when it is made.
        mode: u32,
        /// Owner of the directory when it is made.
        uid: u32,
        /// Group of the directory when it is made.
        gid: u32,
    },
    /// Memory.
    Tmpfs {
        /// Most bytes it may hold, if limited.
        size: Option<u64>,
    },
    /// A secret as a file, as a variable, or both.
    Secret {
        /// Its name on the command line.
        name: String,
        /// Whether the step fails without it.
        required: bool,
        /// Whether it is mounted as a file at `target`.
        file: bool,
        /// The variable that holds it, if any.
        env: Option<String>,
        /// Mode of the file.
        mode: u32,
        /// Owner of the file.
        uid: u32,
        /// Group of the file.
        gid: u32,
    },
    /// An executable file given in the Dockerfile itself: a `RUN` heredoc with a `#!` line.
    Script {
        /// Its bytes.
        content: String,
    },
    /// The socket of an ssh agent.
    Ssh {
        /// Its name on the command line.
        name: String,
        /// Whether the step fails without it.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Owner of the socket.
        uid: u32,
        /// Group of the socket.
        gid: u32,
    },
}

/// Who may use a cache mount at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheSharing {
    /// Everybody at once.
    Shared,
    /// Each concurrent user gets a directory of its own.
    Private,
    /// One after the other.
    Locked,
}

impl MountRequest {
    /// The filesystem the mount needs, if it needs one from the graph.
    pub fn fs(&self) -> Option<Fs> {
        match &self.kind {
            MountKind::Bind {
                from: FileSource::Fs(fs),
                ..
            }
            | MountKind::Cache {
                from: Some((FileSource::Fs(fs), _)),
                ..
            } => Some(*fs),
            _ => None,
        }
    }
}
