//! One tree out of many snapshots, without a mount.
//!
//! The rules are overlayfs's: the topmost layer that has a name decides; a whiteout ends the
//! search; directories of the same name merge, down to one that is opaque or to something that is
//! no directory. A test compares this with real overlay mounts.
//!
//! No host path that is used ever goes through a symbolic link: which layers make up a directory
//! is found part by part with `lstat`. So nothing an image contains leads out of its tree.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::SnapshotId;
use crate::error::{At, StoreError};
use crate::layer_dir::{EntryKind, LayerDir, Node, open_plain, read_xattrs};
use crate::snapshot::ActiveSnapshot;
use crate::store::Store;

const SYMLINKS_MAX: usize = 255;

/// The merged tree of several snapshots.
///
/// Paths are absolute in the tree; a leading slash may be left out. Safe to share between threads.
/// What it learned of an active snapshot's directories is kept: make a new one after writing there.
#[derive(Debug)]
pub struct LayeredView {
    pub(crate) store: Store,
    /// Bottom first.
    pub(crate) snapshots: Vec<SnapshotId>,
    pub(crate) has_upper: bool,
    layers: Vec<LayerDir>,
    /// For each directory that was looked at, the layers that make it up, top first; `None` for
    /// what is no directory.
    directories: Mutex<HashMap<PathBuf, Option<Arc<[usize]>>>>,
}

/// One file of a merged tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is in the tree, absolute.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Mode bits, without the kind.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file; length of a symbolic link's target.
    pub size: u64,
    /// Seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Whether `mtime` says only when this machine made the file: layers that are exported have
    /// the image's epoch in its place.
    pub is_new: bool,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    /// Where its bytes are on the host. A device that could not be made is an empty file there.
    pub host_path: PathBuf,
    /// Equal for two names of one file; `None` for a file with one name.
    pub hardlink: Option<HardlinkId>,
}

/// What tells that two names are one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardlinkId {
    pub(crate) layer: usize,
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

impl LayeredView {
    /// Merges committed snapshots, bottom first.
    pub fn new(store: &Store, snapshots: &[SnapshotId]) -> Result<Self, StoreError> {
        let layers: Result<_, _> = snapshots
            .iter()
            .map(|snapshot| store.layer_dir(snapshot))
            .collect();
        Ok(Self {
            store: store.clone(),
            snapshots: snapshots.to_vec(),
            has_upper: false,
            layers: layers?,
            directories: Mutex::default(),
        })
    }

    /// Puts a snapshot that is still being written on top.
    #[must_use]
    pub fn with_upper(mut self, upper: &ActiveSnapshot) -> Self {
        let ownership = upper.store().ownership();
        let layer = LayerDir::new(upper.upper().into(), ownership, upper.side().clone())
            .new_since(Some(upper.new_since()));
        self.layers.push(layer);
        self.has_upper = true;
        self.directories = Mutex::default();
        self
    }

    /// Finds the file of exactly this path. No symbolic link is followed, in no part of it.
    pub fn lookup(&self, path: &Path) -> Result<Option<Entry>, StoreError> {
        let path = relative(path);
        let Some(parent) = path.parent() else {
            return self.root();
        };
        let Some(layers) = self.directory_layers(parent)? else {
            return Ok(None);
        };
        for &layer in layers.iter() {
            match self.layers[layer].stat(&path)? {
                Some(node) if node.is_whiteout => return Ok(None),
                Some(node) => return Ok(Some(self.entry(layer, path, &node))),
                None => {}
            }
        }
        Ok(None)
    }

    /// Finds a file as `stat` would inside the tree, or as `lstat` if the last part is not to be
    /// followed.
    pub fn find(&self, path: &Path, follow_last: bool) -> Result<Option<Entry>, StoreError> {
        self.lookup(&self.resolve(path, follow_last)?)
    }

