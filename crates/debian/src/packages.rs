//! Fetching locked packages into the store: in parallel, verified, from whoever still has them.
//!
//! A package's file is looked for at the mirror of its suite, then at the request's other mirrors,
//! then in the snapshot archive, first as it was when the index was made, then by its hash. Every
//! source is checked against the locked sha256, so it does not matter whom one asks.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_oci::Digest;
use cairn_registry::{Download, FetchError, Fetcher};
use cairn_sandbox::Cancel;
use cairn_store::Store;

use crate::date;
use crate::error::DebianError;
use crate::lock::{Lock, LockedPackage};
use crate::request::{main_mirrors, security_mirrors};

/// Mirrors serve that many at once without complaint, and no disk here is faster.
const FETCHES_AT_ONCE: usize = 8;
const SNAPSHOT_ANSWER_MAX: u64 = 1 << 20;

/// Where else to look for packages, and how to fetch them.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Fetches.
    pub fetcher: &'a Fetcher,
    /// Further mirrors, tried after the one that the lock names.
    pub mirrors: &'a [String],
    /// The base address of a snapshot archive, tried last.
    pub snapshot: Option<&'a str>,
}

/// How far the fetching has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetching {
    /// Packages that are in the store.
    pub packages: usize,
    /// Packages there are to be.
    pub packages_total: usize,
    /// Bytes received in this run.
    pub bytes: u64,
    /// Bytes to receive in this run.
    pub bytes_total: u64,
}

impl LockedPackage {
    /// The blob that holds the package's file.
    pub(crate) fn digest(&self) -> Result<Digest, DebianError> {
        format!("sha256:{}", self.sha256)
            .parse()
            .map_err(|_| DebianError::Lock {
                why: format!("the sha256 of {} is none", self.name),
            })
    }
}

