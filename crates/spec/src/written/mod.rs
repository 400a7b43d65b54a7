//! The spec file as written: one type per table, every value with its place.
//!
//! The doc comments are what `cairn schema` prints as descriptions, so they speak to the author
//! of a `cairn.toml`. The types hold no default: what is absent stays absent, and
//! [`resolve`](crate::resolve()) decides what that means.
//!
//! A key of the design that has no effect yet is known by name (see `shape`) and refused with a
//! message that says so; it is never silently ignored.

mod document;
mod include;
mod info;
mod overlay;
mod parse;
mod reader;
mod schema;
mod shape;
mod suites;
mod value;
mod variables;

use std::collections::BTreeMap;

use cairn_diagnostic::Source;
use schemars::JsonSchema;

pub(crate) use include::join;
pub use info::InfoSection;
pub use parse::{Parsed, parse};
#[cfg(test)]
pub(crate) use shape::ALL as SHAPES;
pub use suites::{ServiceSection, SuiteSection, Suites, TestsSection};
pub use value::{Scalar, Spanned, StringOrList};

/// What surrounds a spec and may be used by it: files, choices, variables.
pub struct Surroundings<'a> {
    /// Reads a file by its path from the root's folder; an error is one phrase.
    pub read: &'a dyn Fn(&str) -> Result<Source, String>,
    /// The chosen environment: an `[env.NAME]` of the spec.
    pub overlay: Option<&'a str>,
    /// Values of declared variables, from the command line.
    pub variables: &'a BTreeMap<String, String>,
    /// The variables of the environment.
    pub environment: &'a BTreeMap<String, String>,
}

impl Surroundings<'static> {
    /// Nothing at all: for a spec that stands alone.
    pub fn none() -> Self {
        static NOTHING: BTreeMap<String, String> = BTreeMap::new();
        Self {
            read: &|_| Err("nothing can be included here".to_owned()),
            overlay: None,
            variables: &NOTHING,
            environment: &NOTHING,
        }
    }
}

/// A stack of container images: how they are made, how they depend on each other, how they are
/// tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SpecFile {
    /// Files to take in, by their paths from this one. What this file says wins.
    pub include: Option<Vec<Spanned<String>>>,
    /// What holds for the stack as a whole.
    pub stack: Option<StackSection>,
    /// How builds and tests run.
    pub build: Option<BuildSection>,
    /// How much rules of `cairn lint` matter in this stack, by name: `off`, `info`, `warning` or
    /// `error`. Without, each has its own level.
    #[schemars(with = "Option<BTreeMap<String, crate::LintLevel>>")]
    pub lint: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// What happens when a locked package has disappeared: a word, or a table with `policy`.
    pub lock: Option<LockSection>,
    /// Values that `${name}` stands for: a default, or a table with `env` and `default`.
    pub variables: Option<BTreeMap<String, Spanned<VariableSection>>>,
    /// What every image starts from; an image's own keys win, its lists and tables are added.
    pub defaults: Option<Defaults>,
    /// The tags that an event publishes.
    pub tags: Option<TagsSection>,
    /// Which tags may be promoted to a tag, by that tag; `{name}` stands for any text, and for the
    /// same text in both.
    pub promote: Option<BTreeMap<String, Spanned<PromoteSection>>>,
    /// What `cairn registry gc` leaves in registries.
    pub retention: Option<RetentionSection>,
    /// Images from outside that must be signed, by registry and namespace as in `ghcr.io/lab`, or a
    /// glob over them.
    pub verify: Option<BTreeMap<String, Spanned<VerifySection>>>,
    /// The key that `cairn publish` signs with. Without, nothing is signed.
    pub sign: Option<Spanned<SignSection>>,
    /// How changed files decide what a run is about.
    pub changes: Option<ChangesSection>,
    /// Commands that images may name in `info`, besides those that are built in.
    pub info: Option<BTreeMap<String, Spanned<InfoSection>>>,
    /// The images, by name.
    pub image: Option<BTreeMap<String, Spanned<ImageSection>>>,
    /// What is different in an environment that `--env NAME` chooses: laid over all the rest,
    /// tables key by key, lists and values in place of what was there.
    pub env: Option<BTreeMap<String, Spanned<EnvSection>>>,
}

