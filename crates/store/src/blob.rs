//! Blobs: bytes found by their digest, verified when they come in.
//!
//! A blob that is there is believed if its stamp is (see `durability`); otherwise it is hashed
//! once more before it is used, and stamped anew.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use cairn_oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use crate::cache::read_and_touch;
use crate::durability::Stamp;
use crate::error::{At, StoreError};
use crate::record_file;
use crate::session::rename_into;
use crate::store::Store;

/// The largest blob that [`Store::read_blob`] reads: documents are small, layers are streamed.
pub const DOCUMENT_SIZE_MAX: u64 = 64 << 20;

const STAMP_KIND: &str = "blob/1";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BlobStamp {
    pub(crate) stamp: Stamp,
    pub(crate) size: u64,
}

impl Store {
    /// Where a blob's bytes are, if it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.layout().blob(digest)
    }

    /// Whether a blob is there and whole.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_size(digest).is_some()
    }

    /// How many bytes a blob has; `None` if it is not there or not whole.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        let size = fs::metadata(self.blob_path(digest)).ok()?.len();
        if self
            .known_blobs()
            .lock()
            .expect("no panics while held")
            .contains(digest)
        {
            return Some(size);
        }
        let is_believed = self
            .blob_stamp(digest)
            .is_some_and(|known| known.size == size && self.durability().believes(&known.stamp));
        if !is_believed {
            self.verify_again(digest, size).ok()?;
        }
        self.remember_blob(digest);
        Some(size)
    }

    /// Opens a blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        if !self.has_blob(digest) {
            return Err(StoreError::BlobMissing {
                digest: digest.clone(),
            });
        }
        let path = self.blob_path(digest);
        File::open(&path).at("open", &path)
    }

    /// Reads a document and verifies it.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let Ok(file) = File::open(&path) else {
            return Err(StoreError::BlobMissing {
                digest: digest.clone(),
            });
        };
        let size = file.metadata().at("stat", &path)?.len();
        if size > DOCUMENT_SIZE_MAX {
            return Err(StoreError::BlobTooLarge {
                digest: digest.clone(),
                size,
                limit: DOCUMENT_SIZE_MAX,
            });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(DOCUMENT_SIZE_MAX)
            .read_to_end(&mut bytes)
            .at("read", &path)?;
        let found = hash_reader(digest.algorithm(), &bytes[..]).at("read", &path)?;
        if &found != digest {
            return Err(StoreError::BlobDamaged {
                digest: digest.clone(),
                found,
            });
        }
        Ok(bytes)
    }

    /// Stores bytes at hand.
    pub fn put_blob_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::sha256(bytes);
        if !self.has_blob(&digest) {
            let unfinished = self.session()?.write_unfinished(bytes)?;
            self.finish_blob(&unfinished, &digest, bytes.len() as u64)?;
        }
        Ok(digest)
    }

    /// Stores what a reader gives, under the digest it must have or the SHA-256 it has.
    ///
    /// A blob that is there already is not read again: the reader stays where it is.
    pub fn put_blob(
        &self,
        expected: Option<&Digest>,
        reader: &mut dyn Read,
    ) -> Result<(Digest, u64), StoreError> {
        if let Some(digest) = expected
            && let Some(size) = self.blob_size(digest)
        {
            return Ok((digest.clone(), size));
        }
        let mut writer = self.blob_writer()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let what = "blob";
                    return Err(StoreError::Input { what, source });
                }
            };
            let path = writer.path.clone();
            writer.write_all(&buffer[..count]).at("write", &path)?;
        }
        writer.finish(expected)
    }

    /// Starts a blob that is written piece by piece and digested with SHA-256.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        self.blob_writer_with(Algorithm::Sha256)
    }

    /// Starts a blob that is written piece by piece and digested with this algorithm.
    pub fn blob_writer_with(&self, algorithm: Algorithm) -> Result<BlobWriter, StoreError> {
        let path = self.session()?.fresh_path();
        let file = File::create_new(&path).at("create", &path)?;
        Ok(BlobWriter {
            store: self.clone(),
            path,
            file,
            hasher: Hasher::new(algorithm),
            size: 0,
        })
    }

    pub(crate) fn blob_stamp(&self, digest: &Digest) -> Option<BlobStamp> {
        let bytes = read_and_touch(&self.layout().blob_stamp(digest))?;
        record_file::parse(STAMP_KIND, &bytes)
    }

    /// A blob's stamp, without noting a use.
    pub(crate) fn peek_blob_stamp(&self, digest: &Digest) -> Option<BlobStamp> {
        let bytes = fs::read(self.layout().blob_stamp(digest)).ok()?;
        record_file::parse(STAMP_KIND, &bytes)
    }

    /// Hashes a blob as it is on the disk.
    pub(crate) fn hash_blob(&self, digest: &Digest) -> Result<Digest, StoreError> {
        let path = self.blob_path(digest);
        let file = File::open(&path).at("open", &path)?;
        hash_reader(digest.algorithm(), file).at("read", &path)
    }

    /// The stamp goes first: should only the blob's new name survive a power cut, the stamp that
    /// is found with it is not believed.
    fn finish_blob(
        &self,
        unfinished: &std::path::Path,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StoreError> {
        self.put_blob_stamp(digest, size)?;
        rename_into(unfinished, &self.blob_path(digest))?;
        self.remember_blob(digest);
        Ok(())
    }

    fn put_blob_stamp(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let stamp = self.stamp();
        let bytes = record_file::print(STAMP_KIND, &BlobStamp { stamp, size });
        self.session()?
            .write(&self.layout().blob_stamp(digest), &bytes)
    }

    fn verify_again(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let found = self.hash_blob(digest)?;
        if &found == digest {
            // In a home that cannot be written to, it is hashed again the next time.
            let _ = self.put_blob_stamp(digest, size);
            return Ok(());
        }
        Err(StoreError::BlobDamaged {
            digest: digest.clone(),
            found,
        })
    }

    fn remember_blob(&self, digest: &Digest) {
        let mut known = self.known_blobs().lock().expect("no panics while held");
        known.insert(digest.clone());
    }
}

