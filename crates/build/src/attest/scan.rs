//! Packages in a tree: finds the files in which package tools write down what they installed.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cairn_attest::package::{Distribution, Package, apk, conda, dpkg, npm, python, rpm as of_rpm};

use super::{AttestError, rpm};
use crate::context::{Kind, SourceEntry, SourceTree};

/// A larger file is none of these.
const FILE_MAX: u64 = 64 << 20;
/// A larger database of rpm is not read.
const RPM_MAX: u64 = 1 << 30;
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// Where rpm has its database.
const RPM: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];

/// What was found in a tree.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Packages, in the order of the files.
    pub(super) packages: Vec<Package>,
    /// The distribution that it is of.
    pub(super) distribution: Distribution,
    /// Whether there is a database of rpm that could not be read.
    pub(super) has_unread_rpm: bool,
}

/// Looks through a tree. Links are not followed: what they lead to is met itself. Databases are
/// copied to `place` to be read.
pub(super) fn scan(tree: &dyn SourceTree, place: &Path) -> Result<Found, AttestError> {
    let mut found = Found::default();
    for path in OS_RELEASE.map(Path::new) {
        let entry = tree.lookup(path).map_err(failed(path))?;
        if let Some(entry) = entry.filter(|entry| entry.kind == Kind::File) {
            found.distribution = Distribution::read(&text(tree, path, &entry)?);
            break;
        }
    }
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        let listing = tree.read_dir(&directory).map_err(failed(&directory))?;
        if RPM.iter().any(|place| directory == Path::new(place)) {
            for (name, entry) in listing.iter() {
                let path = directory.join(name);
                if let Some(packages) = database(tree, &path, entry, place)? {
                    found.has_unread_rpm |= packages.is_none();
                    found.packages.extend(packages.into_iter().flatten());
                }
            }
        }
        for (name, entry) in listing.iter() {
            let path = directory.join(name);
            match entry.kind {
                Kind::Directory => open.push(path),
                Kind::File if entry.size <= FILE_MAX => file(tree, &path, entry, &mut found)?,
                _ => {}
            }
        }
    }
    found.packages.sort();
    Ok(found)
}

/// What a file of rpm tells; `None` if it is no database, within if it cannot be read.
fn database(
    tree: &dyn SourceTree,
    path: &Path,
    entry: &SourceEntry,
    place: &Path,
) -> Result<Option<Option<Vec<Package>>>, AttestError> {
    let told = Path::new("/").join(path).display().to_string();
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let can_be_read = entry.kind == Kind::File && entry.size <= RPM_MAX;
    let open = |path: &Path, entry: &SourceEntry| tree.open(path, entry).map_err(failed(path));
    let packages = match name {
        "rpmdb.sqlite" if can_be_read => {
            let log = path.with_file_name("rpmdb.sqlite-wal");
            let found = tree.lookup(&log).map_err(failed(&log))?;
            let found = found.filter(|it| it.kind == Kind::File && it.size <= RPM_MAX);
            let log = found.map(|entry| open(&log, &entry)).transpose()?;
            rpm::packages(open(path, entry)?, log, place, &told).map_err(failed(path))?
        }
        "Packages.db" if can_be_read => {
            let mut bytes = Vec::new();
            let read = open(path, entry)?.take(RPM_MAX).read_to_end(&mut bytes);
            read.map_err(failed(path))?;
            Some(of_rpm::ndb(&bytes, &told)).filter(|found| !found.is_empty())
        }
        "rpmdb.sqlite" | "Packages.db" | "Packages" => None,
        _ => return Ok(None),
    };
    Ok(Some(packages))
}

/// What tells of packages, by its place.
fn file(
    tree: &dyn SourceTree,
    path: &Path,
    entry: &SourceEntry,
    found: &mut Found,
) -> Result<(), AttestError> {
    let Some(place) = path.to_str() else {
        return Ok(());
    };
    let told = format!("/{place}");
    let (directory, name) = place.rsplit_once('/').unwrap_or(("", place));
    let inside = |suffix: &str| directory == suffix || directory.ends_with(&format!("/{suffix}"));
    let read = || text(tree, path, entry);
    let packages = &mut found.packages;
    if place == "var/lib/dpkg/status"
        || directory == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums")
    {
        packages.extend(dpkg::read(&read()?, &told));
    } else if matches!(place, "lib/apk/db/installed" | "usr/lib/apk/db/installed") {
        packages.extend(apk::read(&read()?, &told));
    } else if name == "METADATA" && directory.ends_with(".dist-info")
        || name == "PKG-INFO" && directory.ends_with(".egg-info")
        || name.ends_with(".egg-info")
    {
        packages.extend(python::read(&read()?, &told));
    } else if name == "package.json" && place.contains("node_modules/") {
        packages.extend(npm::read(&read()?, &told));
    } else if name.ends_with(".json") && inside("conda-meta") {
        packages.extend(conda::read(&read()?, &told));
    }
    Ok(())
}

fn text(tree: &dyn SourceTree, path: &Path, entry: &SourceEntry) -> Result<String, AttestError> {
    let mut bytes = Vec::new();
    let file = tree.open(path, entry).map_err(failed(path))?;
    let read = file.take(FILE_MAX).read_to_end(&mut bytes);
    read.map_err(failed(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AttestError {
    let path = Path::new("/").join(path);
    move |source| AttestError::Read { path, source }
}
