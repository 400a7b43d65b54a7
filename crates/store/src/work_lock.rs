//! One process at a time does the work of a key; others wait and find it done.
//!
//! ```text
//! busy/<key>                 locked by whoever does the work
//! ```
//!
//! The holder removes the file before it lets go, so one that is there belongs to somebody or to a
//! process that was killed; the kernel lets go of a lock however its holder ends, and the next one
//! takes the file over. Whoever gets the lock of a file that has no name any more begins again:
//! somebody else may hold its successor.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::CacheKey;
use crate::error::{At, StoreError};
use crate::home::Home;
use crate::store::Store;

/// The part of the home that holds the locks.
pub(crate) const BUSY: &str = "busy";
/// How often who waits looks whether it may go on.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// The right to do the work of a key. Dropping it lets the next one in.
#[derive(Debug)]
pub struct WorkLock {
    path: PathBuf,
    _file: File,
}

impl Drop for WorkLock {
    fn drop(&mut self) {
        // While the lock is still held: a name that is left leads to a lock, never to a free file.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Waits until nobody does the work of the key, in this process or another, and takes it;
    /// `None` when `keep_waiting`, which is asked a few times a second, says no.
    pub fn lock_work(
        &self,
        key: &CacheKey,
        keep_waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<WorkLock>, StoreError> {
        let path = self.layout().part(BUSY).join(key.hex());
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if !keep_waiting() {
                        return Ok(None);
                    }
                    std::thread::sleep(WAIT_STEP);
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
            }
            if file.metadata().at("stat", &path)?.nlink() > 0 {
                return Ok(Some(WorkLock { path, _file: file }));
            }
        }
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(path);
            fs::create_dir_all(parent).at("create", parent)?;
            options.open(path).at("open", path)
        }
        opened => opened.at("open", path),
    }
}

/// Removes what killed processes left. Nobody else may have the store open.
pub(crate) fn clear(home: &Home) -> Result<(), StoreError> {
    let busy = home.part(BUSY);
    match fs::remove_dir_all(&busy) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).at("remove", &busy),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::KeyHasher;
    use crate::store::tests::{fixture, open as open_store};

    fn key(name: &str) -> CacheKey {
        KeyHasher::new("test").field("name", name).finish_key()
    }

    #[test]
    fn one_at_a_time_across_stores_and_nothing_is_left() {
        let (home, one) = fixture();
        let two = open_store(home.path());
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for store in [&one, &two, &one, &two] {
                let inside = &inside;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let lock = store.lock_work(&key("a"), &mut || true).unwrap();
                        assert!(lock.is_some());
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let left = fs::read_dir(home.path().join(BUSY)).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn waiting_ends_when_asked_and_other_keys_are_free() {
        let (home, one) = fixture();
        let two = open_store(home.path());
        let held = one.lock_work(&key("a"), &mut || true).unwrap().unwrap();
        let mut asked = 0;
        let mut twice = || {
            asked += 1;
            asked < 2
        };
        assert!(two.lock_work(&key("a"), &mut twice).unwrap().is_none());
        assert_eq!(asked, 2);
        assert!(two.lock_work(&key("b"), &mut || false).unwrap().is_some());
        drop(held);
        assert!(two.lock_work(&key("a"), &mut || false).unwrap().is_some());
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over() {
        let (home, store) = fixture();
        let path = home.path().join(BUSY).join(key("a").hex());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert!(store.lock_work(&key("a"), &mut || false).unwrap().is_some());
        assert!(!path.exists());
    }
}
