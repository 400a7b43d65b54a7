//! The lock of a Debian base: every package with its hash, and what it was chosen for.
//!
//! A build uses exactly this; it needs no index and no Release file. The lock also remembers the
//! request, so that a stale lock can say what changed, and each index's date and mirror, because
//! the image's `sources.list` and the time of its files come from here and nowhere else.
//!
//! Written as TOML with one package per line, sorted by name: a diff of two commits shows what
//! moved.

use std::fmt::Write as _;

use cairn_store::{ContentDigest, KeyHasher};
use serde::{Deserialize, Serialize};

use crate::date;
use crate::error::DebianError;
use crate::request::Request;
use crate::solve::Variant;

/// Changes when the same lock gives another tree, so that no cached base outlives it.
const ASSEMBLY: u64 = 1;

/// The locked packages of one base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The suite that was asked for.
    pub suite: String,
    /// The architecture.
    pub arch: String,
    /// The package set that was asked for.
    pub variant: Variant,
    /// The components that were asked for.
    pub components: Vec<String>,
    /// The packages that were asked for.
    pub requested: Vec<String>,
    /// The suites the packages were chosen from, the main one first.
    pub indexes: Vec<LockedIndex>,
    /// All packages, sorted by name.
    pub packages: Vec<LockedPackage>,
}

/// A suite as it was when the packages were chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedIndex {
    /// The suite below `dists/`.
    pub suite: String,
    /// Where it was fetched.
    pub mirror: String,
    /// The date of its Release file.
    pub date: String,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture (`all`, or the base's).
    pub arch: String,
    /// The suite it comes from.
    pub suite: String,
    /// Whether it is there only because another package needs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto: bool,
    /// The size of its file.
    pub size: u64,
    /// The sha256 of its file, in hex.
    pub sha256: String,
    /// Its path below the mirror.
    pub path: String,
}

