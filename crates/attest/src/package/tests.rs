//! Texts as the tools write them, and their addresses.

use super::*;

fn told_of(packages: &[Package], os_release: &str) -> Vec<String> {
    let distribution = Distribution::read(os_release);
    let purls = packages.iter();
    purls.map(|it| it.purl(&distribution).to_string()).collect()
}

#[test]
fn dpkg_tells_what_is_installed() {
    let text = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.41-1)\nVersion: 2.41-12\nDescription: C library\n More: words\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: adduser\nStatus: hold ok installed\nVersion: 3.1\n";
    let packages = dpkg::read(text, "/var/lib/dpkg/status");
    let debian = "ID=debian\nVERSION_ID=\"13\"\n";
    assert_eq!(
        told_of(&packages, debian),
        [
            "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13&upstream=glibc%402.41-1",
            "pkg:deb/debian/adduser@3.1?distro=debian-13",
        ]
    );
    let distroless = dpkg::read("Package: base\nVersion: 2\n", "/var/lib/dpkg/status.d/base");
    assert_eq!(told_of(&distroless, ""), ["pkg:deb/debian/base@2"]);
}

#[test]
fn apk_tells_what_is_installed() {
    let text = "C:Q1=\nP:busybox\nV:1.36-r2\nA:x86_64\nL:GPL-2.0-only\nU:https://busybox.net/\n\nP:ssl_client\nV:1.36-r2\no:busybox\nA:x86_64\nF:usr/bin\nR:x\n";
    let packages = apk::read(text, "/lib/apk/db/installed");
    assert_eq!(packages[0].license.as_deref(), Some("GPL-2.0-only"));
    assert_eq!(
        packages[0].homepage.as_deref(),
        Some("https://busybox.net/")
    );
    assert_eq!(
        told_of(&packages, "VERSION_ID=3.20.1\nID='alpine'\n"),
        [
            "pkg:apk/alpine/busybox@1.36-r2?arch=x86_64&distro=alpine-3.20.1",
            "pkg:apk/alpine/ssl_client@1.36-r2?arch=x86_64&distro=alpine-3.20.1&upstream=busybox",
        ]
    );
}

#[test]
fn python_npm_and_conda_tell_of_one_package_each() {
    let metadata = "Metadata-Version: 2.1\nName: Foo_Bar.baz\nVersion: 1.0\nLicense: UNKNOWN\nLicense-Expression: MIT\n\nName: of the text\n";
    let npm_json = r#"{"name":"@scope/left","version":"1.2.3","license":{"type":"MIT"}}"#;
    let conda_json = r#"{"name":"numpy","version":"2.1","build":"py0","subdir":"linux-64",
        "channel":"https://conda.anaconda.org/conda-forge/linux-64"}"#;
    let packages = [
        python::read(metadata, "x.dist-info/METADATA").unwrap(),
        npm::read(npm_json, "package.json").unwrap(),
        conda::read(conda_json, "conda-meta/numpy.json").unwrap(),
    ];
    assert_eq!(packages[0].license.as_deref(), Some("MIT"));
    assert_eq!(packages[1].license.as_deref(), Some("MIT"));
    assert_eq!(
        told_of(&packages, "ID=debian\n"),
        [
            "pkg:pypi/foo-bar-baz@1.0",
            "pkg:npm/%40scope/left@1.2.3",
            "pkg:conda/numpy@2.1?build=py0&channel=conda-forge&subdir=linux-64",
        ]
    );
}

#[test]
fn what_is_something_else_tells_of_nothing() {
    assert!(dpkg::read("\u{0}\u{1}", "f").is_empty());
    assert!(apk::read("P:\nV:\n", "f").is_empty());
    assert_eq!(python::read("Name: a\n", "f"), None);
    assert_eq!(npm::read(r#"{"type":"module"}"#, "f"), None);
    assert_eq!(npm::read("[", "f"), None);
    assert_eq!(conda::read(r#"{"name":1}"#, "f"), None);
}

/// A header of rpm: entries of one number or one text.
fn header_of(entries: &[(u32, Result<u32, &str>)]) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, value) in entries {
        let kind: u32 = if value.is_ok() { 4 } else { 6 };
        let at = u32::try_from(data.len()).unwrap();
        for number in [*tag, kind, at, 1] {
            index.extend(number.to_be_bytes());
        }
        match value {
            Ok(number) => data.extend(number.to_be_bytes()),
            Err(text) => data.extend([text.as_bytes(), b"\0"].concat()),
        }
    }
    let count = u32::try_from(entries.len()).unwrap().to_be_bytes();
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&count[..], &length, &index, &data].concat()
}

fn bash() -> Vec<u8> {
    header_of(&[
        (63, Ok(0)),
        (1000, Err("bash")),
        (1001, Err("5.2")),
        (1002, Err("1.fc40")),
        (1003, Ok(2)),
        (1014, Err("GPL-3.0-or-later")),
        (1022, Err("x86_64")),
        (1044, Err("bash-5.2-1.fc40.src.rpm")),
    ])
}

#[test]
fn a_header_of_rpm_is_a_package() {
    let package = rpm::header(&bash(), "/db").unwrap();
    assert_eq!(package.license.as_deref(), Some("GPL-3.0-or-later"));
    assert_eq!(
        told_of(&[package], "ID=fedora\nVERSION_ID=40\n"),
        [
            "pkg:rpm/fedora/bash@5.2-1.fc40?arch=x86_64&distro=fedora-40&epoch=2&upstream=bash-5.2-1.fc40.src.rpm"
        ]
    );
    let key = [
        (1000, Err("gpg-pubkey")),
        (1001, Err("1")),
        (1002, Err("2")),
    ];
    assert!(rpm::header(&header_of(&key), "/db").is_none());
    for end in 0..bash().len() {
        assert!(rpm::header(&bash()[..end], "/db").is_none(), "cut at {end}");
    }
    let mut wild = bash();
    wild[8 + 16 + 8..8 + 16 + 12].fill(0xff);
    assert!(rpm::header(&wild, "/db").is_none(), "an offset to nowhere");
}

#[test]
fn the_database_of_rpms_own_has_headers_in_slots() {
    let blob = bash();
    let little = |numbers: &[u32]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    };
    let mut bytes = [b"RpmP".to_vec(), little(&[0, 1, 1]), vec![0; 16]].concat();
    // The first lies in the second page; the second slot is empty, the third leads nowhere.
    for slot in [[1, 256, 20], [0, 0, 0], [3, 9999, 1]] {
        bytes.extend([b"Slot".to_vec(), little(&slot)].concat());
    }
    bytes.resize(4096, 0);
    let length = u32::try_from(blob.len()).unwrap();
    bytes.extend([b"BlbS".to_vec(), little(&[1, 1, length]), blob].concat());
    let names = |bytes: &[u8]| {
        let found = rpm::ndb(bytes, "/db").into_iter();
        found.map(|it| it.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&bytes), ["bash"]);
    bytes[12..16].fill(0xff);
    assert_eq!(names(&bytes), ["bash"], "as many pages as there are");
    assert!(names(b"RpmP").is_empty() && names(&bytes[1..]).is_empty());
}
