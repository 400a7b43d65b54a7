//! All packages a request can choose from, as the indexes of its suites offer them.
//!
//! Of each name only the candidate counts: the highest version any suite has, as with apt when no
//! pinning is configured. Stanzas stay slices of the index text; relations are parsed when a
//! package is first looked at, for a resolver looks at a few hundred of sixty thousand.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::deb822::{Paragraph, paragraphs};
use crate::relation::{self, Clause, MalformedRelation, Relation};
use crate::version::Version;

/// A package of the universe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageId(u32);

impl PackageId {
    /// The position in tables with one entry per package.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How much a system needs a package; in the order of need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// No priority is given.
    Unset,
    /// Needed by the packaging system.
    Required,
    /// Expected on any system.
    Important,
    /// A reasonable small system.
    Standard,
    /// Everything else.
    Optional,
    /// Likewise, deprecated.
    Extra,
}

/// The candidate of one name.
#[derive(Debug)]
pub struct Package<'t> {
    /// Its name.
    pub name: &'t str,
    /// Its version.
    pub version: Version<'t>,
    /// Its stanza in the index.
    pub stanza: Paragraph<'t>,
    /// Which of the indexes it comes from.
    pub index: usize,
    /// Whether any version of it is `Essential`.
    pub essential: bool,
    /// Whether any version of it is `Important` or `Protected`.
    pub protected: bool,
    /// Its own priority.
    pub priority: Priority,
    /// Its place in the main suite, where it has one: what variants select by.
    pub in_main: Option<MainSuite>,
    /// Whether a package of another architecture may take its place (`Multi-Arch: allowed`).
    pub any_architecture: bool,
    relations: OnceCell<Result<Relations<'t>, MalformedRelation>>,
}

/// What the main suite says of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MainSuite {
    /// `Essential: yes`.
    pub essential: bool,
    /// The priority there.
    pub priority: Priority,
}

/// What a package needs and what it cannot stand beside.
#[derive(Debug, Default)]
pub struct Relations<'t> {
    /// `Pre-Depends`, then `Depends`.
    pub needs: Vec<Clause<'t>>,
    /// `Conflicts`, then `Breaks`.
    pub excludes: Vec<Relation<'t>>,
}

#[derive(Debug, Clone, Copy)]
struct Provider<'t> {
    package: PackageId,
    version: Option<Version<'t>>,
}

/// All candidates with their names and what they provide.
#[derive(Debug)]
pub struct Universe<'t> {
    arch: String,
    texts: Vec<&'t str>,
    packages: Vec<Package<'t>>,
    by_name: HashMap<&'t str, PackageId>,
    providers: HashMap<&'t str, Vec<Provider<'t>>>,
    mentions: OnceCell<HashMap<&'t str, u32>>,
}

impl<'t> Universe<'t> {
    /// Gathers the packages of `arch`. The first `main` texts are the main suite's indexes.
    #[must_use]
    pub fn new(texts: &[&'t str], main: usize, arch: &str) -> Universe<'t> {
        let mut universe = Universe {
            arch: arch.to_owned(),
            texts: texts.to_vec(),
            packages: Vec::new(),
            by_name: HashMap::new(),
            providers: HashMap::new(),
            mentions: OnceCell::new(),
        };
        for (index, text) in texts.iter().enumerate() {
            for stanza in paragraphs(text) {
                if let Some(offer) = Offer::read(stanza, arch) {
                    universe.add(&offer, index, index < main);
                }
            }
        }
        universe.gather_providers();
        universe
    }

    /// The architecture that is being installed.
    #[must_use]
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// The package of an id.
    #[must_use]
    pub fn package(&self, id: PackageId) -> &Package<'t> {
        &self.packages[id.index()]
    }

    /// How many packages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Whether there is no package at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// All packages.
    pub fn ids(&self) -> impl Iterator<Item = PackageId> + use<> {
        (0..self.packages.len() as u32).map(PackageId)
    }

    /// Finds a package by its name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PackageId> {
        self.by_name.get(name).copied()
    }

