//! Files that come with an instruction instead of from a tree: heredocs and downloads.

use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use super::error::CopyError;
use super::files::{BUFFER, copy_content};
use super::upper::{Metadata, Upper};

/// A file given by value.
#[derive(Debug, Clone)]
pub struct GivenFile {
    /// Its name, if the destination is a directory.
    pub name: String,
    /// Its content.
    pub content: GivenContent,
    /// Its mode, where no `--chmod` says otherwise: 0644 for heredocs, 0600 for downloads.
    pub mode: u32,
    /// Its time in seconds since 1970, if it has one.
    pub mtime: Option<i64>,
    /// Whether it is unpacked if it is an archive.
    pub unpack: bool,
}

/// The content of a [`GivenFile`].
#[derive(Debug, Clone)]
pub enum GivenContent {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file of the host.
    File(PathBuf),
}

impl GivenFile {
    pub(super) fn open(&self) -> Result<Box<dyn Read + Send>, CopyError> {
        match &self.content {
            GivenContent::Bytes(bytes) => Ok(Box::new(Cursor::new(bytes.clone()))),
            GivenContent::File(path) => Ok(Box::new(File::open(path).map_err(self.unreadable())?)),
        }
    }

    fn unreadable(&self) -> impl FnOnce(std::io::Error) -> CopyError {
        CopyError::read(&self.name)
    }
}

pub(super) fn write_given(
    given: &GivenFile,
    dest: &Path,
    metadata: &Metadata,
    upper: &mut Upper<'_>,
) -> Result<(), CopyError> {
    upper.hold_parent(dest)?;
    let mut file = upper.create_file(dest)?;
    match &given.content {
        GivenContent::Bytes(bytes) => file.write_all(bytes).map_err(CopyError::write(dest))?,
        GivenContent::File(path) => {
            let from = File::open(path).map_err(given.unreadable())?;
            let size = from.metadata().map_err(given.unreadable())?.len();
            copy_content(&from, &file, size, &mut vec![0; BUFFER], path, dest)?;
        }
    }
    upper.finish_file(dest, &file, metadata)
}
