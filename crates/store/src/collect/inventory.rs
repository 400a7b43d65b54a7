//! Everything that is in a store, with what names it, how large it is and when it was last used.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cairn_oci::{Descriptor, Digest};

use super::file_name;
use crate::SnapshotId;
use crate::error::{At, StoreError};
use crate::store::Store;
use crate::{cache, cache_mount, layer};

/// What is in a store.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) snapshots: BTreeMap<SnapshotId, SnapshotItem>,
    pub(crate) blobs: BTreeMap<Digest, BlobItem>,
    pub(crate) refs: Vec<(String, Descriptor)>,
    pub(crate) records: Vec<RecordItem>,
    /// The logs of each run: its folder.
    pub(crate) logs: Vec<FileItem>,
    /// The directories of cache mounts.
    pub(crate) cache_mounts: Vec<CacheMountItem>,
    /// Remembered tree digests and file digests: cheap to lose.
    pub(crate) remembered: Vec<FileItem>,
    /// Stamps of blobs that are gone, marks of boots that nothing was stamped in, files that are
    /// no whole records.
    pub(crate) rubbish: Vec<FileItem>,
}

#[derive(Debug)]
pub(crate) struct SnapshotItem {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Whether its bytes can be believed.
    pub(crate) is_whole: bool,
}

#[derive(Debug)]
pub(crate) struct BlobItem {
    pub(crate) path: PathBuf,
    pub(crate) stamp_path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) last_use: SystemTime,
}

/// A record: something that names a snapshot or blobs, and is not needed by anything itself.
#[derive(Debug)]
pub(crate) struct RecordItem {
    pub(crate) path: PathBuf,
    pub(crate) kind: RecordKind,
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) blobs: Vec<Digest>,
    /// What people called what made it.
    pub(crate) description: String,
    pub(crate) last_use: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// From a cache key, an equal content or a DiffId to a snapshot.
    LeadsTo,
    /// Which blobs a snapshot came as.
    Imported,
    /// Which blob a snapshot was exported as.
    Exported,
}

#[derive(Debug)]
pub(crate) struct CacheMountItem {
    /// What the cache is called; `None` if its directory does not tell, and so is of no use.
    pub(crate) name: Option<String>,
    pub(crate) file: FileItem,
}

#[derive(Debug)]
pub(crate) struct FileItem {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) last_use: SystemTime,
}

impl Inventory {
    pub(crate) fn take(store: &Store) -> Result<Self, StoreError> {
        let mut inventory = Self {
            refs: store.list_refs()?,
            ..Self::default()
        };
        inventory.take_snapshots(store)?;
        inventory.take_blobs(store)?;
        inventory.take_cache(store)?;
        inventory.take_layers(store)?;
        for folder in list(&store.layout().part("logs"))? {
            inventory.logs.push(FileItem {
                bytes: bytes_below(&folder),
                last_use: last_use(&folder),
                path: folder,
            });
        }
        for part in ["trees", "files"] {
            for path in files_below(&store.layout().part(part))? {
                inventory.remembered.push(FileItem::of(path));
            }
        }
        inventory.take_cache_mounts(store)?;
        inventory.take_marks(store)?;
        Ok(inventory)
    }

    fn take_cache_mounts(&mut self, store: &Store) -> Result<(), StoreError> {
        for cache in list(&store.layout().part(cache_mount::MOUNTS))? {
            let name =
                cache_mount::read_about(&cache.join(cache_mount::ABOUT))?.map(|start| start.name);
            let directories = cache_mount::directories(&cache)?;
            // A cache that lies nowhere is what is left of one.
            let paths = match (&name, directories.is_empty()) {
                (Some(_), false) => directories,
                _ => vec![cache],
            };
            self.cache_mounts
                .extend(paths.into_iter().map(|path| CacheMountItem {
                    name: name.clone(),
                    file: FileItem {
                        bytes: bytes_below(&path),
                        last_use: cache_mount::last_use(&path),
                        path,
                    },
                }));
        }
        Ok(())
    }

    fn take_snapshots(&mut self, store: &Store) -> Result<(), StoreError> {
        for path in list(&store.layout().part("snapshots"))? {
            // What has no snapshot's name is not ours.
            let Ok(snapshot) = file_name(&path).parse::<SnapshotId>() else {
                continue;
            };
            let known = store.known_content_record(&snapshot)?;
            let bytes = known.map_or_else(|| bytes_below(&path), |record| record.disk_bytes);
            let item = SnapshotItem {
                bytes,
                is_whole: store.snapshot_exists(&snapshot),
                path,
            };
            self.snapshots.insert(snapshot, item);
        }
        Ok(())
    }

