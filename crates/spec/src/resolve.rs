//! The file as written to the stack as meant: defaults, variants, checks.
//!
//! Merging follows one rule. From the outside in - `[defaults]`, the image, the variant - a
//! single value replaces the one before, a table is merged key by key, a list is added to.
//! What cannot be used where it is written is an error, not a value that is dropped.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use cairn_diagnostic::{Diagnostic, Source, Span};
use cairn_oci::Platform;

use crate::settings::{CaPolicy, LockPolicy, NetworkPolicy, PackageSet};
use crate::stack::{
    BuildSettings, DebianSource, DockerfileSource, Image, ImageName, ImageSource, Stack, Tests,
};
use crate::suggest::{nearest, quoted};
use crate::written::{
    BuildSection, DebianSection, Defaults, ImageSection, Scalar, Spanned, SpecFile, StackSection,
    TestsSection, VariantSection,
};

/// Makes the stack that a spec file means; `source` is the text it was parsed from.
pub fn resolve(source: &Source, file: &SpecFile) -> Result<Stack, Vec<Diagnostic>> {
    let mut resolver = Resolver {
        source,
        findings: Vec::new(),
    };
    let stack = resolver.stack(file);
    if resolver.findings.is_empty() {
        return Ok(stack);
    }
    resolver
        .findings
        .sort_by_key(|finding| finding.label.as_ref().map(|label| label.span.start));
    // What an image says wrongly is found once per variant.
    resolver.findings.dedup();
    Err(resolver.findings)
}

struct Resolver<'s> {
    source: &'s Source,
    findings: Vec<Diagnostic>,
}

type Scalars = BTreeMap<String, Spanned<Scalar>>;

/// What one image has said once its variant has had its say.
#[derive(Default)]
struct Merged<'f> {
    context: Option<&'f Spanned<String>>,
    dockerfile: Option<&'f Spanned<String>>,
    target: Option<&'f Spanned<String>>,
    /// Meant for the images that have a Dockerfile, so no error for the others.
    default_args: Option<&'f Scalars>,
    args: Vec<&'f Scalars>,
    debian: Vec<&'f Spanned<DebianSection>>,
    labels: Vec<&'f Scalars>,
    tests: Vec<&'f TestsSection>,
    internal: bool,
}

impl<'f> Merged<'f> {
    fn image(defaults: Option<&'f Defaults>, image: &'f ImageSection) -> Self {
        let mut merged = Self {
            context: image.context.as_ref(),
            dockerfile: image.dockerfile.as_ref(),
            target: image.target.as_ref(),
            internal: image.internal.as_ref().is_some_and(|it| it.value),
            ..Self::default()
        };
        if let Some(defaults) = defaults {
            merged.default_args = defaults.args.as_ref();
            merged.labels.extend(&defaults.labels);
            merged.tests.extend(&defaults.tests);
        }
        merged.args.extend(&image.args);
        merged.debian.extend(&image.debian);
        merged.labels.extend(&image.labels);
        merged.tests.extend(&image.tests);
        merged
    }

    fn variant(mut self, variant: &'f VariantSection) -> Self {
        self.context = variant.context.as_ref().or(self.context);
        self.dockerfile = variant.dockerfile.as_ref().or(self.dockerfile);
        self.target = variant.target.as_ref().or(self.target);
        self.internal = variant
            .internal
            .as_ref()
            .map_or(self.internal, |it| it.value);
        self.args.extend(&variant.args);
        self.debian.extend(&variant.debian);
        self.labels.extend(&variant.labels);
        self.tests.extend(&variant.tests);
        self
    }
}

