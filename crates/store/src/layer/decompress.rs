//! Reads compressed layers: finds the form by its first bytes, decompresses and digests in a
//! thread of its own, while the caller unpacks.

use std::io::{self, Cursor, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use cairn_oci::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

use crate::error::StoreError;

const CHUNK: usize = 256 << 10;
const CHUNKS_WAITING: usize = 16;

/// Decompresses a layer, gives its tar to `consume`, and says which tar it was.
///
/// `consume` must read to the end: the DiffId covers every byte.
pub(crate) fn with_tar<T>(
    source: impl Read + Send,
    consume: impl FnOnce(TarStream) -> Result<T, StoreError>,
) -> Result<(T, DiffId), StoreError> {
    let (chunks, receiver) = sync_channel(CHUNKS_WAITING);
    thread::scope(|scope| {
        let pump = scope.spawn(move || pump(source, &chunks));
        let consumed = consume(TarStream {
            chunks: receiver,
            current: Cursor::new(Vec::new()),
        });
        let digest = pump
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((consumed?, digest?))
    })
}

/// Decompresses to the end of the source, or until nobody listens.
fn pump(
    source: impl Read + Send,
    chunks: &SyncSender<io::Result<Vec<u8>>>,
) -> Result<DiffId, StoreError> {
    let mut hasher = Sha256::new();
    let mut reader = match decompressed(source) {
        Ok(reader) => reader,
        Err(error) => {
            let _ = chunks.send(Err(error));
            return Ok(diff_id(hasher));
        }
    };
    loop {
        let mut chunk = vec![0; CHUNK];
        match fill(&mut reader, &mut chunk) {
            Ok(0) => return Ok(diff_id(hasher)),
            Ok(count) => chunk.truncate(count),
            Err(error) => {
                // The consumer reports it, with what it was reading.
                let _ = chunks.send(Err(error));
                return Ok(diff_id(hasher));
            }
        }
        hasher.update(&chunk);
        if chunks.send(Ok(chunk)).is_err() {
            return Ok(diff_id(hasher));
        }
    }
}

fn diff_id(hasher: Sha256) -> DiffId {
    DiffId(Digest::from_sha256(hasher.finalize().into()))
}

/// Wraps a source in the decompressor that its first bytes ask for.
pub(crate) fn decompressed<'a>(mut source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 4];
    let count = fill(&mut source, &mut magic)?;
    let whole = Cursor::new(magic[..count].to_vec()).chain(source);
    Ok(match magic {
        [0x1f, 0x8b, ..] => {
            let buffered = io::BufReader::with_capacity(CHUNK, whole);
            Box::new(flate2::bufread::MultiGzDecoder::new(buffered))
        }
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        [b'B', b'Z', b'h', _] => return Err(unsupported("bzip2")),
        [0xfd, b'7', b'z', b'X'] => return Err(unsupported("xz")),
        _ => Box::new(whole),
    })
}

fn unsupported(form: &str) -> io::Error {
    let message = format!("{form} is not among the forms of layers (gzip, zstd, plain tar)");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The bytes of the tar as they come out of the decompressing thread.
#[derive(Debug)]
pub(crate) struct TarStream {
    chunks: Receiver<io::Result<Vec<u8>>>,
    current: Cursor<Vec<u8>>,
}

impl Read for TarStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.chunks.recv() {
                Ok(chunk) => self.current = Cursor::new(chunk?),
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::compress::Compressor;
    use cairn_oci::Compression;
    use std::io::Write;

    fn read_back(bytes: &[u8]) -> Result<(Vec<u8>, DiffId), StoreError> {
        with_tar(bytes, |mut stream| {
            let mut plain = Vec::new();
            let read = stream.read_to_end(&mut plain);
            read.map_err(|source| StoreError::Input {
                what: "layer",
                source,
            })?;
            Ok(plain)
        })
    }

    #[test]
    fn all_forms_give_the_same_tar() {
        let plain: Vec<u8> = (0..5_000_000u32)
            .map(|number| (number / 1000) as u8)
            .collect();
        for compression in Compression::ALL {
            let mut compressor = Compressor::new(Vec::new(), compression, 2).unwrap();
            compressor.write_all(&plain).unwrap();
            let compressed = compressor.finish().unwrap();
            let (read, diff_id) = read_back(&compressed).unwrap();
            assert!(read == plain);
            assert_eq!(diff_id, DiffId(Digest::sha256(&plain)));
        }
        let (read, _) = read_back(b"").unwrap();
        assert!(read.is_empty());
    }

    #[test]
    fn damage_and_other_forms_are_errors() {
        let mut compressor = Compressor::new(Vec::new(), Compression::Gzip, 1).unwrap();
        compressor.write_all(&[1; 100_000]).unwrap();
        let compressed = compressor.finish().unwrap();
        assert!(read_back(&compressed[..compressed.len() / 2]).is_err());
        let error = read_back(b"BZh91AY").unwrap_err();
        assert!(
            matches!(error, StoreError::Input { source, .. } if source.to_string().contains("bzip2"))
        );
    }

    #[test]
    fn a_consumer_that_stops_early_stops_the_pump() {
        let result = with_tar(io::repeat(b'x'), |_stream| {
            Err::<(), _>(StoreError::Tar { reason: "enough" })
        });
        assert!(matches!(result, Err(StoreError::Tar { reason: "enough" })));
    }
}
