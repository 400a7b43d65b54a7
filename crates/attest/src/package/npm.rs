//! What a package of JavaScript says of itself.

use serde_json::Value;

use super::{Kind, Package, told};

/// Reads a `package.json`; one without name and version is a part of another package.
pub fn read(text: &str, found_in: &str) -> Option<Package> {
    let value: Value = serde_json::from_str(text).ok()?;
    let field = |wanted: &str| value.get(wanted)?.as_str().and_then(told);
    let mut package = Package::new(Kind::Npm, field("name")?, field("version")?, found_in);
    let in_an_object = || value.get("license")?.get("type")?.as_str().and_then(told);
    package.license = field("license").or_else(in_an_object);
    package.homepage = field("homepage");
    Some(package)
}
