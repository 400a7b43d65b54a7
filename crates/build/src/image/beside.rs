//! Writing beside a destination and renaming: it appears whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::export::ExportError;

/// A temporary name beside a destination; what is left there is removed in the end.
pub(super) struct Beside {
    pub(super) temporary: PathBuf,
    destination: PathBuf,
}

impl Beside {
    pub(super) fn new(destination: &Path) -> Result<Self, ExportError> {
        let invalid = || ExportError::Write {
            doing: "write",
            path: destination.to_owned(),
            source: io::Error::from(io::ErrorKind::InvalidInput),
        };
        let name = destination.file_name().ok_or_else(invalid)?;
        // The process is enough to be unique: a process exports one thing at a time to a place.
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".cairn-{}", std::process::id()));
        Ok(Self {
            temporary: destination.with_file_name(temporary),
            destination: destination.to_owned(),
        })
    }

    /// Puts what was written in its place; a file that is there is replaced.
    pub(super) fn rename(&self) -> Result<(), ExportError> {
        fs::rename(&self.temporary, &self.destination).map_err(self.failed("write"))
    }

    /// Swaps what was written with the directory that is there.
    pub(super) fn exchange(&self) -> Result<(), ExportError> {
        let (from, to) = (&self.temporary, &self.destination);
        match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            // A file system that cannot swap: for a moment the destination is missing.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::remove_dir_all(to).map_err(self.failed("replace"))?;
                self.rename()
            }
            Err(errno) => Err(self.failed("write")(errno.into())),
        }
    }

    pub(super) fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> ExportError {
        let path = self.destination.clone();
        move |source| ExportError::Write {
            doing,
            path,
            source,
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After a plain rename there is nothing left of that name.
        if fs::remove_file(&self.temporary).is_err() {
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}
