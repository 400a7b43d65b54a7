//! From a lock to a committed snapshot.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_registry::Fetcher;
use cairn_sandbox::{Cancel, Stream};
use cairn_store::{ActiveSnapshot, SnapshotId, Store};

use crate::architecture;
use crate::configure::{self, ScriptRun, Stage};
use crate::database;
use crate::deb::{Control, Deb};
use crate::diversion::Diversions;
use crate::error::DebianError;
use crate::lock::{Lock, LockedPackage};
use crate::order::Graph;
use crate::packages::{Fetching, Sources, fetch};
use crate::tidy::tidy;
use crate::tree::Tree;
use crate::unpack::{Layout, Owners, Unpacked, Unpacking, unpack};

/// How a base is assembled.
#[derive(Debug, Clone)]
pub struct AssembleOptions {
    /// Fetches packages that are not in the store yet.
    pub fetcher: Fetcher,
    /// Mirrors to ask beside the lock's own.
    pub mirrors: Vec<String>,
    /// A snapshot archive to ask when no mirror has a package any more.
    pub snapshot: Option<String>,
    /// A directory of the caller's for temporary files; made when missing.
    pub scratch: PathBuf,
    /// The program that calls [`cairn_sandbox::dispatch`] first thing: `/proc/self/exe` except in
    /// tests.
    pub exe: PathBuf,
    /// How many threads decompress packages.
    pub threads: usize,
}

/// What has happened while assembling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Packages are being fetched.
    Fetching(Fetching),
    /// A package is in the tree.
    Unpacked {
        /// The package.
        package: &'a str,
    },
    /// Packages are being configured.
    Configuring {
        /// How many in this stage.
        packages: usize,
    },
    /// A maintainer script or dpkg printed something.
    Output {
        /// Where to.
        stream: Stream,
        /// What.
        bytes: &'a [u8],
    },
}

/// Assembles the packages of a lock into a committed snapshot.
///
/// The process must have called [`cairn_sandbox::enter`]. The snapshot is not durable yet; see
/// [`Store::make_durable`].
///
/// # Errors
/// When a package cannot be had, is damaged, or its maintainer scripts fail.
pub fn assemble(
    store: &Store,
    lock: &Lock,
    options: &AssembleOptions,
    cancel: &Cancel,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<SnapshotId, DebianError> {
    lock.check().map_err(|why| DebianError::Lock { why })?;
    architecture::check(&lock.arch)?;
    let sources = Sources {
        fetcher: &options.fetcher,
        mirrors: &options.mirrors,
        snapshot: options.snapshot.as_deref(),
    };
    let fetching = |state| progress(Progress::Fetching(state));
    fetch(store, lock, &sources, cancel, &fetching)?;
    let debs = open_all(store, lock)?;
    let active = store.begin_snapshot()?;
    let scratch = Scratch::create(&options.scratch, &active)?;
    let base = Base {
        lock,
        options,
        cancel,
        progress,
        active: &active,
        scratch: scratch.path(),
    };
    base.build(debs)?;
    drop(scratch);
    Ok(active.commit()?)
}

/// A package with its opened file.
struct Opened<'l> {
    locked: &'l LockedPackage,
    deb: Deb,
}

fn open_all<'l>(store: &Store, lock: &'l Lock) -> Result<Vec<Opened<'l>>, DebianError> {
    let open = |locked: &'l LockedPackage| {
        let file = store.open_blob(&locked.digest()?)?;
        let unusable = |source| DebianError::Deb {
            package: locked.name.clone(),
            source,
        };
        let deb = Deb::open(file).map_err(unusable)?;
        deb.check(&locked.name, &locked.version, &locked.arch)
            .map_err(unusable)?;
        Ok(Opened { locked, deb })
    };
    lock.packages.iter().map(open).collect()
}

