//! `pixi.lock`: which packages each environment has on each platform.

use std::collections::BTreeMap;

use serde_json::Value;

use super::manifest::normal;

/// The forms of the file that are known.
const VERSIONS: std::ops::RangeInclusive<u64> = 4..=6;

/// A lock.
#[derive(Debug)]
pub(super) struct Lock {
    packages: BTreeMap<(String, String), Vec<Locked>>,
}

/// A package of a lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Locked {
    name: String,
    /// Where it is known.
    pub(super) version: Option<String>,
    /// Whether it is one of conda, not of PyPI.
    pub(super) is_conda: bool,
}

impl Locked {
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || normal(&self.name) == normal(name)
    }
}

impl Lock {
    /// Reads a lock; nothing if its form is not known.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let file: Value = serde_saphyr::from_str(text).ok()?;
        let version = file.get("version")?.as_u64()?;
        let environments = file.get("environments")?.as_object()?;
        if !VERSIONS.contains(&version) {
            return None;
        }
        let by_place = by_place(file.get("packages")?);
        let mut packages = BTreeMap::new();
        for (environment, content) in environments {
            let platforms = content.get("packages")?.as_object()?;
            for (platform, list) in platforms {
                let locked: Option<Vec<Locked>> = list
                    .as_array()?
                    .iter()
                    .map(|it| locked(it, &by_place))
                    .collect();
                packages.insert((environment.clone(), platform.clone()), locked?);
            }
        }
        Some(Self { packages })
    }

    /// What an environment has on a platform.
    pub(super) fn packages(&self, environment: &str, platform: &str) -> Option<&[Locked]> {
        let key = (environment.to_owned(), platform.to_owned());
        self.packages.get(&key).map(Vec::as_slice)
    }
}

/// Names and versions that are written out, by address.
fn by_place(packages: &Value) -> BTreeMap<&str, (&str, Option<&str>)> {
    let all = packages.as_array().into_iter().flatten();
    let known = all.filter_map(|package| {
        let place = ["conda", "pypi", "url", "path"]
            .iter()
            .find_map(|key| package.get(*key)?.as_str());
        let name = package.get("name")?.as_str()?;
        Some((
            place?,
            (name, package.get("version").and_then(Value::as_str)),
        ))
    });
    known.collect()
}

/// One line of an environment: a kind and an address.
fn locked(entry: &Value, by_place: &BTreeMap<&str, (&str, Option<&str>)>) -> Option<Locked> {
    let conda = entry.get("conda").and_then(Value::as_str);
    let place = conda.or_else(|| entry.get("pypi")?.as_str())?;
    if let Some((name, version)) = by_place.get(place) {
        return Some(Locked {
            name: (*name).to_owned(),
            version: version.map(str::to_owned),
            is_conda: conda.is_some(),
        });
    }
    let (name, version) = match conda {
        Some(_) => of_conda_file(place)?,
        None => of_wheel(place)?,
    };
    Some(Locked {
        name,
        version: Some(version),
        is_conda: conda.is_some(),
    })
}

/// `.../numpy-2.1.0-py312_0.conda`.
fn of_conda_file(place: &str) -> Option<(String, String)> {
    let file = place.rsplit('/').next()?;
    let stem = file
        .strip_suffix(".conda")
        .or_else(|| file.strip_suffix(".tar.bz2"))?;
    let mut parts = stem.rsplitn(3, '-');
    let (_build, version) = (parts.next()?, parts.next()?);
    Some((parts.next()?.to_owned(), version.to_owned()))
}

/// `.../numpy-2.1.0-cp312-manylinux.whl`, `.../plumbum-1.9.0.tar.gz`.
fn of_wheel(place: &str) -> Option<(String, String)> {
    let file = place.rsplit('/').next()?;
    if let Some(stem) = file.strip_suffix(".whl") {
        let (name, rest) = stem.split_once('-')?;
        return Some((name.to_owned(), rest.split('-').next()?.to_owned()));
    }
    let stem = file
        .strip_suffix(".tar.gz")
        .or_else(|| file.strip_suffix(".zip"))?;
    let (name, version) = stem.rsplit_once('-')?;
    Some((name.to_owned(), version.to_owned()))
}
