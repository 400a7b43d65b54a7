//! Writes layer tars: the same bytes for the same entries, everywhere and always.
//!
//! Plain ustar; a PAX header goes before an entry only where ustar cannot say it (long paths, large
//! numbers, times before 1970, extended attributes). No user names, no padding to tape records.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

pub(crate) const BLOCK: usize = 512;

/// An entry without its bytes.
#[derive(Debug)]
pub(crate) struct TarEntry<'a> {
    /// Relative, without a leading or trailing slash; `.` for the root.
    pub(crate) path: &'a [u8],
    pub(crate) kind: TarKind<'a>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) attributes: &'a [(OsString, Vec<u8>)],
}

/// Why a file did not get into a tar: the two ends of the copy are different disks.
#[derive(Debug)]
pub(crate) enum FileError {
    /// Its bytes could not be read, or were fewer than the entry says.
    Read(io::Error),
    /// The tar could not be written.
    Write(io::Error),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TarKind<'a> {
    File { size: u64 },
    Directory,
    Symlink(&'a [u8]),
    HardLink(&'a [u8]),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Writes a tar to a sink.
#[derive(Debug)]
pub(crate) struct TarWriter<W> {
    sink: W,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(sink: W) -> Self {
        Self {
            sink,
            buffer: vec![0; 256 << 10],
        }
    }

    /// Writes an entry that has no bytes.
    pub(crate) fn entry(&mut self, entry: &TarEntry<'_>) -> io::Result<()> {
        debug_assert!(!matches!(entry.kind, TarKind::File { size } if size > 0));
        self.header(entry)
    }

    /// Writes a file. The reader must give as many bytes as the entry says.
    pub(crate) fn file(
        &mut self,
        entry: &TarEntry<'_>,
        mut bytes: impl Read,
    ) -> Result<(), FileError> {
        self.header(entry).map_err(FileError::Write)?;
        let TarKind::File { size } = entry.kind else {
            return Ok(());
        };
        let mut left = size;
        while left > 0 {
            let room = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match bytes.read(&mut self.buffer[..room]) {
                Ok(0) => return Err(FileError::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FileError::Read(error)),
            };
            let written = self.sink.write_all(&self.buffer[..count]);
            written.map_err(FileError::Write)?;
            left -= count as u64;
        }
        self.pad(size).map_err(FileError::Write)
    }

    /// Ends the tar and gives the sink back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.sink.write_all(&[0; 2 * BLOCK])?;
        Ok(self.sink)
    }

    fn header(&mut self, entry: &TarEntry<'_>) -> io::Result<()> {
        let mut path = entry.path.to_vec();
        if entry.kind == TarKind::Directory {
            path.push(b'/');
        }
        let records = pax_records(entry, &path);
        if !records.is_empty() {
            self.pax_header(&path, &records)?;
        }
        self.sink.write_all(&ustar(entry, &path))
    }

    fn pax_header(&mut self, path: &[u8], records: &[u8]) -> io::Result<()> {
        let trimmed = path.strip_suffix(b"/").unwrap_or(path);
        let name = trimmed
            .rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or(trimmed);
        let mut block = [0; BLOCK];
        let full = [b"PaxHeaders.0/", name].concat();
        put_bytes(&mut block[..100], &full);
        put_octal(&mut block[100..108], 0o644);
        put_octal(&mut block[108..116], 0);
        put_octal(&mut block[116..124], 0);
        put_octal(&mut block[124..136], records.len() as u64);
        put_octal(&mut block[136..148], 0);
        block[156] = b'x';
        seal(&mut block);
        self.sink.write_all(&block)?;
        self.sink.write_all(records)?;
        self.pad(records.len() as u64)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = (size % BLOCK as u64) as usize;
        match over {
            0 => Ok(()),
            over => self.sink.write_all(&[0; BLOCK][over..]),
        }
    }
}

const OCTAL_7: u64 = 0o7_777_777;
const OCTAL_11: u64 = 0o77_777_777_777;

fn ustar(entry: &TarEntry<'_>, path: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    match split_path(path) {
        Some((prefix, name)) => {
            put_bytes(&mut block[..100], name);
            put_bytes(&mut block[345..500], prefix);
        }
        None => put_bytes(&mut block[..100], path),
    }
    put_octal(&mut block[100..108], u64::from(entry.mode));
    put_octal(
        &mut block[108..116],
        in_range(u64::from(entry.uid), OCTAL_7),
    );
    put_octal(
        &mut block[116..124],
        in_range(u64::from(entry.gid), OCTAL_7),
    );
    let (letter, size, link, device) = match entry.kind {
        TarKind::File { size } => (b'0', size, &b""[..], None),
        TarKind::HardLink(target) => (b'1', 0, target, None),
        TarKind::Symlink(target) => (b'2', 0, target, None),
        TarKind::CharDevice(major, minor) => (b'3', 0, &b""[..], Some((major, minor))),
        TarKind::BlockDevice(major, minor) => (b'4', 0, &b""[..], Some((major, minor))),
        TarKind::Directory => (b'5', 0, &b""[..], None),
        TarKind::Fifo => (b'6', 0, &b""[..], None),
    };
    put_octal(&mut block[124..136], in_range(size, OCTAL_11));
    let mtime = u64::try_from(entry.mtime).unwrap_or(0);
    put_octal(&mut block[136..148], in_range(mtime, OCTAL_11));
    block[156] = letter;
    put_bytes(&mut block[157..257], link);
    if let Some((major, minor)) = device {
        put_octal(&mut block[329..337], in_range(u64::from(major), OCTAL_7));
        put_octal(&mut block[337..345], in_range(u64::from(minor), OCTAL_7));
    }
    seal(&mut block);
    block
}

/// What is out of range stands in a PAX record; here it is zero.
fn in_range(number: u64, limit: u64) -> u64 {
    if number <= limit { number } else { 0 }
}

/// Splits a path that is too long for the name field at a slash; `None` if it does not fit.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    const NAME_MAX: usize = 100;
    const PREFIX_MAX: usize = 155;
    if path.len() <= NAME_MAX {
        return Some((b"", path));
    }
    let earliest = path.len().checked_sub(NAME_MAX + 1)?;
    let slash = (earliest..path.len() - 1).find(|&at| path[at] == b'/')?;
    let fits = (1..=PREFIX_MAX).contains(&slash);
    fits.then(|| (&path[..slash], &path[slash + 1..]))
}

