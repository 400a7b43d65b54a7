//! Making the marks by which a layer removes what lies below it.

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::error::{At, StoreError};

/// Makes a name gone: a 0/0 character device. Every user may make one (Linux 5.8).
pub fn make_whiteout(path: &Path) -> Result<(), StoreError> {
    let mode = Mode::from_raw_mode(0);
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, 0).at("make the whiteout", path)
}

/// Makes a directory hide what lies below it.
pub fn make_opaque(path: &Path) -> Result<(), StoreError> {
    let flags = XattrFlags::empty();
    rustix::fs::lsetxattr(path, "user.overlay.opaque", b"y", flags).at("make opaque", path)
}
