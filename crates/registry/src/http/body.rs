//! One answer's bytes on their way out: bounded, hashed, and continued after a break.
//!
//! [`Progress`] is what outlives a broken connection: how much was received and the hash so far.
//! The next request asks for the rest; a server that ignores the range sends everything again, and
//! the part already received is read past without being written twice.

use std::io::{Read, Write};
use std::ops::ControlFlow;

use cairn_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

use super::error::FetchProblem;

const CHUNK: usize = 128 * 1024;

/// What one download has received so far.
pub(crate) struct Progress {
    pub(crate) received: u64,
    hash: Hash,
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
    pub(crate) fn new(algorithm: Algorithm) -> Progress {
        Progress {
            received: 0,
            hash: match algorithm {
                Algorithm::Sha256 => Hash::Sha256(Sha256::new()),
                Algorithm::Sha512 => Hash::Sha512(Sha512::new()),
            },
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        match &self.hash {
            Hash::Sha256(hash) => Digest::from_sha256(hash.clone().finalize().into()),
            Hash::Sha512(hash) => Digest::from_sha512(hash.clone().finalize().into()),
        }
    }

    /// Reads `body` to its end into `out`, after passing over `skip` bytes that are known.
    pub(crate) fn read(
        &mut self,
        body: &mut dyn Read,
        mut skip: u64,
        bounds: &Bounds,
        out: &mut dyn Write,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), FetchProblem> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(source) if source.kind() == std::io::ErrorKind::Interrupted => continue,
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
        out: &mut dyn Write,
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
            Hash::Sha256(hash) => hash.update(fresh),
            Hash::Sha512(hash) => hash.update(fresh),
        }
        self.received = received;
        Ok(())
    }
}
