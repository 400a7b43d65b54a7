//! `cairn.lock`: the exact packages of a stack's Debian bases, beside its spec.
//!
//! A build uses exactly what is locked. A base that has no lock yet, or whose request has changed
//! since, is locked first; with `--locked` that is an error which says why. The file is written
//! whole, in one rename.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_build::image::external::{Externals, PullPolicy, Settled};
use cairn_build::resolve::DebianBase;
use cairn_debian::trust::Keyring;
use cairn_debian::{
    Change, DebianError, Fetching, Lock, Request, ResolveOptions, ResolveProgress,
    SNAPSHOT_ARCHIVE, Sources, Variant, debian_arch, fetch, resolve,
};
use cairn_oci::{Digest, DigestError, Platform, Reference};
use cairn_registry::{Fetcher, RegistryError};
use cairn_sandbox::Cancel;
use cairn_spec::stack::DebianSource;
use cairn_spec::{ImageId, ImageSource, PackageSet};
use cairn_store::Store;

use crate::load::LoadedStack;

/// The file's name.
pub const FILE_NAME: &str = "cairn.lock";

const HEAD: &str = "# Written by `cairn lock`. Commit it; change it with `cairn lock --update`.\n";

/// The locks of a stack, by image name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockFile {
    /// By the image's name in the spec; with `@` and Debian's name of the architecture where
    /// there are several.
    pub images: BTreeMap<String, Lock>,
    /// Images from outside the stack: the manifest's digest, by the name that Dockerfiles use.
    pub external: BTreeMap<String, String>,
}

/// What the lock of an image from outside has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalChange {
    /// The name that Dockerfiles use.
    pub name: String,
    /// The digest it was locked to, if it was.
    pub old: Option<String>,
    /// The digest it is locked to now.
    pub new: String,
}

/// What a base's lock has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locking {
    /// It was locked, and the lock fits the request.
    Kept,
    /// It had no lock.
    New {
        /// How many packages it has now.
        packages: usize,
    },
    /// It was locked again.
    Moved {
        /// Why.
        reasons: Vec<String>,
        /// What is different.
        changes: Vec<Change>,
    },
}

/// Why there is no lock to build from.
#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    /// The file cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{} cannot be understood: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The lock does not fit the spec, and must not be changed.
    #[error("the lock of `{image}` is stale: {}", .reasons.join("; "))]
    Stale {
        /// The image.
        image: String,
        /// Why.
        reasons: Vec<String>,
    },
    /// An image from outside is another one than was locked.
    #[error("`{name}` is locked to {locked}, which cannot be had; the name means {found} now")]
    ExternalMoved {
        /// The name that Dockerfiles use.
        name: String,
        /// The locked digest.
        locked: String,
        /// The digest that it has now.
        found: String,
    },
    /// What an image from outside is locked to is no digest.
    #[error("`{name}` in {FILE_NAME} is locked to something else than a digest")]
    Digest {
        /// The name that Dockerfiles use.
        name: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// The registry of an image from outside was to be asked.
    #[error("cannot find out what `{name}` is now")]
    Registry {
        /// The name that Dockerfiles use.
        name: String,
        /// Why not.
        #[source]
        source: Arc<RegistryError>,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] cairn_store::StoreError),
    /// Debian has no such processor.
    #[error("Debian has no architecture for {0}")]
    Architecture(Platform),
    /// Packages cannot be chosen or fetched.
    #[error("cannot lock `{image}`")]
    Debian {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Box<DebianError>,
    },
}

/// Whether locks may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Lock what has none or a stale one.
    AsNeeded,
    /// Never: a missing or stale lock is an error.
    Locked,
    /// Lock everything again.
    Update,
}

/// The means of locking.
pub struct Locker<'a> {
    /// Keeps the indexes.
    pub store: &'a Store,
    /// Fetches them.
    pub fetcher: &'a Fetcher,
    /// The platform to lock for.
    pub platform: &'a Platform,
    /// Seconds since 1970.
    pub now: i64,
    /// Asks to stop.
    pub cancel: &'a Cancel,
    /// Hears what happens, with the image's name.
    pub progress: &'a dyn Fn(&str, ResolveProgress),
}