/// What is different in one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EnvSection {
    /// What holds for the stack as a whole.
    pub stack: Option<StackOverlay>,
    /// How builds and tests run.
    pub build: Option<BuildSection>,
    /// What happens when a locked package has disappeared.
    pub lock: Option<LockSection>,
    /// Other values of variables.
    pub variables: Option<BTreeMap<String, Spanned<VariableSection>>>,
    /// What every image starts from.
    pub defaults: Option<Defaults>,
    /// The tags that an event publishes.
    pub tags: Option<TagsSection>,
    /// How changed files decide what a run is about.
    pub changes: Option<ChangesSection>,
    /// Images that are different, by name.
    pub image: Option<BTreeMap<String, Spanned<ImageSection>>>,
}

/// A variable: its default alone, or a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariableSection {
    /// The environment variable that gives the value.
    pub env: Option<Spanned<String>>,
    /// The value where nobody says another.
    pub default: Option<Spanned<Scalar>>,
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
    /// Seconds since 1970 that all times in the images are set back to; without, images have the
    /// commit's time, and files in their layers the beginning of its month.
    #[schemars(range(min = 0))]
    pub epoch: Option<Spanned<i64>>,
}

/// What is different about the stack as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StackOverlay {
    /// Another name.
    pub name: Option<Spanned<String>>,
    /// Other places to publish to.
    pub registries: Option<Vec<Spanned<String>>>,
    /// Other platforms.
    pub platforms: Option<Vec<Spanned<String>>>,
    /// Another time for all files.
    #[schemars(range(min = 0))]
    pub epoch: Option<Spanned<i64>>,
}

/// The tags that an event publishes: for each event a list of tags, in which `{prefix}`,
/// `{branch}`, `{commit}`, `{version}` and others stand for facts of the event.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TagsSection {
    /// What `{prefix}` stands for, as in `2026.3`; may have `{year}` and `{quarter}`.
    pub prefix: Option<Spanned<String>>,
    /// The branches that count as main, as names or globs; the repository's default branch
    /// without, or `main` and `master` where it is not known.
    #[schemars(rename = "main-branches")]
    pub main_branches: Option<StringOrList>,
    /// Tags of a push to any other branch.
    pub branch: Option<Vec<Spanned<String>>>,
    /// Tags of a push to a main branch.
    pub main: Option<Vec<Spanned<String>>>,
    /// Tags of a pushed git tag that is a version.
    pub release: Option<Vec<Spanned<String>>>,
    /// Tags of a pushed git tag that is a version before a release.
    pub prerelease: Option<Vec<Spanned<String>>>,
    /// Tags of a pull request; none without.
    #[schemars(rename = "pull-request")]
    pub pull_request: Option<Vec<Spanned<String>>>,
    /// Tags of a run at a set time; those of its branch without.
    pub schedule: Option<Vec<Spanned<String>>>,
    /// Tags of a run that somebody started; those of its branch without.
    pub manual: Option<Vec<Spanned<String>>>,
}

/// What may be promoted to a tag, and what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PromoteSection {
    /// The tags that it may come from.
    #[schemars(required)]
    pub from: Option<StringOrList>,
    /// Whether every image must have passed tests, with none left out.
    pub tests: Option<Spanned<bool>>,
    /// Workflow tests, by name, that the images that have them must have passed as well.
    pub workflow: Option<StringOrList>,
}

/// Who must have signed images.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct VerifySection {
    /// Files with public keys in PEM, one of which must have signed an image.
    #[schemars(required)]
    pub keys: Option<StringOrList>,
}

/// How what is published is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SignSection {
    /// A file with a private key in PEM, on P-256 or Ed25519, without a password.
    #[schemars(required)]
    pub key: Option<Spanned<String>>,
    /// How the signatures are kept beside the images; `tag` without.
    #[schemars(with = "Option<crate::SignForm>")]
    pub form: Option<Spanned<String>>,
    /// The events on which it is done; without, all that publish.
    pub when: Option<StringOrList>,
    /// The registries where it is done, with their namespaces, or globs over them; without, all.
    pub registries: Option<StringOrList>,
}

