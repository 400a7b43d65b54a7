//! The file as written to the stack as meant: defaults, variants, checks.
//!
//! Merging follows one rule. From the outside in - `[defaults]`, the image, the variant or the
//! values of its axes, the platform - a single value replaces the one before, a table is merged
//! key by key, a list is added to. The lists that say where something goes (`registries`,
//! `platforms`, the lists of `tags`) replace: an image that names its platforms means those.
//! What cannot be used where it is written is an error, not a value that is dropped.

mod checks;
mod info;
mod lint;
mod matrix;
mod merge;
mod publishing;
mod signatures;
mod source;
mod suites;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use cairn_diagnostic::{Diagnostic, Span};
use cairn_oci::{Platform, Reference};

use crate::settings::{CaPolicy, LockPolicy, NetworkPolicy, Rebuild};
use crate::sources::Sources;
use crate::stack::{BuildSettings, Changes, Image, Stack};
use crate::suggest::nearest;
use crate::written::{BuildSection, Parsed, Spanned, SpecFile, StackSection};
use matrix::Member;
use merge::Merged;

/// Makes the stack that a spec means.
pub fn resolve(parsed: &Parsed) -> Result<Stack, Vec<Diagnostic>> {
    let mut resolver = Resolver {
        sources: &parsed.sources,
        findings: Vec::new(),
    };
    let stack = resolver.stack(&parsed.file);
    if resolver.findings.is_empty() {
        return Ok(stack);
    }
    // What an image says wrongly is found once per variant.
    let mut findings = resolver.findings;
    crate::in_order(&parsed.sources, &mut findings);
    Err(findings)
}

struct Resolver<'s> {
    sources: &'s Sources,
    findings: Vec<Diagnostic>,
}

impl Resolver<'_> {
    fn stack(&mut self, file: &SpecFile) -> Stack {
        let absent = StackSection::default();
        let section = file.stack.as_ref().unwrap_or(&absent);
        let name = self.stack_name(file.stack.as_ref());
        self.info_has_commands(file);
        let promote = self.promote(file);
        let images = self.images(file);
        self.workflows_are_there(&promote, &images);
        Stack {
            name,
            sources: self.sources.clone(),
            registries: self.registries(section.registries.iter().flatten()),
            platforms: self.platforms(section),
            epoch: self.epoch(section),
            build: self.build(file.build.as_ref()),
            lint: self.lint(file),
            lock_policy: self.lock_policy(file),
            tags: self.stack_tags(file),
            promote,
            retention: self.retention(file),
            verify: self.verify(file),
            sign: self.sign(file),
            changes: self.changes(file),
            images,
        }
    }

    fn stack_name(&mut self, section: Option<&StackSection>) -> String {
        let Some(name) = section.and_then(|section| section.name.as_ref()) else {
            self.error(Span::new(0, 0), "the stack has no name")
                .hint("begin the file with `[stack]` and `name = \"...\"`");
            return String::new();
        };
        self.image_name_is_valid(name, name.span, "a stack");
        name.value.clone()
    }

    fn platforms(&mut self, section: &StackSection) -> Vec<Platform> {
        let mut platforms: Vec<Platform> = Vec::new();
        for written in section.platforms.iter().flatten() {
            match self.platform(written) {
                Some(platform) if platforms.contains(&platform) => {
                    self.error(written.span, format!("`{platform}` is there twice"));
                }
                Some(platform) => platforms.push(platform),
                None => {}
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
        if let Some(secrets) = &section.secrets {
            self.not_empty(secrets, "secrets");
        }
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
            secrets: section.secrets.clone(),
            cache_from: self.caches(section),
        }
    }

    fn caches(&mut self, section: &BuildSection) -> Vec<Reference> {
        let mut caches = Vec::new();
        for written in section.cache_from.iter().flatten() {
            match written.value.parse() {
                Ok(reference) => caches.push(reference),
                Err(error) => {
                    self.error(written.span, format!("`cache-from`: {error}"));
                }
            }
        }
        caches
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

    fn changes(&mut self, file: &SpecFile) -> Changes {
        let section = file.changes.clone().unwrap_or_default();
        let words = |written: Option<Vec<Spanned<String>>>, default: &str| match written {
            Some(words) => words.into_iter().map(|word| word.value).collect(),
            None => vec![default.to_owned()],
        };
        let changes = Changes {
            ignore: section.ignore.unwrap_or_default(),
            build_all: section.build_all.unwrap_or_default(),
            rebuild_words: words(section.rebuild_words, "full rebuild"),
            skip_words: words(section.skip_words, "skip ci"),
        };
        for glob in changes.ignore.iter().chain(&changes.build_all) {
            self.not_empty(glob, "a glob");
            self.glob_is_known(glob);
        }
        changes
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
            let merged = Merged::image(defaults, file.tags.as_ref(), section);
            for member in self.members(name, section, merged) {
                images.extend(self.image(file, member));
            }
        }
        self.names_are_distinct(&images);
        images
    }

    fn image(&mut self, file: &SpecFile, member: Member<'_>) -> Option<Image> {
        let Member {
            name,
            span,
            merged,
            axes,
            affixes,
            excluded,
        } = member;
        let source = self.image_source(&name, span, &merged)?;
        let (platforms, only_listed) = self.platform_rules(file, &name, span, &merged, &excluded);
        let rebuild = merged.rebuild.and_then(|word| {
            let value = self.word(word, "rebuild", Rebuild::from_word, Rebuild::WORDS)?;
            Some(Spanned::new(value, word.span))
        });
        let (repositories, published_name) = self.repositories(file, &name, &merged);
        Some(Image {
            source,
            labels: self.labels(&merged),
            tests: self.tests(&merged),
            info: self.info(file, &merged),
            internal: merged.internal,
            platforms,
            only_listed,
            rebuild: rebuild.unwrap_or(Spanned::new(Rebuild::Changed, span)),
            repositories,
            published_name,
            tags: self.tag_rules(file, &axes, &merged.tags),
            affixes,
            axes,
            name,
            span,
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
}

#[cfg(test)]
mod matrix_tests;
#[cfg(test)]
mod tests;