impl Resolver<'_> {
    fn stack(&mut self, file: &SpecFile) -> Stack {
        let absent = StackSection::default();
        let section = file.stack.as_ref().unwrap_or(&absent);
        let name = self.stack_name(file.stack.as_ref());
        Stack {
            name,
            source: self.source.clone(),
            registries: self.registries(section),
            platforms: self.platforms(section),
            epoch: self.epoch(section),
            build: self.build(file.build.as_ref()),
            lock_policy: self.lock_policy(file),
            images: self.images(file),
        }
    }

    fn stack_name(&mut self, section: Option<&StackSection>) -> String {
        let Some(name) = section.and_then(|section| section.name.as_ref()) else {
            self.findings.push(
                Diagnostic::error("the stack has no name")
                    .at(self.source, Span::new(0, 0))
                    .hint("begin the file with `[stack]` and `name = \"...\"`"),
            );
            return String::new();
        };
        self.image_name_is_valid(name, name.span, "a stack");
        name.value.clone()
    }

    fn registries(&mut self, section: &StackSection) -> Vec<String> {
        let written = section.registries.iter().flatten();
        written
            .map(|registry| {
                let text = registry.value.trim_end_matches('/');
                if text.is_empty() || text.contains("://") || text.contains(char::is_whitespace) {
                    self.error(registry.span, "not a registry and namespace")
                        .hint("write it as in `ghcr.io/lab`, without a scheme");
                }
                text.to_owned()
            })
            .collect()
    }

    fn platforms(&mut self, section: &StackSection) -> Vec<Platform> {
        let mut platforms: Vec<Platform> = Vec::new();
        for written in section.platforms.iter().flatten() {
            match written.value.parse::<Platform>() {
                Ok(platform) if platforms.contains(&platform) => {
                    self.error(written.span, format!("`{platform}` is there twice"));
                }
                Ok(platform) => platforms.push(platform),
                Err(error) => {
                    self.error(written.span, error.to_string())
                        .hint("write it as in `linux/amd64` or `linux/arm64`");
                }
            }
        }
        platforms
    }

    fn epoch(&mut self, section: &StackSection) -> Option<i64> {
        let epoch = section.epoch.as_ref()?;
        if epoch.value < 0 {
            self.error(epoch.span, "`epoch` must not be negative")
                .hint("it counts the seconds since 1970");
        }
        Some(epoch.value)
    }

    fn build(&mut self, section: Option<&BuildSection>) -> BuildSettings {
        let absent = BuildSection::default();
        let section = section.unwrap_or(&absent);
        let jobs = section.jobs.as_ref().and_then(|jobs| {
            let count = usize::try_from(jobs.value).ok().and_then(NonZeroUsize::new);
            if count.is_none() {
                self.error(jobs.span, "`jobs` must be at least 1");
            }
            count
        });
        let network = section.network.as_ref().and_then(|word| {
            self.word(
                word,
                "network",
                NetworkPolicy::from_word,
                NetworkPolicy::WORDS,
            )
        });
        BuildSettings {
            ca: self.ca(section.ca.as_ref()),
            network: network.unwrap_or(NetworkPolicy::Host),
            jobs,
        }
    }

    fn ca(&mut self, written: Option<&Spanned<String>>) -> Spanned<CaPolicy> {
        let Some(written) = written else {
            return Spanned::new(CaPolicy::Host, Span::default());
        };
        let policy = match written.as_str() {
            "host" => CaPolicy::Host,
            "none" => CaPolicy::None,
            path if path.contains(['/', '.']) => CaPolicy::File(path.to_owned()),
            other => {
                let near = nearest(other, ["host", "none"]);
                let finding = self.error(
                    written.span,
                    "`ca` must be `host`, `none` or the path of a PEM file",
                );
                match near {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding.hint(format!("a file in this folder is written `./{other}`")),
                }
                CaPolicy::Host
            }
        };
        Spanned::new(policy, written.span)
    }

    fn lock_policy(&mut self, file: &SpecFile) -> LockPolicy {
        let written = file.lock.as_ref().and_then(|lock| lock.policy.as_ref());
        written
            .and_then(|word| self.word(word, "lock", LockPolicy::from_word, LockPolicy::WORDS))
            .unwrap_or(LockPolicy::Strict)
    }
}