impl Lock {
    /// The time that no file of the base is younger than: that of the newest index.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.indexes
            .iter()
            .filter_map(|i| date::parse_iso(&i.date))
            .max()
            .unwrap_or(0)
    }

    /// What the assembled tree depends on, for cache keys.
    #[must_use]
    pub fn identity(&self) -> ContentDigest {
        let mut hasher = KeyHasher::new("debian base");
        hasher
            .number("assembly", ASSEMBLY)
            .field("lock", self.to_toml("base"));
        hasher.finish_content()
    }

    /// The archive a suite's packages come from.
    pub(crate) fn mirror_of(&self, suite: &str) -> Option<&str> {
        self.indexes
            .iter()
            .find(|i| i.suite == suite)
            .map(|i| i.mirror.as_str())
    }

    /// Writes the lock as a TOML table of the given name.
    #[must_use]
    pub fn to_toml(&self, table: &str) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_toml(table, &mut out);
        out
    }

    fn write_toml(&self, table: &str, out: &mut String) -> std::fmt::Result {
        writeln!(out, "[{table}]")?;
        writeln!(out, "suite = {}", quoted(&self.suite))?;
        writeln!(out, "arch = {}", quoted(&self.arch))?;
        writeln!(out, "variant = {}", quoted(variant_name(self.variant)))?;
        writeln!(out, "components = [{}]", list(&self.components))?;
        writeln!(out, "requested = [{}]", list(&self.requested))?;
        writeln!(out, "indexes = [")?;
        for index in &self.indexes {
            let (suite, mirror, date) = (
                quoted(&index.suite),
                quoted(&index.mirror),
                quoted(&index.date),
            );
            writeln!(
                out,
                "  {{ suite = {suite}, mirror = {mirror}, date = {date} }},"
            )?;
        }
        writeln!(out, "]\npackages = [")?;
        for package in &self.packages {
            package.write_toml(out)?;
        }
        writeln!(out, "]")
    }

    /// Reads the contents of a table that [`Lock::to_toml`] wrote.
    ///
    /// # Errors
    /// When the text is no such table, or is not consistent in itself.
    pub fn from_toml(text: &str) -> Result<Lock, DebianError> {
        let broken = |why: String| DebianError::Lock { why };
        let value: toml::Table =
            toml::from_str(text).map_err(|e| broken(e.message().to_owned()))?;
        let table = innermost(value);
        let lock: Lock = table
            .try_into()
            .map_err(|e: toml::de::Error| broken(e.message().to_owned()))?;
        lock.check().map_err(broken)?;
        Ok(lock)
    }

    /// Checks what a hand-edited or hostile lock could have wrong.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.indexes.is_empty() {
            return Err("it names no index".to_owned());
        }
        if let Some(index) = self
            .indexes
            .iter()
            .find(|i| date::parse_iso(&i.date).is_none())
        {
            return Err(format!("the date of {} is none", index.suite));
        }
        for package in &self.packages {
            let right = package.sha256.len() == 64
                && package
                    .sha256
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !right {
                return Err(format!("the sha256 of {} is none", package.name));
            }
            if !is_safe_path(&package.path) {
                return Err(format!("the path of {} leaves the mirror", package.name));
            }
            if self.mirror_of(&package.suite).is_none() {
                return Err(format!(
                    "{} comes from {}, which is no index",
                    package.name, package.suite
                ));
            }
            if package.arch != "all" && package.arch != self.arch {
                return Err(format!("{} is of another architecture", package.name));
            }
        }
        Ok(())
    }

    /// Says why this lock does not answer a request; empty when it does.
    ///
    /// Mirrors do not count: the same packages can come from anywhere.
    #[must_use]
    pub fn staleness(&self, request: &Request) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut changed = |what: &str, locked: &str, wanted: &str| {
            if locked != wanted {
                reasons.push(format!("{what} was {locked} and is {wanted}"));
            }
        };
        changed("suite", &self.suite, &request.suite);
        changed("arch", &self.arch, &request.arch);
        changed(
            "variant",
            variant_name(self.variant),
            variant_name(request.variant),
        );
        changed(
            "components",
            &self.components.join(" "),
            &request.components.join(" "),
        );
        for package in request
            .packages
            .iter()
            .filter(|p| !self.requested.contains(p))
        {
            reasons.push(format!("{package} was added"));
        }
        for package in self
            .requested
            .iter()
            .filter(|p| !request.packages.contains(p))
        {
            reasons.push(format!("{package} was removed"));
        }
        reasons
    }

    /// What is different in a newer lock, sorted by package.
    #[must_use]
    pub fn changes(&self, newer: &Lock) -> Vec<Change> {
        let find = |lock: &Lock, name: &str| lock.packages.iter().find(|p| p.name == name).cloned();
        let mut names: Vec<&str> = self
            .packages
            .iter()
            .chain(&newer.packages)
            .map(|p| p.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .filter_map(|name| {
                let (old, new) = (find(self, name), find(newer, name));
                let kind = match (old, new) {
                    (None, Some(new)) => ChangeKind::Added {
                        version: new.version,
                    },
                    (Some(old), None) => ChangeKind::Removed {
                        version: old.version,
                    },
                    (Some(old), Some(new)) if old.version != new.version => ChangeKind::Moved {
                        from: old.version,
                        to: new.version,
                    },
                    (Some(old), Some(new)) if old.sha256 != new.sha256 => ChangeKind::Rebuilt {
                        version: new.version,
                    },
                    _ => return None,
                };
                Some(Change {
                    name: name.to_owned(),
                    kind,
                })
            })
            .collect()
    }
}

impl LockedPackage {
    fn write_toml(&self, out: &mut String) -> std::fmt::Result {
        write!(
            out,
            "  {{ name = {}, version = {}",
            quoted(&self.name),
            quoted(&self.version)
        )?;
        write!(
            out,
            ", arch = {}, suite = {}",
            quoted(&self.arch),
            quoted(&self.suite)
        )?;
        if self.auto {
            write!(out, ", auto = true")?;
        }
        write!(
            out,
            ", size = {}, sha256 = {}",
            self.size,
            quoted(&self.sha256)
        )?;
        writeln!(out, ", path = {} }},", quoted(&self.path))
    }
}

/// What happened to one package between two locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The package.
    pub name: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: ChangeKind,
}

/// The ways a locked package can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added {
        /// Its version.
        version: String,
    },
    /// It is gone.
    Removed {
        /// The version it had.
        version: String,
    },
    /// It has another version.
    Moved {
        /// The version it had.
        from: String,
        /// The version it has.
        to: String,
    },
    /// The same version has another file.
    Rebuilt {
        /// The version.
        version: String,
    },
}

impl std::fmt::Display for Change {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            ChangeKind::Added { version } => write!(out, "+ {} {version}", self.name),
            ChangeKind::Removed { version } => write!(out, "- {} {version}", self.name),
            ChangeKind::Moved { from, to } => write!(out, "~ {} {from} -> {to}", self.name),
            ChangeKind::Rebuilt { version } => {
                write!(out, "~ {} {version}, another file", self.name)
            }
        }
    }
}

fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::Essential => "essential",
        Variant::Apt => "apt",
        Variant::Minbase => "minbase",
        Variant::Important => "important",
        Variant::Standard => "standard",
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(items: &[String]) -> String {
    items
        .iter()
        .map(|item| quoted(item))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The table inside `[a.b.c]` headers, or the table itself.
fn innermost(mut table: toml::Table) -> toml::Table {
    while table.len() == 1 && !table.contains_key("suite") {
        match table.into_iter().next() {
            Some((_, toml::Value::Table(inner))) => table = inner,
            _ => return toml::Table::new(),
        }
    }
    table
}

fn is_safe_path(path: &str) -> bool {
    !path.starts_with('/')
        && !path.contains(['\\', '?', '#', '\n', ' '])
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> LockedPackage {
        LockedPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: "amd64".to_owned(),
            suite: "bookworm".to_owned(),
            auto: name.starts_with("lib"),
            size: 7,
            sha256: "ab".repeat(32),
            path: format!("pool/main/{name}_{version}.deb"),
        }
    }

    fn lock(packages: Vec<LockedPackage>) -> Lock {
        Lock {
            suite: "bookworm".to_owned(),
            arch: "amd64".to_owned(),
            variant: Variant::Minbase,
            components: vec!["main".to_owned()],
            requested: vec!["git".to_owned()],
            indexes: vec![LockedIndex {
                suite: "bookworm".to_owned(),
                mirror: "http://deb.debian.org/debian".to_owned(),
                date: "2026-07-11T10:16:37Z".to_owned(),
            }],
            packages,
        }
    }

    fn request() -> Request {
        Request {
            suite: "bookworm".to_owned(),
            arch: "amd64".to_owned(),
            variant: Variant::Minbase,
            packages: vec!["git".to_owned()],
            components: vec!["main".to_owned()],
            mirrors: vec!["http://elsewhere.example/debian".to_owned()],
        }
    }

    #[test]
    fn a_lock_survives_its_text() {
        let lock = lock(vec![
            package("git", "1:2.39"),
            package("libc6", "2.36-9+deb12u14"),
        ]);
        let text = lock.to_toml("debian.base");
        assert!(
            text.starts_with("[debian.base]\nsuite = \"bookworm\"\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 13);
        assert_eq!(Lock::from_toml(&text).unwrap(), lock);
        assert_eq!(lock.epoch(), 1_783_764_997);
    }

    #[test]
    fn a_lock_is_stale_when_the_request_changed_and_says_how() {
        let lock = lock(Vec::new());
        assert_eq!(lock.staleness(&request()), [""; 0]);
        let changed = Request {
            suite: "trixie".to_owned(),
            packages: vec!["curl".to_owned()],
            ..request()
        };
        assert_eq!(
            lock.staleness(&changed),
            [
                "suite was bookworm and is trixie",
                "curl was added",
                "git was removed"
            ]
        );
    }

    #[test]
    fn two_locks_show_what_moved() {
        let old = lock(vec![
            package("a", "1"),
            package("b", "1"),
            package("c", "1"),
        ]);
        let mut other_file = package("c", "1");
        other_file.sha256 = "cd".repeat(32);
        let new = lock(vec![package("b", "2"), other_file, package("d", "1")]);
        let shown: Vec<String> = old.changes(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["- a 1", "~ b 1 -> 2", "~ c 1, another file", "+ d 1"]
        );
        assert_eq!(old.changes(&old), []);
    }

    #[test]
    fn identities_follow_the_packages() {
        let one = lock(vec![package("a", "1")]);
        assert_eq!(one.identity(), one.clone().identity());
        assert_ne!(one.identity(), lock(vec![package("a", "2")]).identity());
    }

    #[test]
    fn hostile_locks_are_refused() {
        let spoil = |change: fn(&mut Lock)| {
            let mut spoiled = lock(vec![package("a", "1")]);
            change(&mut spoiled);
            Lock::from_toml(&spoiled.to_toml("x"))
                .unwrap_err()
                .to_string()
        };
        type Spoil = fn(&mut Lock);
        let cases: [(Spoil, &str); 5] = [
            (
                |l| l.packages[0].path = "../../etc".to_owned(),
                "the path of a leaves the mirror",
            ),
            (
                |l| l.packages[0].sha256 = "zz".to_owned(),
                "the sha256 of a is none",
            ),
            (
                |l| l.packages[0].suite = "sid".to_owned(),
                "a comes from sid, which is no index",
            ),
            (
                |l| l.indexes[0].date = "today".to_owned(),
                "the date of bookworm is none",
            ),
            (
                |l| l.packages[0].arch = "arm64".to_owned(),
                "a is of another architecture",
            ),
        ];
        for (change, why) in cases {
            assert_eq!(spoil(change), format!("the lock cannot be read: {why}"));
        }
        assert!(Lock::from_toml("suite = 1").is_err());
        assert!(Lock::from_toml("").is_err());
    }
}
