//! The files of one snapshot, as they are meant: whiteouts known, recorded owners and devices
//! applied.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{At, StoreError};
use crate::side::{OWNER_ATTRIBUTE, SideEntry, SideTable, is_private_attribute, parse_owner};
use crate::snapshot::DeviceKind;
use crate::store::Ownership;

const OPAQUE_ATTRIBUTE: &str = "user.overlay.opaque";

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
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

/// One file of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: EntryKind,
    pub(crate) is_whiteout: bool,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: (i64, u32),
    /// Whether `mtime` says only when this machine made the file.
    pub(crate) is_new: bool,
    pub(crate) rdev: (u32, u32),
    pub(crate) nlink: u64,
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) disk_bytes: u64,
}

/// One layer's directory tree. Paths are relative to its root and go through no symbolic link.
#[derive(Debug)]
pub(crate) struct LayerDir {
    root: PathBuf,
    ownership: Ownership,
    side: SideTable,
    new_since: Option<i64>,
}

impl LayerDir {
    pub(crate) fn new(root: PathBuf, ownership: Ownership, side: SideTable) -> Self {
        Self {
            root,
            ownership,
            side,
            new_since: None,
        }
    }

    /// Says from which second on times are new ([`Node::is_new`]).
    pub(crate) fn new_since(mut self, second: Option<i64>) -> Self {
        self.new_since = second;
        self
    }

    /// From which second on times are new.
    pub(crate) fn is_new_since(&self) -> Option<i64> {
        self.new_since
    }

    /// What the side table says of a path.
    pub(crate) fn said_of(&self, path: &Path) -> Option<SideEntry> {
        self.side.get(path).copied()
    }

    /// Where a path is on the host.
    pub(crate) fn host(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() {
            return self.root.clone();
        }
        self.root.join(path)
    }

    /// Looks at one file. The caller knows that its parent is a directory of this layer.
    pub(crate) fn stat(&self, path: &Path) -> Result<Option<Node>, StoreError> {
        let host = self.host(path);
        match rustix::fs::lstat(&host) {
            Ok(stat) => self.node(&stat, path, &host).map(Some),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).at("stat", &host),
        }
    }

    /// Lists a directory, sorted by name.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<(OsString, Node)>, StoreError> {
        let host = self.host(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&host, flags, Mode::empty()).at("open", &host)?;
        let mut nodes = Vec::new();
        for entry in Dir::read_from(&directory).at("read", &host)? {
            let entry = entry.at("read", &host)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .at("stat", &host)?;
            let name = OsStr::from_bytes(name.to_bytes()).to_owned();
            let node = self.node(&stat, &path.join(&name), &host.join(&name))?;
            nodes.push((name, node));
        }
        nodes.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(nodes)
    }

    /// Whether a directory of this layer hides what lies below it.
    pub(crate) fn is_opaque(&self, path: &Path) -> Result<bool, StoreError> {
        let host = self.host(path);
        let mut value = [0; 2];
        match rustix::fs::lgetxattr(&host, OPAQUE_ATTRIBUTE, &mut value) {
            Ok(length) => Ok(&value[..length] == b"y"),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
            Err(error) => Err(error).at("read an attribute of", &host),
        }
    }

    fn node(&self, stat: &Stat, path: &Path, host: &Path) -> Result<Node, StoreError> {
        let mut node = Node::of(stat);
        node.is_new = self.new_since.is_some_and(|since| node.mtime.0 >= since);
        if node.is_whiteout {
            return Ok(node);
        }
        let side = self.side.get(path);
        if let Some(device) = side.and_then(|entry| entry.device) {
            node.kind = match device.kind {
                DeviceKind::Char => EntryKind::CharDevice,
                DeviceKind::Block => EntryKind::BlockDevice,
                DeviceKind::Fifo => EntryKind::Fifo,
            };
            node.rdev = (device.major, device.minor);
        }
        if self.ownership == Ownership::Recorded {
            // There is only one id: whatever is not recorded belongs to root.
            let recorded = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile | FileType::Directory => recorded_owner(host)?,
                _ => None,
            };
            (node.uid, node.gid) = recorded.unwrap_or((0, 0));
        }
        if let Some(owner) = side.and_then(|entry| entry.owner) {
            (node.uid, node.gid) = owner;
        }
        Ok(node)
    }
}

impl Node {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types of these fields differ between architectures"
    )]
    fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket => EntryKind::Socket,
            FileType::RegularFile | FileType::Unknown => EntryKind::File,
        };
        let rdev = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        Self {
            kind,
            is_whiteout: kind == EntryKind::CharDevice && rdev == (0, 0),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            is_new: false,
            rdev,
            nlink: stat.st_nlink as u64,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            disk_bytes: stat.st_blocks as u64 * 512,
        }
    }
}

fn recorded_owner(host: &Path) -> Result<Option<(u32, u32)>, StoreError> {
    let mut value = [0; 32];
    match rustix::fs::lgetxattr(host, OWNER_ATTRIBUTE, &mut value) {
        Ok(length) => Ok(parse_owner(&value[..length])),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(None),
        Err(error) => Err(error).at("read an attribute of", host),
    }
}

/// Reads a file's extended attributes, sorted, without those of the machinery.
pub(crate) fn read_xattrs(host: &Path) -> Result<Vec<(OsString, Vec<u8>)>, StoreError> {
    let mut names = [0; 512];
    let listed = match rustix::fs::llistxattr(host, &mut names[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(length) => names[..length].to_vec(),
        Err(Errno::RANGE) => long_list(host)?,
        Err(error) => return Err(error).at("list the attributes of", host),
    };
    let mut attributes = Vec::new();
    for name in listed
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = OsStr::from_bytes(name);
        if is_private_attribute(name) {
            continue;
        }
        if let Some(value) = read_xattr(host, name)? {
            attributes.push((name.to_owned(), value));
        }
    }
    attributes.sort();
    Ok(attributes)
}

const LIST_SIZE_MAX: usize = 64 << 10;
const VALUE_SIZE_MAX: usize = 64 << 10;

fn long_list(host: &Path) -> Result<Vec<u8>, StoreError> {
    let mut names = vec![0; LIST_SIZE_MAX];
    let length = rustix::fs::llistxattr(host, &mut names[..]).at("list the attributes of", host)?;
    names.truncate(length);
    Ok(names)
}

fn read_xattr(host: &Path, name: &OsStr) -> Result<Option<Vec<u8>>, StoreError> {
    let mut value = vec![0; VALUE_SIZE_MAX];
    match rustix::fs::lgetxattr(host, name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error).at("read an attribute of", host),
    }
}

/// Opens a regular file of a layer for reading; not what a symbolic link points to.
pub(crate) fn open_plain(host: &Path) -> Result<File, StoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(host, flags, Mode::empty()).at("open", host)?;
    Ok(File::from(file))
}
