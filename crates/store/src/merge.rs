//! Several changesets that lie on each other, made into one.
//!
//! Files are linked, not copied: a snapshot never changes, so two may share them. What a
//! changeset says about the one below it is followed as overlayfs follows it: a whiteout takes
//! away what the others made, and hides what they lie on; a directory in the place of something
//! else hides it too.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, XattrFlags};

use crate::error::{At, StoreError};
use crate::keys::SnapshotId;
use crate::layer_dir::{LayerDir, Node, read_xattrs};
use crate::remove::remove_tree;
use crate::snapshot::ActiveSnapshot;
use crate::store::Store;
use crate::view::LayeredView;
use crate::whiteout::{make_opaque, make_whiteout};

impl Store {
    /// Makes one snapshot of what `layers`, bottom to top, change together in what is `below`.
    pub fn merge_snapshots(
        &self,
        below: &[SnapshotId],
        layers: &[SnapshotId],
    ) -> Result<SnapshotId, StoreError> {
        let active = self.begin_snapshot()?;
        let merge = Merge {
            active: &active,
            below: LayeredView::new(self, below)?,
        };
        for layer in layers {
            merge.layer(&self.layer_dir(layer)?)?;
        }
        active.commit()
    }
}

struct Merge<'a> {
    active: &'a ActiveSnapshot,
    below: LayeredView,
}

impl Merge<'_> {
    fn layer(&self, layer: &LayerDir) -> Result<(), StoreError> {
        if let Some(second) = layer.is_new_since() {
            self.active.times_are_accidents_since(second);
        }
        let root = Path::new("");
        self.children(layer, root)?;
        match layer.stat(root)? {
            Some(node) => self.adopt(layer, root, &node),
            None => Ok(()),
        }
    }

    fn children(&self, layer: &LayerDir, directory: &Path) -> Result<(), StoreError> {
        for (name, node) in layer.list(directory)? {
            let path = directory.join(name);
            match node.is_whiteout {
                true => self.hide(&path)?,
                false if layer.host(&path).is_dir_itself() => {
                    self.directory(layer, &path, &node)?;
                }
                false => self.file(layer, &path)?,
            }
        }
        Ok(())
    }

    /// Takes away what is there so far, and what lies below.
    fn hide(&self, path: &Path) -> Result<(), StoreError> {
        self.clear(path)?;
        match self.below.lookup(path)? {
            Some(_) => make_whiteout(&self.host(path)),
            None => Ok(()),
        }
    }

    fn directory(&self, layer: &LayerDir, path: &Path, node: &Node) -> Result<(), StoreError> {
        let host = self.host(path);
        let mut is_opaque = layer.is_opaque(path)?;
        if is_opaque || !host.is_dir_itself() {
            // What is no directory ends the merging of what lies below it.
            is_opaque |= self.clear(path)?;
            let made = DirBuilder::new().create(&host);
            made.at("create", &host)?;
        }
        if is_opaque {
            make_opaque(&host)?;
        }
        self.children(layer, path)?;
        self.adopt(layer, path, node)
    }

    fn file(&self, layer: &LayerDir, path: &Path) -> Result<(), StoreError> {
        self.clear(path)?;
        let host = self.host(path);
        fs::hard_link(layer.host(path), &host).at("link", &host)?;
        if let Some(said) = layer.said_of(path) {
            self.active.side().set(path, said);
        }
        Ok(())
    }

    /// Gives a directory the attributes that a layer has for it: the topmost layer's count.
    fn adopt(&self, layer: &LayerDir, path: &Path, node: &Node) -> Result<(), StoreError> {
        let host = self.host(path);
        self.active.set_owner(path, node.uid, node.gid)?;
        for (name, value) in read_xattrs(&layer.host(path))? {
            let set = rustix::fs::lsetxattr(&host, &name, &value, XattrFlags::empty());
            set.at("set an attribute of", &host)?;
        }
        let mode = Permissions::from_mode(node.mode);
        fs::set_permissions(&host, mode).at("set the mode of", &host)?;
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: node.mtime.0,
                tv_nsec: node.mtime.1.into(),
            },
        };
        rustix::fs::utimensat(CWD, &host, &times, AtFlags::SYMLINK_NOFOLLOW)
            .at("set the times of", &host)
    }

    /// Removes what is there so far; tells whether there was something, a whiteout for one.
    fn clear(&self, path: &Path) -> Result<bool, StoreError> {
        let host = self.host(path);
        let removed = match host.symlink_metadata() {
            Err(_) => return Ok(false),
            Ok(found) if found.is_dir() => remove_tree(&host),
            Ok(_) => fs::remove_file(&host),
        };
        removed.at("remove", &host)?;
        self.active.side().forget(path);
        Ok(true)
    }

    fn host(&self, path: &Path) -> std::path::PathBuf {
        match path.as_os_str().is_empty() {
            true => self.active.upper().to_owned(),
            false => self.active.upper().join(path),
        }
    }
}

/// Whether a path is a directory and no link to one.
trait IsDirItself {
    fn is_dir_itself(&self) -> bool;
}

impl IsDirItself for std::path::PathBuf {
    fn is_dir_itself(&self) -> bool {
        self.symlink_metadata().is_ok_and(|found| found.is_dir())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::store::tests::fixture;
    use crate::view::tests::{listing, snapshot};

    #[test]
    fn one_changeset_shows_what_several_did() {
        let (_home, store) = fixture();
        let base = snapshot(
            &store,
            &["d/", "d/old=1", "e/", "e/keep=1", "f=1", "g/", "g/x=1"],
        );
        let cases: [&[&[&str]]; 9] = [
            &[&["d/new=1"], &["d/new=2", "l>d"]],
            &[&["-f"], &["f=3"]],
            &[&["f=2"], &["-f"]],
            &[&["-d"], &["d/", "d/again=1"]],
            &[
                &["d=file"],
                &["d/", "d/again=1"],
                &["-d/again", "d/third=1"],
            ],
            &[&["d/new=1"], &["!d", "d/only=1"]],
            &[&["!d", "d/only=1"], &["d/more=1"]],
            &[&["n/", "n/x=1"], &["-n"]],
            &[&["-d/old", "e/two=2"], &["-e/keep", "g>d"]],
        ];
        for layers in cases {
            let layers: Vec<_> = layers.iter().map(|lines| snapshot(&store, lines)).collect();
            let all = [&[base], layers.as_slice()].concat();
            let merged = store.merge_snapshots(&[base], &layers).unwrap();
            let shown =
                |snapshots: &[SnapshotId]| listing(&LayeredView::new(&store, snapshots).unwrap());
            assert_eq!(shown(&[base, merged]), shown(&all), "{layers:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_never_was() {
        let (_home, store) = fixture();
        let layers = [snapshot(&store, &["a=1"]), snapshot(&store, &["-a", "b=1"])];
        let merged = store.merge_snapshots(&[], &layers).unwrap();
        let upper = store.snapshot_dir(&merged);
        let names: Vec<_> = fs::read_dir(&upper).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(upper.join("b").metadata().unwrap().nlink(), 2, "linked");
    }
}
