//! Wheels, which are zip archives, unpacked: only what Python's own packages use of the format.
//!
//! No encryption, no archives of more than 4 GiB, no links. A name that would leave the folder is
//! refused, and so is a file that is longer than its entry says.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path};

use flate2::read::DeflateDecoder;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// Unpacks a wheel into a folder.
pub(super) fn unpack(wheel: &[u8], folder: &Path) -> io::Result<()> {
    let end = wheel
        .windows(END.len())
        .rposition(|window| window == END)
        .ok_or_else(|| broken("it is no zip archive"))?;
    let count = number(wheel, end + 10, 2)?;
    let mut at = number(wheel, end + 16, 4)?;
    for _ in 0..count {
        let entry = Entry::read(wheel, at)?;
        at = entry.next;
        entry.unpack(wheel, folder)?;
    }
    Ok(())
}

/// One file of an archive.
struct Entry<'a> {
    name: &'a str,
    method: u16,
    packed: usize,
    size: usize,
    local: usize,
    next: usize,
}

impl<'a> Entry<'a> {
    fn read(wheel: &'a [u8], at: usize) -> io::Result<Self> {
        if part(wheel, at, ENTRY.len())? != ENTRY {
            return Err(broken("its list of files is damaged"));
        }
        let length = number(wheel, at + 28, 2)?;
        let further = number(wheel, at + 30, 2)? + number(wheel, at + 32, 2)?;
        let name = std::str::from_utf8(part(wheel, at + 46, length)?);
        Ok(Self {
            name: name.map_err(|_| broken("a file name is not UTF-8"))?,
            method: u16::try_from(number(wheel, at + 10, 2)?).unwrap_or(u16::MAX),
            packed: number(wheel, at + 20, 4)?,
            size: number(wheel, at + 24, 4)?,
            local: number(wheel, at + 42, 4)?,
            next: at + 46 + length + further,
        })
    }

    fn unpack(&self, wheel: &[u8], folder: &Path) -> io::Result<()> {
        let name = Path::new(self.name);
        let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_));
        if !name.components().all(is_inside) {
            return Err(broken("a file name leads out of the archive"));
        }
        if self.name.ends_with('/') {
            return Ok(());
        }
        if part(wheel, self.local, LOCAL.len())? != LOCAL {
            return Err(broken("a file is not where it should be"));
        }
        let header = number(wheel, self.local + 26, 2)? + number(wheel, self.local + 28, 2)?;
        let packed = part(wheel, self.local + 30 + header, self.packed)?;
        let mut bytes = Vec::new();
        let limit = self.size as u64 + 1;
        match self.method {
            STORED => packed.take(limit).read_to_end(&mut bytes)?,
            DEFLATED => DeflateDecoder::new(packed)
                .take(limit)
                .read_to_end(&mut bytes)?,
            _ => return Err(broken("a file is packed in an unknown way")),
        };
        if bytes.len() != self.size {
            return Err(broken("a file is not as long as it should be"));
        }
        let path = folder.join(name);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write(path, bytes)
    }
}

fn part(bytes: &[u8], at: usize, length: usize) -> io::Result<&[u8]> {
    let end = at.checked_add(length);
    end.and_then(|end| bytes.get(at..end))
        .ok_or_else(|| broken("it ends too early"))
}

/// A number in little-endian order.
fn number(bytes: &[u8], at: usize, length: usize) -> io::Result<usize> {
    let digits = part(bytes, at, length)?.iter().rev();
    Ok(digits.fold(0, |number, digit| number << 8 | usize::from(*digit)))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// An archive of one file, as Python's `zipfile` writes it.
    pub(in crate::suite) fn archive(name: &str, content: &[u8], deflate: bool) -> Vec<u8> {
        let packed = match deflate {
            false => content.to_vec(),
            true => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
        };
        let method: u16 = if deflate { DEFLATED } else { STORED };
        let (name_length, size) = (name.len() as u16, content.len() as u32);
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0]);
        common.extend(method.to_le_bytes());
        common.extend([0; 8]);
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(name_length.to_le_bytes());
        common.extend([0, 0]);
        let mut zip = LOCAL.to_vec();
        zip.extend(&common);
        zip.extend(name.as_bytes());
        zip.extend(&packed);
        let directory = zip.len() as u32;
        zip.extend(ENTRY);
        zip.extend([20, 0]);
        zip.extend(&common);
        zip.extend([0; 14]);
        zip.extend(name.as_bytes());
        let length = zip.len() as u32 - directory;
        zip.extend(END);
        zip.extend([0, 0, 0, 0, 1, 0, 1, 0]);
        zip.extend(length.to_le_bytes());
        zip.extend(directory.to_le_bytes());
        zip.extend([0, 0]);
        zip
    }

    fn unpacked(zip: &[u8], name: &str) -> io::Result<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        unpack(zip, folder.path())?;
        fs::read(folder.path().join(name))
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let content = b"import this\n".repeat(100);
        for deflate in [false, true] {
            let zip = archive("pkg/__init__.py", &content, deflate);
            assert_eq!(unpacked(&zip, "pkg/__init__.py").unwrap(), content);
        }
    }

    #[test]
    fn what_is_damaged_or_leads_out_is_refused() {
        let refused = |zip: &[u8], told: &str| {
            let error = unpacked(zip, "x").expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        };
        refused(b"no archive", "no zip");
        refused(&archive("../x", b"x", false), "leads out");
        refused(&archive("/x", b"x", false), "leads out");
        let good = archive("x", b"content", false);
        for cut in [10, 22, 60] {
            assert!(unpacked(&good[..good.len() - cut], "x").is_err());
        }
        let mut longer = good.clone();
        let at = longer.windows(4).rposition(|it| it == ENTRY).unwrap();
        longer[at + 24] = 3;
        refused(&longer, "as long as");
    }
}
