//! What apk has installed.

use super::{Kind, Package, told};

/// Reads the database: paragraphs of lines with a letter, a colon and a value.
pub fn read(text: &str, found_in: &str) -> Vec<Package> {
    let paragraphs = text.split("\n\n");
    paragraphs
        .filter_map(|paragraph| package(paragraph, found_in))
        .collect()
}

fn package(paragraph: &str, found_in: &str) -> Option<Package> {
    let field = |letter: &str| {
        let mut lines = paragraph.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| *key == letter);
        found.and_then(|(_, value)| told(value))
    };
    let mut package = Package::new(Kind::Apk, field("P")?, field("V")?, found_in);
    package.architecture = field("A");
    package.license = field("L");
    package.homepage = field("U");
    let origin = field("o").filter(|origin| *origin != package.name);
    package.qualifiers.extend(origin.map(|it| ("upstream", it)));
    Some(package)
}
