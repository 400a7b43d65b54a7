//! Packages that texts of package tools tell of.
//!
//! | texts | tool |
//! | --- | --- |
//! | `/var/lib/dpkg/status`, `/var/lib/dpkg/status.d/*` | dpkg ([`dpkg`]) |
//! | `/lib/apk/db/installed` | apk ([`apk`]) |
//! | `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`, `*.egg-info` | Python's installers ([`python`]) |
//! | `node_modules/**/package.json` | npm and its relatives ([`npm`]) |
//! | `conda-meta/*.json` | conda and its relatives ([`conda`]) |
//! | headers of `rpmdb.sqlite`, and `Packages.db` | rpm ([`rpm`]) |
//!
//! A text that is not of its kind tells of no package: an image may hold anything.

pub mod apk;
pub mod conda;
pub mod dpkg;
pub mod npm;
pub mod python;
pub mod rpm;

use crate::purl::Purl;

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Whose package it is.
    pub kind: Kind,
    /// Its name, as its tool calls it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What processor it is for, where its tool says so.
    pub architecture: Option<String>,
    /// What its tool says of its licence.
    pub license: Option<String>,
    /// Where people read about it.
    pub homepage: Option<String>,
    /// What else its address says of it: where it came from, its build.
    pub qualifiers: Vec<(&'static str, String)>,
    /// The file that tells of it.
    pub found_in: String,
}

/// Whose package it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Debian's and Ubuntu's.
    Deb,
    /// Alpine's.
    Apk,
    /// Python's.
    Python,
    /// JavaScript's.
    Npm,
    /// conda's.
    Conda,
    /// Fedora's, SUSE's and their relatives'.
    Rpm,
}

/// The distribution that a tree is of, as far as addresses of packages tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    /// `debian`, `alpine`.
    pub id: String,
    /// `13`, `3.20.1`; empty where there is none.
    pub version: String,
}

impl Distribution {
    /// Reads `/etc/os-release`.
    pub fn read(text: &str) -> Self {
        let value = |wanted: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(key, _)| *key == wanted);
            found.map_or_else(String::new, |(_, value)| {
                value.trim().trim_matches(['"', '\'']).to_owned()
            })
        };
        Self {
            id: value("ID"),
            version: value("VERSION_ID"),
        }
    }
}

impl Package {
    /// Begins a package of which only this is known.
    fn new(kind: Kind, name: String, version: String, found_in: &str) -> Self {
        Self {
            kind,
            name,
            version,
            architecture: None,
            license: None,
            homepage: None,
            qualifiers: Vec::new(),
            found_in: found_in.to_owned(),
        }
    }

    /// Its address.
    pub fn purl(&self, distribution: &Distribution) -> Purl {
        let (kind, default_namespace) = match self.kind {
            Kind::Deb => ("deb", "debian"),
            Kind::Apk => ("apk", "alpine"),
            Kind::Python => ("pypi", ""),
            Kind::Npm => ("npm", ""),
            Kind::Conda => ("conda", ""),
            Kind::Rpm => ("rpm", ""),
        };
        let (mut namespace, mut name) = (default_namespace.to_owned(), self.name.clone());
        let mut qualifiers = self.qualifiers.clone();
        match self.kind {
            Kind::Deb | Kind::Apk | Kind::Rpm => {
                if !distribution.id.is_empty() {
                    namespace.clone_from(&distribution.id);
                    let parts = [distribution.id.as_str(), distribution.version.as_str()];
                    let told = parts.into_iter().filter(|part| !part.is_empty());
                    qualifiers.push(("distro", told.collect::<Vec<_>>().join("-")));
                }
                let architecture = self.architecture.iter().cloned();
                qualifiers.extend(architecture.map(|it| ("arch", it)));
            }
            Kind::Python => name = python::normalised(&name),
            Kind::Npm => {
                if let Some((scope, rest)) = self.name.split_once('/') {
                    (namespace, name) = (scope.to_owned(), rest.to_owned());
                }
            }
            Kind::Conda => {
                let subdir = self.architecture.iter().cloned();
                qualifiers.extend(subdir.map(|it| ("subdir", it)));
            }
        }
        Purl {
            kind,
            namespace,
            name,
            version: Some(self.version.clone()),
            qualifiers,
        }
    }
}

/// A paragraph of lines with a name, a colon and a value, as dpkg and apk keep their databases.
struct Paragraph<'a>(&'a str);

impl Paragraph<'_> {
    /// The first value of a name, in its own spelling: apk tells `P` from `p`.
    fn field(&self, name: &str) -> Option<String> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| *key == name);
        found.and_then(|(_, value)| told(value))
    }
}

/// A value that says something.
fn told(value: &str) -> Option<String> {
    let value = value.trim();
    let is_nothing = value.is_empty() || value.eq_ignore_ascii_case("unknown");
    (!is_nothing).then(|| value.to_owned())
}

#[cfg(test)]
mod tests;
