//! Fetching what an archive says of a suite: Release, its signature, the package indexes.
//!
//! The Release is asked for anew each time; indexes are blobs, named by the Release's hashes, and
//! fetched once. A mirror that does not answer is passed over for the next one; a mirror that
//! answers with something forged is not.

use std::io::Read;
use std::ops::ControlFlow;

use cairn_oci::Digest;
use cairn_registry::{Download, FetchError, Fetcher};
use cairn_sandbox::Cancel;
use cairn_store::Store;

use crate::compression::Compression;
use crate::error::DebianError;
use crate::release::{IndexFile, Release, ReleaseError};
use crate::request::Archive;
use crate::trust::{Keyring, verify_clearsigned, verify_detached};

const RELEASE_SIZE_MAX: u64 = 16 << 20;
const INDEX_SIZE_MAX: u64 = 64 << 20;
/// Debian's largest index unpacks to 60 MB.
const UNPACKED_SIZE_MAX: u64 = 1 << 30;

/// How a suite is fetched and judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// Keeps the indexes.
    pub(crate) store: &'a Store,
    /// Fetches.
    pub(crate) fetcher: &'a Fetcher,
    /// Who may sign.
    pub(crate) keyring: &'a Keyring,
    /// The time, in seconds since the epoch.
    pub(crate) now: i64,
    /// Whether a Release whose time is over is refused.
    pub(crate) check_valid_until: bool,
    /// Stops it all.
    pub(crate) cancel: &'a Cancel,
}

/// A suite whose Release was believed.
#[derive(Debug)]
pub(crate) struct TrustedSuite {
    pub(crate) suite: String,
    pub(crate) mirror: String,
    pub(crate) release: Release,
}

