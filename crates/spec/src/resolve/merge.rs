//! What one image says, from the outside in: `[defaults]`, the image, its variant, its platform.

use std::collections::BTreeMap;

use crate::written::{
    DebianSection, Defaults, ImageSection, NamesSection, OnSection, PlatformEntry, Scalar, Spanned,
    TagsSection, TestsSection, VariantSection,
};

pub(super) type Scalars = BTreeMap<String, Spanned<Scalar>>;
type Overrides = BTreeMap<String, Spanned<OnSection>>;

/// What one image has said once its variant has had its say.
#[derive(Default, Clone)]
pub(super) struct Merged<'f> {
    pub(super) context: Option<&'f Spanned<String>>,
    pub(super) default_dockerfile: Option<&'f Spanned<String>>,
    pub(super) dockerfile: Option<&'f Spanned<String>>,
    pub(super) target: Option<&'f Spanned<String>>,
    /// Meant for the images that have a Dockerfile, so no error for the others.
    pub(super) default_args: Option<&'f Scalars>,
    pub(super) args: Vec<&'f Scalars>,
    /// Arguments that axes give, between those of the image and those of a platform.
    pub(super) axis_args: Vec<(&'f str, &'f Spanned<Scalar>)>,
    /// Meant for the images made of packages, so no reason to be one.
    pub(super) default_debian: Option<&'f Spanned<DebianSection>>,
    pub(super) debian: Vec<&'f Spanned<DebianSection>>,
    pub(super) labels: Vec<&'f Scalars>,
    pub(super) tests: Vec<&'f TestsSection>,
    pub(super) internal: bool,
    pub(super) names: Option<&'f NamesSection>,
    pub(super) registries: Option<&'f Vec<Spanned<String>>>,
    pub(super) platforms: Option<&'f Vec<Spanned<PlatformEntry>>>,
    pub(super) on: Vec<&'f Overrides>,
    pub(super) rebuild: Option<&'f Spanned<String>>,
    /// Names of commands, outermost first.
    pub(super) info: Vec<&'f Vec<Spanned<String>>>,
    /// Outermost first; those of the stack are the first.
    pub(super) tags: Vec<&'f TagsSection>,
}

impl<'f> Merged<'f> {
    pub(super) fn image(
        defaults: Option<&'f Defaults>,
        tags: Option<&'f TagsSection>,
        image: &'f ImageSection,
    ) -> Self {
        let mut merged = Self {
            context: image.context.as_ref(),
            dockerfile: image.dockerfile.as_ref(),
            target: image.target.as_ref(),
            internal: image.internal.as_ref().is_some_and(|it| it.value),
            names: image.names.as_ref(),
            registries: image.registries.as_ref(),
            platforms: image.platforms.as_ref(),
            rebuild: image.rebuild.as_ref(),
            ..Self::default()
        };
        if let Some(defaults) = defaults {
            merged.default_args = defaults.args.as_ref();
            merged.default_dockerfile = defaults.dockerfile.as_ref();
            merged.default_debian = defaults.debian.as_ref();
            merged.labels.extend(&defaults.labels);
            merged.tests.extend(&defaults.tests);
            merged.info.extend(&defaults.info);
            merged.registries = merged.registries.or(defaults.registries.as_ref());
            merged.platforms = merged.platforms.or(defaults.platforms.as_ref());
            merged.rebuild = merged.rebuild.or(defaults.rebuild.as_ref());
        }
        merged.tags.extend(tags);
        merged.tags.extend(&image.tags);
        merged.args.extend(&image.args);
        merged.debian.extend(&image.debian);
        merged.labels.extend(&image.labels);
        merged.tests.extend(&image.tests);
        merged.info.extend(&image.info);
        merged.on.extend(&image.on);
        merged
    }

    pub(super) fn variant(mut self, variant: &'f VariantSection) -> Self {
        self.context = variant.context.as_ref().or(self.context);
        self.dockerfile = variant.dockerfile.as_ref().or(self.dockerfile);
        self.target = variant.target.as_ref().or(self.target);
        self.internal = variant
            .internal
            .as_ref()
            .map_or(self.internal, |it| it.value);
        self.names = variant.names.as_ref().or(self.names);
        self.registries = variant.registries.as_ref().or(self.registries);
        self.platforms = variant.platforms.as_ref().or(self.platforms);
        self.rebuild = variant.rebuild.as_ref().or(self.rebuild);
        self.tags.extend(&variant.tags);
        self.args.extend(&variant.args);
        self.debian.extend(&variant.debian);
        self.labels.extend(&variant.labels);
        self.tests.extend(&variant.tests);
        self.info.extend(&variant.info);
        self.on.extend(&variant.on);
        self
    }

    /// The same on one platform.
    pub(super) fn on(mut self, platform: &'f OnSection) -> Self {
        self.dockerfile = platform.dockerfile.as_ref().or(self.dockerfile);
        self.target = platform.target.as_ref().or(self.target);
        self.args.extend(&platform.args);
        self.debian.extend(&platform.debian);
        self
    }
}
