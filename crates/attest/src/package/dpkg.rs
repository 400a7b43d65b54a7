//! What dpkg has installed.

use super::{Kind, Package, Paragraph};

/// Reads a status file: paragraphs, of which those count that say `installed` or nothing of it.
pub fn read(text: &str, found_in: &str) -> Vec<Package> {
    let paragraphs = text.split("\n\n").map(Paragraph);
    paragraphs
        .filter_map(|paragraph| package(&paragraph, found_in))
        .collect()
}

fn package(paragraph: &Paragraph<'_>, found_in: &str) -> Option<Package> {
    let field = |name: &str| paragraph.field(name);
    let is_there = field("Status").is_none_or(|status| status.ends_with(" installed"));
    if !is_there {
        return None;
    }
    let mut package = Package::new(Kind::Deb, field("Package")?, field("Version")?, found_in);
    package.architecture = field("Architecture");
    package.homepage = field("Homepage");
    let source = field("Source");
    let source = source.map(|source| source.replace(" (", "@").replace(')', ""));
    package.qualifiers.extend(source.map(|it| ("upstream", it)));
    Some(package)
}
