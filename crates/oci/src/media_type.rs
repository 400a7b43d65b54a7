//! Media types of manifests, configs and layers, in the OCI and the Docker spelling.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the bytes of a blob are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MediaType {
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.oci.image.config.v1+json`
    OciConfig,
    /// An OCI layer tar with this compression.
    OciLayer(Compression),
    /// An OCI layer that may not be redistributed.
    OciForeignLayer(Compression),
    /// `application/vnd.oci.empty.v1+json`: the two bytes `{}`.
    OciEmpty,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerIndex,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.container.image.v1+json`
    DockerConfig,
    /// A Docker layer tar with this compression.
    DockerLayer(Compression),
    /// A Docker layer that may not be redistributed (Windows bases).
    DockerForeignLayer,
    /// Anything else, as written.
    Other(Box<str>),
}

/// How a layer tar is compressed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip: every tool reads it.
    #[default]
    Gzip,
    /// Zstandard: smaller and faster, needs recent tools.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    /// Its name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" | "uncompressed" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(UnknownCompression(text.into())),
        }
    }
}

/// A compression that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression `{0}` (gzip, zstd and none are known)")]
pub struct UnknownCompression(pub String);

/// The closed part of the mapping between names and values.
const NAMES: [(&str, MediaType); 17] = [
    (
        "application/vnd.oci.image.index.v1+json",
        MediaType::OciIndex,
    ),
    (
        "application/vnd.oci.image.manifest.v1+json",
        MediaType::OciManifest,
    ),
    (
        "application/vnd.oci.image.config.v1+json",
        MediaType::OciConfig,
    ),
    (
        "application/vnd.oci.image.layer.v1.tar",
        MediaType::OciLayer(Compression::None),
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        MediaType::OciLayer(Compression::Gzip),
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+zstd",
        MediaType::OciLayer(Compression::Zstd),
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        MediaType::OciForeignLayer(Compression::None),
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        MediaType::OciForeignLayer(Compression::Gzip),
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        MediaType::OciForeignLayer(Compression::Zstd),
    ),
    ("application/vnd.oci.empty.v1+json", MediaType::OciEmpty),
    (
        "application/vnd.docker.distribution.manifest.list.v2+json",
        MediaType::DockerIndex,
    ),
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        MediaType::DockerManifest,
    ),
    (
        "application/vnd.docker.container.image.v1+json",
        MediaType::DockerConfig,
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar",
        MediaType::DockerLayer(Compression::None),
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        MediaType::DockerLayer(Compression::Gzip),
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        MediaType::DockerLayer(Compression::Zstd),
    ),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        MediaType::DockerForeignLayer,
    ),
];

impl MediaType {
    /// The name as it stands in documents and headers.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => NAMES
                .iter()
                .find(|(_, value)| value == known)
                .map(|(name, _)| *name)
                .expect("every variant but `Other` is in the table, which a test holds"),
        }
    }

    /// Whether it is a list of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerIndex)
    }

    /// Whether it is the manifest of one image.
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }

    /// Whether it is an image's config.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::OciConfig | Self::DockerConfig)
    }

    /// How the layer is compressed, for layers.
    pub fn layer_compression(&self) -> Option<Compression> {
        match self {
            Self::OciLayer(compression)
            | Self::OciForeignLayer(compression)
            | Self::DockerLayer(compression) => Some(*compression),
            Self::DockerForeignLayer => Some(Compression::Gzip),
            _ => None,
        }
    }
}

impl From<String> for MediaType {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl From<&str> for MediaType {
    fn from(name: &str) -> Self {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map_or_else(|| Self::Other(name.into()), |(_, value)| value.clone())
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.as_str().into()
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_goes_there_and_back() {
        for (name, value) in &NAMES {
            assert_eq!(&MediaType::from(*name), value);
            assert_eq!(value.as_str(), *name);
        }
        for compression in Compression::ALL {
            assert!(MediaType::OciLayer(compression).as_str().contains("layer"));
            assert!(
                MediaType::OciForeignLayer(compression)
                    .as_str()
                    .contains("layer")
            );
            assert!(
                MediaType::DockerLayer(compression)
                    .as_str()
                    .contains("diff")
            );
        }
        assert_eq!(MediaType::from("text/plain").as_str(), "text/plain");
    }

    #[test]
    fn layers_know_their_compression() {
        let gzip = MediaType::from("application/vnd.docker.image.rootfs.diff.tar.gzip");
        assert_eq!(gzip.layer_compression(), Some(Compression::Gzip));
        assert_eq!(MediaType::OciConfig.layer_compression(), None);
        assert!(MediaType::DockerIndex.is_index() && !MediaType::DockerIndex.is_manifest());
    }
}