impl LockFile {
    /// Reads the lock file of a stack; an absent one is empty.
    pub fn read(directory: &Path) -> Result<Self, LockFileError> {
        let path = directory.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(LockFileError::Io {
                    doing: "read",
                    path,
                    source,
                });
            }
        };
        Self::parse(&text).map_err(|reason| LockFileError::Damaged { path, reason })
    }

    /// Reads a lock file's text; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            version: u32,
            #[serde(default)]
            external: BTreeMap<String, String>,
            #[serde(default)]
            image: BTreeMap<String, Lock>,
        }
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        if written.version != 1 {
            return Err(format!(
                "its version is {}, this program knows 1",
                written.version
            ));
        }
        for (name, lock) in &written.image {
            lock.check()
                .map_err(|reason| format!("image `{name}`: {reason}"))?;
        }
        Ok(Self {
            images: written.image,
            external: written.external,
        })
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}version = 1\n");
        if !self.external.is_empty() {
            text.push_str("\n[external]\n");
        }
        for (name, digest) in &self.external {
            let _ = writeln!(text, "{} = {digest:?}", quoted_key(name));
        }
        for (name, lock) in &self.images {
            let _ = write!(
                text,
                "\n{}",
                lock.to_toml(&format!("image.{}", quoted_key(name)))
            );
        }
        text
    }

    /// Writes the lock file of a stack.
    pub fn write(&self, directory: &Path) -> Result<(), LockFileError> {
        let path = directory.join(FILE_NAME);
        let fresh = directory.join(format!(".{FILE_NAME}.{}", std::process::id()));
        let written =
            std::fs::write(&fresh, self.to_text()).and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(|source| {
            let _ = std::fs::remove_file(&fresh);
            LockFileError::Io {
                doing: "write",
                path,
                source,
            }
        })
    }

    /// What the lock of an image for an architecture is called in the file: the image's name, unless
    /// another architecture has that.
    pub fn key(&self, image: &str, arch: &str) -> String {
        let apart = format!("{image}@{arch}");
        match self.images.get(image) {
            _ if self.images.contains_key(&apart) => apart,
            Some(lock) if lock.arch != arch => apart,
            _ => image.to_owned(),
        }
    }

    /// Makes sure that each Debian base among the images has a lock that fits its request.
    ///
    /// Nothing is written: call [`LockFile::write`] if something is not [`Locking::Kept`].
    pub fn ensure(
        &mut self,
        loaded: &LoadedStack,
        images: &[ImageId],
        mode: LockMode,
        locker: &Locker<'_>,
    ) -> Result<BTreeMap<String, Locking>, LockFileError> {
        let mut outcome = BTreeMap::new();
        for &id in images {
            let ImageSource::Debian(source) = loaded.source(id) else {
                continue;
            };
            let request = request(source, locker.platform)?;
            let name = self.key(&loaded.stack[id].name.to_string(), &request.arch);
            let old = self.images.get(&name);
            let reasons = match old {
                None => vec!["it has no lock yet".to_owned()],
                Some(lock) => lock.staleness(&request),
            };
            if reasons.is_empty() && mode != LockMode::Update {
                outcome.insert(name, Locking::Kept);
                continue;
            }
            if mode == LockMode::Locked {
                return Err(LockFileError::Stale {
                    image: name,
                    reasons,
                });
            }
            let lock = locker.lock(&name, &request, keyring(loaded, source)?)?;
            let locking = match old {
                None => Locking::New {
                    packages: lock.packages.len(),
                },
                Some(old) => Locking::Moved {
                    reasons,
                    changes: old.changes(&lock),
                },
            };
            self.images.insert(name.clone(), lock);
            outcome.insert(name, locking);
        }
        Ok(outcome)
    }
}

impl LockFile {
    /// Makes sure that images from outside the stack are those that were locked, and has them in
    /// the store if they can be had.
    ///
    /// An image that cannot be had is passed over: lowering says so with its place. Names that were
    /// settled for another platform are left alone: a lock serves all platforms.
    pub fn ensure_external(
        &mut self,
        loaded: &LoadedStack,
        images: &[ImageId],
        mode: LockMode,
        externals: &Externals<'_>,
        settled: &mut BTreeSet<String>,
    ) -> Result<Vec<ExternalChange>, LockFileError> {
        let names: BTreeSet<&String> = images
            .iter()
            .filter_map(|id| loaded.external.get(id))
            .flatten()
            .collect();
        let mut wanted = Vec::new();
        for name in names
            .into_iter()
            .filter(|name| settled.insert((*name).clone()))
        {
            wanted.push((name.clone(), self.locked_digest(name)?));
        }
        let renews = mode == LockMode::Update;
        let may_move = renews || externals.policy == PullPolicy::Always;
        let settled = externals.settle_all(&wanted, renews)?;
        let mut changes = Vec::new();
        for ((name, locked), settled) in wanted.into_iter().zip(settled) {
            let new = match settled {
                Settled::Open => continue,
                Settled::At(new) => new,
                // Taken over on demand only.
                Settled::Moved(new) => new,
                Settled::Failed(source) => return Err(LockFileError::Registry { name, source }),
            };
            // A digest in the name itself needs no lock.
            let is_pinned = name
                .parse::<Reference>()
                .is_ok_and(|r| r.digest().is_some());
            if locked.as_ref() == Some(&new) || is_pinned {
                continue;
            }
            let (old, new) = (locked.map(|digest| digest.to_string()), new.to_string());
            match (&old, mode) {
                (None, LockMode::Locked) => {
                    let reasons = vec![format!("`{name}` has no locked digest")];
                    return Err(LockFileError::Stale {
                        image: name,
                        reasons,
                    });
                }
                (Some(locked), LockMode::AsNeeded | LockMode::Locked)
                    if mode == LockMode::Locked || !may_move =>
                {
                    return Err(LockFileError::ExternalMoved {
                        name,
                        locked: locked.clone(),
                        found: new,
                    });
                }
                _ => {}
            }
            self.external.insert(name.clone(), new.clone());
            changes.push(ExternalChange { name, old, new });
        }
        Ok(changes)
    }

