//! One answer's bytes on their way out: bounded, hashed, and continued after a break.
//!
//! [`Progress`] is what outlives a broken connection: how much was received and the hash so far.
//! The next request asks for the rest; a server that ignores the range sends everything again, and
//! the part already received is read past without being written twice.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use cairn_oci::{Algorithm, Digest};
use cairn_store::BlobWriter;
use sha2::{Digest as _, Sha256, Sha512};

use super::error::FetchProblem;

const CHUNK: usize = 128 * 1024;

/// What one download has received so far.
pub(crate) struct Progress {
    pub(crate) received: u64,
    /// None where the sink digests what it gets.
    hash: Option<Hash>,
}

/// Where a download goes.
pub(crate) trait Sink: Write {
    /// The digest of what was written until now, if the sink makes one: what keeps the bytes does,
    /// and doing it twice takes as long as writing them.
    fn digest(&self) -> Option<Digest>;
}

impl Sink for BlobWriter {
    fn digest(&self) -> Option<Digest> {
        Some(Self::digest(self))
    }
}

/// A sink that digests nothing.
pub(crate) struct Bare<'a>(pub(crate) &'a mut dyn Write);

impl Write for Bare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sink for Bare<'_> {
    fn digest(&self) -> Option<Digest> {
        None
    }
}

enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// What is known of a body before it is read.
pub(crate) struct Bounds {
    pub(crate) exact: Option<u64>,
    pub(crate) limit: u64,
}

impl Progress {
    /// Nothing yet; what comes is digested here, unless the sink does.
    pub(crate) fn new(algorithm: Algorithm, out: &dyn Sink) -> Progress {
        let hash = || match algorithm {
            Algorithm::Sha256 => Hash::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hash::Sha512(Sha512::new()),
        };
        Progress {
            received: 0,
            hash: out.digest().is_none().then(hash),
        }
    }

    /// The digest of all that was received.
    pub(crate) fn digest(&self, out: &dyn Sink) -> Digest {
        match &self.hash {
            Some(Hash::Sha256(hash)) => Digest::from_sha256(hash.clone().finalize().into()),
            Some(Hash::Sha512(hash)) => Digest::from_sha512(hash.clone().finalize().into()),
            None => out.digest().expect("it had one when the transfer began"),
        }
    }

    /// Reads `body` to its end into `out`, after passing over `skip` bytes that are known.
    pub(crate) fn read(
        &mut self,
        body: &mut dyn Read,
        mut skip: u64,
        bounds: &Bounds,
        out: &mut dyn Sink,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), FetchProblem> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(FetchProblem::Broken {
                        received: self.received,
                        source,
                    });
                }
            };
            let known = usize::try_from(skip).map_or(count, |skip| skip.min(count));
            skip -= known as u64;
            let fresh = &buffer[known..count];
            self.accept(fresh, bounds, out)?;
            if watch(self.received).is_break() {
                return Err(FetchProblem::Cancelled);
            }
        }
    }

    fn accept(
        &mut self,
        fresh: &[u8],
        bounds: &Bounds,
        out: &mut dyn Sink,
    ) -> Result<(), FetchProblem> {
        let received = self.received + fresh.len() as u64;
        if let Some(expected) = bounds.exact
            && received > expected
        {
            return Err(FetchProblem::WrongSize {
                expected,
                actual: received,
            });
        }
        if received > bounds.limit {
            return Err(FetchProblem::TooLarge {
                limit: bounds.limit,
            });
        }
        out.write_all(fresh).map_err(FetchProblem::Write)?;
        match &mut self.hash {
            Some(Hash::Sha256(hash)) => hash.update(fresh),
            Some(Hash::Sha512(hash)) => hash.update(fresh),
            None => {}
        }
        self.received = received;
        Ok(())
    }
}