/// Images.
impl Resolver<'_> {
    fn images(&mut self, file: &SpecFile) -> Vec<Image> {
        let mut sections: Vec<_> = file.image.iter().flatten().collect();
        sections.sort_by_key(|(_, section)| section.span.start);
        if sections.is_empty() {
            let name = file.stack.as_ref().and_then(|stack| stack.name.as_ref());
            self.error(
                name.map_or(Span::default(), |it| it.span),
                "the stack has no images",
            )
            .hint("add one with `[image.NAME]` and `context = \"...\"`");
        }
        let defaults = file.defaults.as_ref();
        let mut images = Vec::new();
        for (name, section) in sections {
            self.image_name_is_valid(name, section.span, "an image");
            match &section.variant {
                None => {
                    let merged = Merged::image(defaults, section);
                    let name = ImageName::plain(name);
                    images.extend(self.image(name, section.span, merged));
                }
                Some(variants) if variants.is_empty() => {
                    self.error(section.span, format!("`{name}` has no variant"))
                        .hint("remove its empty `variant` table");
                }
                Some(variants) => {
                    let mut variants: Vec<_> = variants.iter().collect();
                    variants.sort_by_key(|(_, variant)| variant.span.start);
                    for (variant_name, variant) in variants {
                        self.variant_name_is_valid(variant_name, variant.span);
                        let merged = Merged::image(defaults, section).variant(variant);
                        let name = ImageName::variant(name, variant_name);
                        images.extend(self.image(name, variant.span, merged));
                    }
                }
            }
        }
        self.names_are_distinct(&images);
        images
    }

    fn image(&mut self, name: ImageName, span: Span, merged: Merged<'_>) -> Option<Image> {
        let source = match (merged.context, merged.debian.is_empty()) {
            (Some(context), true) => {
                ImageSource::Dockerfile(self.dockerfile_source(context, &merged))
            }
            (None, false) => ImageSource::Debian(self.debian_source(&name, &merged)?),
            (Some(context), false) => {
                self.error(
                    context.span,
                    format!("image `{name}` has both a `context` and `debian`"),
                )
                .hint("make two images of it: a base, and one whose Dockerfile says `FROM` it");
                return None;
            }
            (None, true) => {
                self.error(span, format!("image `{name}` does not say how it is made"))
                    .hint("give it a `context` (a folder with a Dockerfile) or `debian` packages");
                return None;
            }
        };
        Some(Image {
            name,
            source,
            labels: self.labels(&merged),
            tests: self.tests(&merged),
            internal: merged.internal,
            span,
        })
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
        for (name, value) in merged
            .default_args
            .iter()
            .chain(&merged.args)
            .copied()
            .flatten()
        {
            if name.is_empty() || name.contains(|c: char| c == '=' || c.is_whitespace()) {
                self.error(value.span, format!("`{name}` cannot name an argument"));
            }
            args.insert(name.clone(), Spanned::new(value.0.clone(), value.span));
        }
        DockerfileSource {
            context: context.clone(),
            dockerfile: merged
                .dockerfile
                .cloned()
                .unwrap_or_else(|| Spanned::new("Dockerfile".to_owned(), context.span)),
            target: merged.target.cloned(),
            args,
        }
    }

    fn debian_source(&mut self, name: &ImageName, merged: &Merged<'_>) -> Option<DebianSource> {
        self.no_dockerfile_keys(merged);
        let sections = || merged.debian.iter().map(|section| &section.value);
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
        let packages = distinct(sections().flat_map(|it| it.packages.iter().flatten()));
        for package in &packages {
            self.package_is_valid(package);
        }
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

    fn labels(&mut self, merged: &Merged<'_>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for (key, value) in merged.labels.iter().copied().flatten() {
            if key.trim().is_empty() {
                self.error(value.span, "a label needs a name");
            }
            labels.insert(key.clone(), value.0.clone());
        }
        labels
    }

    fn tests(&mut self, merged: &Merged<'_>) -> Tests {
        let written = merged.tests.iter().filter_map(|it| it.structure.as_ref());
        let structure = distinct(written.flat_map(|it| &it.0));
        for file in &structure {
            self.not_empty(file, "structure");
        }
        Tests { structure }
    }
}

