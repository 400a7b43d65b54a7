//! Unpacks a tar stream into the destination, as `ADD` of an archive does.
//!
//! The directory that the archive goes to is its root: entries, links in the way of entries and
//! targets of hard links are looked up inside it, so nothing an archive says reaches beyond it.
//! Symbolic links are made with whatever target they have; following them later is the image's own
//! matter, inside the image.
//!
//! As in Docker, an entry replaces what stands in its place, a directory merges with a directory,
//! and directories that the archive leaves out belong to root.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use cairn_sandbox::Cancel;
use cairn_store::{ActiveSnapshot, DeviceKind, LayeredView, Store};
use tar::EntryType;

use super::apply::is_whiteout_name;
use super::error::CopyError;
use super::upper::{Found, Metadata, Upper};
use crate::archive;
use crate::context::Xattrs;

/// Zeros become holes in pieces of so many bytes.
const HOLE_BYTES: usize = 64 << 10;

/// How an archive is unpacked.
pub(super) struct UnpackOptions<'a> {
    /// `--chown`: owns everything that the archive holds.
    pub(super) owner: Option<(u32, u32)>,
    /// Metadata of directories that the archive does not name.
    pub(super) implied_dir: Metadata,
    pub(super) cancel: &'a Cancel,
}

/// Unpacks an uncompressed stream into `base`, which is a directory.
pub(super) fn unpack(
    reader: impl Read,
    name: &str,
    base: &Path,
    upper: &mut Upper<'_>,
    options: &UnpackOptions<'_>,
) -> Result<(), CopyError> {
    let broken = |source| CopyError::Archive {
        name: name.to_owned(),
        source,
    };
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().map_err(broken)? {
        if options.cancel.is_cancelled() {
            return Err(CopyError::Cancelled);
        }
        let mut entry = entry.map_err(broken)?;
        let Some(described) = Described::read(&mut entry, options).map_err(broken)? else {
            continue;
        };
        Unpacker {
            base,
            upper,
            options,
        }
        .put(&mut entry, described, &broken)?;
    }
    Ok(())
}

/// Unpacks an archive that serves as a context into an empty snapshot. Whoever owned the files,
/// root does now, as with every context.
pub(crate) fn unpack_context(
    reader: impl Read + Send + 'static,
    name: &str,
    store: &Store,
    active: &ActiveSnapshot,
    cancel: &Cancel,
) -> Result<(), CopyError> {
    unpack_whole(reader, name, store, active, cancel, Some((0, 0)))
}

/// Unpacks an archive into an empty snapshot; owners are those that it tells.
pub(crate) fn unpack_owned(
    reader: impl Read + Send + 'static,
    name: &str,
    store: &Store,
    active: &ActiveSnapshot,
    cancel: &Cancel,
) -> Result<(), CopyError> {
    unpack_whole(reader, name, store, active, cancel, None)
}

fn unpack_whole(
    reader: impl Read + Send + 'static,
    name: &str,
    store: &Store,
    active: &ActiveSnapshot,
    cancel: &Cancel,
    owner: Option<(u32, u32)>,
) -> Result<(), CopyError> {
    let broken = |source| CopyError::Archive {
        name: name.to_owned(),
        source,
    };
    let plain = archive::decompress(reader).map_err(broken)?;
    let implied_dir = Metadata {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Xattrs::new(),
    };
    let options = UnpackOptions {
        owner,
        implied_dir,
        cancel,
    };
    let mut upper = Upper::new(active, LayeredView::new(store, &[])?, false)?;
    unpack(plain, name, Path::new(""), &mut upper, &options)?;
    upper.finish()
}

/// What an entry says of itself.
struct Described {
    /// As it stands in the archive.
    path: PathBuf,
    kind: EntryType,
    link: PathBuf,
    number: (u32, u32),
    metadata: Metadata,
}