    /// Follows symbolic links inside the tree, whatever they say never out of it.
    ///
    /// Parts that do not exist are kept as they are, so that the result is where a file of this
    /// path would be made.
    pub fn resolve(&self, path: &Path, follow_last: bool) -> Result<PathBuf, StoreError> {
        let mut resolved = PathBuf::from("/");
        let mut waiting: VecDeque<OsString> = parts(path).collect();
        let mut followed = 0;
        while let Some(part) = waiting.pop_front() {
            if part == ".." {
                resolved.pop();
                continue;
            }
            let candidate = resolved.join(part);
            let may_follow = follow_last || !waiting.is_empty();
            let entry = if may_follow {
                self.lookup(&candidate)?
            } else {
                None
            };
            let link = entry.filter(|entry| entry.kind == EntryKind::Symlink);
            let Some(link) = link else {
                resolved = candidate;
                continue;
            };
            followed += 1;
            if followed > SYMLINKS_MAX {
                return Err(StoreError::TooManySymlinks { path: path.into() });
            }
            let target = self.read_link(&link)?;
            if target.is_absolute() {
                resolved = PathBuf::from("/");
            }
            for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                waiting.push_front(part);
            }
        }
        Ok(resolved)
    }

    /// Lists a directory, sorted by name. Its path is taken literally.
    pub fn read_dir(&self, path: &Path) -> Result<Vec<(OsString, Entry)>, StoreError> {
        let path = relative(path);
        let layers = self
            .directory_layers(&path)?
            .ok_or_else(|| StoreError::NotADirectory {
                path: Path::new("/").join(&path),
            })?;
        if let [layer] = layers[..] {
            return Ok(self.layers[layer]
                .list(&path)?
                .into_iter()
                .filter(|(_, node)| !node.is_whiteout)
                .map(|(name, node)| {
                    let entry = self.entry(layer, path.join(&name), &node);
                    (name, entry)
                })
                .collect());
        }
        let mut merged: BTreeMap<OsString, (usize, Node)> = BTreeMap::new();
        for &layer in layers.iter() {
            for (name, node) in self.layers[layer].list(&path)? {
                merged.entry(name).or_insert((layer, node));
            }
        }
        Ok(merged
            .into_iter()
            .filter(|(_, (_, node))| !node.is_whiteout)
            .map(|(name, (layer, node))| {
                let entry = self.entry(layer, path.join(&name), &node);
                (name, entry)
            })
            .collect())
    }

    /// Opens a regular file.
    pub fn open(&self, entry: &Entry) -> Result<File, StoreError> {
        open_plain(&entry.host_path)
    }

    /// What a symbolic link says.
    pub fn read_link(&self, entry: &Entry) -> Result<PathBuf, StoreError> {
        let target =
            rustix::fs::readlink(&entry.host_path, Vec::new()).at("read", &entry.host_path)?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// A file's extended attributes, sorted, without those of the machinery.
    pub fn xattrs(&self, entry: &Entry) -> Result<Vec<(OsString, Vec<u8>)>, StoreError> {
        read_xattrs(&entry.host_path)
    }

    fn root(&self) -> Result<Option<Entry>, StoreError> {
        let Some(top) = self.layers.len().checked_sub(1) else {
            return Ok(None);
        };
        let node = self.layers[top].stat(Path::new(""))?;
        Ok(node.map(|node| self.entry(top, PathBuf::new(), &node)))
    }

    /// Which layers make up a directory, top first. `path` is relative and clean.
    fn directory_layers(&self, path: &Path) -> Result<Option<Arc<[usize]>>, StoreError> {
        let Some(parent) = path.parent() else {
            return Ok(Some((0..self.layers.len()).rev().collect()));
        };
        let known = self
            .directories
            .lock()
            .expect("no panics while held")
            .get(path)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let layers = match self.directory_layers(parent)? {
            Some(parents) => self.find_directory_layers(path, &parents)?,
            None => None,
        };
        let mut directories = self.directories.lock().expect("no panics while held");
        directories.insert(path.into(), layers.clone());
        Ok(layers)
    }

    fn find_directory_layers(
        &self,
        path: &Path,
        parents: &[usize],
    ) -> Result<Option<Arc<[usize]>>, StoreError> {
        let mut layers = Vec::new();
        for (position, &layer) in parents.iter().enumerate() {
            match self.layers[layer].stat(path)? {
                None => {}
                Some(node) if node.kind != EntryKind::Directory || node.is_whiteout => break,
                Some(_) => {
                    layers.push(layer);
                    let is_last = position + 1 == parents.len();
                    if !is_last && self.layers[layer].is_opaque(path)? {
                        break;
                    }
                }
            }
        }
        Ok((!layers.is_empty()).then(|| layers.into()))
    }

    fn entry(&self, layer: usize, path: PathBuf, node: &Node) -> Entry {
        let has_names = node.nlink > 1 && node.kind == EntryKind::File;
        Entry {
            host_path: self.layers[layer].host(&path),
            path: Path::new("/").join(path),
            kind: node.kind,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            size: node.size,
            mtime: node.mtime,
            is_new: node.is_new,
            rdev: node.rdev,
            hardlink: has_names.then_some(HardlinkId {
                layer,
                dev: node.dev,
                ino: node.ino,
            }),
        }
    }
}

