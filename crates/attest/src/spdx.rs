//! A list of packages as an SPDX 2.3 document.

use std::collections::BTreeSet;

use cairn_oci::Digest;
use serde_json::{Value, json};

use crate::package::{Distribution, Kind, Package};

/// Nothing is said, in SPDX's word.
const NOTHING: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const ROOT: &str = "SPDXRef-Tree";

/// The packages of one tree.
#[derive(Debug, Clone)]
pub struct Spdx<'a> {
    /// What the tree is called.
    pub name: &'a str,
    /// The program that looked.
    pub tool: &'a str,
    /// When, in RFC 3339.
    pub created: &'a str,
    /// What was found.
    pub packages: &'a [Package],
    /// The distribution that the tree is of.
    pub distribution: &'a Distribution,
    /// What a reader should know of what was not looked at.
    pub comment: Option<&'a str>,
}

impl Spdx<'_> {
    /// The document; equal values give equal documents.
    pub fn document(&self) -> Value {
        let mut packages: Vec<&Package> = self.packages.iter().collect();
        packages.sort();
        packages.dedup();
        let mut known = BTreeSet::new();
        let described: Vec<(String, Value)> = packages
            .into_iter()
            .map(|package| {
                let id = spdx_id(package, &mut known);
                let described = self.package(package, &id);
                (id, described)
            })
            .collect();
        let relation = |from: &str, kind: &str, to: &str| {
            json!({
                "spdxElementId": from,
                "relationshipType": kind,
                "relatedSpdxElement": to,
            })
        };
        let mut relations = vec![relation(DOCUMENT, "DESCRIBES", ROOT)];
        let contained = described.iter();
        relations.extend(contained.map(|(id, _)| relation(ROOT, "CONTAINS", id)));
        let mut all = vec![json!({
            "SPDXID": ROOT,
            "name": self.name,
            "downloadLocation": NOTHING,
            "filesAnalyzed": false,
            "licenseConcluded": NOTHING,
            "licenseDeclared": NOTHING,
            "copyrightText": NOTHING,
        })];
        all.extend(described.into_iter().map(|(_, package)| package));
        let mut creation = json!({
            "created": self.created,
            "creators": [format!("Tool: {}", self.tool)],
        });
        if let Some(comment) = self.comment {
            creation["comment"] = comment.into();
        }
        let content = json!([self.name, self.tool, self.created, all]).to_string();
        let identity = Digest::sha256(content.as_bytes());
        json!({
            "SPDXID": DOCUMENT,
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "name": self.name,
            "documentNamespace": format!("https://spdx.org/spdxdocs/cairn-{}", identity.hex()),
            "creationInfo": creation,
            "packages": all,
            "relationships": relations,
        })
    }

    fn package(&self, package: &Package, id: &str) -> Value {
        let purl = package.purl(self.distribution).to_string();
        let mut value = json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "supplier": NOTHING,
            "downloadLocation": NOTHING,
            "filesAnalyzed": false,
            "sourceInfo": format!("read from {}", package.found_in),
            "licenseConcluded": NOTHING,
            "licenseDeclared": NOTHING,
            "copyrightText": NOTHING,
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl,
            }],
        });
        // Whether it is an expression of SPDX is not known here, and a wrong one is no document.
        if let Some(license) = &package.license {
            value["licenseComments"] = format!("its package says: {license}").into();
        }
        if let Some(homepage) = &package.homepage {
            value["homepage"] = homepage.as_str().into();
        }
        value
    }
}

/// A name within the document, made of letters that SPDX allows; each once.
fn spdx_id(package: &Package, known: &mut BTreeSet<String>) -> String {
    let kind = match package.kind {
        Kind::Deb => "deb",
        Kind::Apk => "apk",
        Kind::Python => "python",
        Kind::Npm => "npm",
        Kind::Conda => "conda",
        Kind::Rpm => "rpm",
    };
    let text = format!("SPDXRef-{kind}-{}-{}", package.name, package.version);
    let allowed = |letter: char| match letter.is_ascii_alphanumeric() || ".-".contains(letter) {
        true => letter,
        false => '-',
    };
    let own: String = text.chars().map(allowed).collect();
    let mut id = own.clone();
    let mut number = 1;
    while !known.insert(id.clone()) {
        number += 1;
        id = format!("{own}-{number}");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::dpkg;

    #[test]
    fn a_document_contains_every_package_once() {
        let text =
            "Package: g++\nVersion: 1\n\nPackage: g--\nVersion: 1\n\nPackage: g++\nVersion: 1\n";
        let packages = dpkg::read(text, "/var/lib/dpkg/status");
        let spdx = Spdx {
            name: "sbom",
            tool: "cairn-1",
            created: "2024-01-01T00:00:00Z",
            packages: &packages,
            distribution: &Distribution::default(),
            comment: Some("no rpm"),
        };
        let document = spdx.document();
        let ids: Vec<&str> = document["packages"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|package| package["SPDXID"].as_str())
            .collect();
        assert_eq!(ids, [ROOT, "SPDXRef-deb-g---1", "SPDXRef-deb-g---1-2"]);
        assert_eq!(document["spdxVersion"], "SPDX-2.3");
        assert_eq!(document["creationInfo"]["comment"], "no rpm");
        assert_eq!(document["relationships"].as_array().map(Vec::len), Some(3));
        let locator = &document["packages"][1]["externalRefs"][0]["referenceLocator"];
        assert_eq!(locator, "pkg:deb/debian/g%2B%2B@1");
        assert_eq!(document, spdx.document());
        let later = Spdx {
            created: "2025-01-01T00:00:00Z",
            ..spdx
        };
        assert_ne!(
            document["documentNamespace"],
            later.document()["documentNamespace"]
        );
    }
}
