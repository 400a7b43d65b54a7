//! Stores and trees in temporary directories.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::path::Path;

use cairn_store::{OpenOptions, Ownership, SnapshotId, Store, make_opaque, make_whiteout};
use tempfile::TempDir;

/// A store of its own, gone at the end of the test.
#[derive(Debug)]
pub struct TempStore {
    store: Option<Store>,
    ownership: Ownership,
    home: TempDir,
}

impl Default for TempStore {
    fn default() -> Self {
        Self::new()
    }
}

impl TempStore {
    /// Makes a store; owners are native for root and recorded for others.
    pub fn new() -> Self {
        let is_root = rustix::process::geteuid().is_root();
        Self::with_ownership(if is_root {
            Ownership::Native
        } else {
            Ownership::Recorded
        })
    }

    /// Makes a store that keeps owners in this way.
    pub fn with_ownership(ownership: Ownership) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut fixture = Self {
            store: None,
            ownership,
            home,
        };
        fixture.reopen();
        fixture
    }

    /// Opens it again, as another process would.
    pub fn reopen(&mut self) {
        self.store = None;
        let options = OpenOptions {
            ownership: self.ownership,
        };
        self.store = Some(Store::open(self.home.path(), options).expect("a store that opens"));
    }

    /// Closes it, lets somebody do what needs it closed, and opens it again.
    pub fn while_closed<T>(&mut self, work: impl FnOnce(&Path) -> T) -> T {
        self.store = None;
        let result = work(self.home.path());
        self.reopen();
        result
    }

    /// Commits a snapshot of these files; see [`tree`].
    pub fn snapshot(&self, lines: &[&str]) -> SnapshotId {
        let active = self.begin_snapshot().expect("a snapshot begins");
        tree(active.upper(), lines);
        active.commit().expect("a snapshot is committed")
    }
}

impl Deref for TempStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        self.store.as_ref().expect("open except while closed")
    }
}

/// Makes files below a directory, one per line; parents are made too.
///
/// `d/` a directory, `f=text` a file, `l>target` a symbolic link, `-f` a whiteout, `!d/` an opaque
/// directory.
pub fn tree(root: &Path, lines: &[&str]) {
    for line in lines {
        let place = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("below the root")).expect("new directories");
            path
        };
        if let Some(name) = line.strip_prefix('-') {
            make_whiteout(&place(name)).expect("a new whiteout");
        } else if let Some(name) = line.strip_prefix('!') {
            fs::create_dir_all(place(name)).expect("a new directory");
            make_opaque(&root.join(name)).expect("an opaque directory");
        } else if let Some((name, target)) = line.split_once('>') {
            symlink(target, place(name)).expect("a new symbolic link");
        } else if let Some((name, text)) = line.split_once('=') {
            fs::write(place(name), text).expect("a new file");
        } else {
            fs::create_dir_all(place(line)).expect("a new directory");
        }
    }
}