impl Reader<'_> {
    /// Fetches and checks the Release of a suite, from the first mirror that has it.
    pub(crate) fn release(&self, archive: &Archive) -> Result<TrustedSuite, DebianError> {
        let mut last = None;
        for mirror in &archive.mirrors {
            match self.release_text(&archive.suite, mirror) {
                Ok(text) => return self.judge(&archive.suite, mirror, &text),
                Err(ReleaseTrouble::Untrusted(source)) => {
                    let (suite, mirror) = (archive.suite.clone(), mirror.clone());
                    return Err(DebianError::Untrusted {
                        suite,
                        mirror,
                        source,
                    });
                }
                Err(ReleaseTrouble::Fetch(source)) if source.is_cancelled() => {
                    return Err(DebianError::Cancelled);
                }
                Err(ReleaseTrouble::Fetch(source)) => last = Some(source),
            }
        }
        match last {
            Some(source) => Err(DebianError::NoRelease {
                suite: archive.suite.clone(),
                mirrors: archive.mirrors.clone(),
                source: Box::new(source),
            }),
            None => Err(DebianError::Lock {
                why: "there is no mirror to ask".to_owned(),
            }),
        }
    }

    fn judge(&self, suite: &str, mirror: &str, text: &str) -> Result<TrustedSuite, DebianError> {
        let refused = |source: ReleaseError| DebianError::Refused {
            suite: suite.to_owned(),
            mirror: mirror.to_owned(),
            source,
        };
        let release = Release::parse(text).map_err(refused)?;
        release
            .check(suite, self.now, self.check_valid_until)
            .map_err(refused)?;
        Ok(TrustedSuite {
            suite: suite.to_owned(),
            mirror: mirror.to_owned(),
            release,
        })
    }

    /// The signed text: `InRelease`, or for archives without it `Release` and `Release.gpg`.
    fn release_text(&self, suite: &str, mirror: &str) -> Result<String, ReleaseTrouble> {
        let url = |name| format!("{mirror}/dists/{suite}/{name}");
        match self.get(&url("InRelease")) {
            Ok(file) => {
                let file = String::from_utf8_lossy(&file);
                let (text, _) = verify_clearsigned(self.keyring, &file, self.now)?;
                Ok(text)
            }
            Err(gone) if gone.is_gone() => {
                let text = self.get(&url("Release"))?;
                let signature = self.get(&url("Release.gpg"))?;
                verify_detached(self.keyring, &text, &signature, self.now)?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            Err(source) => Err(source.into()),
        }
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let download = Download {
            url,
            digest: None,
            size: None,
            limit: RELEASE_SIZE_MAX,
        };
        let mut bytes = Vec::new();
        self.fetcher
            .download(&download, &mut bytes, &mut |_| self.go_on())?;
        Ok(bytes)
    }

    fn go_on(&self) -> ControlFlow<()> {
        if self.cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// The texts of a suite's package indexes for one component.
    pub(crate) fn indexes(
        &self,
        suite: &TrustedSuite,
        component: &str,
        arch: &str,
    ) -> Result<Vec<String>, DebianError> {
        let mut folders = vec![format!("{component}/binary-{arch}")];
        if suite.release.separate_all {
            folders.push(format!("{component}/binary-all"));
        }
        let mut texts = Vec::new();
        for folder in folders {
            let found = Compression::ALL.iter().find_map(|compression| {
                let path = format!("{folder}/Packages{}", compression.suffix());
                let file = suite.release.file(&path)?;
                Some((path, file, *compression))
            });
            if let Some((path, file, compression)) = found {
                texts.push(self.index(suite, &folder, &path, file, compression)?);
            }
        }
        if texts.is_empty() {
            return Err(DebianError::NoIndex {
                suite: suite.suite.clone(),
                component: component.to_owned(),
                arch: arch.to_owned(),
            });
        }
        Ok(texts)
    }

    fn index(
        &self,
        suite: &TrustedSuite,
        folder: &str,
        path: &str,
        file: &IndexFile,
        compression: Compression,
    ) -> Result<String, DebianError> {
        let digest: Digest = format!("sha256:{}", file.sha256).parse().map_err(|_| {
            let why = format!("the Release of {} names no sha256 for {path}", suite.suite);
            DebianError::Lock { why }
        })?;
        if !self.store.has_blob(&digest) {
            self.fetch_index(suite, folder, path, file, &digest)
                .map_err(|source| {
                    DebianError::from_fetch(source, |source| DebianError::Index {
                        suite: suite.suite.clone(),
                        path: path.to_owned(),
                        source,
                    })
                })?;
        }
        let unreadable = |source| DebianError::UnreadableIndex {
            suite: suite.suite.clone(),
            path: path.to_owned(),
            source,
        };
        let packed = self.store.read_blob(&digest)?;
        let mut text = String::new();
        let mut unpacked = compression.reader(packed.as_slice()).map_err(unreadable)?;
        let mut bounded = (&mut unpacked).take(UNPACKED_SIZE_MAX);
        bounded.read_to_string(&mut text).map_err(unreadable)?;
        Ok(text)
    }

    /// Fetches an index, by its hash where the archive offers that: the plain name may already
    /// belong to the next update.
    fn fetch_index(
        &self,
        suite: &TrustedSuite,
        folder: &str,
        path: &str,
        file: &IndexFile,
        digest: &Digest,
    ) -> Result<(), FetchError> {
        let base = format!("{}/dists/{}", suite.mirror, suite.suite);
        let get = |url: &str| {
            let (digest, size) = (Some(digest), Some(file.size));
            let download = Download {
                url,
                digest,
                size,
                limit: INDEX_SIZE_MAX,
            };
            self.fetcher
                .get_blob(self.store, &download, &mut |_| self.go_on())
                .map(drop)
        };
        if suite.release.by_hash {
            match get(&format!("{base}/{folder}/by-hash/SHA256/{}", file.sha256)) {
                Err(gone) if gone.is_gone() => {}
                other => return other,
            }
        }
        get(&format!("{base}/{path}"))
    }
}

enum ReleaseTrouble {
    Fetch(FetchError),
    Untrusted(crate::trust::TrustError),
}

impl From<FetchError> for ReleaseTrouble {
    fn from(source: FetchError) -> ReleaseTrouble {
        ReleaseTrouble::Fetch(source)
    }
}

impl From<crate::trust::TrustError> for ReleaseTrouble {
    fn from(source: crate::trust::TrustError) -> ReleaseTrouble {
        ReleaseTrouble::Untrusted(source)
    }
}
