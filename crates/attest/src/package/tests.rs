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
