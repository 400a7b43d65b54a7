//! The file system under the store: its room, and what helps when it refuses a write.

use std::error::Error;
use std::io::{self, ErrorKind};

use crate::error::{At, StoreError};
use crate::store::Store;

/// With less room than this a file system counts as full: programs write in larger pieces.
const FULL_BYTES: u64 = 4 << 20;

/// The room that is left on the store's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Whether no further file can be made, whatever there is in bytes.
    pub is_out_of_files: bool,
}

impl Room {
    /// Whether writes must be expected to fail.
    pub fn is_full(self) -> bool {
        self.free_bytes < FULL_BYTES || self.is_out_of_files
    }
}

impl Store {
    /// Asks how much room there is.
    pub fn room(&self) -> Result<Room, StoreError> {
        let said = rustix::fs::statvfs(self.home()).at("ask for the room of", self.home())?;
        Ok(Room {
            free_bytes: said.f_bavail.saturating_mul(said.f_frsize),
            // Some file systems (btrfs) have no fixed number of files and say 0 of 0.
            is_out_of_files: said.f_files > 0 && said.f_favail == 0,
        })
    }

    /// Whether the store belongs to somebody who does not exist in this process's user namespace:
    /// to another user, seen by an ordinary one.
    pub fn is_of_another_user(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        /// Whom the kernel shows as the owner then.
        const NOBODY: u32 = 65534;
        std::fs::metadata(self.home()).is_ok_and(|found| found.uid() == NOBODY)
    }

    /// Tries whether the store can be written to; nothing stays.
    pub fn try_writing(&self) -> Result<(), StoreError> {
        self.session()?.write_unfinished(b"x").map(drop)
    }
}

/// What helps when writing to the store failed for such a reason.
pub fn write_advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(advice) = error.downcast_ref().and_then(advice_on) {
            return Some(advice);
        }
        next = error.source();
    }
    None
}

fn advice_on(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        ErrorKind::StorageFull => {
            "the disk of the store is full: free some space (`cairn gc --all` removes what no \
             image needs), or put the store elsewhere with `--home DIR` or `CAIRN_HOME`"
        }
        ErrorKind::QuotaExceeded => {
            "your quota on the disk of the store is used up: free some space (`cairn gc --all` \
             removes what no image needs), or put the store elsewhere with `--home DIR` or \
             `CAIRN_HOME`"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "the disk of the store can only be read: put the store elsewhere with `--home DIR` \
             or `CAIRN_HOME`"
        }
        ErrorKind::PermissionDenied => {
            "this user may not write to the store: use one of your own with `--home DIR` or \
             `CAIRN_HOME`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::tests::fixture;

    #[test]
    fn advice_is_found_below_the_context() {
        let failed = |kind| StoreError::Io {
            action: "write",
            path: Path::new("/x").into(),
            source: io::Error::from(kind),
        };
        let advice = |kind| write_advice(&failed(kind)).unwrap_or_default();
        assert!(advice(ErrorKind::StorageFull).contains("gc --all"));
        assert!(advice(ErrorKind::ReadOnlyFilesystem).contains("--home"));
        assert!(advice(ErrorKind::PermissionDenied).contains("this user"));
        assert_eq!(advice(ErrorKind::NotFound), "");
    }

    #[test]
    fn trying_to_write_leaves_nothing() {
        let (home, store) = fixture();
        store.try_writing().unwrap();
        drop(store);
        let left = std::fs::read_dir(home.path().join("tmp")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn little_room_is_none() {
        let room = |free_bytes, is_out_of_files| Room {
            free_bytes,
            is_out_of_files,
        };
        assert!(room(FULL_BYTES - 1, false).is_full());
        assert!(!room(FULL_BYTES, false).is_full());
        assert!(room(u64::MAX, true).is_full());
    }
}
