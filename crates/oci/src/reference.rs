//! Names of images: registry, repository, tag, digest; Docker's normalisation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Digest, DigestError, redact};

/// Where an image is: `docker.io/library/busybox:latest`.
///
/// Parsing normalises as Docker does: no registry means `docker.io`, one name part there means
/// `library/`, neither tag nor digest means `latest`. `Display` prints the full, canonical form;
/// [`Reference::familiar`] the short one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the image reference is empty")]
    Empty,
    /// Upper-case letters in the repository, the usual slip.
    #[error("`{0}` is no image reference: the repository must be in lower case")]
    UpperCase(String),
    /// The repository has letters or an order of separators that do not belong.
    #[error("`{0}` is no image reference: bad repository name")]
    Repository(String),
    /// The registry is no host with an optional port.
    #[error("`{0}` is no image reference: bad registry host")]
    Registry(String),
    /// The tag has letters that do not belong or is too long.
    #[error("`{reference}` is no image reference: bad tag `{tag}`")]
    Tag {
        /// The whole text.
        reference: String,
        /// The part that should be a tag.
        tag: String,
    },
    /// A login stands before the registry; what is told does not hold it.
    #[error(
        "`{0}` is no image reference: a login does not belong there, `podman login` and \
         `docker login` keep it"
    )]
    Login(String),
    /// The digest is none.
    #[error("`{reference}` is no image reference")]
    Digest {
        /// The whole text.
        reference: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
    /// Longer than 255 bytes.
    #[error("the image reference is longer than 255 characters")]
    TooLong,
}

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const NAME_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

impl Reference {
    /// The registry's host, with its port if it has one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository at the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        let mut reference = Self {
            tag: None,
            digest: None,
            ..self.clone()
        };
        check_tag(&reference.to_string(), tag)?;
        reference.tag = Some(tag.into());
        Ok(reference)
    }

    /// The same without its tag; only of use with a digest.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self {
            tag: None,
            ..self.clone()
        }
    }

    /// The same repository and tag, pinned to a digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The short form people write: `busybox`, `user/app:1`, `ghcr.io/lab/base:latest`.
    ///
    /// The tag `latest` is kept, so that the text parses to this very reference.
    pub fn familiar(&self) -> String {
        let library = self.repository.strip_prefix("library/");
        let candidates = [library, Some(self.repository.as_str())];
        let means_this = |short: &&str| {
            let (registry, repository) = split_registry(short);
            registry == self.registry && repository == self.repository
        };
        // A first part that looks like a host would be taken for one: then nothing is left out.
        let short = candidates.into_iter().flatten().find(means_this);
        let short = short.map_or_else(|| self.name(), str::to_owned);
        short + &self.suffix()
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        tag.chain(digest).collect()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = split_digest(text)?;
        let (name, tag) = split_tag(rest);
        if let Some(tag) = tag {
            check_tag(text, tag)?;
        }
        let (registry, repository) = split_registry(name);
        check_registry(text, &registry)?;
        check_repository(text, &repository)?;
        if registry.len() + 1 + repository.len() > NAME_LENGTH_MAX {
            return Err(ReferenceError::TooLong);
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

fn split_digest(text: &str) -> Result<(&str, Option<Digest>), ReferenceError> {
    let Some((rest, digest)) = text.split_once('@') else {
        return Ok((text, None));
    };
    match digest.parse() {
        Ok(digest) => Ok((rest, Some(digest))),
        // No digest has a path behind it.
        Err(_) if digest.contains('/') => Err(ReferenceError::Login(redact(text))),
        Err(source) => Err(ReferenceError::Digest {
            reference: text.into(),
            source,
        }),
    }
}

/// A colon behind the last slash begins the tag; one before it belongs to the registry's port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    }
}

/// The first part is a registry if it looks like a host: a dot, a port, `localhost`, capitals.
fn split_registry(name: &str) -> (String, String) {
    let host = name.split_once('/').filter(|(first, _)| {
        first.contains(['.', ':'])
            || *first == "localhost"
            || first.bytes().any(|byte| byte.is_ascii_uppercase())
    });
    let (registry, repository) = host.unwrap_or((DEFAULT_REGISTRY, name));
    let registry = match registry {
        "index.docker.io" => DEFAULT_REGISTRY,
        other => other,
    };
    if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        return (registry.into(), format!("library/{repository}"));
    }
    (registry.into(), repository.into())
}

