//! What apk has installed.

use super::{Kind, Package, Paragraph};

/// Reads the database: paragraphs of lines with a letter, a colon and a value.
pub fn read(text: &str, found_in: &str) -> Vec<Package> {
    let paragraphs = text.split("\n\n").map(Paragraph);
    paragraphs
        .filter_map(|paragraph| package(&paragraph, found_in))
        .collect()
}

fn package(paragraph: &Paragraph<'_>, found_in: &str) -> Option<Package> {
    let field = |name: &str| paragraph.field(name);
    let mut package = Package::new(Kind::Apk, field("P")?, field("V")?, found_in);
    package.architecture = field("A");
    package.license = field("L");
    package.homepage = field("U");
    let origin = field("o").filter(|origin| *origin != package.name);
    package.qualifiers.extend(origin.map(|it| ("upstream", it)));
    Some(package)
}
