//! Reads layer tars that strangers made.
//!
//! ustar, GNU (long names, base-256 numbers, old sparse files) and PAX (paths, sizes, owners,
//! times, extended attributes). Everything that is held in memory has a limit: the reason not to
//! use the `tar` crate here, which reads extension headers of any length.

use std::io::{self, Read};

use super::tar_field::{
    decimal, has_right_sum, number, owner, pax_time, signed, small, split_pax, until_nul,
};
use super::tar_write::BLOCK;
use crate::error::StoreError;

const EXTENSION_SIZE_MAX: u64 = 1 << 20;
const PATH_LENGTH_MAX: usize = 4096;
const SPARSE_PIECES_MAX: usize = 100_000;
const SPARSE_SIZE_MAX: u64 = 1 << 40;

/// One entry. Its bytes, if it has any, are read from the [`TarReader`] before the next entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadEntry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: ReadKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) mtime: (i64, u32),
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadKind {
    File,
    /// The bytes that follow belong to these places; the rest of the file is a hole.
    Sparse {
        pieces: Vec<(u64, u64)>,
        size: u64,
    },
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Reads a tar from a source; as a [`Read`], gives the bytes of the current entry.
#[derive(Debug)]
pub(crate) struct TarReader<R> {
    source: R,
    left: u64,
    padding: u64,
}

/// What extension headers said of the entry that follows them.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            left: 0,
            padding: 0,
        }
    }

    /// Goes on to the next entry, past what was not read of the current one.
    pub(crate) fn next_entry(&mut self) -> Result<Option<ReadEntry>, StoreError> {
        self.skip()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.read_header()? else {
                return Ok(None);
            };
            match block[156] {
                b'x' => self.read_pax(&block, &mut extensions)?,
                // A global header says something of all entries; what matters to a layer is
                // never said so (git writes its commit there).
                b'g' => drop(self.read_extension(&block)?),
                b'L' => extensions.path = Some(until_nul(self.read_extension(&block)?)),
                b'K' => extensions.link = Some(until_nul(self.read_extension(&block)?)),
                _ => return self.entry(&block, extensions).map(Some),
            }
        }
    }

    /// Reads to the end of the source, so that whoever counts its bytes sees them all.
    pub(crate) fn drain(mut self) -> Result<(), StoreError> {
        io::copy(&mut self.source, &mut io::sink()).map_err(input)?;
        Ok(())
    }

    /// Reads a header block; `None` at the end of the archive.
    fn read_header(&mut self) -> Result<Option<[u8; BLOCK]>, StoreError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(broken("it ends inside a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(input(error)),
            }
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        if !has_right_sum(&block) {
            return Err(broken("a header's checksum is wrong"));
        }
        Ok(Some(block))
    }

    fn read_extension(&mut self, block: &[u8; BLOCK]) -> Result<Vec<u8>, StoreError> {
        let size = number(&block[124..136])?;
        if size > EXTENSION_SIZE_MAX {
            return Err(broken("an extension header is too long"));
        }
        self.begin(size);
        let mut bytes = vec![0; size as usize];
        self.read_exact(&mut bytes).map_err(input)?;
        self.skip()?;
        Ok(bytes)
    }

    fn read_pax(&mut self, block: &[u8; BLOCK], into: &mut Extensions) -> Result<(), StoreError> {
        let bytes = self.read_extension(block)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let record;
            (record, rest) = split_pax(rest).ok_or(broken("a PAX header is malformed"))?;
            let (key, value) = record;
            into.take(key, value)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        extensions: Extensions,
    ) -> Result<ReadEntry, StoreError> {
        let path = match extensions.path {
            Some(path) => path,
            None => header_path(block),
        };
        let link = match extensions.link {
            Some(link) => link,
            None => until_nul(block[157..257].to_vec()),
        };
        check_path(&path)?;
        check_path(&link)?;
        let size = match extensions.size {
            Some(size) => size,
            None => number(&block[124..136])?,
        };
        let device = || -> Result<(u32, u32), StoreError> {
            Ok((small(&block[329..337])?, small(&block[337..345])?))
        };
        let kind = match block[156] {
            b'0' | 0 | b'7' if path.ends_with(b"/") => ReadKind::Directory,
            b'0' | 0 | b'7' => ReadKind::File,
            b'1' => ReadKind::HardLink(link),
            b'2' => ReadKind::Symlink(link),
            b'3' => device().map(|(major, minor)| ReadKind::CharDevice(major, minor))?,
            b'4' => device().map(|(major, minor)| ReadKind::BlockDevice(major, minor))?,
            b'5' => ReadKind::Directory,
            b'6' => ReadKind::Fifo,
            b'S' => self.read_sparse(block)?,
            _ => return Err(broken("an entry has an unknown type")),
        };
        // Other kinds have no bytes, even where a header gives a size (hard links of old tars).
        let has_bytes = matches!(kind, ReadKind::File | ReadKind::Sparse { .. });
        self.begin(if has_bytes { size } else { 0 });
        if let ReadKind::Sparse { pieces, .. } = &kind
            && pieces.iter().map(|(_, length)| length).sum::<u64>() != size
        {
            return Err(broken("a sparse file's pieces do not add up to its size"));
        }
        let header_mtime = || signed(&block[136..148]).map(|seconds| (seconds, 0));
        Ok(ReadEntry {
            path,
            kind,
            mode: (number(&block[100..108])? & 0o7777) as u32,
            uid: owner(extensions.uid, &block[108..116])?,
            gid: owner(extensions.gid, &block[116..124])?,
            mtime: extensions.mtime.map_or_else(header_mtime, Ok)?,
            attributes: extensions.attributes,
        })
    }

    /// The map of an old GNU sparse file: four pieces in the header, more in blocks behind it.
    fn read_sparse(&mut self, block: &[u8; BLOCK]) -> Result<ReadKind, StoreError> {
        let mut pieces = Vec::new();
        take_pieces(&block[386..482], &mut pieces)?;
        let mut is_extended = block[482] == 1;
        while is_extended {
            let mut more = [0; BLOCK];
            self.source.read_exact(&mut more).map_err(input)?;
            take_pieces(&more[..504], &mut pieces)?;
            is_extended = more[504] == 1;
        }
        let size = number(&block[483..495])?;
        let mut end = 0;
        for &(offset, length) in &pieces {
            let next = offset
                .checked_add(length)
                .filter(|&next| next <= size && offset >= end);
            end = next.ok_or(broken("a sparse file's pieces overlap or lie outside"))?;
        }
        if size > SPARSE_SIZE_MAX {
            return Err(broken("a sparse file is larger than 1 TiB"));
        }
        Ok(ReadKind::Sparse { pieces, size })
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip(&mut self) -> Result<(), StoreError> {
        let wanted = u128::from(self.left) + u128::from(self.padding);
        let wanted = u64::try_from(wanted).map_err(|_| broken("an entry is too long"))?;
        let skipped =
            io::copy(&mut (&mut self.source).take(wanted), &mut io::sink()).map_err(input)?;
        if skipped < wanted {
            return Err(broken("it ends inside an entry"));
        }
        self.begin(0);
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        let count = self.source.read(&mut buffer[..room])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

impl Extensions {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let malformed = broken("a PAX header has a malformed number");
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value).ok_or(malformed)?),
            b"uid" => self.uid = Some(decimal(value).ok_or(malformed)?),
            b"gid" => self.gid = Some(decimal(value).ok_or(malformed)?),
            b"mtime" => self.mtime = Some(pax_time(value).ok_or(malformed)?),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(broken("sparse files in PAX form are not supported"));
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn header_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(block[..100].to_vec());
    // GNU tars ("ustar  ") keep other things where ustar has the prefix.
    let prefix = until_nul(block[345..500].to_vec());
    if &block[257..263] != b"ustar\0" || prefix.is_empty() {
        return name;
    }
    [&prefix[..], b"/", &name].concat()
}

