//! The store as its users hold it: a handle on an open home.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use cairn_oci::Digest;

use crate::durability::{Durability, Stamp};
use crate::error::StoreError;
use crate::home::Home;
use crate::session::Session;
use crate::snapshot::SnapshotRecord;
use crate::turns::Turns;
use crate::{ContentDigest, SnapshotId};

/// How owners of files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// By the file system: as root, or in a user namespace with a range of ids.
    Native,
    /// In the attribute `user.cairn.owner` and the snapshot's side table: there is only one id.
    Recorded,
}

/// How to open a store.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// How owners of files are kept by this process.
    pub ownership: Ownership,
}

/// An open store. Cheap to clone; all clones are one.
///
/// While any clone lives, nothing is collected.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    home: Home,
    ownership: Ownership,
    durability: Durability,
    /// Whether this process wrote something since it last synced.
    is_dirty: AtomicBool,
    session: OnceLock<Session>,
    session_begins: Mutex<()>,
    snapshots: Mutex<HashMap<SnapshotId, Arc<SnapshotRecord>>>,
    contents: Mutex<HashMap<SnapshotId, ContentDigest>>,
    blobs: Mutex<HashSet<Digest>>,
    turns: Turns,
    /// Declared last: let go only after the session is cleared away.
    _lock: Option<File>,
}

impl Store {
    /// Opens the store in a directory, making it if there is none. Waits while somebody collects.
    ///
    /// Opening reads one small file and takes one lock; nothing is listed or scanned.
    pub fn open(home: &Path, options: OpenOptions) -> Result<Self, StoreError> {
        let home = Home::open(home)?;
        let lock = home.lock_shared()?;
        Ok(Self::with_lock(home, options, Some(lock)))
    }

    /// Opens the store in a directory to read from it: one that is not there is not made
    /// ([`StoreError::NoStore`]), and one that this user may not write to can be read.
    pub fn open_existing(home: &Path, options: OpenOptions) -> Result<Self, StoreError> {
        let home = Home::open_existing(home)?;
        let lock = home.lock_to_read()?;
        Ok(Self::with_lock(home, options, Some(lock)))
    }

    /// Makes the handle. Without a lock of its own, the caller holds one for as long.
    pub(crate) fn with_lock(home: Home, options: OpenOptions, lock: Option<File>) -> Self {
        let durability = Durability::new(home.part("synced"));
        Self {
            inner: Arc::new(Inner {
                home,
                ownership: options.ownership,
                durability,
                is_dirty: AtomicBool::new(false),
                session: OnceLock::new(),
                session_begins: Mutex::new(()),
                snapshots: Mutex::default(),
                contents: Mutex::default(),
                blobs: Mutex::default(),
                turns: Turns::default(),
                _lock: lock,
            }),
        }
    }

    /// The directory it lives in.
    pub fn home(&self) -> &Path {
        self.inner.home.root()
    }

    /// How owners of files are kept by this process.
    pub fn ownership(&self) -> Ownership {
        self.inner.ownership
    }

    /// Makes snapshots, and with them everything that was written before, outlive a power cut.
    ///
    /// Costs one sync of the file system, or nothing if all of it is durable already. Call it once
    /// per build. Without it nothing is lost but work: after a power cut what was not durable
    /// counts as absent.
    pub fn make_durable(&self, snapshots: &[SnapshotId]) -> Result<(), StoreError> {
        let mut is_needed = self.is_dirty();
        for snapshot in snapshots {
            let record = self.snapshot_record(snapshot)?;
            is_needed |= !self.inner.durability.is_synced(&record.stamp);
        }
        if is_needed { self.sync() } else { Ok(()) }
    }

    pub(crate) fn layout(&self) -> &Home {
        &self.inner.home
    }

    pub(crate) fn durability(&self) -> &Durability {
        &self.inner.durability
    }

    /// The stamp for bytes that are complete now.
    pub(crate) fn stamp(&self) -> Stamp {
        // In this order: a sync that clears the flag in between began after the stamp, covers it.
        let stamp = self.inner.durability.stamp();
        self.inner.is_dirty.store(true, Ordering::Release);
        stamp
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.inner.is_dirty.load(Ordering::Acquire)
    }

    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        // Cleared first: what another thread writes during the sync must make it dirty again.
        self.inner.is_dirty.store(false, Ordering::Release);
        self.inner.durability.sync(self.home()).inspect_err(|_| {
            self.inner.is_dirty.store(true, Ordering::Release);
        })
    }

    /// Where this process writes; begun when first asked for, so that reading leaves no trace.
    pub(crate) fn session(&self) -> Result<&Session, StoreError> {
        if let Some(session) = self.inner.session.get() {
            return Ok(session);
        }
        let _one_at_a_time = self
            .inner
            .session_begins
            .lock()
            .expect("no panics while held");
        if self.inner.session.get().is_none() {
            let session = Session::begin(&self.inner.home.part("tmp"))?;
            // Nobody else can have set it: we hold the lock.
            let _ = self.inner.session.set(session);
        }
        Ok(self.inner.session.get().expect("just set"))
    }

    pub(crate) fn known_snapshots(&self) -> &Mutex<HashMap<SnapshotId, Arc<SnapshotRecord>>> {
        &self.inner.snapshots
    }

    pub(crate) fn known_contents(&self) -> &Mutex<HashMap<SnapshotId, ContentDigest>> {
        &self.inner.contents
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.inner.turns
    }

    pub(crate) fn known_blobs(&self) -> &Mutex<HashSet<Digest>> {
        &self.inner.blobs
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn open(home: &Path) -> Store {
        let ownership = if rustix::process::geteuid().is_root() {
            Ownership::Native
        } else {
            Ownership::Recorded
        };
        Store::open(home, OpenOptions { ownership }).unwrap()
    }

    pub(crate) fn fixture() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = open(home.path());
        (home, store)
    }

    #[test]
    fn opening_and_reading_leave_no_trace() {
        let (home, store) = fixture();
        assert!(!store.has_blob(&Digest::sha256(b"")));
        assert!(!store.is_dirty());
        store.make_durable(&[]).unwrap();
        drop(store);
        let written = std::fs::read_dir(home.path().join("tmp")).unwrap();
        assert_eq!(written.count(), 0);
        assert_eq!(
            std::fs::read_dir(home.path().join("synced"))
                .unwrap()
                .count(),
            0
        );
    }
}