/// What `cairn registry gc` leaves in registries: a tag for which any of these speaks, and what the
/// tags that are left mean and meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RetentionSection {
    /// Tags that stay, without the prefixes and suffixes of variants; `{name}` stands for any text. What
    /// `[promote]` gives stays in any case.
    pub keep: Option<StringOrList>,
    /// So many generations of each tag stay, that it can be rolled back to; 3 without.
    #[schemars(range(min = 1))]
    pub generations: Option<Spanned<i64>>,
    /// What was published in so many days stays; 30 without.
    #[schemars(range(min = 0))]
    pub days: Option<Spanned<i64>>,
    /// Whether tags of branches and git tags stay as long as these do; `true` without.
    pub branches: Option<Spanned<bool>>,
    /// How many days lie between saying that something goes and removing it; 7 without.
    #[schemars(rename = "delay-days", range(min = 0))]
    pub delay_days: Option<Spanned<i64>>,
    /// Results in caches that no run which writes them used for so many days go, in the repositories
    /// that `build.cache-from` names; without, they stay.
    #[schemars(rename = "cache-days", range(min = 1))]
    pub cache_days: Option<Spanned<i64>>,
    /// So many gigabytes of layers stay in each of these caches; without, all.
    #[schemars(rename = "cache-gigabytes", range(min = 1))]
    pub cache_gigabytes: Option<Spanned<i64>>,
}

/// How changed files decide what a run is about. What is built is decided by content in any
/// case.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ChangesSection {
    /// Files whose changes concern no image, as globs from the spec's folder.
    pub ignore: Option<Vec<Spanned<String>>>,
    /// Files whose changes concern every image, as globs from the spec's folder.
    #[schemars(rename = "build-all")]
    pub build_all: Option<Vec<Spanned<String>>>,
    /// Words in a commit's message that run every step again; `full rebuild` without.
    #[schemars(rename = "rebuild-words")]
    pub rebuild_words: Option<Vec<Spanned<String>>>,
    /// Words in a commit's message that leave every image alone; `skip ci` without.
    #[schemars(rename = "skip-words")]
    pub skip_words: Option<Vec<Spanned<String>>>,
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
    /// A file of secrets that steps may ask for with `RUN --mount=type=secret`: TOML, a line
    /// `NAME = "value"` for each. Keep it out of the repository.
    pub secrets: Option<Spanned<String>>,
    /// Caches in registries, and images that carry their own, whose results of steps are taken:
    /// `ghcr.io/lab/cache:main`. `--cache-from` on the command line takes their place.
    #[schemars(rename = "cache-from")]
    pub cache_from: Option<Vec<Spanned<String>>>,
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
    /// The Dockerfile of every image that has a context, by its path from there.
    pub dockerfile: Option<Spanned<String>>,
    /// Build arguments of every image that has a Dockerfile.
    pub args: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Settings of every base that is assembled from Debian packages.
    pub debian: Option<Spanned<DebianSection>>,
    /// Labels of every image.
    pub labels: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Tests that every image must pass.
    pub tests: Option<TestsSection>,
    /// Where images are to be published, in place of the stack's registries.
    pub registries: Option<Vec<Spanned<String>>>,
    /// The platforms of every image, in place of the stack's.
    pub platforms: Option<Vec<Spanned<PlatformEntry>>>,
    /// When steps run again: `changed` without.
    #[schemars(with = "Option<crate::Rebuild>")]
    pub rebuild: Option<Spanned<String>>,
    /// Commands that tell what every image holds, by name.
    pub info: Option<Vec<Spanned<String>>>,
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
    /// What the image is called where it is published, if not by its name: one name, or a table
    /// of names by registry.
    pub names: Option<NamesSection>,
    /// Where the image is to be published, in place of the stack's registries.
    pub registries: Option<Vec<Spanned<String>>>,
    /// The platforms to build for, in place of the stack's; one that only some events build is
    /// a table with `platform` and `when`.
    pub platforms: Option<Vec<Spanned<PlatformEntry>>>,
    /// What is different on one platform, by its name.
    pub on: Option<BTreeMap<String, Spanned<OnSection>>>,
    /// When steps run again: `changed` (only what changed), `always`, or `on-main` (always, on a
    /// main branch).
    #[schemars(with = "Option<crate::Rebuild>")]
    pub rebuild: Option<Spanned<String>>,
    /// The tags that an event publishes; a list given here replaces that of `[tags]`.
    pub tags: Option<TagsSection>,
    /// Commands that tell what the image holds, by name: `python`, `pip`, `apt`, `conda` and more,
    /// or one of `[info]`. What they print is in the image's page (`--records`).
    pub info: Option<Vec<Spanned<String>>>,
    /// The image's variants, by name. An image with variants is exactly its variants, each called
    /// `image:variant`; what a variant says wins over what the image says, and its tables and
    /// lists are added to the image's.
    pub variant: Option<BTreeMap<String, Spanned<VariantSection>>>,
    /// Axes whose values are combined, each combination being a variant. An axis is a list of
    /// values, each given to the build as the argument of the axis' name, or a table with the
    /// settings of each value.
    pub matrix: Option<Spanned<MatrixSection>>,
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
    /// What tags begin with that do not name the variant themselves, as in `cuda12-latest`; where it
    /// is given, they end with nothing but a `suffix` that is given, too.
    pub prefix: Option<Spanned<String>>,
    /// What tags end with that do not name the variant themselves; `-` and its name without.
    pub suffix: Option<Spanned<String>>,
    /// What the variant is called where it is published, if not by its name: one name, or a table
    /// of names by registry.
    pub names: Option<NamesSection>,
    /// Where the variant is to be published, in place of the stack's registries.
    pub registries: Option<Vec<Spanned<String>>>,
    /// The platforms to build for, in place of the stack's; one that only some events build is
    /// a table with `platform` and `when`.
    pub platforms: Option<Vec<Spanned<PlatformEntry>>>,
    /// What is different on one platform, by its name.
    pub on: Option<BTreeMap<String, Spanned<OnSection>>>,
    /// When steps run again: `changed` (only what changed), `always`, or `on-main` (always, on a
    /// main branch).
    #[schemars(with = "Option<crate::Rebuild>")]
    pub rebuild: Option<Spanned<String>>,
    /// The tags that an event publishes; a list given here replaces that of `[tags]`.
    pub tags: Option<TagsSection>,
    /// Further commands that tell what the variant holds.
    pub info: Option<Vec<Spanned<String>>>,
}

