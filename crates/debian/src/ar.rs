//! The `ar` container of a `.deb`: a magic line and members with a sixty-byte header each.

use std::io::{Read, Seek, SeekFrom};

use thiserror::Error;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_SIZE: usize = 60;

/// Where a member lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name, without padding.
    pub(crate) name: String,
    /// Where its bytes begin.
    pub(crate) offset: u64,
    /// How many there are.
    pub(crate) size: u64,
}

/// Why a file is no archive.
#[derive(Debug, Error)]
pub enum ArError {
    /// It does not begin like one.
    #[error("it is no ar archive")]
    Magic,
    /// A header is broken.
    #[error("the header at byte {offset} is broken")]
    Header {
        /// Where the header begins.
        offset: u64,
    },
    /// A member goes beyond the end.
    #[error("the member {name} is cut off")]
    Truncated {
        /// The member.
        name: String,
    },
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[from] std::io::Error),
}

/// Lists the members of an archive without reading their bytes.
///
/// # Errors
/// When the file is no well-formed archive.
pub(crate) fn members(file: &mut (impl Read + Seek)) -> Result<Vec<Member>, ArError> {
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut magic = [0; MAGIC.len()];
    let mut offset = MAGIC.len() as u64;
    if end < offset {
        return Err(ArError::Magic);
    }
    file.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(ArError::Magic);
    }
    let mut members = Vec::new();
    while offset < end {
        if end - offset < HEADER_SIZE as u64 {
            return Err(ArError::Header { offset });
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut header = [0; HEADER_SIZE];
        file.read_exact(&mut header)?;
        let (name, size) = parse_header(&header).ok_or(ArError::Header { offset })?;
        offset += HEADER_SIZE as u64;
        if size > end - offset {
            return Err(ArError::Truncated { name });
        }
        members.push(Member { name, offset, size });
        // Members begin at even offsets; the padding of the last one may be missing.
        offset += size + size % 2;
    }
    Ok(members)
}

fn parse_header(header: &[u8; HEADER_SIZE]) -> Option<(String, u64)> {
    if &header[58..] != b"`\n" {
        return None;
    }
    let name = std::str::from_utf8(&header[..16])
        .ok()?
        .trim_end_matches(' ');
    let size = std::str::from_utf8(&header[48..58])
        .ok()?
        .trim_end_matches(' ');
    let digits = !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit());
    digits.then_some(())?;
    Some((name.trim_end_matches('/').to_owned(), size.parse().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Cursor;

    /// Makes an archive of the given members.
    pub(crate) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (name, bytes) in members {
            let header = format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                100_644,
                bytes.len()
            );
            out.extend(header.as_bytes());
            out.extend(*bytes);
            if bytes.len() % 2 == 1 {
                out.push(b'\n');
            }
        }
        out
    }

    #[test]
    fn members_are_found() {
        let bytes = archive(&[("debian-binary", b"2.0\n"), ("odd", b"abc"), ("x/", b"y")]);
        let found = members(&mut Cursor::new(&bytes)).unwrap();
        let names: Vec<_> = found.iter().map(|m| (m.name.as_str(), m.size)).collect();
        assert_eq!(names, [("debian-binary", 4), ("odd", 3), ("x", 1)]);
        let odd = found[1].offset as usize;
        assert_eq!(&bytes[odd..odd + 3], b"abc");
    }

    #[test]
    fn broken_archives_are_refused() {
        let whole = archive(&[("a", b"abcd")]);
        let mut broken_size = whole.clone();
        broken_size[8 + 48] = b'-';
        let mut too_long = whole.clone();
        too_long[8 + 48] = b'9';
        for bytes in [
            b"".to_vec(),
            b"!<arch>".to_vec(),
            whole[..40].to_vec(),
            broken_size,
            too_long,
        ] {
            assert!(members(&mut Cursor::new(&bytes)).is_err());
        }
    }
}
