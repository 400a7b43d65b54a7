//! What `COPY`, `ADD` and bind mounts see of a source: one read-only tree, whatever it lies in.
//!
//! Two things are behind it: a directory of the host ([`super::Context`]) and the merged layers of
//! a stage or image ([`super::LayerTree`]). Selecting and copying know only this trait, so that
//! every rule about paths holds for both.
//!
//! Paths are relative to the tree's root, without `.` and `..`, and literal: no implementation
//! follows a symbolic link. Following is done in one place, `copy::resolve`, where a link cannot
//! lead out of the tree.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cairn_store::ContentDigest;

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// Its name in digests and messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
            Kind::CharDevice => "character device",
            Kind::BlockDevice => "block device",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
        }
    }
}

/// Everything about a directory entry but its name and content.
#[derive(Debug, Clone)]
pub struct SourceEntry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner; 0 in contexts.
    pub uid: u32,
    /// The group; 0 in contexts.
    pub gid: u32,
    /// Bytes of a regular file.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Seconds and nanoseconds of the last change of the inode; zero in layers, which never change.
    pub ctime: (i64, u32),
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    /// Device and inode on the host; zero in layers.
    pub inode: (u64, u64),
    /// Equal for the names of one file; `None` for a file with one name.
    pub link: Option<LinkId>,
    /// Where the entry lies, if the tree is made of layers.
    pub layer: Option<Arc<cairn_store::Entry>>,
}

impl SourceEntry {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// What tells that two names in a tree are one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkId {
    /// Device and inode on the host.
    Inode(u64, u64),
    /// A file in a layer.
    Layer(cairn_store::HardlinkId),
}

/// A directory's names with what they are, sorted by name.
pub type Listing = Arc<Vec<(OsString, SourceEntry)>>;

/// Extended attributes: names with values, sorted.
pub type Xattrs = Vec<(OsString, Vec<u8>)>;

/// A tree that files are taken from.
pub trait SourceTree: Sync {
    /// Finds an entry; `None` if there is none, or if the tree hides it.
    fn lookup(&self, path: &Path) -> io::Result<Option<SourceEntry>>;

    /// Lists a directory.
    fn read_dir(&self, path: &Path) -> io::Result<Listing>;

    /// Opens a regular file.
    fn open(&self, path: &Path, entry: &SourceEntry) -> io::Result<File>;

    /// Reads where a symbolic link points.
    fn read_link(&self, path: &Path, entry: &SourceEntry) -> io::Result<PathBuf>;

    /// The extended attributes that are copied with an entry; `file` is the entry if it is open.
    fn xattrs(&self, entry: &SourceEntry, file: Option<&File>) -> io::Result<Xattrs>;

    /// The digest of a regular file's content and extended attributes, if it is known unread.
    fn known_digest(&self, path: &Path, entry: &SourceEntry) -> Option<ContentDigest>;

    /// Keeps the digest of a regular file whose reading began at `read_began`.
    fn learn_digest(
        &self,
        path: &Path,
        entry: &SourceEntry,
        digest: ContentDigest,
        read_began: SystemTime,
    );

    /// Says that everything below a directory will be listed; a tree may prepare that in parallel.
    /// What cannot be read shows when it is listed.
    fn read_ahead(&self, _path: &Path, _workers: usize) {}

    /// Whether entries have owners that a copy keeps.
    fn keeps_owners(&self) -> bool;

    /// Whether an open file is still what its entry says. Layers never change.
    fn is_unchanged(&self, entry: &SourceEntry, file: &File) -> io::Result<bool>;

    /// The line that hides a path which would be there without it.
    fn hidden_by(&self, path: &Path) -> Option<HiddenBy>;
}

/// A line of an ignore file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenBy {
    /// The file's name.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The pattern on it.
    pub pattern: String,
}

/// Extended attributes that say how this machine keeps files rather than what they are.
pub(crate) fn is_private_xattr(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    [
        &b"user.overlay."[..],
        b"user.cairn.",
        b"trusted.",
        b"security.selinux",
        b"system.",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// The root of a tree without files.
pub(super) fn empty_root() -> SourceEntry {
    SourceEntry {
        kind: Kind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: (0, 0),
        ctime: (0, 0),
        rdev: (0, 0),
        inode: (0, 0),
        link: None,
        layer: None,
    }
}