fn check_path(path: &[u8]) -> Result<(), StoreError> {
    if path.len() > PATH_LENGTH_MAX {
        return Err(broken("a path is longer than 4096 bytes"));
    }
    if path.contains(&0) {
        return Err(broken("a path contains a NUL byte"));
    }
    Ok(())
}

fn take_pieces(bytes: &[u8], pieces: &mut Vec<(u64, u64)>) -> Result<(), StoreError> {
    for piece in bytes.chunks_exact(24) {
        if piece[0] == 0 {
            break;
        }
        pieces.push((number(&piece[..12])?, number(&piece[12..])?));
    }
    if pieces.len() > SPARSE_PIECES_MAX {
        return Err(broken("a sparse file has too many pieces"));
    }
    Ok(())
}

pub(super) fn broken(reason: &'static str) -> StoreError {
    StoreError::Tar { reason }
}

fn input(source: io::Error) -> StoreError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return broken("it ends inside an entry");
    }
    StoreError::Input {
        what: "layer",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::tar_write::{TarEntry, TarKind, TarWriter};
    use proptest::prelude::*;
    use std::ffi::OsString;

    fn read_all(bytes: &[u8]) -> Result<Vec<(ReadEntry, Vec<u8>)>, StoreError> {
        let mut reader = TarReader::new(bytes);
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let mut body = Vec::new();
            reader.read_to_end(&mut body).map_err(input)?;
            entries.push((entry, body));
        }
        Ok(entries)
    }

    #[test]
    fn reads_what_gnu_tar_writes() {
        let mut builder = tar::Builder::new(Vec::new());
        let long = "d/".repeat(90) + "file";
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o4755);
        header.set_uid(1000);
        header.set_mtime(7);
        builder
            .append_data(&mut header, &long, &b"abc"[..])
            .unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "l", &long).unwrap();
        let entries = read_all(&builder.into_inner().unwrap()).unwrap();
        let (file, body) = &entries[0];
        assert_eq!((&file.path[..], &body[..]), (long.as_bytes(), &b"abc"[..]));
        assert_eq!((file.mode, file.uid, file.mtime), (0o4755, 1000, (7, 0)));
        assert_eq!(entries[1].0.kind, ReadKind::Symlink(long.into_bytes()));
    }

    #[test]
    fn old_sparse_files() {
        let mut block = [0; BLOCK];
        block[..6].copy_from_slice(b"sparse");
        let octal = |text: &str| format!("{text:0>11}\0").into_bytes();
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(&octal("4"));
        block[136..148].copy_from_slice(&octal("0"));
        block[156] = b'S';
        block[257..265].copy_from_slice(b"ustar  \0");
        block[386..398].copy_from_slice(&octal("10"));
        block[398..410].copy_from_slice(&octal("4"));
        block[483..495].copy_from_slice(&octal("20"));
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = block.to_vec();
        bytes.extend_from_slice(b"data");
        bytes.resize(4 * BLOCK, 0);
        let entries = read_all(&bytes).unwrap();
        let kind = ReadKind::Sparse {
            pieces: vec![(8, 4)],
            size: 16,
        };
        assert_eq!(
            (&entries[0].0.kind, &entries[0].1[..]),
            (&kind, &b"data"[..])
        );
    }

    #[test]
    fn limits_hold() {
        let mut block = [0; BLOCK];
        block[156] = b'L';
        block[124..136].copy_from_slice(b"77777777777\0");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let error = read_all(&block).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }

    fn sample() -> Vec<u8> {
        let attributes = [(OsString::from("user.x"), b"\0=\n1".to_vec())];
        let mut writer = TarWriter::new(Vec::new());
        let path = ["p".repeat(120), "q".repeat(150)].join("/");
        let entry = |kind| TarEntry {
            path: path.as_bytes(),
            kind,
            mode: 0o1777,
            uid: 3_000_000,
            gid: 5,
            mtime: -3,
            attributes: &attributes,
        };
        writer
            .file(&entry(TarKind::File { size: 600 }), &[7; 600][..])
            .unwrap();
        for kind in [
            TarKind::Directory,
            TarKind::Symlink(b"t"),
            TarKind::HardLink(path.as_bytes()),
            TarKind::CharDevice(1, 3),
            TarKind::BlockDevice(8, 1_000_000),
            TarKind::Fifo,
        ] {
            writer.entry(&entry(kind)).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn reads_what_we_write() {
        let entries = read_all(&sample()).unwrap();
        assert_eq!(entries.len(), 7);
        assert_eq!(entries[0].1, [7; 600]);
        assert_eq!(entries[5].0.kind, ReadKind::BlockDevice(8, 1_000_000));
        for (entry, _) in &entries {
            assert_eq!((entry.mode, entry.uid, entry.gid), (0o1777, 3_000_000, 5));
            assert_eq!(entry.mtime, (-3, 0));
            assert_eq!(entry.attributes, [(b"user.x".to_vec(), b"\0=\n1".to_vec())]);
            assert_eq!(
                entry.path.len() - usize::from(entry.kind == ReadKind::Directory),
                271
            );
        }
    }

    #[test]
    fn a_cut_tar_is_an_error_or_shorter() {
        let bytes = sample();
        for length in 1..bytes.len() - 2 * BLOCK {
            match read_all(&bytes[..length]) {
                Ok(entries) => assert!(length % BLOCK == 0 && entries.len() < 7),
                Err(error) => assert!(matches!(error, StoreError::Tar { .. }), "{error}"),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// Any bytes give entries or an error, never a panic.
        #[test]
        fn damage_never_panics(at in 0usize..6000, bytes in prop::collection::vec(any::<u8>(), 1..40), fix in any::<bool>()) {
            let mut tar = sample();
            let at = at % tar.len();
            let end = (at + bytes.len()).min(tar.len());
            tar[at..end].copy_from_slice(&bytes[..end - at]);
            if fix {
                let start = at / BLOCK * BLOCK;
                let block = &mut tar[start..start + BLOCK];
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
            let _ = read_all(&tar);
        }
    }
}
