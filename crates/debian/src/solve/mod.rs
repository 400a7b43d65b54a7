//! Which packages to install: what apt would choose without recommendations.
//!
//! The work is done in the two steps in which a base is made by hand (and by `mmdebstrap`):
//! first the essential packages of the main suite with what they need, then, beside those, the
//! packages of the variant's priorities and the requested ones. The steps matter: a choice between
//! alternatives that the first one made is a given for the second.
//!
//! [`choose`] goes apt's way: depth first, in the order of the relations, first alternative that
//! can be had, requested packages protected. Where that ends in a contradiction, [`search`] looks
//! for any consistent set with the same preferences, or says why there is none.

mod choose;
mod search;
mod state;

use thiserror::Error;

use crate::universe::{PackageId, Priority, Universe};
use crate::version::Version;

/// Which packages a base has beside the requested ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// `Essential: yes` and what that needs.
    Essential,
    /// The essential packages and apt.
    Apt,
    /// The essential packages and all of priority `required`, apt among them.
    #[default]
    Minbase,
    /// And those of priority `important`.
    Important,
    /// And those of priority `standard`.
    Standard,
}

impl Variant {
    fn lowest_priority(self) -> Option<Priority> {
        match self {
            Variant::Essential | Variant::Apt => None,
            Variant::Minbase => Some(Priority::Required),
            Variant::Important => Some(Priority::Important),
            Variant::Standard => Some(Priority::Standard),
        }
    }
}

/// One package that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The package.
    pub package: PackageId,
    /// Whether it is there only because another one needs it.
    pub automatic: bool,
}

/// Why no set of packages could be chosen.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SolveError {
    /// A requested name does not exist.
    #[error("there is no package {name}{}", suggestion(.nearest))]
    NoSuchPackage {
        /// What was asked for.
        name: String,
        /// Names that look like it.
        nearest: Vec<String>,
    },
    /// A requested name is provided by several packages, and which one is not for us to say.
    #[error("{name} is a virtual package; ask for one of {}", .providers.join(", "))]
    VirtualPackage {
        /// What was asked for.
        name: String,
        /// Who provides it.
        providers: Vec<String>,
    },
    /// A requested version is not the one the suites offer.
    #[error("{name} is offered in version {offered}, not {wanted}")]
    NoSuchVersion {
        /// The package.
        name: String,
        /// The version asked for.
        wanted: String,
        /// The version there is.
        offered: String,
    },
    /// The requested packages cannot be installed together.
    #[error("the packages cannot be installed together: {}", .reasons.join("; "))]
    Unsatisfiable {
        /// What stands in the way, one line each.
        reasons: Vec<String>,
    },
}

fn suggestion(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    format!("; is it {}", nearest.join(" or "))
}

/// Chooses the packages of a base: the variant's and the requested ones, with what they need.
///
/// The result is sorted by name.
///
/// # Errors
/// When a requested package does not exist, or no consistent set can be found.
pub fn solve(
    universe: &Universe<'_>,
    variant: Variant,
    requested: &[String],
) -> Result<Vec<Chosen>, SolveError> {
    let essential = essential_packages(universe, variant);
    let mut requests = requested_packages(universe, requested)?;
    for id in priority_packages(universe, variant) {
        if !requests.contains(&id) {
            requests.push(id);
        }
    }
    let first = complete(universe, &[], &essential)?;
    let base: Vec<PackageId> = first.clone();
    let all = complete(universe, &base, &requests)?;
    let mut chosen: Vec<Chosen> = all
        .into_iter()
        .map(|package| Chosen {
            package,
            automatic: !base.contains(&package) && !requests.contains(&package),
        })
        .collect();
    chosen.sort_by_key(|c| universe.package(c.package).name);
    Ok(chosen)
}

/// Adds the requests and what they need to a set that is installed already.
fn complete(
    universe: &Universe<'_>,
    installed: &[PackageId],
    requests: &[PackageId],
) -> Result<Vec<PackageId>, SolveError> {
    let chosen = choose::choose(universe, installed, requests);
    if search::faults(universe, &chosen, requests).is_empty() {
        return Ok(chosen);
    }
    search::search(universe, installed, requests)
}

fn essential_packages(universe: &Universe<'_>, variant: Variant) -> Vec<PackageId> {
    let wanted = |id: &PackageId| {
        let package = universe.package(*id);
        let essential = package.in_main.is_some_and(|main| main.essential);
        essential || (variant == Variant::Apt && package.name == "apt")
    };
    by_name(universe, universe.ids().filter(wanted).collect())
}

fn priority_packages(universe: &Universe<'_>, variant: Variant) -> Vec<PackageId> {
    let Some(lowest) = variant.lowest_priority() else {
        return Vec::new();
    };
    let wanted = |id: &PackageId| {
        universe.package(*id).in_main.is_some_and(|main| {
            !main.essential && main.priority != Priority::Unset && main.priority <= lowest
        })
    };
    by_name(universe, universe.ids().filter(wanted).collect())
}

fn by_name(universe: &Universe<'_>, mut ids: Vec<PackageId>) -> Vec<PackageId> {
    ids.sort_by_key(|id| universe.package(*id).name);
    ids
}

/// Finds what was asked for: `name` or `name=version`.
fn requested_packages(
    universe: &Universe<'_>,
    requested: &[String],
) -> Result<Vec<PackageId>, SolveError> {
    let mut found = Vec::new();
    for request in requested {
        let (name, version) = match request.split_once('=') {
            Some((name, version)) => (name.trim(), Some(version.trim())),
            None => (request.trim(), None),
        };
        let id = match universe.find(name) {
            Some(id) => id,
            None => only_provider(universe, name)?,
        };
        let offered = universe.package(id).version;
        if let Some(wanted) = version
            && Version(wanted) != offered
        {
            return Err(SolveError::NoSuchVersion {
                name: name.to_owned(),
                wanted: wanted.to_owned(),
                offered: offered.to_string(),
            });
        }
        if !found.contains(&id) {
            found.push(id);
        }
    }
    Ok(found)
}

/// A virtual package may be asked for when a single package provides it.
fn only_provider(universe: &Universe<'_>, name: &str) -> Result<PackageId, SolveError> {
    let relation = crate::relation::Relation {
        name,
        qualifier: None,
        version: None,
    };
    let providers = universe.answers(&relation);
    match providers.as_slice() {
        [only] => Ok(*only),
        [] => Err(SolveError::NoSuchPackage {
            name: name.to_owned(),
            nearest: nearest_names(universe, name),
        }),
        several => Err(SolveError::VirtualPackage {
            name: name.to_owned(),
            providers: several
                .iter()
                .map(|id| universe.package(*id).name.to_owned())
                .collect(),
        }),
    }
}

fn nearest_names(universe: &Universe<'_>, name: &str) -> Vec<String> {
    let mut near: Vec<(usize, &str)> = universe
        .names()
        .filter(|other| other.len().abs_diff(name.len()) <= 2)
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(distance, other)| *distance <= 2 && *distance * 2 < other.len())
        .collect();
    near.sort_unstable();
    near.into_iter()
        .take(3)
        .map(|(_, other)| other.to_owned())
        .collect()
}
