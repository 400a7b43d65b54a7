//! From a request to a lock: fetch the indexes, choose the packages, write down what was chosen.

use cairn_store::Store;

use crate::archive::{Reader, TrustedSuite};
use crate::date;
use crate::error::DebianError;
use crate::lock::{Lock, LockedIndex, LockedPackage};
use crate::request::Request;
use crate::solve::{Chosen, solve};
use crate::trust::Keyring;
use crate::universe::Universe;

/// How to resolve.
#[derive(Debug, Clone)]
pub struct ResolveOptions {
    /// Keys to trust instead of Debian's.
    pub keyring: Option<Keyring>,
    /// The time, in seconds since the epoch.
    pub now: i64,
    /// Whether a Release whose `Valid-Until` has passed is refused.
    pub check_valid_until: bool,
}

/// What has happened while resolving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveProgress {
    /// A suite's Release was believed and its indexes are being read.
    Suite {
        /// The suite.
        suite: String,
        /// The date of its Release.
        date: String,
    },
    /// The packages are chosen.
    Chosen {
        /// How many.
        packages: usize,
    },
}

/// Chooses the packages of a base and locks them.
///
/// # Errors
/// When an archive cannot be fetched or is not trusted, or the packages cannot be chosen.
pub fn resolve(
    store: &Store,
    fetcher: &cairn_registry::Fetcher,
    request: &Request,
    options: &ResolveOptions,
    cancel: &cairn_sandbox::Cancel,
    progress: &dyn Fn(ResolveProgress),
) -> Result<Lock, DebianError> {
    let keyring = options
        .keyring
        .as_ref()
        .unwrap_or_else(|| Keyring::shipped());
    let reader = Reader {
        store,
        fetcher,
        keyring,
        now: options.now,
        check_valid_until: options.check_valid_until,
        cancel,
    };
    let mut suites = Vec::new();
    let mut texts: Vec<(usize, String)> = Vec::new();
    for (at, archive) in request.archives().iter().enumerate() {
        let suite = reader.release(archive)?;
        let date = date::iso(suite.release.date);
        progress(ResolveProgress::Suite {
            suite: suite.suite.clone(),
            date,
        });
        for component in &request.components {
            match reader.indexes(&suite, component, &request.arch) {
                Ok(found) => texts.extend(found.into_iter().map(|text| (at, text))),
                // Only the main suite must have everything: there may be no update for a part.
                Err(DebianError::NoIndex { .. }) if at > 0 => {}
                Err(problem) => return Err(problem),
            }
        }
        suites.push(suite);
    }
    let main = texts.iter().filter(|(at, _)| *at == 0).count();
    let slices: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
    let universe = Universe::new(&slices, main, &request.arch);
    let chosen = solve(&universe, request.variant, &request.packages)?;
    progress(ResolveProgress::Chosen {
        packages: chosen.len(),
    });
    let suite_of = |index: usize| &suites[texts[index].0];
    let packages = chosen
        .iter()
        .map(|chosen| {
            locked(
                &universe,
                chosen,
                suite_of(universe.package(chosen.package).index),
            )
        })
        .collect::<Result<_, _>>()?;
    let lock = Lock {
        suite: request.suite.clone(),
        arch: request.arch.clone(),
        variant: request.variant,
        components: request.components.clone(),
        requested: request.packages.clone(),
        indexes: suites.iter().map(index).collect(),
        packages,
    };
    lock.check().map_err(|why| DebianError::Lock { why })?;
    Ok(lock)
}

fn index(suite: &TrustedSuite) -> LockedIndex {
    LockedIndex {
        suite: suite.suite.clone(),
        mirror: suite.mirror.clone(),
        date: date::iso(suite.release.date),
    }
}

fn locked(
    universe: &Universe<'_>,
    chosen: &Chosen,
    suite: &TrustedSuite,
) -> Result<LockedPackage, DebianError> {
    let package = universe.package(chosen.package);
    let missing = |field| DebianError::Stanza {
        package: package.name.to_owned(),
        field,
    };
    let field = |name| package.stanza.field(name).ok_or_else(|| missing(name));
    Ok(LockedPackage {
        name: package.name.to_owned(),
        version: package.version.to_string(),
        arch: field("Architecture")?.to_owned(),
        suite: suite.suite.clone(),
        auto: chosen.automatic,
        size: field("Size")?.parse().map_err(|_| missing("Size"))?,
        sha256: field("SHA256")?.to_ascii_lowercase(),
        path: field("Filename")?.trim_start_matches("./").to_owned(),
    })
}
