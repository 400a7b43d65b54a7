//! The spec file as written: one type per table, every value with its place.
//!
//! The doc comments are what `cairn schema` prints as descriptions, so they speak to the author
//! of a `cairn.toml`. The types hold no default: what is absent stays absent, and
//! [`resolve`](crate::resolve()) decides what that means.
//!
//! A key of the design that has no effect yet is known by name (see `shape`) and refused with a
//! message that says so; it is never silently ignored.

mod parse;
mod shape;
mod value;

use std::collections::BTreeMap;

use schemars::JsonSchema;

pub use parse::parse;
#[cfg(test)]
pub(crate) use shape::ALL as SHAPES;
pub use value::{Scalar, Spanned, StringOrList};

/// A stack of container images: how they are made, how they depend on each other, how they are
/// tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SpecFile {
    /// What holds for the stack as a whole.
    pub stack: Option<StackSection>,
    /// How builds and tests run.
    pub build: Option<BuildSection>,
    /// What happens when a locked package has disappeared: a word, or a table with `policy`.
    pub lock: Option<LockSection>,
    /// What every image starts from; an image's own keys win, its lists and tables are added.
    pub defaults: Option<Defaults>,
    /// The images, by name.
    pub image: Option<BTreeMap<String, Spanned<ImageSection>>>,
}

/// What holds for the stack as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StackSection {
    /// The name of the stack.
    #[schemars(required)]
    pub name: Option<Spanned<String>>,
    /// Where each image is to be published: registry and namespace, as in `ghcr.io/lab`.
    pub registries: Option<Vec<Spanned<String>>>,
    /// The platforms to build for, as in `linux/amd64`; the machine's own without.
    pub platforms: Option<Vec<Spanned<String>>>,
    /// Seconds since 1970 that all times in the images are set back to; the commit's time
    /// without.
    #[schemars(range(min = 0))]
    pub epoch: Option<Spanned<i64>>,
}

/// How builds and tests run.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BuildSection {
    /// The certificates that steps and tests trust without a byte of them staying in an image:
    /// `host` for what the host trusts, `none`, or the path of a PEM file. `host` without.
    pub ca: Option<Spanned<String>>,
    /// What steps reach: `host` or `none`. `host` without.
    #[schemars(with = "Option<crate::NetworkPolicy>")]
    pub network: Option<Spanned<String>>,
    /// How many steps run at a time; as many as there are processors without.
    #[schemars(range(min = 1))]
    pub jobs: Option<Spanned<i64>>,
}

/// What happens when a locked package has disappeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockSection {
    /// `strict` (fail and name the packages) or `refresh` (lock again and print what moved).
    pub policy: Option<Spanned<String>>,
}

/// What every image starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Defaults {
    /// Build arguments of every image that has a Dockerfile.
    pub args: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Labels of every image.
    pub labels: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Tests that every image must pass.
    pub tests: Option<TestsSection>,
}

/// One image: made by a Dockerfile (`context`) or assembled from Debian packages (`debian`).
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ImageSection {
    /// The folder that the Dockerfile may copy from, by its path from the spec's folder.
    pub context: Option<Spanned<String>>,
    /// The Dockerfile, by its path from the context; `Dockerfile` without.
    pub dockerfile: Option<Spanned<String>>,
    /// The stage to build; the last one without.
    pub target: Option<Spanned<String>>,
    /// Build arguments.
    pub args: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// The packages of a base image that has no Dockerfile.
    pub debian: Option<Spanned<DebianSection>>,
    /// Labels, set when the image is put together: they rebuild nothing.
    pub labels: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Tests that the image must pass.
    pub tests: Option<TestsSection>,
    /// Whether the image is only there for other images and never published as a product.
    pub internal: Option<Spanned<bool>>,
    /// The image's variants, by name. An image with variants is exactly its variants, each called
    /// `image:variant`; what a variant says wins over what the image says, and its tables and
    /// lists are added to the image's.
    pub variant: Option<BTreeMap<String, Spanned<VariantSection>>>,
}

/// What one variant of an image has of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct VariantSection {
    /// The folder that the Dockerfile may copy from.
    pub context: Option<Spanned<String>>,
    /// The Dockerfile, by its path from the context.
    pub dockerfile: Option<Spanned<String>>,
    /// The stage to build.
    pub target: Option<Spanned<String>>,
    /// Further build arguments.
    pub args: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Further packages, or other settings of the base.
    pub debian: Option<Spanned<DebianSection>>,
    /// Further labels.
    pub labels: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Further tests.
    pub tests: Option<TestsSection>,
    /// Whether the variant is only there for other images.
    pub internal: Option<Spanned<bool>>,
}

/// A base image assembled from signed, locked Debian packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DebianSection {
    /// The release, as in `bookworm`.
    pub suite: Option<Spanned<String>>,
    /// Packages to install, with all they depend on.
    pub packages: Option<Vec<Spanned<String>>>,
    /// Which packages the base holds besides those: `minbase` without.
    #[schemars(with = "Option<crate::PackageSet>")]
    pub variant: Option<Spanned<String>>,
    /// Where to fetch from; several are tried in order. Debian's own without.
    pub mirror: Option<StringOrList>,
    /// Debian's name of the processor, as in `amd64`; that of the platform without.
    pub arch: Option<Spanned<String>>,
    /// A file with OpenPGP keys to trust instead of Debian's, by its path from the spec's folder.
    pub keyring: Option<Spanned<String>>,
    /// The parts of the archive; `main` without.
    pub components: Option<Vec<Spanned<String>>>,
}

/// Tests that an image must pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestsSection {
    /// container-structure-test files, by their paths from the spec's folder.
    pub structure: Option<StringOrList>,
}

impl JsonSchema for LockSection {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LockSection".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let policy = generator.subschema_for::<crate::LockPolicy>();
        schemars::json_schema!({
            "description": "What happens when a locked package has disappeared.",
            "anyOf": [
                policy,
                {
                    "type": "object",
                    "properties": { "policy": policy },
                    "additionalProperties": false
                }
            ]
        })
    }
}