impl Described {
    /// Reads an entry's header; `None` for what is no file.
    fn read<R: Read>(
        entry: &mut tar::Entry<'_, R>,
        options: &UnpackOptions<'_>,
    ) -> io::Result<Option<Self>> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(None);
        }
        let extended = Extended::read(entry)?;
        let header = entry.header();
        let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("owner out of range"));
        let (uid, gid) = match options.owner {
            Some(owner) => owner,
            None => {
                let raw = header.as_old();
                let uid = unless_blank(&raw.uid, header.uid())?;
                (id(uid)?, id(unless_blank(&raw.gid, header.gid())?)?)
            }
        };
        let seconds = unless_blank(&header.as_old().mtime, header.mtime())?;
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let mode = unless_blank(&header.as_old().mode, header.mode().map(u64::from))?;
        let number = (
            header.device_major().ok().flatten(),
            header.device_minor().ok().flatten(),
        );
        let metadata = Metadata {
            mode: u32::try_from(mode & 0o7777).unwrap_or(0),
            uid,
            gid,
            mtime: extended.mtime.unwrap_or((seconds, 0)),
            xattrs: extended.xattrs,
        };
        let link = entry
            .link_name_bytes()
            .map(|link| link.into_owned())
            .unwrap_or_default();
        Ok(Some(Self {
            path: PathBuf::from(OsString::from_vec(entry.path_bytes().into_owned())),
            kind,
            link: PathBuf::from(OsString::from_vec(link)),
            number: (number.0.unwrap_or(0), number.1.unwrap_or(0)),
            metadata,
        }))
    }
}

/// A number of a header. Where the pax records have it, some programs leave the field blank.
fn unless_blank(field: &[u8], read: io::Result<u64>) -> io::Result<u64> {
    match field.iter().all(|byte| matches!(byte, 0 | b' ')) {
        true => Ok(0),
        false => read,
    }
}

/// What the pax records of an entry say beyond its header.
#[derive(Default)]
struct Extended {
    mtime: Option<(i64, u32)>,
    xattrs: Xattrs,
}

impl Extended {
    fn read<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Self> {
        // The one attribute that layers of BuildKit hold.
        const CAPABILITY: &[u8] = b"security.capability";
        const XATTR: &[u8] = b"SCHILY.xattr.";
        let mut extended = Self::default();
        let Some(records) = entry.pax_extensions()? else {
            return Ok(extended);
        };
        for record in records {
            let record = record?;
            if record.key_bytes() == b"mtime" {
                extended.mtime = record.value().ok().and_then(parse_time);
            } else if record.key_bytes().starts_with(b"GNU.sparse.") {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "sparse files of the PAX form cannot be unpacked: pack with `--format=gnu`, \
                     or without `--sparse`",
                ));
            } else if let Some(name) = record.key_bytes().strip_prefix(XATTR)
                && name == CAPABILITY
            {
                let name = OsString::from_vec(name.to_vec());
                extended.xattrs.push((name, record.value_bytes().to_vec()));
            }
        }
        Ok(extended)
    }
}

/// Reads `seconds[.fraction]`; a time before 1970 counts its fraction towards the past.
fn parse_time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

struct Unpacker<'u, 'a> {
    base: &'u Path,
    upper: &'u mut Upper<'a>,
    options: &'u UnpackOptions<'u>,
}

