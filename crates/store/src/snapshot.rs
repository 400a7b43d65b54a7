//! Snapshots: one filesystem change each, in overlay form.
//!
//! A change is a directory: what is in it was added or replaced, a 0/0 character device is a
//! whiteout ("this name is gone"), the attribute `user.overlay.opaque` = `y` on a directory hides
//! what lies below it. A snapshot does not know what it lies on; whoever uses several lists them.
//!
//! *Active* snapshots are written to, live in the process's session and vanish with it.
//! *Committed* ones are never written to again and live until they are collected.

use std::fs::{self, DirBuilder, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::SnapshotId;
use crate::durability::Stamp;
use crate::error::{At, StoreError};
use crate::home::read_if_there;
use crate::layer_dir::LayerDir;
use crate::record_file;
use crate::remove::remove_tree;
use crate::session::rename_into;
use crate::side::{Device, OWNER_ATTRIBUTE, SideTable};
use crate::store::{Ownership, Store};

const KIND: &str = "snapshot/1";
/// The file without which a snapshot is absent.
pub(crate) const RECORD: &str = "snapshot";

/// What is known of a committed snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    pub(crate) stamp: Stamp,
    pub(crate) ownership: Ownership,
    pub(crate) has_side_table: bool,
    /// Times from this second on say only when this machine made the file; `None` if unknown.
    #[serde(default)]
    pub(crate) new_since: Option<i64>,
}

/// Kinds of special files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe; has no numbers.
    Fifo,
}

impl Store {
    /// Starts a snapshot.
    pub fn begin_snapshot(&self) -> Result<ActiveSnapshot, StoreError> {
        let directory = self.session()?.fresh_path();
        let active = ActiveSnapshot {
            store: self.clone(),
            snapshot: SnapshotId::random(),
            upper: directory.join("fs"),
            work: directory.join("work"),
            directory,
            side: Mutex::default(),
            new_since: AtomicI64::new(file_clock_seconds()),
        };
        for path in [&active.directory, &active.upper, &active.work] {
            DirBuilder::new()
                .mode(0o755)
                .create(path)
                .at("create", path)?;
        }
        // The overlay's root shows the upper's mode, whatever this process's umask is.
        fs::set_permissions(&active.upper, Permissions::from_mode(0o755))
            .at("set the mode of", &active.upper)?;
        Ok(active)
    }

    /// The directory of a committed snapshot's change: a lower layer for overlay mounts.
    pub fn snapshot_dir(&self, snapshot: &SnapshotId) -> PathBuf {
        self.layout().snapshot(snapshot).join("fs")
    }

    /// Removes a snapshot that nothing names, such as one whose content turned out to be there
    /// already. Afterwards it is not there, whether it was before or not.
    pub fn discard_snapshot(&self, snapshot: &SnapshotId) -> Result<(), StoreError> {
        self.known_snapshots()
            .lock()
            .expect("no panics while held")
            .remove(snapshot);
        self.known_contents()
            .lock()
            .expect("no panics while held")
            .remove(snapshot);
        // It leaves its place at once: what is half removed must not look whole.
        let directory = self.layout().snapshot(snapshot);
        let aside = self.session()?.fresh_path();
        match fs::rename(&directory, &aside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).at("remove", &directory),
            Ok(()) => remove_tree(&aside).at("remove", &aside),
        }
    }

    /// Whether a snapshot is there, with all its bytes.
    pub fn snapshot_exists(&self, snapshot: &SnapshotId) -> bool {
        self.snapshot_record(snapshot).is_ok()
    }

    pub(crate) fn snapshot_record(
        &self,
        snapshot: &SnapshotId,
    ) -> Result<Arc<SnapshotRecord>, StoreError> {
        let mut known = self.known_snapshots().lock().expect("no panics while held");
        if let Some(record) = known.get(snapshot) {
            return Ok(record.clone());
        }
        let missing = || StoreError::SnapshotMissing {
            snapshot: *snapshot,
        };
        let record = read_record(&self.layout().snapshot(snapshot))?.ok_or_else(missing)?;
        if !self.durability().believes(&record.stamp) {
            return Err(missing());
        }
        let record = Arc::new(record);
        known.insert(*snapshot, record.clone());
        Ok(record)
    }

    /// The files of one committed snapshot.
    pub(crate) fn layer_dir(&self, snapshot: &SnapshotId) -> Result<LayerDir, StoreError> {
        let record = self.snapshot_record(snapshot)?;
        let mut side = SideTable::default();
        if record.has_side_table {
            let path = self.layout().snapshot(snapshot).join("side");
            let bytes = read_if_there(&path)?.unwrap_or_default();
            side = SideTable::parse(&bytes).ok_or(StoreError::SnapshotMissing {
                snapshot: *snapshot,
            })?;
        }
        Ok(
            LayerDir::new(self.snapshot_dir(snapshot), record.ownership, side)
                .new_since(record.new_since),
        )
    }
}

