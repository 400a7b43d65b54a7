//! What a path of the distribution protocol names.

use cairn_oci::Reference;

/// What a request is about. Names and digests are as the client wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// The registry itself.
    Base,
    /// Its repositories.
    Catalog,
    /// The tags of a repository.
    Tags(&'a str),
    /// A manifest by tag or digest.
    Manifest(&'a str, &'a str),
    /// A blob by digest.
    Blob(&'a str, &'a str),
    /// Where uploads begin.
    Uploads(&'a str),
    /// One upload.
    Upload(&'a str, &'a str),
    /// What refers to a manifest.
    Referrers(&'a str, &'a str),
}

impl<'a> Route<'a> {
    /// Reads a path; `None` for one that the protocol does not know.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let rest = match path {
            "/v2" => "",
            path => path.strip_prefix("/v2/")?,
        };
        let last_two = |part: &str| rest.rsplit_once(part).filter(|(name, _)| !name.is_empty());
        match rest {
            "" => return Some(Self::Base),
            "_catalog" => return Some(Self::Catalog),
            _ => {}
        }
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return Some(Self::Tags(repository));
        }
        if let Some(repository) = rest.trim_end_matches('/').strip_suffix("/blobs/uploads") {
            return Some(Self::Uploads(repository));
        }
        if let Some((repository, id)) = last_two("/blobs/uploads/") {
            return Some(Self::Upload(repository, id));
        }
        if let Some((repository, name)) = last_two("/manifests/") {
            return Some(Self::Manifest(repository, name));
        }
        if let Some((repository, digest)) = last_two("/blobs/") {
            return Some(Self::Blob(repository, digest));
        }
        last_two("/referrers/").map(|(repository, digest)| Self::Referrers(repository, digest))
    }

    /// The repository it names, if it is one's.
    pub(crate) fn repository(self) -> Option<&'a str> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
        }
    }
}

/// Whether something may be put into a repository of this name.
pub(crate) fn is_repository(name: &str) -> bool {
    !name.contains([':', '@']) && format!("localhost/{name}").parse::<Reference>().is_ok()
}

/// Whether a manifest may have this tag.
pub(crate) fn is_tag(tag: &str) -> bool {
    !tag.contains(['/', '@']) && format!("localhost/x:{tag}").parse::<Reference>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let cases = [
            ("/v2/", Some(Route::Base)),
            ("/v2", Some(Route::Base)),
            ("/v2/_catalog", Some(Route::Catalog)),
            ("/v2/a/b/tags/list", Some(Route::Tags("a/b"))),
            ("/v2/a/manifests/1", Some(Route::Manifest("a", "1"))),
            ("/v2/a/blobs/sha256:1", Some(Route::Blob("a", "sha256:1"))),
            ("/v2/a/blobs/uploads/", Some(Route::Uploads("a"))),
            ("/v2/a/blobs/uploads", Some(Route::Uploads("a"))),
            ("/v2/a/blobs/uploads/7", Some(Route::Upload("a", "7"))),
            ("/v2/a/referrers/x", Some(Route::Referrers("a", "x"))),
            ("/v2/blobs/manifests/1", Some(Route::Manifest("blobs", "1"))),
            ("/", None),
            ("/v1/a", None),
            ("/v2/a", None),
        ];
        for (path, route) in cases {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn names_are_those_of_the_spec() {
        for name in ["a", "lab/model", "a.b/c_d/e--f", "conformance-1/x"] {
            assert!(is_repository(name), "{name}");
        }
        for name in ["", "A", "a//b", "a:1", "../x", "a/", "a b", "a@b"] {
            assert!(!is_repository(name), "{name}");
        }
        assert!(is_tag("1.0-x_Y") && is_tag("latest"));
        for tag in ["", ".x", "-x", "a/b", "sha256:1", "a b"] {
            assert!(!is_tag(tag), "{tag}");
        }
    }
}
