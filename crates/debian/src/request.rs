//! What is asked for: a suite, an architecture, packages, and where to fetch them.

use serde::{Deserialize, Serialize};

use crate::solve::Variant;

/// Debian's own mirror; plain HTTP, because every byte is signed and because an image without
/// certificates must be able to use the same address.
pub const DEBIAN_MIRROR: &str = "http://deb.debian.org/debian";
/// Debian's own mirror of security updates.
pub const SECURITY_MIRROR: &str = "http://deb.debian.org/debian-security";
/// Where superseded packages can be found.
pub const SNAPSHOT_ARCHIVE: &str = "https://snapshot.debian.org";

/// A base as the stack's author asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The release, by codename (`bookworm`) or suite (`stable`).
    pub suite: String,
    /// Debian's name of the architecture (`amd64`).
    pub arch: String,
    /// Which packages are there in any case.
    pub variant: Variant,
    /// Further packages, as `name` or `name=version`.
    pub packages: Vec<String>,
    /// The parts of the archive (`main`).
    pub components: Vec<String>,
    /// Mirrors to try in order; Debian's own when empty.
    pub mirrors: Vec<String>,
}

/// One suite of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    /// The suite below `dists/`.
    pub(crate) suite: String,
    /// Where to find it, in the order to try.
    pub(crate) mirrors: Vec<String>,
}

impl Request {
    /// The suites to choose packages from, the main one first.
    ///
    /// Stable releases have updates and security updates beside; testing and unstable are updated
    /// in place.
    pub(crate) fn archives(&self) -> Vec<Archive> {
        let mirrors = main_mirrors(&self.mirrors);
        let archive = |suite: String, mirrors: &[String]| Archive {
            suite,
            mirrors: mirrors.to_vec(),
        };
        let mut archives = vec![archive(self.suite.clone(), &mirrors)];
        if is_stable(&self.suite) {
            archives.push(archive(format!("{}-updates", self.suite), &mirrors));
            let security = security_mirrors(&self.mirrors);
            archives.push(archive(format!("{}-security", self.suite), &security));
        }
        archives
    }
}

fn is_stable(suite: &str) -> bool {
    !matches!(
        suite,
        "sid" | "unstable" | "testing" | "experimental" | "rc-buggy" | "forky"
    )
}

/// The given mirrors of the main archive, or Debian's own.
pub(crate) fn main_mirrors(given: &[String]) -> Vec<String> {
    if given.is_empty() {
        return vec![DEBIAN_MIRROR.to_owned()];
    }
    given
        .iter()
        .map(|mirror| mirror.trim_end_matches('/').to_owned())
        .collect()
}

/// The security archives that belong to mirrors: by custom `debian-security` lies beside `debian`.
/// Debian's own comes last, for mirrors that do not carry it.
pub(crate) fn security_mirrors(given: &[String]) -> Vec<String> {
    let mut mirrors: Vec<String> = given
        .iter()
        .filter_map(|mirror| mirror.trim_end_matches('/').strip_suffix("/debian"))
        .map(|host| format!("{host}/debian-security"))
        .collect();
    if !mirrors.iter().any(|mirror| mirror == SECURITY_MIRROR) {
        mirrors.push(SECURITY_MIRROR.to_owned());
    }
    mirrors
}

/// Debian's name for an architecture that OCI calls otherwise.
#[must_use]
pub fn debian_arch(architecture: &str, variant: Option<&str>) -> Option<&'static str> {
    Some(match (architecture, variant) {
        ("amd64", _) => "amd64",
        ("arm64", _) => "arm64",
        ("386", _) => "i386",
        ("arm", Some("v6" | "v5")) => "armel",
        ("arm", _) => "armhf",
        ("ppc64le", _) => "ppc64el",
        ("s390x", _) => "s390x",
        ("riscv64", _) => "riscv64",
        ("mips64le", _) => "mips64el",
        ("loong64", _) => "loong64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archives(suite: &str, mirrors: &[&str]) -> Vec<String> {
        let request = Request {
            suite: suite.to_owned(),
            arch: "amd64".to_owned(),
            variant: Variant::Minbase,
            packages: Vec::new(),
            components: vec!["main".to_owned()],
            mirrors: mirrors.iter().map(|m| (*m).to_owned()).collect(),
        };
        let shown = |a: Archive| format!("{} at {}", a.suite, a.mirrors.join(" "));
        request.archives().into_iter().map(shown).collect()
    }

    #[test]
    fn stable_releases_have_updates() {
        assert_eq!(
            archives("bookworm", &[]),
            [
                "bookworm at http://deb.debian.org/debian",
                "bookworm-updates at http://deb.debian.org/debian",
                "bookworm-security at http://deb.debian.org/debian-security",
            ]
        );
        assert_eq!(archives("sid", &[]).len(), 1);
    }

    #[test]
    fn security_updates_are_sought_beside_the_given_mirrors() {
        assert_eq!(
            archives(
                "trixie",
                &["http://a.example/debian/", "http://b.example/mirror"]
            )[2],
            "trixie-security at http://a.example/debian-security http://deb.debian.org/debian-security"
        );
    }
}