/// Brings all packages of a lock into the store.
///
/// # Errors
/// [`DebianError::Gone`] names all packages that nobody has any more, [`DebianError::Offline`] all
/// that are to be fetched and may not.
pub fn fetch(
    store: &Store,
    lock: &Lock,
    sources: &Sources<'_>,
    cancel: &Cancel,
    progress: &(dyn Fn(Fetching) + Sync),
) -> Result<(), DebianError> {
    let mut missing = VecDeque::new();
    for package in &lock.packages {
        let digest = package.digest()?;
        if !store.has_blob(&digest) {
            missing.push_back((package, digest));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if sources.fetcher.is_offline() {
        let packages = missing.into_iter().map(|(package, _)| package.clone());
        return Err(DebianError::Offline {
            packages: packages.collect(),
        });
    }
    // The largest first: none of them should be what everybody waits for in the end.
    missing
        .make_contiguous()
        .sort_by_key(|(package, _)| std::cmp::Reverse(package.size));
    let job = Job {
        store,
        lock,
        sources,
        cancel,
        progress,
        total: lock.packages.len(),
        bytes_total: missing.iter().map(|(package, _)| package.size).sum(),
        workers: FETCHES_AT_ONCE.min(missing.len()),
        bytes: AtomicU64::new(0),
        state: Mutex::new(State {
            queue: missing,
            gone: Vec::new(),
            failure: None,
            done: 0,
        }),
    };
    job.run()
}

struct Job<'a> {
    store: &'a Store,
    lock: &'a Lock,
    sources: &'a Sources<'a>,
    cancel: &'a Cancel,
    progress: &'a (dyn Fn(Fetching) + Sync),
    total: usize,
    bytes_total: u64,
    workers: usize,
    bytes: AtomicU64,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    queue: VecDeque<(&'a LockedPackage, Digest)>,
    gone: Vec<LockedPackage>,
    failure: Option<DebianError>,
    /// Packages fetched in this run.
    done: usize,
}

impl<'a> Job<'a> {
    fn run(self) -> Result<(), DebianError> {
        std::thread::scope(|scope| {
            for _ in 0..self.workers {
                scope.spawn(|| self.work());
            }
        });
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(failure) = state.failure {
            return Err(failure);
        }
        if !state.gone.is_empty() {
            let mut packages = state.gone;
            packages.sort_by(|a, b| a.name.cmp(&b.name));
            return Err(DebianError::Gone { packages });
        }
        Ok(())
    }

    fn work(&self) {
        while let Some((package, digest)) = self.next() {
            let result = self.fetch_one(package, &digest);
            let mut state = self.lock_state();
            match result {
                Ok(()) => state.done += 1,
                Err(DebianError::Gone { packages }) => state.gone.extend(packages),
                Err(failure) => {
                    state.failure.get_or_insert(failure);
                }
            }
            drop(state);
            self.report();
        }
    }

    /// The next package, unless something has failed already.
    fn next(&self) -> Option<(&'a LockedPackage, Digest)> {
        let mut state = self.lock_state();
        if state.failure.is_some() {
            None
        } else {
            state.queue.pop_front()
        }
    }

    fn lock_state(&self) -> std::sync::MutexGuard<'_, State<'a>> {
        // What a panicked worker leaves behind is still true.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn report(&self) {
        let state = self.lock_state();
        let waiting = state.queue.len() + state.gone.len();
        let packages = self.total.saturating_sub(waiting).min(self.total);
        drop(state);
        (self.progress)(Fetching {
            packages,
            packages_total: self.total,
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_total: self.bytes_total,
        });
    }

    /// Asks the mirrors, then the snapshot archive.
    fn fetch_one(&self, package: &LockedPackage, digest: &Digest) -> Result<(), DebianError> {
        let path = percent_encoded(&package.path);
        let mut trouble: Option<FetchError> = None;
        for mirror in self.mirrors(package) {
            match self.fetch_from(&format!("{mirror}/{path}"), package, digest) {
                Ok(()) => return Ok(()),
                Err(problem) if problem.is_cancelled() => return Err(DebianError::Cancelled),
                // That a mirror does not have the file says least; keep what says more.
                Err(problem) => {
                    if !problem.is_gone() {
                        trouble = Some(problem);
                    }
                }
            }
        }
        for address in self.snapshot_addresses(package, &path) {
            // An archive that is out of reach is no better than one that lacks the file.
            match self.fetch_from(&address, package, digest) {
                Ok(()) => return Ok(()),
                Err(problem) if problem.is_cancelled() => return Err(DebianError::Cancelled),
                Err(_) => {}
            }
        }
        Err(match trouble {
            Some(problem) => DebianError::Fetch {
                package: package.name.clone(),
                source: Box::new(problem),
            },
            None => DebianError::Gone {
                packages: vec![package.clone()],
            },
        })
    }

    fn fetch_from(
        &self,
        url: &str,
        package: &LockedPackage,
        digest: &Digest,
    ) -> Result<(), FetchError> {
        let mut received = 0;
        let mut watch = |now: u64| {
            self.bytes.fetch_add(now - received, Ordering::Relaxed);
            received = now;
            self.report();
            if self.cancel.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let (digest, size) = (Some(digest), Some(package.size));
        let download = Download {
            url,
            digest,
            size,
            limit: package.size,
        };
        let result = self
            .sources
            .fetcher
            .get_blob(self.store, &download, &mut watch);
        if result.is_err() {
            self.bytes.fetch_sub(received, Ordering::Relaxed);
        }
        result.map(drop)
    }

    /// The mirrors to ask, the one of the lock first.
    fn mirrors(&self, package: &LockedPackage) -> Vec<String> {
        let given = self.sources.mirrors;
        let further = if given.is_empty() {
            Vec::new()
        } else if package.suite.ends_with("-security") {
            security_mirrors(given)
        } else {
            main_mirrors(given)
        };
        let locked = self.lock.mirror_of(&package.suite).map(str::to_owned);
        let mut mirrors: Vec<String> = locked.into_iter().collect();
        for mirror in further {
            if !mirrors.contains(&mirror) {
                mirrors.push(mirror);
            }
        }
        mirrors
    }

    /// The addresses of a package in the snapshot archive: in the archive as it was when the
    /// index was made, and under the hash by which the archive knows this version.
    fn snapshot_addresses<'s>(
        &'s self,
        package: &'s LockedPackage,
        path: &'s str,
    ) -> impl Iterator<Item = String> + 's {
        let base = self.sources.snapshot.map(|base| base.trim_end_matches('/'));
        let by_time = base.and_then(|base| {
            let index = self
                .lock
                .indexes
                .iter()
                .find(|index| index.suite == package.suite)?;
            let time = date::compact(date::parse_iso(&index.date)?);
            let archive = index
                .mirror
                .rsplit('/')
                .next()
                .filter(|n| n.starts_with("debian"));
            Some(format!(
                "{base}/archive/{}/{time}/{path}",
                archive.unwrap_or("debian")
            ))
        });
        let by_hash = move || {
            base.map(|base| self.snapshot_files(base, package))
                .unwrap_or_default()
        };
        // The second question is asked only when the first address has failed.
        by_time
            .into_iter()
            .chain(std::iter::once_with(by_hash).flatten())
    }

    /// Asks the snapshot archive which files it has of a package's version.
    fn snapshot_files(&self, base: &str, package: &LockedPackage) -> Vec<String> {
        let (name, version) = (
            percent_encoded(&package.name),
            percent_encoded(&package.version),
        );
        let url = format!("{base}/mr/binary/{name}/{version}/binfiles");
        let Ok((answer, _)) = self.sources.fetcher.get_bytes(&url, SNAPSHOT_ANSWER_MAX) else {
            return Vec::new();
        };
        let known: SnapshotFiles = serde_json::from_slice(&answer).unwrap_or_default();
        let fitting = known
            .result
            .into_iter()
            .filter(|file| file.architecture == package.arch);
        let is_hash = |hash: &String| hash.bytes().all(|b| b.is_ascii_hexdigit());
        fitting
            .map(|file| file.hash)
            .filter(is_hash)
            .map(|hash| format!("{base}/file/{hash}"))
            .collect()
    }
}

/// The snapshot archive's answer about one version of a package.
#[derive(Debug, Default, serde::Deserialize)]
struct SnapshotFiles {
    result: Vec<SnapshotFile>,
}

#[derive(Debug, serde::Deserialize)]
struct SnapshotFile {
    architecture: String,
    hash: String,
}

/// Paths hold signs that mean something else in an address (`+` is safe, `%` and `:` are not).
fn percent_encoded(path: &str) -> String {
    let safe =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'+' | b'~');
    path.bytes()
        .map(|b| {
            if safe(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn paths_become_addresses() {
        assert_eq!(
            percent_encoded("pool/main/g/g++/g++-12_12.2.0-14+deb12u1~x_1%3a.deb"),
            "pool/main/g/g++/g++-12_12.2.0-14+deb12u1~x_1%253a.deb"
        );
    }
}
