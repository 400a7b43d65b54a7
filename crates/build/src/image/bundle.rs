//! A set of files by name: a directory, or an archive that is looked into without unpacking it.
//!
//! Image layouts and docker archives come in both forms. A tar is read once for its headers; its
//! members are then opened where they lie. A compressed tar is first expanded into an unnamed
//! file beside the store, so memory stays bounded and nothing is left behind.
//!
//! Names come from strangers. They are only ever looked up, never joined to a host path: in an
//! archive they are keys of the index, in a directory they must be plain relative paths.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::archive::decompress;

/// More members than this are no image but a root file system.
const MEMBERS_MAX: usize = 100_000;
/// Documents (manifests, configs) are at most this big.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// Links inside an archive are followed this often.
const LINKS_MAX: usize = 8;

/// Files by name.
#[derive(Debug)]
pub(crate) enum Bundle {
    /// Below a directory.
    Directory(PathBuf),
    /// Inside a tar.
    Archive(Archive),
}

/// A tar with an index.
#[derive(Debug)]
pub(crate) struct Archive {
    file: Arc<File>,
    members: HashMap<String, Member>,
}

#[derive(Debug, Clone)]
enum Member {
    File { offset: u64, size: u64 },
    Link(String),
}

/// A file of a bundle, open for reading.
#[derive(Debug)]
pub(crate) enum BundleFile {
    /// A file of its own.
    Whole(File),
    /// A part of an archive.
    Part {
        file: Arc<File>,
        offset: u64,
        left: u64,
    },
}

impl Bundle {
    /// Opens an archive; `None` if it has too many members to be an image's.
    ///
    /// `spill` is a directory on a disk with room, for archives that are compressed.
    pub(crate) fn open_archive(path: &Path, spill: &Path) -> io::Result<Option<Self>> {
        Self::index_archive(File::open(path)?, spill)
    }

    /// As [`Bundle::open_archive`], for a file that is open already.
    pub(crate) fn index_archive(mut file: File, spill: &Path) -> io::Result<Option<Self>> {
        if !is_plain_tar(&file) {
            let mut expanded = tempfile::tempfile_in(spill)?;
            io::copy(&mut decompress(file)?, &mut expanded)?;
            expanded.seek(SeekFrom::Start(0))?;
            file = expanded;
        }
        let Some(members) = index(&file)? else {
            return Ok(None);
        };
        Ok(Some(Self::Archive(Archive {
            file: Arc::new(file),
            members,
        })))
    }

    /// Whether there is a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(root) => plain_path(name).is_some_and(|name| root.join(name).is_file()),
            Self::Archive(archive) => archive.find(name).is_some(),
        }
    }

    /// Opens a file.
    pub(crate) fn open(&self, name: &str) -> io::Result<BundleFile> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        match self {
            Self::Directory(root) => {
                let name = plain_path(name).ok_or_else(missing)?;
                let file = File::open(root.join(name))?;
                if !file.metadata()?.is_file() {
                    return Err(io::Error::from(io::ErrorKind::InvalidInput));
                }
                Ok(BundleFile::Whole(file))
            }
            Self::Archive(archive) => {
                let (offset, left) = archive.find(name).ok_or_else(missing)?;
                Ok(BundleFile::Part {
                    file: archive.file.clone(),
                    offset,
                    left,
                })
            }
        }
    }

    /// Reads a small file whole.
    pub(crate) fn document(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open(name)?;
        file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(bytes)
    }
}

impl Archive {
    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = normal(name);
        for _ in 0..LINKS_MAX {
            match self.members.get(&name)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

impl Read for BundleFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(file) => file.read(buffer),
            Self::Part { file, offset, left } => {
                let wanted = buffer
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                if wanted == 0 {
                    return Ok(0);
                }
                let read = file.read_at(&mut buffer[..wanted], *offset)?;
                if read == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                *offset += read as u64;
                *left -= read as u64;
                Ok(read)
            }
        }
    }
}

/// Whether a file is a tar as it is. Of the oldest kind that is not sure, and so not said.
fn is_plain_tar(file: &File) -> bool {
    const MAGIC: &[u8] = b"ustar";
    const MAGIC_AT: u64 = 257;
    let mut found = [0; MAGIC.len()];
    file.read_exact_at(&mut found, MAGIC_AT).is_ok() && found == MAGIC
}

