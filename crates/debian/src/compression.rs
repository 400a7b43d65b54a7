//! The compressions of indexes and package members, told by their file suffix.

use std::io::{BufReader, Read, Result};

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// `.xz`
    Xz,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
    /// Not at all.
    None,
}

impl Compression {
    /// All, the preferred one first.
    pub(crate) const ALL: [Compression; 4] = [
        Compression::Xz,
        Compression::Gzip,
        Compression::Zstd,
        Compression::None,
    ];

    /// The file suffix.
    #[must_use]
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Compression::Xz => ".xz",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
            Compression::None => "",
        }
    }

    /// Finds the compression of `name`, which is `stem` and a suffix.
    #[must_use]
    pub(crate) fn of(name: &str, stem: &str) -> Option<Compression> {
        let suffix = name.strip_prefix(stem)?;
        Compression::ALL
            .into_iter()
            .find(|compression| compression.suffix() == suffix)
    }

    /// Unpacks a stream.
    ///
    /// # Errors
    /// When the unpacker cannot be set up.
    pub(crate) fn reader<'a>(self, packed: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Compression::Xz => Box::new(lzma_rust2::XzReader::new(BufReader::new(packed), true)),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Compression::Zstd => Box::new(zstd::Decoder::new(packed)?),
            Compression::None => Box::new(packed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Compression;

    #[test]
    fn names_tell_the_compression() {
        assert_eq!(
            Compression::of("data.tar.xz", "data.tar"),
            Some(Compression::Xz)
        );
        assert_eq!(
            Compression::of("data.tar", "data.tar"),
            Some(Compression::None)
        );
        assert_eq!(Compression::of("data.tar.lzma", "data.tar"), None);
        assert_eq!(Compression::of("control.tar.gz", "data.tar"), None);
    }
}
