//! Names of annotations that Cairn writes or reads.

/// The tag (or the whole reference) of an image in a layout's index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full reference of an image in a layout's index, as containerd and docker write it.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// When the image was created, RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// Who made it.
pub const AUTHORS: &str = "org.opencontainers.image.authors";
/// Where people read about it.
pub const URL: &str = "org.opencontainers.image.url";
/// Where its documentation is.
pub const DOCUMENTATION: &str = "org.opencontainers.image.documentation";
/// The repository of its source.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// The version of the packaged software.
pub const VERSION: &str = "org.opencontainers.image.version";
/// The commit it was built from.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// Its licences, an SPDX expression.
pub const LICENSES: &str = "org.opencontainers.image.licenses";
/// Its title.
pub const TITLE: &str = "org.opencontainers.image.title";
/// What it is for.
pub const DESCRIPTION: &str = "org.opencontainers.image.description";
/// The digest of the base image's manifest.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// The reference of the base image.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// On a layer: what BuildKit has set the times in it back to.
pub const REWRITTEN_TIMESTAMP: &str = "buildkit/rewritten-timestamp";