/// Reads the headers of a tar. The last member of a name counts, as in `tar -x`.
fn index(file: &File) -> io::Result<Option<HashMap<String, Member>>> {
    let length = file.metadata()?.len();
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(BufReader::new(file));
    for entry in archive.entries_with_seek().map_err(no_tar)? {
        let entry = entry.map_err(no_tar)?;
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else {
            continue;
        };
        let name = normal(&name);
        if entry.raw_file_position().saturating_add(entry.size()) > length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let link = |target: &[u8]| String::from_utf8(target.to_vec()).ok();
        let member = match (entry.header().entry_type(), entry.link_name_bytes()) {
            (tar::EntryType::Regular | tar::EntryType::Continuous, _) => Member::File {
                offset: entry.raw_file_position(),
                size: entry.size(),
            },
            (tar::EntryType::Link, Some(target)) => match link(&target) {
                Some(target) => Member::Link(normal(&target)),
                None => continue,
            },
            (tar::EntryType::Symlink, Some(target)) => match link(&target) {
                Some(target) => Member::Link(beside(&name, &target)),
                None => continue,
            },
            _ => continue,
        };
        members.insert(name, member);
        if members.len() > MEMBERS_MAX {
            return Ok(None);
        }
    }
    Ok(Some(members))
}

/// The reader of headers quotes what it cannot read, and that may be anything.
fn no_tar(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it is no tar archive, or a damaged one",
            )
        }
        _ => error,
    }
}

/// The one spelling of a member's name: no `./`, no leading or double slashes.
fn normal(name: &str) -> String {
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

/// What a symbolic link beside `name` points to, inside the archive.
fn beside(name: &str, target: &str) -> String {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let start = if target.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A relative path that stays below where it starts.
fn plain_path(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let is_plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (is_plain && !name.is_empty()).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header
    }

    fn archive() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut file = |name: &str, bytes: &[u8]| {
            let mut header = header(tar::EntryType::Regular, bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        file("./a/layer.tar", b"first");
        file("manifest.json", b"[]");
        file("a/layer.tar", b"second");
        for (name, target) in [
            ("b/layer.tar", "../a/layer.tar"),
            ("c/layer.tar", "../b/layer.tar"),
            ("out", "../../etc/passwd"),
            ("loop", "loop"),
        ] {
            let mut header = header(tar::EntryType::Symlink, 0);
            tar.append_link(&mut header, name, target).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn opened(bytes: &[u8]) -> Bundle {
        let spill = tempfile::tempdir().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        Bundle::index_archive(file, spill.path()).unwrap().unwrap()
    }

    #[test]
    fn members_are_found_where_they_lie() {
        let gzip = {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&archive()).unwrap();
            encoder.finish().unwrap()
        };
        for bytes in [archive(), gzip] {
            let bundle = opened(&bytes);
            assert_eq!(bundle.document("manifest.json").unwrap(), b"[]");
            assert_eq!(
                bundle.document("a/layer.tar").unwrap(),
                b"second",
                "the last counts"
            );
            assert_eq!(
                bundle.document("./c//layer.tar").unwrap(),
                b"second",
                "two links"
            );
        }
    }

    #[test]
    fn links_never_leave_and_never_loop() {
        let bundle = opened(&archive());
        for name in ["out", "loop", "missing", "../manifest.json"] {
            assert!(!bundle.has(name), "{name}");
            assert_eq!(
                bundle.open(name).unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
        }
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let whole = archive();
        let in_the_first_member = 512 + 2;
        let spill = tempfile::tempdir().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole[..in_the_first_member]).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        assert!(Bundle::index_archive(file, spill.path()).is_err());
    }

    #[test]
    fn a_directory_gives_only_what_is_below_it() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("secret"), "s").unwrap();
        let below = root.path().join("below");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("file"), "f").unwrap();
        let bundle = Bundle::Directory(below);
        assert_eq!(bundle.document("file").unwrap(), b"f");
        assert!(!bundle.has("../secret") && !bundle.has("/etc/passwd") && !bundle.has(""));
    }
}