    fn take_blobs(&mut self, store: &Store) -> Result<(), StoreError> {
        let layout = store.layout();
        for algorithm in ["sha256", "sha512"] {
            for path in list(&layout.part("blobs").join(algorithm))? {
                let name = format!("{algorithm}:{}", file_name(&path));
                let Ok(digest) = name.parse::<Digest>() else {
                    continue;
                };
                let stamp_path = layout.blob_stamp(&digest);
                let item = BlobItem {
                    bytes: fs::metadata(&path).map_or(0, |metadata| metadata.len()),
                    last_use: last_use(&stamp_path).max(last_use(&path)),
                    stamp_path,
                    path,
                };
                self.blobs.insert(digest, item);
            }
        }
        for path in list(&layout.part("blobs/stamps"))? {
            let name = file_name(&path);
            if !self.blobs.keys().any(|digest| digest.hex() == name) {
                self.rubbish.push(FileItem::of(path));
            }
        }
        Ok(())
    }

    fn take_cache(&mut self, store: &Store) -> Result<(), StoreError> {
        for path in files_below(&store.layout().part("cache"))? {
            match cache::parse_record(&path)? {
                Some(record) => self.records.push(RecordItem {
                    kind: RecordKind::LeadsTo,
                    snapshot: record.snapshot,
                    blobs: Vec::new(),
                    description: record.description,
                    last_use: last_use(&path),
                    path,
                }),
                None => self.rubbish.push(FileItem::of(path)),
            }
        }
        for path in files_below(&store.layout().part("equal"))? {
            match cache::parse_equal(&path)? {
                Some(snapshot) => self.records.push(RecordItem {
                    kind: RecordKind::LeadsTo,
                    snapshot: Some(snapshot),
                    blobs: Vec::new(),
                    description: String::new(),
                    last_use: last_use(&path),
                    path,
                }),
                None => self.rubbish.push(FileItem::of(path)),
            }
        }
        Ok(())
    }

    fn take_layers(&mut self, store: &Store) -> Result<(), StoreError> {
        for path in list(&store.layout().part("layers"))? {
            let name = file_name(&path);
            let bytes = fs::read(&path).at("read", &path)?;
            let Some((snapshot, blobs)) = layer::named_by(&name, &bytes) else {
                self.rubbish.push(FileItem::of(path));
                continue;
            };
            let kind = match name.split_once('.') {
                None => RecordKind::LeadsTo,
                Some((_, "imported")) => RecordKind::Imported,
                Some(_) => RecordKind::Exported,
            };
            self.records.push(RecordItem {
                kind,
                snapshot: Some(snapshot),
                blobs,
                description: String::new(),
                last_use: last_use(&path),
                path,
            });
        }
        Ok(())
    }

    /// A mark of a boot is of use as long as something carries a stamp of it.
    fn take_marks(&mut self, store: &Store) -> Result<(), StoreError> {
        let mut boots = vec![store.durability().boot().to_owned()];
        for snapshot in self.snapshots.keys() {
            if let Ok(record) = store.snapshot_record(snapshot) {
                boots.push(record.stamp.boot.clone());
            }
        }
        for digest in self.blobs.keys() {
            if let Some(stamp) = store.peek_blob_stamp(digest) {
                boots.push(stamp.stamp.boot);
            }
        }
        for path in list(&store.layout().part("synced"))? {
            if !boots.contains(&file_name(&path)) {
                self.rubbish.push(FileItem::of(path));
            }
        }
        Ok(())
    }
}

impl FileItem {
    fn of(path: PathBuf) -> Self {
        Self {
            bytes: fs::metadata(&path).map_or(0, |metadata| metadata.len()),
            last_use: last_use(&path),
            path,
        }
    }
}

/// Lists a directory in a stable order; one that is not there is empty.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("read", directory),
    };
    let mut paths = entries
        .map(|entry| Ok(entry.at("read", directory)?.path()))
        .collect::<Result<Vec<_>, StoreError>>()?;
    paths.sort();
    Ok(paths)
}

/// The files in a directory and in its directories, one level down.
pub(crate) fn files_below(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    for path in list(directory)? {
        if path.is_dir() {
            files.extend(list(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// What a tree takes on the disk: a file of several names counts once, and what cannot be read
/// nothing.
pub(crate) fn bytes_below(path: &Path) -> u64 {
    let mut counted = HashSet::new();
    let mut bytes = 0;
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let has_names = !metadata.is_dir() && metadata.nlink() > 1;
        if !has_names || counted.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * 512;
        }
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            open.extend(entries.map(|entry| entry.path()));
        }
    }
    bytes
}

fn last_use(path: &Path) -> SystemTime {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
