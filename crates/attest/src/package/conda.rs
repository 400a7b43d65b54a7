//! What conda and its relatives installed.

use serde_json::Value;

use super::{Kind, Package, told};

/// Reads a record of `conda-meta`.
pub fn read(text: &str, found_in: &str) -> Option<Package> {
    let value: Value = serde_json::from_str(text).ok()?;
    let field = |wanted: &str| value.get(wanted)?.as_str().and_then(told);
    let mut package = Package::new(Kind::Conda, field("name")?, field("version")?, found_in);
    package.architecture = field("subdir");
    package.license = field("license");
    let build = field("build_string").or_else(|| field("build"));
    package.qualifiers.extend(build.map(|it| ("build", it)));
    let channel = field("channel").map(|channel| {
        // The last parts of an address: the channel, and the platform that `subdir` says, too.
        let bare = channel.trim_end_matches('/');
        let subdir = package.architecture.as_deref().unwrap_or_default();
        let bare = bare
            .strip_suffix(subdir)
            .unwrap_or(bare)
            .trim_end_matches('/');
        bare.rsplit('/').next().unwrap_or(bare).to_owned()
    });
    package.qualifiers.extend(channel.map(|it| ("channel", it)));
    Some(package)
}
