//! The store's directory: its parts, its format version, its lock.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use cairn_oci::Digest;

use crate::cache_mount::MOUNTS;
use crate::error::{At, StoreError};
use crate::{CacheKey, SnapshotId};

/// The format that this code reads and writes. Any change that older code would misread raises it.
pub(crate) const FORMAT: &str = "cairn store 1";

const VERSION: &str = "version";
const LOCK: &str = "lock";

/// Directories made at once, so that no write needs to, and nobody else's to look into: images have
/// setuid programs of root in them that are never updated, and other people's files.
const DIRECTORIES: [&str; 14] = [
    "blobs",
    "blobs/sha256",
    "blobs/stamps",
    "snapshots",
    "cache",
    "equal",
    "trees",
    "layers",
    "files",
    "refs",
    "logs",
    "synced",
    MOUNTS,
    "tmp",
];
/// The permission bits of those, and of the home where we make it.
const OWNER_ONLY: u32 = 0o700;

/// Names under which the home keeps files besides [`DIRECTORIES`].
const OTHERS: [&str; 6] = [
    VERSION,
    LOCK,
    crate::work_lock::BUSY,
    "history.db",
    "history.db-wal",
    "history.db-shm",
];

/// Owners of files are as numbers on disk, or recorded beside them: root, who may read everything,
/// would take those of another user's namespace for others, and write its own among them.
///
/// Where the owner does not exist in this user namespace, nothing can be mistaken: files that can be
/// read can be read, and none can be written.
fn refuse_another_users(root: &Path, version: &Path) -> Result<(), StoreError> {
    /// Whom the kernel shows as the owner then.
    const NOBODY: u32 = 65534;
    let owner = fs::metadata(version).at("look at", version)?.uid();
    let is_own = owner == rustix::process::geteuid().as_raw();
    if is_own || (owner == NOBODY && !has_every_id()) {
        return Ok(());
    }
    Err(StoreError::Foreign {
        home: root.to_owned(),
        owner,
    })
}

/// Whether all users exist in this user namespace, `nobody` too: that of the machine.
fn has_every_id() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Knows where things are.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Opens the directory, making it if need be, and checks its format. Takes no lock.
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        match Self::open_existing(root) {
            Err(StoreError::NoStore { home }) => {
                let home = Self { root: home };
                home.create()?;
                Ok(home)
            }
            opened => opened,
        }
    }

    /// Opens the directory if it is a store of the format that we read. Takes no lock.
    pub(crate) fn open_existing(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).at("find", root)?;
        let version = root.join(VERSION);
        match fs::read_to_string(&version) {
            Ok(found) if found.trim_end() == FORMAT => {
                refuse_another_users(&root, &version)?;
                Ok(Self { root })
            }
            Ok(found) => Err(StoreError::Format {
                home: root,
                found: found.trim_end().into(),
                expected: FORMAT,
            }),
            // Something that is no directory stands there, or above it: no store can be made.
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                Err(error).at("use as a store", &root)
            }
            Err(error) if is_absent(&error) => Err(StoreError::NoStore { home: root }),
            Err(error) => Err(error).at("read", &version),
        }
    }

    /// Makes the directories, and the version file last: a home without one is unfinished, and
    /// making it again finishes it. Several processes may do so at once.
    fn create(&self) -> Result<(), StoreError> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(OWNER_ONLY);
        private.create(&self.root).at("create", &self.root)?;
        self.refuse_strangers()?;
        for directory in DIRECTORIES {
            let path = self.root.join(directory);
            private.create(&path).at("create", &path)?;
        }
        let version = self.root.join(VERSION);
        let unfinished = self
            .root
            .join(format!("{VERSION}.{}", SnapshotId::random()));
        fs::write(&unfinished, format!("{FORMAT}\n")).at("write", &unfinished)?;
        fs::rename(&unfinished, &version).at("write", &version)
    }

    fn refuse_strangers(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.root).at("read", &self.root)? {
            let name = entry.at("read", &self.root)?.file_name();
            let name = name.to_string_lossy();
            let ours = DIRECTORIES.contains(&name.as_ref())
                || OTHERS.contains(&name.as_ref())
                || name.starts_with("version.");
            if !ours {
                return Err(StoreError::NotAStore {
                    home: self.root.clone(),
                });
            }
        }
        Ok(())
    }

    /// Takes the lock that users of the store share; waits while somebody collects.
    pub(crate) fn lock_shared(&self) -> Result<File, StoreError> {
        let (path, file) = self.lock_file()?;
        file.lock_shared().at("lock", &path)?;
        Ok(file)
    }

    /// As [`Home::lock_shared`], for who only reads: the home may be one that cannot be written to.
    pub(crate) fn lock_to_read(&self) -> Result<File, StoreError> {
        let (path, file) = match self.lock_file() {
            Err(StoreError::Io { path, source, .. }) if is_write_refused(&source) => {
                let file = File::open(&path).at("open", &path)?;
                (path, file)
            }
            opened => opened?,
        };
        file.lock_shared().at("lock", &path)?;
        Ok(file)
    }

    /// Takes the lock that only one may have, waiting for it or not.
    pub(crate) fn lock_exclusive(&self, wait: bool) -> Result<File, StoreError> {
        let (path, file) = self.lock_file()?;
        if wait {
            file.lock().at("lock", &path)?;
            return Ok(file);
        }
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy {
                home: self.root.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
        }
    }

    fn lock_file(&self) -> Result<(PathBuf, File), StoreError> {
        let path = self.root.join(LOCK);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        Ok((path, file))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn part(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let algorithm = digest.algorithm().name();
        self.root.join("blobs").join(algorithm).join(digest.hex())
    }

    pub(crate) fn blob_stamp(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/stamps").join(digest.hex())
    }

    pub(crate) fn snapshot(&self, snapshot: &SnapshotId) -> PathBuf {
        self.root.join("snapshots").join(snapshot.hex())
    }

    pub(crate) fn cache_record(&self, key: &CacheKey) -> PathBuf {
        sharded(&self.root.join("cache"), &key.hex())
    }

    pub(crate) fn equal_record(&self, hex: &str) -> PathBuf {
        sharded(&self.root.join("equal"), hex)
    }

    pub(crate) fn tree_record(&self, hex: &str) -> PathBuf {
        sharded(&self.root.join("trees"), hex)
    }
}