/// Reads what is known of the snapshot in a directory; `None` if it is no whole snapshot.
pub(crate) fn read_record(directory: &Path) -> Result<Option<SnapshotRecord>, StoreError> {
    let bytes = read_if_there(&directory.join(RECORD))?;
    Ok(bytes.and_then(|bytes| record_file::parse(KIND, &bytes)))
}

/// A snapshot that is being written. Dropping it removes it.
#[derive(Debug)]
pub struct ActiveSnapshot {
    store: Store,
    snapshot: SnapshotId,
    directory: PathBuf,
    upper: PathBuf,
    work: PathBuf,
    side: Mutex<SideTable>,
    new_since: AtomicI64,
}

impl ActiveSnapshot {
    /// The name it will have when it is committed.
    pub fn id(&self) -> SnapshotId {
        self.snapshot
    }

    /// The directory that takes the change: write here, or mount it as an overlay's upper.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// An empty directory for an overlay's work files. Serves for one mount.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Says that all its times are accidents of this machine, older ones too: those of a checkout
    /// are when it was checked out. Exported layers have the image's epoch in their place.
    ///
    /// Otherwise only times since [`Store::begin_snapshot`] count as accidents.
    pub fn times_are_accidents(&self) {
        self.new_since.store(i64::MIN, Ordering::Relaxed);
    }

    /// Says that times from this second on are accidents, if it is earlier than what was said.
    pub(crate) fn times_are_accidents_since(&self, second: i64) {
        self.new_since.fetch_min(second, Ordering::Relaxed);
    }

    pub(crate) fn new_since(&self) -> i64 {
        self.new_since.load(Ordering::Relaxed)
    }