/// What is different on one platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OnSection {
    /// The events that build for this platform; every one without, none with an empty list.
    pub when: Option<StringOrList>,
    /// The Dockerfile, by its path from the context.
    pub dockerfile: Option<Spanned<String>>,
    /// The stage to build.
    pub target: Option<Spanned<String>>,
    /// Further build arguments.
    pub args: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Further packages, packages to leave out, or other settings of the base.
    pub debian: Option<Spanned<DebianSection>>,
}

/// A platform, and the events that build for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformEntry {
    /// The platform, as in `linux/arm64`.
    pub platform: Option<Spanned<String>>,
    /// The events that build for it; every one if absent.
    pub when: Option<StringOrList>,
}

/// What an image is called where it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamesSection {
    /// The same in every registry.
    Everywhere(Spanned<String>),
    /// By registry; the name of the image in the others.
    By(BTreeMap<String, Spanned<Spanned<String>>>),
}

/// Axes and the combinations that are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MatrixSection {
    /// The axes by name.
    pub axes: BTreeMap<String, Spanned<AxisSection>>,
    /// Combinations that are not made: for each axis that is named, one value or several.
    pub exclude: Vec<Spanned<BTreeMap<String, StringOrList>>>,
}

/// The values of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AxisSection {
    /// Each is the value of the argument that is called as the axis.
    Values(Vec<Spanned<Scalar>>),
    /// Each with its settings.
    Sections(BTreeMap<String, Spanned<VariantSection>>),
}

/// A base image assembled from signed, locked Debian packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DebianSection {
    /// The release, as in `bookworm`.
    pub suite: Option<Spanned<String>>,
    /// Packages to install, with all they depend on.
    pub packages: Option<Vec<Spanned<String>>>,
    /// Packages that were asked for further out and are not wanted here.
    pub without: Option<Vec<Spanned<String>>>,
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

#[cfg(test)]
mod tests;