fn pax_records(entry: &TarEntry<'_>, path: &[u8]) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut put = |key: &[u8], value: &[u8]| records.push((key.to_vec(), value.to_vec()));
    if split_path(path).is_none() {
        put(b"path", path);
    }
    if let TarKind::Symlink(target) | TarKind::HardLink(target) = entry.kind
        && target.len() > 100
    {
        put(b"linkpath", target);
    }
    if let TarKind::File { size } = entry.kind
        && size > OCTAL_11
    {
        put(b"size", size.to_string().as_bytes());
    }
    for (key, number) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if u64::from(number) > OCTAL_7 {
            put(key, number.to_string().as_bytes());
        }
    }
    if !(0..=OCTAL_11 as i64).contains(&entry.mtime) {
        put(b"mtime", entry.mtime.to_string().as_bytes());
    }
    for (name, value) in entry.attributes {
        put(&[b"SCHILY.xattr.", name.as_bytes()].concat(), value);
    }
    records.sort();
    records
        .iter()
        .flat_map(|(key, value)| pax_record(key, value))
        .collect()
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + b" =\n".len();
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = length.to_string().into_bytes();
    record.push(b' ');
    record.extend_from_slice(key);
    record.push(b'=');
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

fn put_bytes(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

/// Octal digits with leading zeros, ended by a NUL.
fn put_octal(field: &mut [u8], number: u64) {
    let width = field.len() - 1;
    put_bytes(field, format!("{number:0width$o}").as_bytes());
}

fn seal(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    put_bytes(&mut block[148..156], format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain<'a>(path: &'a [u8], kind: TarKind<'a>) -> TarEntry<'a> {
        TarEntry {
            path,
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            attributes: &[],
        }
    }

    #[test]
    fn pax_lengths_count_themselves() {
        assert_eq!(pax_record(b"k", b"v"), b"6 k=v\n");
        for length in 1..300 {
            let record = pax_record(b"key", &vec![b'v'; length]);
            let text = String::from_utf8(record.clone()).unwrap();
            let number: usize = text.split_once(' ').unwrap().0.parse().unwrap();
            assert_eq!(number, record.len());
        }
    }

    #[test]
    fn short_entries_need_no_pax() {
        let mut writer = TarWriter::new(Vec::new());
        writer.entry(&plain(b"d", TarKind::Directory)).unwrap();
        writer
            .file(&plain(b"d/f", TarKind::File { size: 1 }), &b"x"[..])
            .unwrap();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len(), 5 * BLOCK);
        assert_eq!(&bytes[..3], b"d/\0");
        assert_eq!(&bytes[257..265], b"ustar\x0000");
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let mut writer = TarWriter::new(Vec::new());
        let error = writer
            .file(&plain(b"f", TarKind::File { size: 2 }), &b"x"[..])
            .unwrap_err();
        assert!(matches!(error, FileError::Read(error)
            if error.kind() == io::ErrorKind::UnexpectedEof));
    }

    proptest! {
        /// What we write, the `tar` crate reads back the same. (It cuts attributes at line ends;
        /// `tar_read` tests those.)
        #[test]
        fn another_reader_agrees(
            parts in prop::collection::vec("[a-zé]{1,80}", 1..6),
            target in "[a-z/]{1,150}",
            uid in prop_oneof![0u32..3000, Just(2_097_151), Just(2_097_152), Just(u32::MAX - 1)],
            mtime in prop_oneof![0i64..2_000_000_000, Just(-1), Just(1 << 40)],
            body in prop::collection::vec(any::<u8>(), 0..1500),
            value in prop::collection::vec(any::<u8>().prop_filter("no line end", |&byte| byte != b'\n'), 0..50),
        ) {
            let path = parts.join("/");
            let attributes = [(OsString::from("user.test"), value.clone())];
            let mut writer = TarWriter::new(Vec::new());
            let entry = |kind| TarEntry { uid, mtime, attributes: &attributes, ..plain(path.as_bytes(), kind) };
            writer.file(&entry(TarKind::File { size: body.len() as u64 }), &body[..]).unwrap();
            writer.entry(&entry(TarKind::Symlink(target.as_bytes()))).unwrap();
            let bytes = writer.finish().unwrap();

            let mut archive = tar::Archive::new(&bytes[..]);
            let mut entries = archive.entries().unwrap();
            let mut file = entries.next().unwrap().unwrap();
            prop_assert_eq!(&*file.path_bytes(), path.as_bytes());
            prop_assert_eq!(file.header().uid().unwrap(), u64::from(uid));
            let pax: Vec<(String, Vec<u8>)> = file.pax_extensions().unwrap().unwrap()
                .map(|record| record.unwrap())
                .map(|record| (record.key().unwrap().to_owned(), record.value_bytes().to_vec()))
                .collect();
            prop_assert!(pax.contains(&("SCHILY.xattr.user.test".into(), value)));
            let recorded = pax.iter().find(|(key, _)| key == "mtime");
            let read = recorded.map_or_else(
                || file.header().mtime().unwrap() as i64,
                |(_, value)| String::from_utf8_lossy(value).parse().unwrap(),
            );
            prop_assert_eq!(read, mtime);
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            prop_assert_eq!(read, body);
            let link = entries.next().unwrap().unwrap();
            prop_assert_eq!(&*link.link_name_bytes().unwrap(), target.as_bytes());
            prop_assert!(entries.next().is_none());
        }
    }
}