    /// Gives a file an owner, without following it if it is a symbolic link.
    ///
    /// Where owners are recorded, nothing is set but the record. Otherwise the kernel clears
    /// setuid bits, as always: set the mode afterwards.
    pub fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> Result<(), StoreError> {
        let (parent, name) = self.open_parent(path)?;
        if self.store.ownership() == Ownership::Native {
            let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            return rustix::fs::chownat(&parent, &name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
                .at("set the owner of", &self.upper.join(clean(path)));
        }
        self.record_owner(path, (uid, gid), &parent, &name)
    }

    fn record_owner(
        &self,
        path: &Path,
        owner: (u32, u32),
        parent: &OwnedFd,
        name: &Path,
    ) -> Result<(), StoreError> {
        let host = self.upper.join(clean(path));
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).at("stat", &host)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            self.side().set_owner(&clean(path), owner);
            return Ok(());
        }
        let value = format!("{}:{}", owner.0, owner.1);
        let flags = XattrFlags::empty();
        rustix::fs::lsetxattr(&host, OWNER_ATTRIBUTE, value.as_bytes(), flags)
            .at("record the owner of", &host)
    }

    /// Makes a special file. Where the kernel does not allow it, an empty file takes its place
    /// and the side table says what it stands for.
    pub fn make_device(
        &self,
        path: &Path,
        kind: DeviceKind,
        major: u32,
        minor: u32,
        mode: u32,
    ) -> Result<(), StoreError> {
        let (parent, name) = self.open_parent(path)?;
        let host = self.upper.join(clean(path));
        let bits = Mode::from_raw_mode(mode & 0o7777);
        let (file_type, number) = match kind {
            DeviceKind::Char => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
            DeviceKind::Block => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
            DeviceKind::Fifo => (FileType::Fifo, 0),
        };
        // A real 0/0 character device would be a whiteout.
        let is_whiteout = kind == DeviceKind::Char && (major, minor) == (0, 0);
        let made = match is_whiteout {
            true => Err(Errno::PERM),
            false => rustix::fs::mknodat(&parent, &name, file_type, bits, number),
        };
        match made {
            Err(Errno::PERM | Errno::INVAL) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, &name, flags, bits).at("create", &host)?;
                let device = Device { kind, major, minor };
                self.side().set_device(&clean(path), device);
            }
            made => made.at("create", &host)?,
        }
        rustix::fs::chmodat(&parent, &name, bits, AtFlags::empty()).at("set the mode of", &host)
    }

    /// Makes it permanent and immutable. What an overlay mount left in `work` is removed.
    ///
    /// It is safe from the end of this process at once, from a power cut after
    /// [`Store::make_durable`].
    pub fn commit(self) -> Result<SnapshotId, StoreError> {
        remove_tree(&self.work).at("remove", &self.work)?;
        let has_side_table = !self.side().is_empty();
        if has_side_table {
            let path = self.directory.join("side");
            fs::write(&path, self.side().print()).at("write", &path)?;
        }
        let record = SnapshotRecord {
            stamp: self.store.stamp(),
            ownership: self.store.ownership(),
            has_side_table,
            new_since: Some(self.new_since()),
        };
        let path = self.directory.join("snapshot");
        fs::write(&path, record_file::print(KIND, &record)).at("write", &path)?;
        rename_into(
            &self.directory,
            &self.store.layout().snapshot(&self.snapshot),
        )?;
        let mut known = self
            .store
            .known_snapshots()
            .lock()
            .expect("no panics while held");
        known.insert(self.snapshot, Arc::new(record));
        Ok(self.snapshot)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn side(&self) -> std::sync::MutexGuard<'_, SideTable> {
        self.side.lock().expect("no panics while held")
    }

    /// Opens the directory a path is in, going through no symbolic link.
    fn open_parent(&self, path: &Path) -> Result<(OwnedFd, PathBuf), StoreError> {
        let unsafe_path = || StoreError::UnsafePath { path: path.into() };
        let path = clean(path);
        let plain = |part| matches!(part, Component::Normal(_));
        if !path.components().all(plain) {
            return Err(unsafe_path());
        }
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let root = open_directory(&self.upper).at("open", &self.upper)?;
        let name = path
            .file_name()
            .map_or_else(|| PathBuf::from("."), PathBuf::from);
        let Some(parent) = parent else {
            return Ok((root, name));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(&root, parent, flags, Mode::empty(), resolve);
        match opened {
            Ok(directory) => Ok((directory, name)),
            Err(Errno::LOOP | Errno::XDEV) => Err(unsafe_path()),
            Err(error) => Err(error).at("open", &self.upper.join(parent)),
        }
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        // A committed one has left this place; what cannot be removed is swept later.
        let _ = remove_tree(&self.directory);
    }
}

