//! What a running process is writing, apart from everything finished.
//!
//! A process that writes owns `tmp/<session>/` for as long as it holds the lock on
//! `tmp/<session>.lock`; the kernel lets go of it however the process ends. Finished things leave
//! the directory by rename. What is left in a session nobody locks is rubbish by definition, and
//! [`sweep`] removes it: no process numbers, no times, and it works across containers and nodes
//! that share the home.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::SnapshotId;
use crate::error::{At, StoreError};
use crate::home::remove_if_there;
use crate::remove::remove_tree;

/// The place where one process writes. Dropping it removes what was not finished.
#[derive(Debug)]
pub(crate) struct Session {
    directory: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    next: AtomicU64,
}

impl Session {
    /// Makes a session below `tmp`.
    pub(crate) fn begin(tmp: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(tmp).at("create", tmp)?;
        loop {
            let name = SnapshotId::random().hex();
            let lock_path = tmp.join(format!("{name}.lock"));
            let lock = File::create_new(&lock_path).at("create", &lock_path)?;
            lock.lock().at("lock", &lock_path)?;
            // A sweeper may have seen the file before we had its lock, and removed it.
            let links = lock.metadata().at("stat", &lock_path)?.nlink();
            if links == 0 {
                continue;
            }
            let directory = tmp.join(name);
            if let Err(error) = fs::create_dir(&directory) {
                // A full disk: a lock without a directory would look left over.
                let _ = fs::remove_file(&lock_path);
                return Err(error).at("create", &directory);
            }
            return Ok(Self {
                directory,
                lock_path,
                _lock: lock,
                next: AtomicU64::new(0),
            });
        }
    }

    /// A path that nothing has yet.
    pub(crate) fn fresh_path(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.directory.join(number.to_string())
    }

    /// Writes a file elsewhere in the store so that it appears at once and whole.
    pub(crate) fn write(&self, destination: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let unfinished = self.write_unfinished(bytes)?;
        rename_into(&unfinished, destination)
    }

    /// Writes a file that is still to be renamed into place.
    pub(crate) fn write_unfinished(&self, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.fresh_path();
        let mut file = File::create_new(&path).at("create", &path)?;
        file.write_all(bytes).at("write", &path)?;
        Ok(path)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whatever cannot be removed now is swept later: nobody holds its lock any more.
        let _ = remove_tree(&self.directory);
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Renames into place, making the destination's directory if it is the first there.
pub(crate) fn rename_into(from: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = to.parent().unwrap_or(to);
            fs::create_dir_all(parent).at("create", parent)?;
            fs::rename(from, to).at("write", to)
        }
        result => result.at("write", to),
    }
}

/// Finds sessions that nobody holds and, unless only asked to look, removes them.
pub(crate) fn sweep(tmp: &Path, only_look: bool) -> Result<Vec<PathBuf>, StoreError> {
    let mut dead = Vec::new();
    let entries = match fs::read_dir(tmp) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(dead),
        Err(error) => return Err(error).at("read", tmp),
    };
    for entry in entries {
        let path = entry.at("read", tmp)?.path();
        let is_lock = path
            .extension()
            .is_some_and(|extension| extension == "lock");
        if is_lock && sweep_session(&path, only_look)? {
            dead.push(path.with_extension(""));
        }
    }
    Ok(dead)
}

fn sweep_session(lock_path: &Path, only_look: bool) -> Result<bool, StoreError> {
    let lock = match File::open(lock_path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).at("open", lock_path),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error).at("lock", lock_path),
    }
    if !only_look {
        let directory = lock_path.with_extension("");
        remove_tree(&directory).at("remove", &directory)?;
        remove_if_there(lock_path)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_sessions_are_swept() {
        let home = tempfile::tempdir().unwrap();
        let tmp = home.path().join("tmp");
        let alive = Session::begin(&tmp).unwrap();
        let kept = alive.write_unfinished(b"x").unwrap();
        let dead = Session::begin(&tmp).unwrap();
        let lost = dead.write_unfinished(b"y").unwrap();
        let Session { _lock, .. } = &dead;
        _lock.unlock().unwrap();

        assert_eq!(sweep(&tmp, true).unwrap().len(), 1);
        assert!(lost.exists());
        assert_eq!(sweep(&tmp, false).unwrap().len(), 1);
        assert!(kept.exists() && !lost.exists());
        assert_eq!(sweep(&tmp, false).unwrap().len(), 0);
    }

    #[test]
    fn a_session_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let tmp = home.path().join("tmp");
        let session = Session::begin(&tmp).unwrap();
        session
            .write(&home.path().join("made/here"), b"whole")
            .unwrap();
        session.write_unfinished(b"half").unwrap();
        drop(session);
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
        assert_eq!(fs::read(home.path().join("made/here")).unwrap(), b"whole");
    }
}
