//! In which words an image is packed: OCI's, or older ones that an output asks for.
//!
//! Docker's own media types have no place for annotations and attestations, and no Zstandard that
//! every reader of them knows: an image that has these stays in OCI's words, as with BuildKit.

use cairn_oci::{Compression, Descriptor, MediaType};

use super::record::ImageRecord;

/// What an output asks for; the default is OCI's words for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dialect {
    /// Docker's media types in place of OCI's.
    pub has_docker_types: bool,
    /// Attestations as an image manifest without a subject, for registries that refuse artifacts.
    pub attests_as_image: bool,
}

/// The media types of an image's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    Oci,
    Docker,
}

impl ImageRecord {
    /// Whether the image is packed in Docker's words: where it is asked for, and nothing of it needs
    /// OCI's.
    pub fn is_docker(&self, compression: Compression) -> bool {
        let is_plain = self.outer.is_empty() && self.annotations.is_empty();
        self.dialect.has_docker_types
            && is_plain
            && self.attested.is_none()
            && compression != Compression::Zstd
    }

    pub(super) fn words(&self, compression: Compression) -> Words {
        match self.is_docker(compression) {
            true => Words::Docker,
            false => Words::Oci,
        }
    }
}

impl Words {
    /// The words of an index over these: Docker's if all are.
    pub(super) fn of_index<'a>(mut manifests: impl Iterator<Item = &'a Descriptor>) -> Self {
        match manifests.all(|it| it.media_type == MediaType::DockerManifest) {
            true => Self::Docker,
            false => Self::Oci,
        }
    }

    pub(super) fn config(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OciConfig,
            Self::Docker => MediaType::DockerConfig,
        }
    }

    pub(super) fn manifest(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OciManifest,
            Self::Docker => MediaType::DockerManifest,
        }
    }

    pub(super) fn index(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OciIndex,
            Self::Docker => MediaType::DockerIndex,
        }
    }

    pub(super) fn layer(self, layer: MediaType) -> MediaType {
        match (self, layer) {
            (Self::Docker, MediaType::OciLayer(compression)) => MediaType::DockerLayer(compression),
            (_, layer) => layer,
        }
    }
}