/// The clock that files get their times from: it may be a tick behind the one that is read.
fn file_clock_seconds() -> i64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Drops leading slashes and `.` parts: how paths stand in the side table.
fn clean(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| !matches!(part, Component::RootDir | Component::CurDir))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OpenOptions;
    use crate::store::tests::{fixture, open};

    fn recorded() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let ownership = Ownership::Recorded;
        let store = Store::open(home.path(), OpenOptions { ownership }).unwrap();
        (home, store)
    }

    #[test]
    fn commit_keeps_and_drop_removes() {
        let (home, store) = fixture();
        let active = store.begin_snapshot().unwrap();
        fs::write(active.upper().join("a"), "a").unwrap();
        fs::create_dir_all(active.work().join("work/incompat")).unwrap();
        let expected = active.id();
        let snapshot = active.commit().unwrap();
        assert_eq!(snapshot, expected);
        assert!(store.snapshot_exists(&snapshot));
        assert_eq!(
            fs::read(store.snapshot_dir(&snapshot).join("a")).unwrap(),
            b"a"
        );
        assert!(!store.layout().snapshot(&snapshot).join("work").exists());

        store.discard_snapshot(&snapshot).unwrap();
        store.discard_snapshot(&snapshot).unwrap();
        assert!(!store.snapshot_exists(&snapshot));
        let snapshot = store.begin_snapshot().unwrap().commit().unwrap();

        let dropped = store.begin_snapshot().unwrap();
        let (directory, name) = (dropped.directory.clone(), dropped.id());
        drop(dropped);
        assert!(!directory.exists() && !store.snapshot_exists(&name));
        drop(store);
        assert!(open(home.path()).snapshot_exists(&snapshot));
    }

    #[test]
    fn a_snapshot_of_a_lost_boot_is_missing() {
        let (home, store) = fixture();
        let synced = store.begin_snapshot().unwrap().commit().unwrap();
        store.make_durable(&[synced]).unwrap();
        let unsynced = store.begin_snapshot().unwrap().commit().unwrap();
        drop(store);
        // As if the boot in which both were written had ended with a power cut.
        for snapshot in [synced, unsynced] {
            let path = home
                .path()
                .join("snapshots")
                .join(snapshot.hex())
                .join("snapshot");
            let mut record: SnapshotRecord =
                record_file::parse(KIND, &fs::read(&path).unwrap()).unwrap();
            let mark = home.path().join("synced").join(&record.stamp.boot);
            record.stamp.boot = "lost".into();
            fs::write(&path, record_file::print(KIND, &record)).unwrap();
            fs::copy(mark, home.path().join("synced/lost")).unwrap();
        }
        let store = open(home.path());
        assert!(store.snapshot_exists(&synced));
        assert!(!store.snapshot_exists(&unsynced));
        assert!(store.make_durable(&[unsynced]).is_err());
    }

    #[test]
    fn make_durable_syncs_what_another_process_left_unsynced() {
        let (home, store) = fixture();
        let snapshot = store.begin_snapshot().unwrap().commit().unwrap();
        drop(store);
        let store = open(home.path());
        let record = store.snapshot_record(&snapshot).unwrap();
        assert!(!store.durability().is_synced(&record.stamp));
        store.make_durable(&[snapshot]).unwrap();
        assert!(store.durability().is_synced(&record.stamp));
    }

    #[test]
    fn owners_are_recorded() {
        let (_home, store) = recorded();
        let active = store.begin_snapshot().unwrap();
        fs::create_dir(active.upper().join("d")).unwrap();
        fs::write(active.upper().join("d/f"), "").unwrap();
        std::os::unix::fs::symlink("f", active.upper().join("d/l")).unwrap();
        for path in ["d", "/d/f", "./d/l"] {
            active.set_owner(Path::new(path), 1000, 50).unwrap();
        }
        let snapshot = active.commit().unwrap();
        let layer = store.layer_dir(&snapshot).unwrap();
        for path in ["d", "d/f", "d/l"] {
            let node = layer.stat(Path::new(path)).unwrap().unwrap();
            assert_eq!((node.uid, node.gid), (1000, 50), "{path}");
        }
        let root = layer.stat(Path::new("")).unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
    }

    #[test]
    fn devices_are_made_or_stood_for() {
        let (_home, store) = fixture();
        let active = store.begin_snapshot().unwrap();
        active
            .make_device(Path::new("null"), DeviceKind::Char, 1, 3, 0o666)
            .unwrap();
        active
            .make_device(Path::new("zero"), DeviceKind::Char, 0, 0, 0o600)
            .unwrap();
        active
            .make_device(Path::new("pipe"), DeviceKind::Fifo, 0, 0, 0o640)
            .unwrap();
        let snapshot = active.commit().unwrap();
        let layer = store.layer_dir(&snapshot).unwrap();
        for (path, rdev, mode) in [("null", (1, 3), 0o666), ("zero", (0, 0), 0o600)] {
            let node = layer.stat(Path::new(path)).unwrap().unwrap();
            assert_eq!(node.kind, crate::EntryKind::CharDevice);
            assert_eq!(
                (node.rdev, node.mode, node.is_whiteout),
                (rdev, mode, false)
            );
        }
        let pipe = layer.stat(Path::new("pipe")).unwrap().unwrap();
        assert_eq!((pipe.kind, pipe.mode), (crate::EntryKind::Fifo, 0o640));
    }

    #[test]
    fn paths_do_not_lead_out() {
        let (_home, store) = recorded();
        let active = store.begin_snapshot().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), active.upper().join("out")).unwrap();
        for path in ["out/f", "../snapshot", "a/../../x"] {
            let error = active.set_owner(Path::new(path), 1, 1).unwrap_err();
            assert!(
                matches!(error, StoreError::UnsafePath { .. }),
                "{path}: {error}"
            );
        }
        let device = active.make_device(Path::new("out/null"), DeviceKind::Char, 1, 3, 0o666);
        assert!(matches!(device, Err(StoreError::UnsafePath { .. })));
    }
}
