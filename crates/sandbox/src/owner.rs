//! The owner a file is meant to have, recorded where it cannot be set.
//!
//! With a single mapped id every file belongs to that one user. What a chown asked for is kept in
//! an attribute of the file, which whoever reads the changeset later honours. Symbolic links and
//! special files take no `user.` attributes and keep none.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// The attribute: `"<uid>:<gid>"`, absent for 0:0.
pub(crate) const ATTRIBUTE: &str = "user.cairn.owner";

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What chown(2) takes for "leave as it is".
pub(crate) const KEEP: u32 = u32::MAX;

impl Owner {
    pub(crate) const ROOT: Owner = Owner { uid: 0, gid: 0 };

    fn parse(value: &[u8]) -> Option<Owner> {
        let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
        Some(Owner {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    }

    fn changed_to(self, wanted: Owner) -> Owner {
        Owner {
            uid: if wanted.uid == KEEP {
                self.uid
            } else {
                wanted.uid
            },
            gid: if wanted.gid == KEEP {
                self.gid
            } else {
                wanted.gid
            },
        }
    }
}

/// The recorded owner of a file named by a path that is followed, usually through `/proc`.
pub(crate) fn recorded(path: &str) -> Option<Owner> {
    let mut value = [0u8; 32];
    let length = rustix::fs::getxattr(path, ATTRIBUTE, &mut value).ok()?;
    Owner::parse(&value[..length])
}

/// Records the change that a chown to `wanted` asks for.
pub(crate) fn record(path: &str, wanted: Owner) -> Result<(), Errno> {
    let before = recorded(path);
    let after = before.unwrap_or(Owner::ROOT).changed_to(wanted);
    match before {
        _ if after != Owner::ROOT => {
            let value = format!("{}:{}", after.uid, after.gid);
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(path, ATTRIBUTE, value.as_bytes(), flags)
        }
        Some(_) => rustix::fs::removexattr(path, ATTRIBUTE),
        None => Ok(()),
    }
}

/// Records `owner` for every file and directory of `upper` that was made by the run, for a program
/// that ran as somebody else than root: what it made is its own.
///
/// What overlayfs has copied up has an origin and keeps the record that was copied with it.
pub(crate) fn claim_new(upper: &Path, owner: Owner) -> io::Result<()> {
    let value = format!("{}:{}", owner.uid, owner.gid);
    let mut directories = vec![upper.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let path = entry.path();
            let has = |name| rustix::fs::lgetxattr(&path, name, &mut [0u8; 256]).is_ok();
            if (kind.is_file() || kind.is_dir()) && !has(ORIGIN) && !has(ATTRIBUTE) {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::lsetxattr(&path, ATTRIBUTE, value.as_bytes(), flags)?;
            }
            if kind.is_dir() {
                directories.push(path);
            }
        }
    }
    Ok(())
}

/// Set by overlayfs on what it copies up. Longer values than the buffer answer ERANGE and do not
/// occur: a file handle has at most 128 bytes.
const ORIGIN: &str = "user.overlay.origin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_two_numbers() {
        assert_eq!(Owner::parse(b"101:33"), Some(Owner { uid: 101, gid: 33 }));
        for odd in [&b"101"[..], b"", b"a:b", b"1:2:3", b"-1:0", b"\xff:1"] {
            assert_eq!(Owner::parse(odd), None);
        }
    }

    #[test]
    fn minus_one_keeps_a_part() {
        let before = Owner { uid: 5, gid: 6 };
        assert_eq!(
            before.changed_to(Owner { uid: KEEP, gid: 7 }),
            Owner { uid: 5, gid: 7 }
        );
        assert_eq!(
            before.changed_to(Owner { uid: 8, gid: KEEP }),
            Owner { uid: 8, gid: 6 }
        );
        assert_eq!(
            before.changed_to(Owner {
                uid: KEEP,
                gid: KEEP
            }),
            before
        );
    }
}