fn check_registry(text: &str, registry: &str) -> Result<(), ReferenceError> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let label_fits = |label: &str| {
        let bytes = label.as_bytes();
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        !bytes.is_empty()
            && bytes.iter().all(inside)
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    let host_fits = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label_fits),
    };
    if port_fits && host_fits {
        Ok(())
    } else {
        Err(ReferenceError::Registry(text.into()))
    }
}

fn check_repository(text: &str, repository: &str) -> Result<(), ReferenceError> {
    if repository.split('/').all(is_path_part) {
        return Ok(());
    }
    if repository
        .split('/')
        .all(|part| is_path_part(&part.to_ascii_lowercase()))
    {
        return Err(ReferenceError::UpperCase(text.into()));
    }
    Err(ReferenceError::Repository(text.into()))
}

/// Letters and digits, joined by one dot, one or two underscores, or any number of dashes.
fn is_path_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_word(*first)
        && is_word(*last)
        && bytes
            .split(|byte| is_word(*byte))
            .all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-'))
}

fn check_tag(text: &str, tag: &str) -> Result<(), ReferenceError> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let fits = !tag.is_empty()
        && tag.len() <= TAG_LENGTH_MAX
        && tag.bytes().all(inside)
        && !tag.starts_with(['.', '-']);
    if fits {
        return Ok(());
    }
    Err(ReferenceError::Tag {
        reference: text.into(),
        tag: tag.into(),
    })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn check(text: &str, canonical: &str, familiar: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), canonical);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(canonical.parse::<Reference>().unwrap(), reference);
        assert_eq!(familiar.parse::<Reference>().unwrap(), reference);
    }

    #[test]
    fn normalises_as_docker_does() {
        check(
            "busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        );
        check(
            "busybox:1.36",
            "docker.io/library/busybox:1.36",
            "busybox:1.36",
        );
        check(
            "docker.io/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        );
        check("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest");
        check("user/app", "docker.io/user/app:latest", "user/app:latest");
        check(
            "docker.io/lab.org/a",
            "docker.io/lab.org/a:latest",
            "docker.io/lab.org/a:latest",
        );
        check(
            "library/a/b",
            "docker.io/library/a/b:latest",
            "library/a/b:latest",
        );
        check(
            "localhost/app",
            "localhost/app:latest",
            "localhost/app:latest",
        );
        check("host:5000/app:1", "host:5000/app:1", "host:5000/app:1");
        check(
            "ghcr.io/lab/a_b__c-d.e",
            "ghcr.io/lab/a_b__c-d.e:latest",
            "ghcr.io/lab/a_b__c-d.e:latest",
        );
        check(
            "[::1]:5000/app",
            "[::1]:5000/app:latest",
            "[::1]:5000/app:latest",
        );
        check("Host/app", "Host/app:latest", "Host/app:latest");
    }

    #[test]
    fn digests_pin() {
        let canonical = format!("docker.io/library/busybox@{DIGEST}");
        check(
            &format!("busybox@{DIGEST}"),
            &canonical,
            &format!("busybox@{DIGEST}"),
        );
        let both: Reference = format!("busybox:1@{DIGEST}").parse().unwrap();
        assert_eq!((both.tag(), both.digest().is_some()), (Some("1"), true));
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            ":",
            "a:",
            "/a",
            "a/",
            "a//b",
            "a:b:c",
            "A",
            "a/B",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a b",
            "a:-x",
            "a@sha256:1",
            "host:x/a",
            "ho_st.io/a",
            "a:b/c:d/e",
            "../a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        let long = "a".repeat(256);
        assert_eq!(long.parse::<Reference>(), Err(ReferenceError::TooLong));
        assert!(
            format!("a:{}", "t".repeat(129))
                .parse::<Reference>()
                .is_err()
        );
        assert!(matches!(
            "App".parse::<Reference>(),
            Err(ReferenceError::UpperCase(_))
        ));
    }

    #[test]
    fn a_login_is_no_digest_and_is_not_told() {
        for text in ["lab:geheim@localhost:7104/sm/x", "lab:ge@heim@ghcr.io/x:1"] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(matches!(error, ReferenceError::Login(_)), "{error}");
            assert!(!error.to_string().contains("heim"), "{error}");
        }
    }

    #[test]
    fn tag_and_digest_replace() {
        let base: Reference = "lab/base:1".parse().unwrap();
        assert_eq!(
            base.with_tag("2").unwrap().to_string(),
            "docker.io/lab/base:2"
        );
        assert!(base.with_tag("no/tag").is_err());
        let pinned = base.with_digest(DIGEST.parse().unwrap());
        assert_eq!(
            pinned.with_tag("3").unwrap().to_string(),
            "docker.io/lab/base:3"
        );
    }
}