/// `<2 hex>/<hex>` below a directory: keeps listings short.
fn sharded(directory: &Path, hex: &str) -> PathBuf {
    directory.join(&hex[..2]).join(hex)
}

/// Reads a whole file; `None` if there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// Removes a file; `false` if there was none.
pub(crate) fn remove_if_there(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error).at("remove", path),
    }
}

fn is_write_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied
    )
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_store_of_another_user_is_refused() {
        if !cairn_testkit::needs_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(directory.path()).unwrap();
        let version = home.root.join(VERSION);
        for other in [1234, 65534] {
            std::os::unix::fs::chown(&version, Some(other), None).unwrap();
            let refused = Home::open(directory.path()).unwrap_err();
            assert!(
                matches!(refused, StoreError::Foreign { owner, .. } if owner == other),
                "{refused}"
            );
        }
    }

    #[test]
    fn an_unfinished_home_is_finished() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("blobs/sha256")).unwrap();
        fs::write(root.path().join("version.0123"), "").unwrap();
        let home = Home::open(root.path()).unwrap();
        assert!(home.part("synced").is_dir());
        assert!(Home::open(root.path()).is_ok());
    }

    #[test]
    fn nobody_else_can_look_into_a_home() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::open(&place.path().join("made")).unwrap();
        // A home that was there keeps the mode that its owner gave it.
        let given = place.path().join("given");
        fs::create_dir(&given).unwrap();
        fs::set_permissions(&given, Permissions::from_mode(0o755)).unwrap();
        Home::open(&given).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(home.root()), mode(&given)), (0o700, 0o755));
        for directory in DIRECTORIES {
            assert_eq!(mode(&given.join(directory)), 0o700, "{directory}");
        }
    }

    #[test]
    fn a_file_is_no_place_for_a_store() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for home in [&file, &file.join("below")] {
            for opened in [Home::open_existing(home), Home::open(home)] {
                let error = opened.unwrap_err();
                assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
            }
        }
    }

    #[test]
    fn looking_makes_nothing() {
        let root = tempfile::tempdir().unwrap();
        for missing in [root.path().join("mistyped"), root.path().to_owned()] {
            let error = Home::open_existing(&missing).unwrap_err();
            assert!(matches!(error, StoreError::NoStore { home } if home == missing));
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn other_formats_and_strangers_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("version"), "cairn store 99\n").unwrap();
        let error = Home::open(root.path()).unwrap_err();
        assert!(matches!(&error, StoreError::Format { found, .. } if found == "cairn store 99"));

        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.tex"), "").unwrap();
        let error = Home::open(root.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }));
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            1,
            "nothing was made"
        );
    }

    #[test]
    fn collecting_excludes_using() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::open(root.path()).unwrap();
        let one = home.lock_shared().unwrap();
        let two = home.lock_shared().unwrap();
        assert!(matches!(
            home.lock_exclusive(false),
            Err(StoreError::Busy { .. })
        ));
        drop((one, two));
        home.lock_exclusive(false).unwrap();
    }
}
