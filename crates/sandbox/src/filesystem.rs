//! What kind of file system a path is on, as far as that decides what can be done there.

use std::fmt;
use std::path::Path;

/// A kind of file system, by the number statfs(2) answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(u64);

const NAMES: &[(u64, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0x794c_7630, "overlayfs"),
    (0x6969, "NFS"),
    (0xff53_4d42, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x6573_5546, "FUSE"),
    (0x1980_0202, "BeeGFS"),
    (0x0c36_4c16, "Ceph"),
    (0x00c3_6400, "Ceph"),
    (0x6165_676c, "eCryptfs"),
    (0x4d44, "FAT"),
    (0x0102_1997, "9p"),
];

const WITHOUT_UPPER: &[&str] = &[
    "overlayfs",
    "NFS",
    "SMB",
    "Lustre",
    "GPFS",
    "FUSE",
    "BeeGFS",
    "Ceph",
    "eCryptfs",
    "FAT",
    "9p",
];

pub(crate) fn kind_of(path: &Path) -> Option<Kind> {
    let stat = rustix::fs::statfs(path).ok()?;
    // The field's type differs between architectures; the numbers are 32 bits wide.
    #[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)]
    let magic = stat.f_type as u32;
    Some(Kind(u64::from(magic)))
}

impl Kind {
    /// Whether overlayfs accepts an upper directory there. True for kinds unknown here.
    pub(crate) fn takes_overlay_upper(self) -> bool {
        self.name()
            .is_none_or(|name| !WITHOUT_UPPER.contains(&name))
    }

    pub(crate) fn is_cgroup2(self) -> bool {
        self.0 == 0x6367_7270
    }

    fn name(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(magic, _)| *magic == self.0)
            .map(|(_, name)| *name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "a file system of type {:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_and_overlays_take_no_upper() {
        for magic in [0x6969, 0x794c_7630, 0x0bd0_0bd0, 0x4750_4653] {
            assert!(!Kind(magic).takes_overlay_upper(), "{}", Kind(magic));
        }
        for magic in [0xef53, 0x5846_5342, 0x0102_1994, 0x1234_5678] {
            assert!(Kind(magic).takes_overlay_upper(), "{}", Kind(magic));
        }
    }

    #[test]
    fn proc_is_recognised_by_no_name_but_its_number() {
        let kind = kind_of(Path::new("/proc")).unwrap();
        assert_eq!(kind.to_string(), "a file system of type 0x9fa0");
    }
}
