//! What may be believed after the power went out, without syncing each file.
//!
//! Syncing costs milliseconds per file; a build writes thousands. So nothing is synced when it is
//! written. Instead every snapshot and every blob carries a [`Stamp`]: the boot (the kernel's boot
//! id) and the moment of that boot (`CLOCK_BOOTTIME`) at which its bytes were complete in the page
//! cache. Once per build, `make_durable` syncs the whole file system and then notes in
//! `synced/<boot id>` the moment at which that sync *began*. A stamp is believed
//!
//! - in the boot that made it: the page cache outlives processes, killed ones too; or
//! - if its moment is not later than what `synced` says of its boot.
//!
//! Anything else counts as absent: a snapshot is built again, a blob is hashed before it is used.
//! Whatever was written by any process before a sync began is covered by it, so processes need not
//! know of each other. Without a readable boot id each process counts as a boot of its own: only
//! what was synced is believed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::error::{At, StoreError};
use crate::keys::random_bytes;
use crate::record_file;

const KIND: &str = "synced/1";

/// When bytes were complete: a boot, and a moment of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) boot: String,
    pub(crate) at_ns: u64,
}

/// Makes stamps and judges them.
#[derive(Debug)]
pub(crate) struct Durability {
    marks: PathBuf,
    boot: String,
    synced_until: Mutex<HashMap<String, u64>>,
}

impl Durability {
    /// `marks` is the directory `synced`.
    pub(crate) fn new(marks: PathBuf) -> Self {
        Self {
            marks,
            boot: boot_id(),
            synced_until: Mutex::default(),
        }
    }

    /// The boot that stamps made now belong to.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Says that what was written so far is complete.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            boot: self.boot.clone(),
            at_ns: boottime_ns(),
        }
    }

    /// Whether the bytes that carry this stamp are those that were written.
    pub(crate) fn believes(&self, stamp: &Stamp) -> bool {
        stamp.boot == self.boot || self.is_synced(stamp)
    }

    /// Whether the bytes that carry this stamp would outlive a power cut.
    pub(crate) fn is_synced(&self, stamp: &Stamp) -> bool {
        let mut known = self.synced_until.lock().expect("no panics while held");
        if known
            .get(&stamp.boot)
            .is_some_and(|&until| stamp.at_ns <= until)
        {
            return true;
        }
        let until = read_mark(&self.marks.join(&stamp.boot)).unwrap_or(0);
        known.insert(stamp.boot.clone(), until);
        stamp.at_ns <= until
    }

    /// Syncs the file system of `home`, then notes that everything stamped before is durable.
    pub(crate) fn sync(&self, home: &Path) -> Result<(), StoreError> {
        let began = boottime_ns();
        let directory = File::open(home).at("open", home)?;
        rustix::fs::syncfs(&directory).at("sync the file system of", home)?;
        let until = self.raise_mark(began)?;
        let mut known = self.synced_until.lock().expect("no panics while held");
        known.insert(self.boot.clone(), until);
        Ok(())
    }

    /// The mark is overwritten in place, under a lock, and synced: less than a sector, with a
    /// checksum. Should it be torn, the boot's snapshots are built again; nothing false is read.
    fn raise_mark(&self, began: u64) -> Result<u64, StoreError> {
        let path = self.marks.join(&self.boot);
        let is_new = !path.exists();
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        file.lock().at("lock", &path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).at("read", &path)?;
        let before = record_file::parse::<u64>(KIND, &bytes).unwrap_or(0);
        let until = before.max(began);
        let bytes = record_file::print(KIND, &until);
        file.seek(SeekFrom::Start(0)).at("write", &path)?;
        file.write_all(&bytes).at("write", &path)?;
        file.set_len(bytes.len() as u64).at("write", &path)?;
        file.sync_data().at("sync", &path)?;
        if is_new {
            let directory = File::open(&self.marks).at("open", &self.marks)?;
            directory.sync_all().at("sync", &self.marks)?;
        }
        Ok(until)
    }
}

fn read_mark(path: &Path) -> Option<u64> {
    record_file::parse(KIND, &fs::read(path).ok()?)
}

fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !text.is_empty() && text.bytes().all(fits)
        })
        .unwrap_or_else(|| hex::encode(random_bytes::<16>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> (tempfile::TempDir, Durability) {
        let home = tempfile::tempdir().unwrap();
        let durability = Durability::new(home.path().to_owned());
        (home, durability)
    }

    fn from_boot(stamp: &Stamp, boot: &str) -> Stamp {
        Stamp {
            boot: boot.into(),
            ..stamp.clone()
        }
    }

    #[test]
    fn this_boot_is_believed_before_it_is_synced() {
        let (home, durability) = fixture();
        let stamp = durability.stamp();
        assert!(durability.believes(&stamp) && !durability.is_synced(&stamp));
        durability.sync(home.path()).unwrap();
        assert!(durability.is_synced(&stamp));
        assert!(!durability.is_synced(&durability.stamp()));
    }

    #[test]
    fn another_boot_is_believed_only_as_far_as_it_was_synced() {
        let (home, before) = fixture();
        let covered = before.stamp();
        before.sync(home.path()).unwrap();
        let lost = before.stamp();
        let after = Durability {
            boot: "after".into(),
            ..Durability::new(home.path().to_owned())
        };
        assert!(after.believes(&covered));
        assert!(!after.believes(&lost));
        assert!(!after.believes(&from_boot(&covered, "never-synced")));
    }

    #[test]
    fn a_torn_mark_is_no_mark() {
        let (home, before) = fixture();
        let covered = before.stamp();
        before.sync(home.path()).unwrap();
        let mark = home.path().join(before.boot());
        let bytes = fs::read(&mark).unwrap();
        fs::write(&mark, &bytes[..bytes.len() - 1]).unwrap();
        let after = Durability {
            boot: "after".into(),
            ..Durability::new(home.path().to_owned())
        };
        assert!(!after.believes(&covered));
    }

    #[test]
    fn marks_only_rise() {
        let (_home, durability) = fixture();
        let later = boottime_ns() + 1_000_000_000;
        assert_eq!(durability.raise_mark(later).unwrap(), later);
        assert_eq!(durability.raise_mark(later - 5).unwrap(), later);
    }
}