/// A blob being written. Dropping it unfinished leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
}

#[derive(Debug, Clone)]
enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn digest(&self) -> Digest {
        match self.clone() {
            Self::Sha256(hasher) => Digest::from_sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => Digest::from_sha512(hasher.finalize().into()),
        }
    }
}

impl BlobWriter {
    /// The digest of what was written until now: whoever must know it need not digest the bytes a
    /// second time.
    pub fn digest(&self) -> Digest {
        self.hasher.digest()
    }

    /// Verifies the bytes against the digest they must have, if there is one, and stores them.
    pub fn finish(self, expected: Option<&Digest>) -> Result<(Digest, u64), StoreError> {
        let mut digest = self.digest();
        if let Some(expected) = expected
            && expected.algorithm() != digest.algorithm()
        {
            let file = File::open(&self.path).at("open", &self.path)?;
            digest = hash_reader(expected.algorithm(), file).at("read", &self.path)?;
        }
        if let Some(expected) = expected
            && &digest != expected
        {
            return Err(StoreError::DigestMismatch {
                expected: expected.clone(),
                found: digest,
            });
        }
        if !self.store.has_blob(&digest) {
            self.store.finish_blob(&self.path, &digest, self.size)?;
        }
        Ok((digest, self.size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // A finished blob has left this path; an unfinished one that stays is swept later.
        let _ = fs::remove_file(&self.path);
    }
}

pub(crate) fn hash_reader(algorithm: Algorithm, mut reader: impl Read) -> io::Result<Digest> {
    let mut buffer = vec![0; 256 << 10];
    let mut hasher = Hasher::new(algorithm);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::fixture;

    fn sha512(bytes: &[u8]) -> Digest {
        hash_reader(Algorithm::Sha512, bytes).unwrap()
    }

    #[test]
    fn put_and_read() {
        let (_home, store) = fixture();
        let digest = store.put_blob_bytes(b"hello").unwrap();
        assert!(store.has_blob(&digest));
        assert_eq!(store.read_blob(&digest).unwrap(), b"hello");
        assert_eq!(store.put_blob_bytes(b"hello").unwrap(), digest);
        assert_eq!(store.blob_size(&digest), Some(5));
    }

    #[test]
    fn what_comes_in_is_verified() {
        let (_home, store) = fixture();
        let promised = Digest::sha256(b"promised");
        let error = store
            .put_blob(Some(&promised), &mut &b"other"[..])
            .unwrap_err();
        assert!(matches!(error, StoreError::DigestMismatch { .. }));
        assert!(!store.has_blob(&promised));
        assert!(!store.has_blob(&Digest::sha256(b"other")));
        let (digest, size) = store
            .put_blob(Some(&promised), &mut &b"promised"[..])
            .unwrap();
        assert_eq!((digest, size), (promised, 8));
    }

    #[test]
    fn a_writer_tells_the_digest_of_what_it_was_given() {
        let (_home, store) = fixture();
        for (digest, wrong) in [
            (Digest::sha256(b"digested"), Digest::sha256(b"other")),
            (sha512(b"digested"), sha512(b"other")),
        ] {
            let written = || {
                let mut writer = store.blob_writer_with(digest.algorithm()).unwrap();
                writer.write_all(b"digest").unwrap();
                writer.write_all(b"ed").unwrap();
                writer
            };
            assert_eq!(written().digest(), digest);
            let error = written().finish(Some(&wrong)).unwrap_err();
            assert!(matches!(error, StoreError::DigestMismatch { .. }));
            written().finish(Some(&digest)).unwrap();
            assert_eq!(store.read_blob(&digest).unwrap(), b"digested");
        }
        // Of another algorithm than it was begun with.
        let mut writer = store.blob_writer().unwrap();
        writer.write_all(b"x").unwrap();
        writer.finish(Some(&sha512(b"x"))).unwrap();
        assert_eq!(store.read_blob(&sha512(b"x")).unwrap(), b"x");
    }

    #[test]
    fn sha512_blobs() {
        let (_home, store) = fixture();
        let promised = sha512(b"x");
        store.put_blob(Some(&promised), &mut &b"x"[..]).unwrap();
        assert_eq!(store.read_blob(&promised).unwrap(), b"x");
    }

    #[test]
    fn damage_is_noticed() {
        let (_home, store) = fixture();
        let digest = store.put_blob_bytes(b"hello").unwrap();
        fs::write(store.blob_path(&digest), b"jello").unwrap();
        let error = store.read_blob(&digest).unwrap_err();
        assert!(matches!(error, StoreError::BlobDamaged { .. }));
    }

    #[test]
    fn an_unbelieved_blob_is_hashed_before_use() {
        let (home, store) = fixture();
        let whole = store.put_blob_bytes(b"whole").unwrap();
        let torn = store.put_blob_bytes(b"torn!").unwrap();
        fs::write(store.blob_path(&torn), b"\0\0\0\0\0").unwrap();
        for digest in [&whole, &torn] {
            fs::write(store.layout().blob_stamp(digest), b"").unwrap();
        }
        drop(store);
        let store = crate::store::tests::open(home.path());
        assert!(store.has_blob(&whole));
        assert!(!store.has_blob(&torn));
        assert!(store.blob_stamp(&whole).is_some(), "stamped anew");
        store.put_blob_bytes(b"torn!").unwrap();
        assert_eq!(store.read_blob(&torn).unwrap(), b"torn!");
    }

    #[test]
    fn a_failing_reader_leaves_nothing() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the network went away"))
            }
        }
        let (home, store) = fixture();
        let error = store.put_blob(None, &mut Fails).unwrap_err();
        assert!(matches!(error, StoreError::Input { .. }));
        drop(store);
        assert_eq!(fs::read_dir(home.path().join("tmp")).unwrap().count(), 0);
    }
}