impl Unpacker<'_, '_> {
    fn put<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        described: Described,
        broken: &impl Fn(io::Error) -> CopyError,
    ) -> Result<(), CopyError> {
        let inside = inside(&described.path)?;
        let Some(name) = inside.file_name() else {
            // The archive's root is the destination, which keeps its metadata.
            return Ok(());
        };
        let parent = inside.parent().unwrap_or(Path::new(""));
        let dest = self.upper.resolve(self.base, parent)?.join(name);
        if dest.iter().any(|part| is_whiteout_name(Path::new(part))) {
            return Err(CopyError::WhiteoutName {
                path: described.path,
            });
        }
        let above = dest.parent().unwrap_or(Path::new(""));
        self.upper.make_dirs(above, &self.options.implied_dir)?;
        self.upper.hold(above)?;
        let metadata = &described.metadata;
        if described.kind == EntryType::Directory {
            return self.put_dir(&dest, described.metadata);
        }
        match described.kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.clear(&dest)?;
                let mut file = self.upper.create_file(&dest)?;
                // A short archive is its own error, so that nobody looks for it at the destination.
                let mut source = Reading {
                    inner: entry,
                    failed: false,
                };
                let copied = match described.kind {
                    EntryType::GNUSparse => copy_with_holes(&mut source, &mut file),
                    _ => io::copy(&mut source, &mut file).map(drop),
                };
                let failed = source.failed;
                copied.map_err(|error| match failed {
                    true => broken(error),
                    false => CopyError::write(&dest)(error),
                })?;
                self.upper.finish_file(&dest, &file, metadata)
            }
            EntryType::Symlink => {
                self.clear(&dest)?;
                self.upper.make_symlink(&dest, &described.link, metadata)
            }
            EntryType::Link => self.put_link(&dest, &described),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.clear(&dest)?;
                let kind = match described.kind {
                    EntryType::Char => DeviceKind::Char,
                    EntryType::Block => DeviceKind::Block,
                    _ => DeviceKind::Fifo,
                };
                self.upper
                    .make_device(&dest, kind, described.number, metadata)
            }
            other => Err(broken(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "entry \"{}\" has the unknown type {:?}",
                    described.path.display(),
                    char::from(other.as_byte())
                ),
            ))),
        }
    }

    fn put_dir(&mut self, dest: &Path, metadata: Metadata) -> Result<(), CopyError> {
        match self.upper.found(dest)? {
            Found::Directory => self.upper.set_dir(dest, metadata),
            Found::Nothing => self.upper.make_dir(dest, metadata),
            Found::Symlink(_) | Found::Other => {
                self.upper.remove(dest)?;
                self.upper.make_dir(dest, metadata)
            }
        }
    }

    fn put_link(&mut self, dest: &Path, described: &Described) -> Result<(), CopyError> {
        let missing = || CopyError::LinkTarget {
            path: described.path.clone(),
            target: described.link.clone(),
        };
        let target = inside(&described.link)?;
        let name = target.file_name().ok_or_else(missing)?;
        let parent = target.parent().unwrap_or(Path::new(""));
        let existing = self.upper.resolve(self.base, parent)?.join(name);
        if existing == dest {
            return Ok(());
        }
        let above = existing.parent().unwrap_or(Path::new(""));
        if self.upper.found(above)? != Found::Directory || !self.upper.copy_up(&existing)? {
            return Err(missing());
        }
        self.clear(dest)?;
        self.upper.make_link(&existing, dest)
    }

    /// Takes away a directory that an entry replaces; other things go when the entry is made.
    fn clear(&mut self, dest: &Path) -> Result<(), CopyError> {
        match self.upper.found(dest)? {
            Found::Directory => self.upper.remove(dest),
            _ => Ok(()),
        }
    }
}

/// Makes a path of an archive relative to the destination, by its text. `a/../b` is `b`; a path
/// that leads out is refused rather than bent.
fn inside(path: &Path) -> Result<PathBuf, CopyError> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir if !inside.pop() => {
                return Err(CopyError::Outside {
                    path: path.to_owned(),
                });
            }
            Component::ParentDir
            | Component::CurDir
            | Component::RootDir
            | Component::Prefix(_) => {}
        }
    }
    if inside.as_os_str().as_bytes().contains(&0) {
        return Err(CopyError::Outside {
            path: path.to_owned(),
        });
    }
    Ok(inside)
}

/// Copies a sparse file as one: a few bytes of an archive must not fill the disk with zeros.
fn copy_with_holes(source: &mut impl Read, file: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; HOLE_BYTES];
    let mut size: u64 = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match source.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return file.set_len(size);
        }
        let bytes = &buffer[..filled];
        if bytes.iter().any(|&byte| byte != 0) {
            file.seek(SeekFrom::Start(size))?;
            file.write_all(bytes)?;
        }
        size += filled as u64;
    }
}

/// Remembers which side of a copy failed.
struct Reading<R> {
    inner: R,
    failed: bool,
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        self.failed = matches!(&read, Err(error) if error.kind() != io::ErrorKind::Interrupted);
        read
    }
}