    fn locked_digest(&self, name: &str) -> Result<Option<Digest>, LockFileError> {
        let Some(text) = self.external.get(name) else {
            return Ok(None);
        };
        let digest = text.parse().map_err(|source| LockFileError::Digest {
            name: name.to_owned(),
            source,
        })?;
        Ok(Some(digest))
    }
}

/// The bases that the locks of these images stand for.
pub fn bases(
    loaded: &LoadedStack,
    images: &[ImageId],
    locks: &LockFile,
) -> BTreeMap<ImageId, Arc<DebianBase>> {
    let mut bases = BTreeMap::new();
    for &id in images {
        let ImageSource::Debian(source) = loaded.source(id) else {
            continue;
        };
        let Ok(request) = request(source, &loaded.platform) else {
            continue;
        };
        let key = locks.key(&loaded.stack[id].name.to_string(), &request.arch);
        if let Some(lock) = locks.images.get(&key) {
            let mirrors = source
                .mirrors
                .iter()
                .map(|mirror| mirror.value.clone())
                .collect();
            bases.insert(
                id,
                Arc::new(DebianBase::new(Arc::new(lock.clone()), mirrors)),
            );
        }
    }
    bases
}

impl Locker<'_> {
    /// Brings the packages of a base into the store. [`DebianError::Gone`] names those that no
    /// mirror and no archive has any more: what to do then is the stack's policy.
    pub fn fetch(
        &self,
        base: &DebianBase,
        progress: &(dyn Fn(Fetching) + Sync),
    ) -> Result<(), DebianError> {
        let sources = Sources {
            fetcher: self.fetcher,
            mirrors: &base.mirrors,
            snapshot: Some(SNAPSHOT_ARCHIVE),
        };
        fetch(self.store, &base.lock, &sources, self.cancel, progress)
    }

    fn lock(
        &self,
        image: &str,
        request: &Request,
        keyring: Option<Keyring>,
    ) -> Result<Lock, LockFileError> {
        let options = ResolveOptions {
            keyring,
            now: self.now,
            check_valid_until: true,
        };
        let progress = |step| (self.progress)(image, step);
        resolve(
            self.store,
            self.fetcher,
            request,
            &options,
            self.cancel,
            &progress,
        )
        .map_err(|source| LockFileError::Debian {
            image: image.to_owned(),
            source: Box::new(source),
        })
    }
}

/// What a base asks of Debian.
pub fn request(source: &DebianSource, platform: &Platform) -> Result<Request, LockFileError> {
    let arch = match &source.arch {
        Some(arch) => arch.value.clone(),
        None => debian_arch(&platform.architecture, platform.variant.as_deref())
            .ok_or_else(|| LockFileError::Architecture(platform.clone()))?
            .to_owned(),
    };
    let mut packages: Vec<String> = source
        .packages
        .iter()
        .map(|package| package.value.clone())
        .collect();
    if source.package_set == PackageSet::Buildd {
        packages.push("build-essential".to_owned());
    }
    Ok(Request {
        suite: source.suite.value.clone(),
        arch,
        variant: variant(source.package_set),
        packages,
        components: source.components.clone(),
        mirrors: source
            .mirrors
            .iter()
            .map(|mirror| mirror.value.clone())
            .collect(),
    })
}

fn variant(set: PackageSet) -> Variant {
    match set {
        PackageSet::Essential => Variant::Essential,
        PackageSet::Apt => Variant::Apt,
        // What building packages takes for granted is a package of its own.
        PackageSet::Minbase | PackageSet::Buildd => Variant::Minbase,
        PackageSet::Important => Variant::Important,
        PackageSet::Standard => Variant::Standard,
    }
}

fn keyring(loaded: &LoadedStack, source: &DebianSource) -> Result<Option<Keyring>, LockFileError> {
    let Some(file) = &source.keyring else {
        return Ok(None);
    };
    let path = loaded.directory.join(&file.value);
    let bytes = std::fs::read(&path).map_err(|source| LockFileError::Io {
        doing: "read the keyring",
        path: path.clone(),
        source,
    })?;
    Keyring::parse(&bytes)
        .map(Some)
        .map_err(|error| LockFileError::Damaged {
            path,
            reason: error.to_string(),
        })
}

/// A name as a TOML key.
fn quoted_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}