/// A directory that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn create(parent: &Path, active: &ActiveSnapshot) -> Result<Scratch, DebianError> {
        let path = parent.join(format!("debian-{}", active.id()));
        fs::create_dir_all(&path).map_err(|source| file_error(&path, "making", source))?;
        Ok(Scratch(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is temporary all the same.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn file_error(path: &Path, action: &'static str, source: std::io::Error) -> DebianError {
    DebianError::File {
        path: path.to_owned(),
        action,
        source,
    }
}

struct Base<'a> {
    lock: &'a Lock,
    options: &'a AssembleOptions,
    cancel: &'a Cancel,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
    active: &'a ActiveSnapshot,
    scratch: &'a Path,
}

impl Base<'_> {
    /// Unpacks and configures all packages, stage by stage.
    fn build(&self, debs: Vec<Opened<'_>>) -> Result<(), DebianError> {
        let controls: Vec<Control> = debs.iter().map(|d| d.deb.control.clone()).collect();
        let named: Vec<(&str, &Control)> = debs
            .iter()
            .zip(&controls)
            .map(|(d, c)| (d.locked.name.as_str(), c))
            .collect();
        let stages = Graph::new(&named, &self.lock.arch)?.stages();
        let has = |name: &str| {
            self.lock
                .packages
                .iter()
                .any(|package| package.name == name)
        };
        let merged = has("usrmerge") || has("usr-is-merged");

        let epoch = self.lock.epoch();
        let mut tree = Tree::open(self.active, epoch)?;
        let mut owners = Owners::default();
        let mut debs: Vec<Option<Opened<'_>>> = debs.into_iter().map(Some).collect();
        database::create(&mut tree, &self.lock.arch)?;
        for (number, stage) in stages.iter().enumerate() {
            let taken = stage
                .iter()
                .filter_map(|at| debs[*at].take())
                .map(|opened| Unpacking {
                    name: opened.locked.name.clone(),
                    deb: opened.deb,
                });
            let unpacked = self.unpack(&mut tree, taken.collect(), merged, &mut owners)?;
            database::add(&mut tree, &unpacked, &owners.take_lost())?;
            drop(unpacked);
            let of = |stage: &[usize]| stage.iter().map(|at| &controls[*at]).collect::<Vec<_>>();
            let configure = of(stage);
            let next = stages
                .get(number + 1)
                .map(|stage| of(stage))
                .unwrap_or_default();
            // Only the first stage is unpacked before its scripts can run: nothing could run them.
            let late = if number == 0 {
                configure.clone()
            } else {
                Vec::new()
            };
            (self.progress)(Progress::Configuring {
                packages: configure.len(),
            });
            let scripts = ScriptRun {
                late: &late,
                configure: &configure,
                next: &next,
            };
            self.run_scripts(number, &scripts, epoch)?;
            tree.forget();
        }
        tidy(self.active.upper(), &mut tree, self.lock)
    }

    fn unpack(
        &self,
        tree: &mut Tree<'_>,
        packages: Vec<Unpacking>,
        merged: bool,
        owners: &mut Owners,
    ) -> Result<Vec<Unpacked>, DebianError> {
        let text = tree.read("var/lib/dpkg/diversions")?.unwrap_or_default();
        let diversions = Diversions::parse(&String::from_utf8_lossy(&text));
        let layout = Layout {
            diversions: &diversions,
            merged,
        };
        let stopped = || self.cancel.is_cancelled();
        let done = |package: &str| (self.progress)(Progress::Unpacked { package });
        unpack(
            tree,
            packages,
            &layout,
            owners,
            self.options.threads,
            &stopped,
            &done,
        )
    }

    fn run_scripts(
        &self,
        number: usize,
        scripts: &ScriptRun<'_>,
        epoch: i64,
    ) -> Result<(), DebianError> {
        let folder = |name: &str| {
            let path = self.scratch.join(format!("{name}-{number}"));
            fs::create_dir_all(&path).map_err(|source| file_error(&path, "making", source))?;
            Ok::<PathBuf, DebianError>(path)
        };
        let (scratch, mount_point) = (folder("scripts")?, folder("root")?);
        // An overlay's work directory serves once; the snapshot's own is their common parent.
        let work = self.active.work().join(number.to_string());
        fs::create_dir(&work).map_err(|source| file_error(&work, "making", source))?;
        let dpkg = self
            .lock
            .packages
            .iter()
            .find(|package| package.name == "dpkg");
        let stage = Stage {
            active: self.active,
            scratch: &scratch,
            mount_point: &mount_point,
            work: &work,
            exe: &self.options.exe,
            arch: &self.lock.arch,
            epoch,
            dpkg_version: dpkg.map_or("", |package| package.version.as_str()),
        };
        let mut output =
            |stream: Stream, bytes: &[u8]| (self.progress)(Progress::Output { stream, bytes });
        configure::run(&stage, scripts, self.cancel, &mut output)
    }
}
