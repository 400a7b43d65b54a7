//! Package addresses (`pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS`).

use std::fmt;

use cairn_oci::{Platform, Reference};

/// The address of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purl {
    /// Whose package it is: `deb`, `pypi`, `docker`.
    pub kind: &'static str,
    /// What stands before its name: parts with `/` between them, or nothing.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its version, if it has one.
    pub version: Option<String>,
    /// What else tells it from others; printed in the order of the keys.
    pub qualifiers: Vec<(&'static str, String)>,
}

/// The address of an image: of one in a registry (`docker`) or in a layout (`oci`).
pub fn image_purl(kind: &'static str, image: &Reference, platform: Option<&Platform>) -> Purl {
    let mut familiar = image.familiar();
    if let Some(at) = familiar.find('@') {
        familiar.truncate(at);
    }
    if image.tag().is_some()
        && let Some(at) = familiar.rfind(':')
    {
        familiar.truncate(at);
    }
    let (namespace, name) = familiar.rsplit_once('/').unwrap_or(("", &familiar));
    let mut qualifiers = Vec::new();
    if let Some(digest) = image.digest() {
        qualifiers.push(("digest", digest.to_string()));
    }
    if let Some(platform) = platform {
        qualifiers.push(("platform", platform.to_string()));
    }
    Purl {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        version: image.tag().map(str::to_owned),
        qualifiers,
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/", self.kind)?;
        for part in self.namespace.split('/').filter(|part| !part.is_empty()) {
            write!(f, "{}/", escaped(part))?;
        }
        f.write_str(&escaped(&self.name))?;
        if let Some(version) = &self.version {
            write!(f, "@{}", escaped(version))?;
        }
        let mut qualifiers: Vec<_> = self
            .qualifiers
            .iter()
            .filter(|it| !it.1.is_empty())
            .collect();
        qualifiers.sort();
        for (number, (key, value)) in qualifiers.into_iter().enumerate() {
            let sign = if number == 0 { '?' } else { '&' };
            write!(f, "{sign}{key}={}", escaped(value))?;
        }
        Ok(())
    }
}

/// A part with everything escaped that could be taken for a border; colons stay.
fn escaped(part: &str) -> String {
    let mut text = String::new();
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                text.push(char::from(byte));
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(image: &str, platform: Option<&str>) -> String {
        let platform = platform.map(|text| text.parse().unwrap());
        image_purl("docker", &image.parse().unwrap(), platform.as_ref()).to_string()
    }

    #[test]
    fn images_are_addressed_as_buildkit_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(of("alpine", None), "pkg:docker/alpine@latest");
        assert_eq!(
            of("busybox:latest", Some("linux/amd64")),
            "pkg:docker/busybox@latest?platform=linux%2Famd64"
        );
        assert_eq!(of("user/test:v2", None), "pkg:docker/user/test@v2");
        assert_eq!(
            of("localhost:5000/foo/bar:v2", None),
            "pkg:docker/localhost:5000/foo/bar@v2"
        );
        assert_eq!(
            of(&format!("alpine@{digest}"), None),
            format!("pkg:docker/alpine?digest={digest}")
        );
        assert_eq!(
            of(&format!("alpine:3@{digest}"), Some("linux/arm64")),
            format!("pkg:docker/alpine@3?digest={digest}&platform=linux%2Farm64")
        );
    }

    #[test]
    fn what_could_be_a_border_is_escaped() {
        let purl = Purl {
            kind: "deb",
            namespace: "debian".into(),
            name: "libstdc++6".into(),
            version: Some("1:2~3+4".into()),
            qualifiers: vec![("distro", "debian-13".into()), ("arch", "amd64".into())],
        };
        assert_eq!(
            purl.to_string(),
            "pkg:deb/debian/libstdc%2B%2B6@1:2~3%2B4?arch=amd64&distro=debian-13"
        );
    }
}