/// Checks.
impl Resolver<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>) -> Finding<'_> {
        self.findings
            .push(Diagnostic::error(message).at(self.source, span));
        Finding(&mut self.findings)
    }

    fn word<T>(
        &mut self,
        written: &Spanned<String>,
        key: &str,
        read: fn(&str) -> Option<T>,
        words: &'static [&'static str],
    ) -> Option<T> {
        let value = read(written);
        if value.is_none() {
            let near = nearest(written, words.iter().copied());
            let finding = self.error(
                written.span,
                format!("`{key}` cannot be `{}`", written.value),
            );
            match near {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("it is one of {}", quoted(words.iter().copied()))),
            }
        }
        value
    }

    fn not_empty(&mut self, written: &Spanned<String>, key: &str) {
        if written.trim().is_empty() {
            self.error(written.span, format!("`{key}` must not be empty"));
        }
    }

    fn no_dockerfile_keys(&mut self, merged: &Merged<'_>) {
        let single = [("dockerfile", merged.dockerfile), ("target", merged.target)];
        for (key, written) in single {
            if let Some(written) = written {
                self.error(written.span, format!("`{key}` has no effect here"))
                    .hint("an image made of Debian packages has no Dockerfile");
            }
        }
        if let Some((_, value)) = merged.args.iter().copied().flatten().next() {
            self.error(value.span, "`args` has no effect here")
                .hint("an image made of Debian packages has no Dockerfile");
        }
    }

    fn image_name_is_valid(&mut self, name: &str, span: Span, what: &str) {
        let separators = ['.', '_', '-'];
        let good = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || separators.contains(&c))
            && !name.is_empty()
            && !name.starts_with(separators)
            && !name.ends_with(separators);
        if !good {
            self.error(span, format!("`{name}` cannot name {what}"))
                .hint(
                    "names are made of small letters and digits, with `.`, `_` or `-` between them",
                );
        }
    }

    fn variant_name_is_valid(&mut self, name: &str, span: Span) {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let good = name.len() <= 128
            && name.starts_with(letter)
            && name.chars().all(|c| letter(c) || c == '.' || c == '-');
        if !good {
            self.error(span, format!("`{name}` cannot name a variant"))
                .hint("variants are named like tags: letters, digits, `.`, `_` and `-`");
        }
    }

    /// `model-cloud` must not be both an image and the variant `cloud` of `model`.
    fn names_are_distinct(&mut self, images: &[Image]) {
        for (index, image) in images.iter().enumerate() {
            let dashed = image.name.dashed();
            let same = images[..index].iter().find(|it| it.name.dashed() == dashed);
            if let Some(same) = same {
                self.error(
                    image.span,
                    format!("`{}` and `{}` have the same name", same.name, image.name),
                )
                .hint(format!(
                    "both can be written `{dashed}`; rename one of them"
                ));
            }
        }
    }

    fn mirror_is_valid(&mut self, mirror: &Spanned<String>) {
        let schemes = ["http://", "https://", "file://"];
        if !schemes.iter().any(|scheme| mirror.starts_with(scheme)) {
            self.error(mirror.span, "a mirror is an address")
                .hint("write it with `https://` or `http://` in front");
        }
    }

    fn package_is_valid(&mut self, package: &Spanned<String>) {
        let name = package.as_str();
        let good = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
        if good {
            return;
        }
        let hint = match name.contains('=') {
            true => "versions are fixed by the lock, not by the spec",
            false => "names of packages are made of small letters, digits, `+`, `-` and `.`",
        };
        self.error(
            package.span,
            format!("`{name}` is not the name of a package"),
        )
        .hint(hint);
    }
}

/// The finding that was just reported, to add advice to.
struct Finding<'f>(&'f mut Vec<Diagnostic>);

impl Finding<'_> {
    fn hint(self, hint: impl Into<String>) {
        if let Some(finding) = self.0.last_mut() {
            finding.hints.push(hint.into());
        }
    }
}

/// Keeps the first of equal values.
fn distinct<'f>(values: impl Iterator<Item = &'f Spanned<String>>) -> Vec<Spanned<String>> {
    let mut distinct: Vec<Spanned<String>> = Vec::new();
    for value in values {
        if !distinct.contains(value) {
            distinct.push(value.clone());
        }
    }
    distinct
}

#[cfg(test)]
mod tests;
