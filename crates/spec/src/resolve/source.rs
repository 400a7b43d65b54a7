//! How an image is made: by a Dockerfile with its arguments, or from Debian packages.

use std::collections::BTreeMap;

use cairn_diagnostic::Span;

use super::Resolver;
use super::checks::distinct;
use super::merge::Merged;
use crate::settings::PackageSet;
use crate::stack::{DebianSource, DockerfileSource, ImageName, ImageSource};
use crate::written::{DebianSection, Spanned};

impl Resolver<'_> {
    /// How an image is made, by what it says; `None` if that cannot be told.
    pub(super) fn image_source(
        &mut self,
        name: &ImageName,
        span: Span,
        merged: &Merged<'_>,
    ) -> Option<ImageSource> {
        match (merged.context, merged.debian.is_empty()) {
            (Some(context), true) => Some(ImageSource::Dockerfile(
                self.dockerfile_source(context, merged),
            )),
            (None, false) => self.debian_source(name, merged).map(ImageSource::Debian),
            (Some(context), false) => {
                self.error(
                    context.span,
                    format!("image `{name}` has both a `context` and `debian`"),
                )
                .hint("make two images of it: a base, and one whose Dockerfile says `FROM` it");
                None
            }
            (None, true) => {
                self.error(span, format!("image `{name}` does not say how it is made"))
                    .hint("give it a `context` (a folder with a Dockerfile) or `debian` packages");
                None
            }
        }
    }

    fn dockerfile_source(
        &mut self,
        context: &Spanned<String>,
        merged: &Merged<'_>,
    ) -> DockerfileSource {
        self.not_empty(context, "context");
        if let Some(dockerfile) = merged.dockerfile {
            self.not_empty(dockerfile, "dockerfile");
        }
        if let Some(target) = merged.target {
            self.not_empty(target, "target");
        }
        let mut args = BTreeMap::new();
        let axes = merged.axis_args.iter();
        let written = merged.default_args.iter().chain(&merged.args).copied();
        let written = written
            .flatten()
            .map(|(name, value)| (name.as_str(), value));
        // An axis' value is what tells the variants apart; nothing the image says changes it.
        for (name, value) in written.chain(axes.copied()) {
            if name.is_empty() || name.contains(|c: char| c == '=' || c.is_whitespace()) {
                self.error(value.span, format!("`{name}` cannot name an argument"));
            }
            args.insert(name.to_owned(), Spanned::new(value.0.clone(), value.span));
        }
        DockerfileSource {
            context: context.clone(),
            dockerfile: merged
                .dockerfile
                .or(merged.default_dockerfile)
                .cloned()
                .unwrap_or_else(|| Spanned::new("Dockerfile".to_owned(), context.span)),
            target: merged.target.cloned(),
            args,
        }
    }

    fn debian_source(&mut self, name: &ImageName, merged: &Merged<'_>) -> Option<DebianSource> {
        self.no_dockerfile_keys(merged);
        let sections = || {
            let sections = merged.default_debian.iter().chain(&merged.debian);
            sections.map(|section| &section.value)
        };
        let place = merged.debian.last()?.span;
        let Some(suite) = sections().filter_map(|it| it.suite.as_ref()).next_back() else {
            self.error(place, format!("image `{name}` does not say which Debian"))
                .hint("add `suite = \"bookworm\"` to its `debian` table");
            return None;
        };
        self.not_empty(suite, "suite");
        let set = sections().filter_map(|it| it.variant.as_ref()).next_back();
        let set = set
            .and_then(|word| self.word(word, "variant", PackageSet::from_word, PackageSet::WORDS));
        let mirrors = sections().filter_map(|it| it.mirror.as_ref()).next_back();
        let mirrors = mirrors.map(|it| it.0.clone()).unwrap_or_default();
        for mirror in &mirrors {
            self.mirror_is_valid(mirror);
        }
        let packages = self.packages(sections());
        let components = distinct(sections().flat_map(|it| it.components.iter().flatten()));
        let components: Vec<String> = components.into_iter().map(|it| it.value).collect();
        Some(DebianSource {
            suite: suite.clone(),
            packages,
            package_set: set.unwrap_or(PackageSet::Minbase),
            mirrors,
            arch: sections()
                .filter_map(|it| it.arch.as_ref())
                .next_back()
                .cloned(),
            keyring: sections()
                .filter_map(|it| it.keyring.as_ref())
                .next_back()
                .cloned(),
            components: match components.is_empty() {
                true => vec!["main".to_owned()],
                false => components,
            },
        })
    }

    /// The packages from the outside in: what one table adds, a later one can leave out.
    fn packages<'f>(
        &mut self,
        sections: impl Iterator<Item = &'f DebianSection>,
    ) -> Vec<Spanned<String>> {
        let mut packages: Vec<Spanned<String>> = Vec::new();
        for section in sections {
            for without in section.without.iter().flatten() {
                let before = packages.len();
                packages.retain(|package| package != without);
                if packages.len() == before {
                    self.error(
                        without.span,
                        format!("`{}` is not among the packages", without.value),
                    )
                    .hint("`without` takes away what the image or the defaults ask for");
                }
            }
            for package in section.packages.iter().flatten() {
                self.package_is_valid(package);
                if !packages.contains(package) {
                    packages.push(package.clone());
                }
            }
        }
        packages
    }
}