/// The parts of a path that count: names and `..`.
fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// A path relative to the root, `..` taken by the letter.
fn relative(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in parts(path) {
        if part == ".." {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::tests::fixture;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Makes one snapshot per layer text: `d/` a directory, `!d/` an opaque one, `-f` a whiteout,
    /// `f=text` a file, `l>target` a symbolic link; parents are made.
    fn view(layers: &[&[&str]]) -> (tempfile::TempDir, LayeredView) {
        let (home, store) = fixture();
        let snapshots: Vec<_> = layers.iter().map(|lines| snapshot(&store, lines)).collect();
        let view = LayeredView::new(&store, &snapshots).unwrap();
        (home, view)
    }

    pub(crate) fn snapshot(store: &Store, lines: &[&str]) -> SnapshotId {
        let active = store.begin_snapshot().unwrap();
        let make_parent = |path: &Path| fs::create_dir_all(path.parent().unwrap()).unwrap();
        for line in lines {
            let upper = active.upper();
            if let Some(name) = line.strip_prefix('-') {
                make_parent(&upper.join(name));
                crate::whiteout::make_whiteout(&upper.join(name)).unwrap();
            } else if let Some(name) = line.strip_prefix('!') {
                fs::create_dir_all(upper.join(name)).unwrap();
                crate::whiteout::make_opaque(&upper.join(name)).unwrap();
            } else if let Some((name, target)) = line.split_once('>') {
                make_parent(&upper.join(name));
                symlink(target, upper.join(name)).unwrap();
            } else if let Some((name, text)) = line.split_once('=') {
                make_parent(&upper.join(name));
                fs::write(upper.join(name), text).unwrap();
            } else {
                fs::create_dir_all(upper.join(line)).unwrap();
            }
        }
        active.commit().unwrap()
    }

    /// Lists the whole tree: `d/`, `f=text`, `l>target`.
    pub(crate) fn listing(view: &LayeredView) -> Vec<String> {
        let mut lines = Vec::new();
        let mut waiting = vec![PathBuf::from("/")];
        while let Some(directory) = waiting.pop() {
            for (_, entry) in view.read_dir(&directory).unwrap() {
                let looked_up = view.lookup(&entry.path).unwrap();
                assert_eq!(looked_up.as_ref(), Some(&entry));
                let path = entry.path.strip_prefix("/").unwrap().display();
                lines.push(match entry.kind {
                    EntryKind::Directory => format!("{path}/"),
                    EntryKind::Symlink => {
                        format!("{path}>{}", view.read_link(&entry).unwrap().display())
                    }
                    _ => format!("{path}={}", fs::read_to_string(&entry.host_path).unwrap()),
                });
                if entry.kind == EntryKind::Directory {
                    waiting.push(entry.path);
                }
            }
        }
        lines.sort();
        lines
    }

    #[track_caller]
    fn check(layers: &[&[&str]], expected: &[&str]) {
        let (_home, view) = view(layers);
        assert_eq!(listing(&view), expected);
    }

    #[test]
    fn directories_merge() {
        check(
            &[&["a/1=x", "a/2=x"], &["a/2=y", "a/3=y"], &["b/"]],
            &["a/", "a/1=x", "a/2=y", "a/3=y", "b/"],
        );
    }

    #[test]
    fn whiteouts_hide_and_end_the_search() {
        check(&[&["a=1"], &["-a"]], &[]);
        check(
            &[&["a/1=x", "b=1"], &["-a"], &["a/2=y"]],
            &["a/", "a/2=y", "b=1"],
        );
        check(&[&["d/a=1", "d/b=1"], &["-d/a"]], &["d/", "d/b=1"]);
        check(&[&["-never"], &["-d/never"]], &["d/"]);
    }

    #[test]
    fn opaque_directories_hide_what_is_below() {
        check(&[&["d/a=1", "d/e/x=1"], &["!d", "d/b=2"]], &["d/", "d/b=2"]);
        check(
            &[&["d/a=1"], &["!d", "d/b=2"], &["d/c=3"]],
            &["d/", "d/b=2", "d/c=3"],
        );
    }

    #[test]
    fn files_and_directories_replace_each_other() {
        check(&[&["p/a=1"], &["p=file"]], &["p=file"]);
        check(&[&["p/a=1"], &["p=file"], &["p/b=3"]], &["p/", "p/b=3"]);
        check(
            &[&["p>q", "q/a=1"], &["p/b=2"]],
            &["p/", "p/b=2", "q/", "q/a=1"],
        );
    }

    #[test]
    fn symlinks_resolve_inside() {
        let (_home, view) = view(&[
            &[
                "usr/bin/sh=x",
                "bin>usr/bin",
                "abs>/usr/bin/sh",
                "up>../../../../usr",
                "loop>loop",
            ],
            &[
                "usr/bin/l>../../bin/sh",
                "dangling>/not/here",
                "etc/passwd=in",
            ],
        ]);
        let resolve = |path: &str| view.resolve(Path::new(path), true).unwrap();
        assert_eq!(resolve("bin/sh"), Path::new("/usr/bin/sh"));
        assert_eq!(resolve("/abs"), Path::new("/usr/bin/sh"));
        assert_eq!(resolve("up/bin/l"), Path::new("/usr/bin/sh"));
        assert_eq!(resolve("../../etc/passwd"), Path::new("/etc/passwd"));
        assert_eq!(resolve("bin/../x/../y"), Path::new("/usr/y"));
        assert_eq!(resolve("dangling/more"), Path::new("/not/here/more"));
        assert_eq!(resolve("usr/bin/sh/x"), Path::new("/usr/bin/sh/x"));
        assert_eq!(
            view.resolve(Path::new("/bin"), false).unwrap(),
            Path::new("/bin")
        );
        let error = view.resolve(Path::new("loop/x"), true).unwrap_err();
        assert!(matches!(error, StoreError::TooManySymlinks { .. }));

        assert!(
            view.lookup(Path::new("bin/sh")).unwrap().is_none(),
            "lookup is literal"
        );
        let found = view.find(Path::new("bin/sh"), true).unwrap().unwrap();
        assert_eq!((found.kind, found.size), (EntryKind::File, 1));
        let link = view.find(Path::new("bin/l"), false).unwrap().unwrap();
        assert_eq!(link.kind, EntryKind::Symlink);
    }

    #[test]
    fn an_active_upper_lies_on_top() {
        let (_home, store) = fixture();
        let below = snapshot(&store, &["a=1", "b=1"]);
        let active = store.begin_snapshot().unwrap();
        fs::write(active.upper().join("a"), "2").unwrap();
        let view = LayeredView::new(&store, &[below])
            .unwrap()
            .with_upper(&active);
        assert_eq!(listing(&view), ["a=2", "b=1"]);
    }

    #[test]
    fn nothing_at_all() {
        let (_home, store) = fixture();
        let view = LayeredView::new(&store, &[]).unwrap();
        assert!(view.lookup(Path::new("/")).unwrap().is_none());
        assert!(view.read_dir(Path::new("/")).unwrap().is_empty());
        let (_home, view) = self::view(&[&["f=1"]]);
        assert!(view.lookup(Path::new("/")).unwrap().is_some());
        let error = view.read_dir(Path::new("/f")).unwrap_err();
        assert!(matches!(error, StoreError::NotADirectory { .. }));
    }
}
