//! Content digests of snapshots and of parts of merged trees, remembered once computed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::home::read_if_there;
use crate::layer_dir::{EntryKind, LayerDir, Node};
use crate::store::Store;
use crate::tree_hash::{ItemKind, TreeHasher, TreeItem};
use crate::view::{Entry, LayeredView};
use crate::{ContentDigest, KeyHasher, SnapshotId, cache, record_file};

/// The way in which content is digested: another one gives other digests of equal files.
pub const CONTENT_FORMAT: &str = "content/1";
const TREE_KIND: &str = "tree/1";

/// What is known of a snapshot's content, beside the snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContentRecord {
    pub(crate) content: ContentDigest,
    pub(crate) entries: u64,
    /// What it takes on the disk.
    pub(crate) disk_bytes: u64,
}

/// What counts in the digest of a tree.
#[derive(Clone, Copy, Default)]
pub struct TreeOptions<'a> {
    /// Whether owners count. A `COPY` without `--chown` drops them; a mount shows them.
    pub owners: bool,
    /// What to leave out.
    pub exclude: Option<Exclude<'a>>,
}

/// A rule that leaves parts of a tree out.
#[derive(Clone, Copy)]
pub struct Exclude<'a> {
    /// Tells one rule from another: digests are remembered by it.
    pub name: &'a str,
    /// Whether to leave out the entry of this path, relative to the tree's root; with a
    /// directory goes what is in it.
    pub matches: &'a (dyn Fn(&Path, EntryKind) -> bool + Sync),
}

impl Store {
    /// The content digest of one snapshot: of the change, whatever it lies on. No times in it.
    ///
    /// Reads every file the first time and remembers the digest beside the snapshot.
    pub fn snapshot_content(&self, snapshot: &SnapshotId) -> Result<ContentDigest, StoreError> {
        let known = self
            .known_contents()
            .lock()
            .expect("no panics while held")
            .get(snapshot)
            .copied();
        if let Some(content) = known {
            return Ok(content);
        }
        let content = self.content_record(snapshot)?.content;
        let mut known = self.known_contents().lock().expect("no panics while held");
        known.insert(*snapshot, content);
        Ok(content)
    }

    pub(crate) fn content_record(
        &self,
        snapshot: &SnapshotId,
    ) -> Result<ContentRecord, StoreError> {
        let _turn = self.turns().take(format!("digest {snapshot}"));
        let layer = self.layer_dir(snapshot)?;
        let path = self.content_path(snapshot);
        let bytes = read_if_there(&path)?.unwrap_or_default();
        if let Some(record) = record_file::parse(CONTENT_FORMAT, &bytes) {
            return Ok(record);
        }
        let record = hash_layer(&layer)?;
        let bytes = record_file::print(CONTENT_FORMAT, &record);
        self.session()?.write(&path, &bytes)?;
        Ok(record)
    }

    /// Reads every file of a snapshot, whatever is remembered.
    pub(crate) fn hash_snapshot(&self, snapshot: &SnapshotId) -> Result<ContentRecord, StoreError> {
        hash_layer(&self.layer_dir(snapshot)?)
    }

    /// What is remembered of a snapshot's content; computes nothing.
    pub(crate) fn known_content_record(
        &self,
        snapshot: &SnapshotId,
    ) -> Result<Option<ContentRecord>, StoreError> {
        let bytes = read_if_there(&self.content_path(snapshot))?.unwrap_or_default();
        Ok(record_file::parse(CONTENT_FORMAT, &bytes))
    }

    fn content_path(&self, snapshot: &SnapshotId) -> PathBuf {
        self.layout().snapshot(snapshot).join("content")
    }
}

/// Walks one layer: parents first, siblings sorted. The visitor gets each entry, the root first.
pub(crate) fn walk_layer(
    layer: &LayerDir,
    mut visit: impl FnMut(&Path, &Node) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let root = PathBuf::new();
    if let Some(node) = layer.stat(&root)? {
        visit(&root, &node)?;
    }
    let mut waiting = vec![listing(layer, root)?];
    while let Some((directory, nodes)) = waiting.last_mut() {
        let Some((name, node)) = nodes.next() else {
            waiting.pop();
            continue;
        };
        let path = directory.join(name);
        visit(&path, &node)?;
        if node.kind == EntryKind::Directory {
            waiting.push(listing(layer, path)?);
        }
    }
    Ok(())
}

