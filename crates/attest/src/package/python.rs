//! What Python's installers wrote of a distribution.

use super::{Kind, Package, told};

/// A licence that is a whole text says nothing on one line.
const LICENSE_MAX: usize = 100;

/// Reads `METADATA` or `PKG-INFO`: the headers before the first empty line.
pub fn read(text: &str, found_in: &str) -> Option<Package> {
    let headers: Vec<(&str, &str)> = text
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .collect();
    let header = |wanted: &str| {
        let mut headers = headers.iter();
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(wanted));
        found.and_then(|(_, value)| told(value))
    };
    let (name, version) = (header("Name")?, header("Version")?);
    let mut package = Package::new(Kind::Python, name, version, found_in);
    package.license = header("License-Expression")
        .or_else(|| header("License"))
        .filter(|license| license.len() <= LICENSE_MAX);
    package.homepage = header("Home-page");
    Some(package)
}

/// A name as the index of packages has it: lower case, one dash between parts.
pub fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    let name: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
    name.join("-")
}