    /// All names there are, real ones only.
    pub fn names(&self) -> impl Iterator<Item = &'t str> {
        self.packages.iter().map(|package| package.name)
    }

    /// What a package needs and excludes.
    ///
    /// # Errors
    /// When its stanza holds a malformed relation.
    pub fn relations(&self, id: PackageId) -> Result<&Relations<'t>, &MalformedRelation> {
        let package = self.package(id);
        package
            .relations
            .get_or_init(|| read_relations(package.stanza, &self.arch))
            .as_ref()
    }

    /// The candidates that answer a relation: the named package, then those that provide it.
    #[must_use]
    pub fn answers(&self, relation: &Relation<'_>) -> Vec<PackageId> {
        let mut found: Vec<PackageId> = self
            .find(relation.name)
            .filter(|id| self.answers_as_itself(*id, relation))
            .into_iter()
            .collect();
        if matches!(relation.qualifier, None | Some("native")) {
            for provider in self.providers.get(relation.name).into_iter().flatten() {
                if provides(provider, relation) && !found.contains(&provider.package) {
                    found.push(provider.package);
                }
            }
        }
        found
    }

    /// Says whether `id` answers a relation, by its name or by what it provides.
    #[must_use]
    pub fn is_answer(&self, id: PackageId, relation: &Relation<'_>) -> bool {
        if self.package(id).name == relation.name && self.answers_as_itself(id, relation) {
            return true;
        }
        let providers = self
            .providers
            .get(relation.name)
            .map_or(&[][..], Vec::as_slice);
        matches!(relation.qualifier, None | Some("native"))
            && providers
                .iter()
                .any(|p| p.package == id && provides(p, relation))
    }

    /// When a name was first mentioned in the indexes, counting every name in every relation.
    ///
    /// apt numbers packages in this order and lets the number decide where it has no other
    /// preference; so does the resolver here, to choose the same provider.
    #[must_use]
    pub fn mention(&self, name: &str) -> u32 {
        let mentions = self.mentions.get_or_init(|| count_mentions(&self.texts));
        mentions.get(name).copied().unwrap_or(u32::MAX)
    }

    fn answers_as_itself(&self, id: PackageId, relation: &Relation<'_>) -> bool {
        let package = self.package(id);
        let right_arch = match relation.qualifier {
            None | Some("native") => true,
            Some("any") => package.any_architecture,
            Some(other) => other == self.arch,
        };
        right_arch && relation.accepts(package.version)
    }

    fn add(&mut self, offer: &Offer<'t>, index: usize, in_main: bool) {
        let main = MainSuite {
            essential: offer.essential,
            priority: offer.priority,
        };
        let Some(id) = self.by_name.get(offer.name).copied() else {
            self.by_name
                .insert(offer.name, PackageId(self.packages.len() as u32));
            self.packages
                .push(offer.package(index, in_main.then_some(main)));
            return;
        };
        let known = &mut self.packages[id.index()];
        let better = offer.version > known.version;
        if better {
            let replaced = std::mem::replace(known, offer.package(index, None));
            known.essential |= replaced.essential;
            known.protected |= replaced.protected;
            known.in_main = replaced.in_main;
        } else {
            known.essential |= offer.essential;
            known.protected |= offer.protected;
        }
        if in_main && (better || known.in_main.is_none()) {
            known.in_main = Some(main);
        }
    }

    fn gather_providers(&mut self) {
        for (at, package) in self.packages.iter().enumerate() {
            let Some(provided) = package.stanza.field("Provides") else {
                continue;
            };
            // What cannot be read is not provided; nothing else depends on this field.
            let Ok(clauses) = relation::parse(provided, &self.arch) else {
                continue;
            };
            for relation in clauses.into_iter().flatten() {
                let version = relation.version.map(|(_, version)| version);
                let provider = Provider {
                    package: PackageId(at as u32),
                    version,
                };
                self.providers
                    .entry(relation.name)
                    .or_default()
                    .push(provider);
            }
        }
    }
}

fn provides(provider: &Provider<'_>, relation: &Relation<'_>) -> bool {
    match (relation.version, provider.version) {
        (None, _) => true,
        (Some(_), Some(version)) => relation.accepts(version),
        (Some(_), None) => false,
    }
}

fn read_relations<'t>(
    stanza: Paragraph<'t>,
    arch: &str,
) -> Result<Relations<'t>, MalformedRelation> {
    let read = |field| relation::parse(stanza.field(field).unwrap_or_default(), arch);
    let mut needs = read("Pre-Depends")?;
    needs.extend(read("Depends")?);
    let mut excludes = read("Conflicts")?;
    excludes.extend(read("Breaks")?);
    Ok(Relations {
        needs,
        excludes: excludes.into_iter().flatten().collect(),
    })
}

/// The few fields of a stanza that every package is asked for, found in one pass.
struct Offer<'t> {
    name: &'t str,
    version: Version<'t>,
    stanza: Paragraph<'t>,
    essential: bool,
    protected: bool,
    any_architecture: bool,
    priority: Priority,
}