type Listing = (PathBuf, std::vec::IntoIter<(std::ffi::OsString, Node)>);

fn listing(layer: &LayerDir, directory: PathBuf) -> Result<Listing, StoreError> {
    let nodes = layer.list(&directory)?.into_iter();
    Ok((directory, nodes))
}

fn hash_layer(layer: &LayerDir) -> Result<ContentRecord, StoreError> {
    let mut hasher = TreeHasher::new();
    let mut disk_bytes = 0;
    let mut counted = HashSet::new();
    walk_layer(layer, |path, node| {
        // A file of several names lies on the disk once.
        if node.nlink == 1 || counted.insert((node.dev, node.ino)) {
            disk_bytes += node.disk_bytes;
        }
        let kind = match node.kind {
            _ if node.is_whiteout => ItemKind::Whiteout,
            EntryKind::Directory if layer.is_opaque(path)? => ItemKind::OpaqueDirectory,
            kind => ItemKind::Plain(kind),
        };
        let has_names = node.nlink > 1 && node.kind == EntryKind::File;
        hasher.add(TreeItem {
            path: path.into(),
            host: layer.host(path),
            kind,
            mode: node.mode,
            owner: Some((node.uid, node.gid)),
            size: node.size,
            rdev: node.rdev,
            hardlink: has_names.then_some((0, node.dev, node.ino)),
        })
    })?;
    Ok(ContentRecord {
        entries: hasher.entries(),
        content: hasher.finish()?,
        disk_bytes,
    })
}

impl LayeredView {
    /// The content digest of a file or a tree: what a copy or a mount of it takes. No times in it.
    ///
    /// The path is taken literally. Remembered for trees of committed snapshots.
    pub fn tree_digest(
        &self,
        path: &Path,
        options: &TreeOptions<'_>,
    ) -> Result<ContentDigest, StoreError> {
        let remembered = (!self.has_upper).then(|| {
            let name = self.tree_name(path, options).hex();
            self.store.layout().tree_record(&name)
        });
        if let Some(record) = &remembered
            && let Some(bytes) = cache::read_and_touch(record)
            && let Some(digest) = record_file::parse(TREE_KIND, &bytes)
        {
            return Ok(digest);
        }
        let digest = self.hash_tree(path, options)?;
        if let Some(record) = &remembered {
            let bytes = record_file::print(TREE_KIND, &digest);
            self.store.session()?.write(record, &bytes)?;
        }
        Ok(digest)
    }

    fn tree_name(&self, path: &Path, options: &TreeOptions<'_>) -> crate::CacheKey {
        let mut hasher = KeyHasher::new("cairn tree 1");
        hasher
            .list("snapshots", self.snapshots.iter().map(SnapshotId::as_bytes))
            .field("path", path.as_os_str().as_encoded_bytes())
            .number("owners", u64::from(options.owners));
        if let Some(exclude) = &options.exclude {
            hasher.field("exclude", exclude.name);
        }
        hasher.finish_key()
    }

    fn hash_tree(
        &self,
        path: &Path,
        options: &TreeOptions<'_>,
    ) -> Result<ContentDigest, StoreError> {
        let root = self.lookup(path)?.ok_or_else(|| StoreError::NotInTree {
            path: Path::new("/").join(path),
        })?;
        let mut hasher = TreeHasher::new();
        self.walk(root, |relative, entry| {
            let is_root = relative.as_os_str().is_empty();
            let excluded = options.exclude.filter(|_| !is_root);
            if excluded.is_some_and(|rule| (rule.matches)(relative, entry.kind)) {
                return Ok(Descend::No);
            }
            hasher.add(TreeItem {
                path: relative.into(),
                host: entry.host_path.clone(),
                kind: ItemKind::Plain(entry.kind),
                mode: entry.mode,
                owner: options.owners.then_some((entry.uid, entry.gid)),
                size: entry.size,
                rdev: entry.rdev,
                hardlink: entry.hardlink.map(|link| (link.layer, link.dev, link.ino)),
            })?;
            Ok(Descend::Yes)
        })?;
        hasher.finish()
    }

