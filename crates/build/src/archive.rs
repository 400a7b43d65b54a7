//! Archives that `ADD` unpacks: tar, plain or compressed, known by their content.
//!
//! The name says nothing: `data.tar` may be a text, and `model.bin` an archive. What decides is
//! whether the first bytes, decompressed if they look compressed, are a valid tar header.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// Whether a stream is an archive. One that cannot be read is none.
pub(crate) fn is_archive(reader: impl Read + Send + 'static) -> bool {
    let Ok(plain) = decompress(reader) else {
        return false;
    };
    let mut archive = tar::Archive::new(plain);
    let Ok(mut entries) = archive.entries() else {
        return false;
    };
    matches!(entries.next(), Some(Ok(_)))
}

/// The time of the newest file in an archive, in seconds since 1970; `None` if it has no files.
pub fn newest_time(reader: impl Read + Send + 'static) -> io::Result<Option<i64>> {
    let mut archive = tar::Archive::new(decompress(reader)?);
    let mut newest = None;
    for entry in archive.entries()? {
        let time = i64::try_from(entry?.header().mtime()?).ok();
        newest = newest.max(time);
    }
    Ok(newest)
}

/// Takes away the compression that a stream has, if it has one.
pub(crate) fn decompress(reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    const BUFFER: usize = 128 << 10;
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let compression = compression_of(reader.fill_buf()?);
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Compression::Bzip2 => Box::new(MultiBzDecoder::new(reader)),
        Compression::Xz => Box::new(XzReader::new(reader, true)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
    })
}

fn compression_of(start: &[u8]) -> Compression {
    const KNOWN: [(&[u8], Compression); 4] = [
        (&[0x1f, 0x8b, 0x08], Compression::Gzip),
        (b"BZh", Compression::Bzip2),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
        (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
    ];
    // A zstd stream may begin with a frame that is to be skipped; its first byte's low half is free.
    if matches!(start, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50) {
        return Compression::Zstd;
    }
    let known = KNOWN.iter().find(|(magic, _)| start.starts_with(magic));
    known.map_or(Compression::None, |(_, compression)| *compression)
}