impl<'t> Offer<'t> {
    fn read(stanza: Paragraph<'t>, arch: &str) -> Option<Offer<'t>> {
        let mut offer = Offer {
            name: "",
            version: Version(""),
            stanza,
            essential: false,
            protected: false,
            any_architecture: false,
            priority: Priority::Unset,
        };
        let mut fits = false;
        for (name, value) in stanza.fields() {
            match name {
                "Package" => offer.name = value,
                "Version" => offer.version = Version(value),
                "Architecture" => fits = value == arch || value == "all",
                "Essential" => offer.essential = value == "yes",
                "Important" | "Protected" => offer.protected |= value == "yes",
                "Multi-Arch" => offer.any_architecture = value == "allowed",
                "Priority" => offer.priority = priority(value),
                _ => {}
            }
        }
        (fits && !offer.name.is_empty() && !offer.version.0.is_empty()).then_some(offer)
    }

    fn package(&self, index: usize, in_main: Option<MainSuite>) -> Package<'t> {
        Package {
            name: self.name,
            version: self.version,
            stanza: self.stanza,
            index,
            essential: self.essential,
            protected: self.protected,
            priority: self.priority,
            in_main,
            any_architecture: self.any_architecture,
            relations: OnceCell::new(),
        }
    }
}

fn priority(word: &str) -> Priority {
    match word {
        "required" => Priority::Required,
        "important" => Priority::Important,
        "standard" => Priority::Standard,
        "optional" => Priority::Optional,
        _ => Priority::Extra,
    }
}

/// The fields in which a name may be mentioned, in the order in which apt reads them.
const MENTIONING: [&str; 9] = [
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Recommends",
    "Suggests",
    "Replaces",
    "Enhances",
    "Provides",
];

fn count_mentions<'t>(texts: &[&'t str]) -> HashMap<&'t str, u32> {
    let mut mentions = HashMap::new();
    let mut mention = |name: &'t str| {
        let next = mentions.len() as u32;
        mentions.entry(name).or_insert(next);
    };
    for stanza in texts.iter().flat_map(|text| paragraphs(text)) {
        let mut values = [""; MENTIONING.len()];
        for (name, value) in stanza.fields() {
            if name == "Package" {
                mention(value);
            } else if let Some(at) = MENTIONING.iter().position(|field| *field == name) {
                values[at] = value;
            }
        }
        for relation in values.iter().flat_map(|value| value.split([',', '|'])) {
            let relation = relation.trim_start();
            let end = relation
                .find([' ', '\n', '(', '['])
                .unwrap_or(relation.len());
            if end > 0 {
                mention(&relation[..end]);
            }
        }
    }
    mentions
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "Package: mawk\nVersion: 1.3\nArchitecture: amd64\nPriority: required\n\
        Provides: awk, awk-api (= 2)\n\nPackage: gawk\nVersion: 5\nArchitecture: amd64\n\
        Priority: optional\nProvides: awk\n\nPackage: base\nVersion: 1\nEssential: yes\n\
        Architecture: all\nPriority: required\nPre-Depends: awk\nDepends: libc (>= 2) | musl\n\
        Breaks: old (<< 3)\n\nPackage: foreign\nVersion: 1\nArchitecture: i386\n";
    const SECURITY: &str = "Package: base\nVersion: 1+deb12u1\nArchitecture: all\n\
        Priority: optional\n";

    fn names(universe: &Universe<'_>, relation: &str) -> Vec<String> {
        let clauses = relation::parse(relation, "amd64").unwrap();
        let ids = universe.answers(&clauses[0][0]);
        ids.into_iter()
            .map(|id| universe.package(id).name.to_owned())
            .collect()
    }

    #[test]
    fn the_highest_version_is_the_candidate_and_main_gives_its_rank() {
        let universe = Universe::new(&[MAIN, SECURITY], 1, "amd64");
        let base = universe.package(universe.find("base").unwrap());
        assert_eq!((base.version.0, base.index), ("1+deb12u1", 1));
        assert!(base.essential);
        let rank = MainSuite {
            essential: true,
            priority: Priority::Required,
        };
        assert_eq!(base.in_main, Some(rank));
        assert_eq!(universe.find("foreign"), None);
    }

    #[test]
    fn virtual_packages_are_answered_by_their_providers() {
        let universe = Universe::new(&[MAIN], 1, "amd64");
        assert_eq!(names(&universe, "awk"), ["mawk", "gawk"]);
        assert_eq!(names(&universe, "awk (>= 1)"), [""; 0]);
        assert_eq!(names(&universe, "awk-api (>= 2)"), ["mawk"]);
        assert_eq!(names(&universe, "mawk (>> 1.3)"), [""; 0]);
        assert_eq!(names(&universe, "mawk:any"), [""; 0]);
        assert_eq!(names(&universe, "mawk:native"), ["mawk"]);
    }

    #[test]
    fn relations_come_in_apts_order() {
        let universe = Universe::new(&[MAIN], 1, "amd64");
        let relations = universe.relations(universe.find("base").unwrap()).unwrap();
        let firsts: Vec<_> = relations
            .needs
            .iter()
            .map(|clause| clause[0].name)
            .collect();
        assert_eq!(firsts, ["awk", "libc"]);
        assert_eq!(relations.excludes[0].to_string(), "old (<< 3)");
        assert!(universe.mention("mawk") < universe.mention("awk"));
        assert!(universe.mention("awk") < universe.mention("gawk"));
    }
}