    /// Walks a merged tree: parents first, siblings sorted. The visitor gets each entry with its
    /// path relative to the start, which is empty for the start itself.
    pub(crate) fn walk(
        &self,
        start: Entry,
        mut visit: impl FnMut(&Path, &Entry) -> Result<Descend, StoreError>,
    ) -> Result<(), StoreError> {
        let mut waiting = vec![(PathBuf::new(), vec![(None, start)].into_iter())];
        while let Some((directory, entries)) = waiting.last_mut() {
            let Some((name, entry)) = entries.next() else {
                waiting.pop();
                continue;
            };
            let path = name.map_or_else(PathBuf::new, |name: std::ffi::OsString| {
                directory.join(name)
            });
            let descend = visit(&path, &entry)?;
            if entry.kind == EntryKind::Directory && descend == Descend::Yes {
                let entries: Vec<_> = self
                    .read_dir(&entry.path)?
                    .into_iter()
                    .map(|(name, entry)| (Some(name), entry))
                    .collect();
                waiting.push((path, entries.into_iter()));
            }
        }
        Ok(())
    }
}

/// Whether a walk goes into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descend {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{fixture, open};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    /// Makes a snapshot, gives it the change, and digests it.
    fn content(store: &Store, change: impl FnOnce(&Path)) -> ContentDigest {
        let active = store.begin_snapshot().unwrap();
        let upper = active.upper();
        fs::create_dir(upper.join("d")).unwrap();
        fs::write(upper.join("d/a"), "aa").unwrap();
        fs::write(upper.join("d/b"), "bb").unwrap();
        symlink("a", upper.join("d/l")).unwrap();
        change(upper);
        store.snapshot_content(&active.commit().unwrap()).unwrap()
    }

    #[test]
    fn times_do_not_count_and_everything_else_does() {
        let (_home, store) = fixture();
        let plain = content(&store, |_| {});
        assert_eq!(plain, content(&store, |_| {}));
        let older = |upper: &Path| {
            let file = fs::File::open(upper.join("d/a")).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(9999))
                .unwrap();
        };
        assert_eq!(plain, content(&store, older));

        type Change = (&'static str, fn(&Path));
        let changes: [Change; 11] = [
            ("bytes", |upper| fs::write(upper.join("d/a"), "ax").unwrap()),
            ("size", |upper| fs::write(upper.join("d/a"), "aab").unwrap()),
            ("mode", |upper| {
                fs::set_permissions(upper.join("d/a"), Permissions::from_mode(0o4755)).unwrap();
            }),
            ("root mode", |upper| {
                fs::set_permissions(upper, Permissions::from_mode(0o700)).unwrap();
            }),
            ("name", |upper| {
                fs::rename(upper.join("d/a"), upper.join("d/A")).unwrap()
            }),
            ("target", |upper| {
                fs::remove_file(upper.join("d/l")).unwrap();
                symlink("b", upper.join("d/l")).unwrap();
            }),
            ("kind", |upper| {
                fs::remove_file(upper.join("d/a")).unwrap();
                fs::create_dir(upper.join("d/a")).unwrap();
            }),
            ("hard link", |upper| {
                fs::write(upper.join("d/b"), "aa").unwrap();
                fs::remove_file(upper.join("d/a")).unwrap();
                fs::hard_link(upper.join("d/b"), upper.join("d/a")).unwrap();
            }),
            ("attribute", |upper| {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(upper.join("d/a"), "user.x", b"1", flags).unwrap();
            }),
            ("whiteout", |upper| {
                crate::whiteout::make_whiteout(&upper.join("gone")).unwrap()
            }),
            ("opaque", |upper| {
                crate::whiteout::make_opaque(&upper.join("d")).unwrap()
            }),
        ];
        let mut seen = vec![plain];
        for (what, change) in changes {
            let digest = content(&store, change);
            assert!(!seen.contains(&digest), "{what}");
            seen.push(digest);
        }
        let equal_bytes = content(&store, |upper| fs::write(upper.join("d/b"), "aa").unwrap());
        assert!(
            !seen.contains(&equal_bytes),
            "two equal files are not a hard link"
        );
    }

    #[test]
    fn the_machinery_and_sockets_do_not_count() {
        let (_home, store) = fixture();
        let plain = content(&store, |_| {});
        let marked = content(&store, |upper| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(upper.join("d"), "user.overlay.impure", b"y", flags).unwrap();
        });
        assert_eq!(plain, marked);
        let with_socket = content(&store, |upper| {
            drop(std::os::unix::net::UnixListener::bind(upper.join("s")).unwrap());
        });
        assert_eq!(plain, with_socket);
    }

    #[test]
    fn content_is_remembered() {
        let (home, store) = fixture();
        let active = store.begin_snapshot().unwrap();
        fs::write(active.upper().join("a"), "1").unwrap();
        let snapshot = active.commit().unwrap();
        let content = store.snapshot_content(&snapshot).unwrap();
        fs::write(store.snapshot_dir(&snapshot).join("a"), "2").unwrap();
        drop(store);
        let store = open(home.path());
        assert_eq!(store.snapshot_content(&snapshot).unwrap(), content);
        let record = store.known_content_record(&snapshot).unwrap().unwrap();
        assert_eq!(record.entries, 2);
    }

    #[test]
    fn trees_count_only_what_is_asked() {
        let (_home, store) = fixture();
        let layer = |file: &str, text: &str| {
            let active = store.begin_snapshot().unwrap();
            fs::create_dir_all(active.upper().join("app/bin")).unwrap();
            fs::write(active.upper().join(file), text).unwrap();
            active.commit().unwrap()
        };
        let base = layer("app/bin/tool", "1");
        let other = layer("elsewhere", "x");
        let changed = layer("app/bin/tool", "2");
        let digest = |layers: &[SnapshotId], path: &str, options: &TreeOptions<'_>| {
            let view = LayeredView::new(&store, layers).unwrap();
            let first = view.tree_digest(Path::new(path), options).unwrap();
            assert_eq!(view.tree_digest(Path::new(path), options).unwrap(), first);
            first
        };
        let all = TreeOptions::default();
        assert_eq!(
            digest(&[base], "/app", &all),
            digest(&[base, other], "/app", &all)
        );
        assert_ne!(
            digest(&[base], "/app", &all),
            digest(&[base, changed], "/app", &all)
        );
        assert_ne!(
            digest(&[base], "/", &all),
            digest(&[base, other], "/", &all)
        );

        let no_tool = Exclude {
            name: "no tool",
            matches: &|path, _| path.ends_with("tool"),
        };
        let without = TreeOptions {
            exclude: Some(no_tool),
            ..all
        };
        assert_eq!(
            digest(&[base], "/app", &without),
            digest(&[base, changed], "/app", &without)
        );
        let view = LayeredView::new(&store, &[base]).unwrap();
        let error = view.tree_digest(Path::new("/nowhere"), &all).unwrap_err();
        assert!(matches!(error, StoreError::NotInTree { .. }));
    }

    #[test]
    fn owners_count_where_asked() {
        let home = tempfile::tempdir().unwrap();
        let options = crate::OpenOptions {
            ownership: crate::Ownership::Recorded,
        };
        let store = Store::open(home.path(), options).unwrap();
        let layer = |uid| {
            let active = store.begin_snapshot().unwrap();
            fs::write(active.upper().join("f"), "").unwrap();
            active.set_owner(Path::new("f"), uid, uid).unwrap();
            active.commit().unwrap()
        };
        let digest = |snapshot, owners| {
            let view = LayeredView::new(&store, &[snapshot]).unwrap();
            let options = TreeOptions {
                owners,
                exclude: None,
            };
            view.tree_digest(Path::new("f"), &options).unwrap()
        };
        let (one, two) = (layer(1), layer(2));
        assert_eq!(digest(one, false), digest(two, false));
        assert_ne!(digest(one, true), digest(two, true));
        let contents = [one, two].map(|snapshot| store.snapshot_content(&snapshot).unwrap());
        assert_ne!(contents[0], contents[1]);
    }
}
