//! A door for the fuzz targets, which are a package of their own. It is there only with
//! the feature `fuzzing`, which nothing in the workspace asks for.

use std::fs::File;
use std::io::{Cursor, Read, Seek, Write};

use crate::deb::{Deb, DebError};

/// The most that is read of a package's files.
const DATA_SIZE_MAX: u64 = 1 << 20;

/// Reads a package file as far as it can be read without a tree to unpack it to; gives its control
/// text.
///
/// # Errors
/// When it is no package.
pub fn read_package(bytes: &[u8]) -> Result<String, DebError> {
    let mut file = memory_file()?;
    file.write_all(bytes)?;
    file.rewind()?;
    let mut deb = Deb::open(file)?;
    let control = &deb.control;
    let _ = (
        control.is_essential(),
        control.conffiles(),
        control.triggers(),
    );
    let _ = control.conffiles_to_remove();
    let text = control.text.clone();
    let mut data = Vec::new();
    deb.data()?.take(DATA_SIZE_MAX).read_to_end(&mut data)?;
    for entry in tar::Archive::new(Cursor::new(data)).entries()? {
        let _ = entry?.path_bytes();
    }
    Ok(text)
}

fn memory_file() -> std::io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("package", flags)?.into())
}
