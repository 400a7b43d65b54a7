//! Finds where a path leads inside a root that nobody vouches for.
//!
//! Every step is taken from a descriptor of the root and refuses to follow what the kernel would
//! follow, so an image's symbolic links lead to places inside it and nowhere else.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2, readlinkat, statat};
use rustix::io::Errno;

/// As many as the kernel follows.
const LINKS_MAX: usize = 40;

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// Relative to the root, free of symbolic links and `..`. Empty for the root itself.
    pub(crate) path: PathBuf,
    /// What is there.
    pub(crate) kind: Kind,
}

/// What a path leads to, as far as mounting over it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    NotDirectory,
    Missing,
}

/// Follows `path` inside `root`. Fails with NOTDIR when a file stands where a directory would
/// have to be, and with LOOP on too many links.
pub(crate) fn locate(root: BorrowedFd<'_>, path: &Path) -> Result<Location, Errno> {
    let mut ahead = components(path);
    let mut at = PathBuf::new();
    let mut is_file = false;
    // How many of the last names of `at` do not exist.
    let mut missing = 0usize;
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if is_file {
            return Err(Errno::NOTDIR);
        }
        if name == ".." {
            at.pop();
            missing = missing.saturating_sub(1);
            continue;
        }
        let next = at.join(&name);
        match if missing > 0 {
            Seen::Nothing
        } else {
            step(root, &next)?
        } {
            Seen::Link(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                if target.is_absolute() {
                    at = PathBuf::new();
                }
                for name in components(&target).into_iter().rev() {
                    ahead.push_front(name);
                }
                continue;
            }
            Seen::Directory => {}
            Seen::File => is_file = true,
            Seen::Nothing => missing += 1,
        }
        at = next;
    }
    let kind = match (missing, is_file) {
        (0, false) => Kind::Directory,
        (0, true) => Kind::NotDirectory,
        _ => Kind::Missing,
    };
    Ok(Location { path: at, kind })
}

/// Opens a location without following anything, for mounting over it.
pub(crate) fn open(root: BorrowedFd<'_>, location: &Path) -> Result<OwnedFd, Errno> {
    open_with(root, location, OFlags::PATH)
}

/// Opens a location's content.
pub(crate) fn open_file(root: BorrowedFd<'_>, location: &Path) -> Result<OwnedFd, Errno> {
    open_with(root, location, OFlags::RDONLY | OFlags::NONBLOCK)
}

fn open_with(root: BorrowedFd<'_>, location: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if location.as_os_str().is_empty() {
        Path::new(".")
    } else {
        location
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(
        root,
        path,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
}

/// The names of a path, without `.` and a leading slash; `..` above the root stays there.
pub(crate) fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

enum Seen {
    Link(PathBuf),
    Directory,
    File,
    Nothing,
}

fn step(root: BorrowedFd<'_>, path: &Path) -> Result<Seen, Errno> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or(OsStr::new("."));
    let dir = open(root, parent)?;
    let stat = match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Seen::Nothing),
        Err(errno) => return Err(errno),
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let target = readlinkat(&dir, name, Vec::new())?.into_bytes();
            Seen::Link(PathBuf::from(OsString::from_vec(target)))
        }
        FileType::Directory => Seen::Directory,
        _ => Seen::File,
    })
}

/// A path as mounts name it: absolute, without `..`, so that it can be a key.
pub(crate) fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for name in components(path) {
        if name.as_bytes() == b".." {
            clean.pop();
        } else {
            clean.push(name);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            let dir = tree.0.path();
            fs::create_dir_all(dir.join("etc/dir")).unwrap();
            fs::write(dir.join("etc/file"), "").unwrap();
            symlink("/etc/dir", dir.join("absolute")).unwrap();
            symlink("../../../../etc/file", dir.join("etc/above")).unwrap();
            symlink("../run/missing", dir.join("etc/dangling")).unwrap();
            symlink("loop", dir.join("loop")).unwrap();
            tree
        }

        fn locate(&self, path: &str) -> Result<(String, Kind), Errno> {
            let root = crate::mount::open_path(self.0.path()).unwrap();
            let found = locate(root.as_fd(), Path::new(path))?;
            Ok((found.path.to_str().unwrap().to_owned(), found.kind))
        }
    }

    #[test]
    fn links_stay_inside() {
        let tree = Tree::new();
        let found = |path: &str| tree.locate(path).unwrap();
        assert_eq!(found("/"), (String::new(), Kind::Directory));
        assert_eq!(found("/absolute"), ("etc/dir".into(), Kind::Directory));
        assert_eq!(
            found("/absolute/new/er"),
            ("etc/dir/new/er".into(), Kind::Missing)
        );
        assert_eq!(found("/etc/above"), ("etc/file".into(), Kind::NotDirectory));
        assert_eq!(
            found("/../../etc/file"),
            ("etc/file".into(), Kind::NotDirectory)
        );
        assert_eq!(
            found("/etc/dangling"),
            ("run/missing".into(), Kind::Missing)
        );
        assert_eq!(
            found("/new/../etc/file"),
            ("etc/file".into(), Kind::NotDirectory)
        );
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let tree = Tree::new();
        assert_eq!(tree.locate("/loop"), Err(Errno::LOOP));
        assert_eq!(tree.locate("/etc/file/below"), Err(Errno::NOTDIR));
    }

    #[test]
    fn a_lexical_path_has_no_dots() {
        assert_eq!(lexical(Path::new("/a/./b/../c/")), PathBuf::from("a/c"));
        assert_eq!(lexical(Path::new("/../..")), PathBuf::new());
    }
}
