//! A snapshot's side table: what its files cannot carry themselves.
//!
//! Owners of symbolic links and special files where ids are recorded instead of set, and device
//! nodes that could not be made and stand as empty files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::record_file;
use crate::snapshot::DeviceKind;

const KIND: &str = "side/1";

/// What is said of paths in a snapshot, relative to its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SideTable(BTreeMap<PathBuf, SideEntry>);

/// What is said of one path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SideEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<Device>,
}

/// A device node that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) kind: DeviceKind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl SideTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&SideEntry> {
        self.0.get(path)
    }

    pub(crate) fn set_owner(&mut self, path: &Path, owner: (u32, u32)) {
        self.0.entry(path.into()).or_default().owner = Some(owner);
    }

    pub(crate) fn set_device(&mut self, path: &Path, device: Device) {
        self.0.entry(path.into()).or_default().device = Some(device);
    }

    pub(crate) fn set(&mut self, path: &Path, entry: SideEntry) {
        self.0.insert(path.into(), entry);
    }

    /// Forgets a path and everything below it.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.0.retain(|known, _| !known.starts_with(path));
    }

    pub(crate) fn print(&self) -> Vec<u8> {
        let entries: BTreeMap<String, &SideEntry> = self
            .0
            .iter()
            .map(|(path, entry)| (escape(path.as_os_str().as_bytes()), entry))
            .collect();
        record_file::print(KIND, &entries)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let entries: BTreeMap<String, SideEntry> = record_file::parse(KIND, bytes)?;
        entries
            .into_iter()
            .map(|(path, entry)| Some((unescape(&path)?, entry)))
            .collect::<Option<_>>()
            .map(Self)
    }
}

/// JSON strings are text, paths are bytes: what is not printable ASCII, and `%`, becomes `%XX`.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn unescape(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let mut decoded = [0];
        hex::decode_to_slice(after.get(..2)?, &mut decoded).ok()?;
        bytes.push(decoded[0]);
        rest = &after[2..];
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// The value of the attribute that records an owner: `<uid>:<gid>`.
pub(crate) fn parse_owner(value: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// The attribute that records an owner.
pub(crate) const OWNER_ATTRIBUTE: &str = "user.cairn.owner";

/// Attributes that belong to the machinery: they neither come in nor go out.
///
/// `trusted.*` belongs to the host's overlay mounts, `security.selinux` to the host's policy.
pub(crate) fn is_private_attribute(name: &OsStr) -> bool {
    let name = name.as_bytes();
    [&b"user.overlay."[..], b"user.cairn.", b"trusted."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || name == b"security.selinux"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back() {
        let mut table = SideTable::default();
        let odd = PathBuf::from(std::ffi::OsString::from_vec(b"a\n%41\xff/b".to_vec()));
        table.set_owner(&odd, (1000, 50));
        table.set_owner(Path::new("dev/null"), (0, 5));
        let device = Device {
            kind: DeviceKind::Char,
            major: 1,
            minor: 3,
        };
        table.set_device(Path::new("dev/null"), device);
        let again = SideTable::parse(&table.print()).unwrap();
        assert_eq!(again, table);
        let entry = again.get(Path::new("dev/null")).unwrap();
        assert_eq!((entry.owner, entry.device), (Some((0, 5)), Some(device)));
        assert_eq!(SideTable::parse(b""), None);
    }

    #[test]
    fn forgetting_takes_what_is_below() {
        let mut table = SideTable::default();
        for path in ["a", "a/b", "ab"] {
            table.set_owner(Path::new(path), (1, 1));
        }
        table.forget(Path::new("a"));
        assert!(table.get(Path::new("a/b")).is_none() && table.get(Path::new("ab")).is_some());
    }

    #[test]
    fn owners_are_two_numbers() {
        assert_eq!(parse_owner(b"1000:100"), Some((1000, 100)));
        for bad in [&b""[..], b"1000", b"a:b", b"-1:0", b"1:2:3", b"\xff:1"] {
            assert_eq!(parse_owner(bad), None);
        }
    }
}
