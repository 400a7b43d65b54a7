//! Where an image goes and under which tags: registries, names, platforms, tag rules.

use std::collections::{BTreeMap, BTreeSet};

use cairn_diagnostic::Span;
use cairn_oci::{Platform, Reference, redact};

use super::Resolver;
use super::merge::Merged;
use crate::promote::{Pattern, PromotionRule};
use crate::retention::Retention;
use crate::settings::EventKind;
use crate::stack::{Image, ImageName, PlatformRule, Repository};
use crate::suggest::{nearest, quoted};
use crate::suite::SuiteKind;
use crate::tags::{FACTS, PREFIX_FACTS, TagRules, Template};
use crate::written::{NamesSection, Spanned, SpecFile, StringOrList, TagsSection};

impl Resolver<'_> {
    pub(super) fn registries<'f>(
        &mut self,
        written: impl Iterator<Item = &'f Spanned<String>>,
    ) -> Vec<String> {
        written
            .map(|registry| {
                let text = registry.value.trim_end_matches('/');
                if self.has_login(text, registry.span) {
                    return redact(text);
                }
                if text.is_empty() || text.contains("://") || text.contains(char::is_whitespace) {
                    self.error(registry.span, "not a registry and namespace")
                        .hint("write it as in `ghcr.io/lab`, without a scheme");
                }
                text.to_owned()
            })
            .collect()
    }

    /// Whether a login stands before a registry's name; that is an error. It would be read by all
    /// who read the spec.
    pub(super) fn has_login(&mut self, registry: &str, span: Span) -> bool {
        let has_login = registry.contains('@');
        if has_login {
            self.error(span, "a login does not belong into the spec")
                .hint("`podman login HOST` or `docker login HOST` keeps it for `cairn`, too");
        }
        has_login
    }

    /// The repositories of an image: each registry with the image's name there (DH-05, MAN-16).
    /// And its name in any other registry.
    pub(super) fn repositories(
        &mut self,
        file: &SpecFile,
        name: &ImageName,
        merged: &Merged<'_>,
    ) -> (Vec<Repository>, String) {
        let stack = file.stack.as_ref().and_then(|it| it.registries.as_ref());
        let own = merged.registries;
        let registries = match own {
            Some(own) => self.registries(own.iter()),
            // Those of the stack were checked once already, and one with a login was refused.
            None => stack
                .into_iter()
                .flatten()
                .map(|registry| redact(registry.value.trim_end_matches('/')))
                .collect(),
        };
        let mut named: BTreeMap<&str, &Spanned<String>> = BTreeMap::new();
        let mut elsewhere = name.image.clone();
        match merged.names {
            None => {}
            Some(NamesSection::Everywhere(everywhere)) => {
                self.repository_is_valid(everywhere);
                named.extend(registries.iter().map(|it| (it.as_str(), everywhere)));
                elsewhere.clone_from(&everywhere.value);
            }
            Some(NamesSection::By(by)) => {
                for (registry, given) in by {
                    self.repository_is_valid(&given.value);
                    let text = registry.trim_end_matches('/');
                    match registries.iter().find(|known| *known == text) {
                        Some(known) => {
                            named.insert(known, &given.value);
                        }
                        None => {
                            let known = || registries.iter().map(String::as_str);
                            let hint = match nearest(text, known()) {
                                Some(near) => format!("did you mean `{near}`?"),
                                None if registries.is_empty() => {
                                    "the stack has no `registries`".to_owned()
                                }
                                None => format!("it goes to {}", quoted(known())),
                            };
                            let text = redact(text);
                            self.error(given.span, format!("the image does not go to `{text}`"))
                                .hint(hint);
                        }
                    }
                }
            }
        }
        let repositories = registries.iter().map(|registry| {
            let own = named.get(registry.as_str());
            Repository {
                registry: registry.clone(),
                name: own.map_or_else(|| name.image.clone(), |own| own.value.clone()),
            }
        });
        (repositories.collect(), elsewhere)
    }

    fn repository_is_valid(&mut self, name: &Spanned<String>) {
        let is_path = format!("registry.invalid/{}", name.value).parse::<Reference>();
        if is_path.is_err() || name.contains([':', '@']) {
            self.error(
                name.span,
                format!("`{}` cannot be a name in a registry", name.value),
            )
            .hint("names are made of small letters, digits, `.`, `_`, `-` and `/`, without a tag");
        }
    }

    /// What holds on single platforms; and whether the image is for no others.
    pub(super) fn platform_rules(
        &mut self,
        file: &SpecFile,
        name: &ImageName,
        span: Span,
        merged: &Merged<'_>,
        excluded: &[Spanned<String>],
    ) -> (Vec<PlatformRule>, bool) {
        let mut rules: Vec<PlatformRule> = Vec::new();
        let stack = file.stack.as_ref().and_then(|it| it.platforms.as_ref());
        match merged.platforms {
            // Those of the stack were checked once already.
            None => {
                let listed = stack.into_iter().flatten();
                let listed = listed.filter_map(|it| it.parse::<Platform>().ok());
                rules.extend(listed.map(PlatformRule::listed));
            }
            Some(entries) => {
                for entry in entries {
                    let Some(written) = &entry.platform else {
                        self.error(entry.span, "this does not say which platform")
                            .hint("add `platform = \"linux/arm64\"`");
                        continue;
                    };
                    let Some(platform) = self.platform(written) else {
                        continue;
                    };
                    if rules.iter().any(|rule| rule.platform == platform) {
                        self.error(written.span, format!("`{platform}` is there twice"));
                    }
                    let mut rule = PlatformRule::listed(platform);
                    rule.when = entry.when.as_ref().map(|when| self.events(when));
                    rules.push(rule);
                }
            }
        }
        let mut on: Vec<_> = merged.on.iter().copied().flatten().collect();
        on.sort_by_key(|(_, section)| section.span.start);
        for (written, section) in on {
            let Some(platform) = self.platform(&Spanned::new(written.clone(), section.span)) else {
                continue;
            };
            let at = rule_of(&mut rules, platform);
            if let Some(when) = &section.when {
                let when = self.events(when);
                rules[at].when = Some(match rules[at].when.take() {
                    Some(before) => before.intersection(&when).copied().collect(),
                    None => when,
                });
            }
            let mut on_it = merged.clone();
            for section in merged.on.iter().filter_map(|on| on.get(written)) {
                on_it = on_it.on(section);
            }
            rules[at].source = self.image_source(name, span, &on_it);
        }
        for written in excluded {
            if let Some(platform) = self.platform(written) {
                let at = rule_of(&mut rules, platform);
                rules[at].when = Some(BTreeSet::new());
            }
        }
        (rules, merged.platforms.is_some())
    }

    pub(super) fn platform(&mut self, written: &Spanned<String>) -> Option<Platform> {
        match written.value.parse::<Platform>() {
            Ok(platform) => {
                self.platform_is_familiar(&platform, written);
                Some(platform)
            }
            Err(error) => {
                self.error(written.span, error.to_string())
                    .hint("write it as in `linux/amd64` or `linux/arm64`");
                None
            }
        }
    }

    /// A stack that waits for a machine of a misspelled platform would never be published.
    fn platform_is_familiar(&mut self, platform: &Platform, written: &Spanned<String>) {
        let Some((part, known)) = platform.unfamiliar() else {
            return;
        };
        let near = nearest(part, known.iter().copied());
        let hint = match near {
            Some(near) => format!(
                "did you mean `{}`?",
                platform.to_string().replace(part, near)
            ),
            None => format!("known are {}", quoted(known.iter().copied())),
        };
        let text = format!("`{platform}` is no platform that images are known to be made for");
        self.error(written.span, text).hint(hint);
    }

    pub(super) fn events(&mut self, written: &StringOrList) -> BTreeSet<EventKind> {
        let words = written.0.iter();
        words
            .filter_map(|word| self.word(word, "when", EventKind::from_word, EventKind::WORDS))
            .collect()
    }
}

/// Tags.
impl Resolver<'_> {
    /// The rules of the stack as a whole, as an image without variants sees them.
    pub(super) fn stack_tags(&mut self, file: &SpecFile) -> TagRules {
        let sections: Vec<&TagsSection> = file.tags.iter().collect();
        self.tag_rules(file, &[], &sections)
    }

    /// The rules of an image; the sections are given outermost first.
    pub(super) fn tag_rules(
        &mut self,
        file: &SpecFile,
        axes: &[(String, String)],
        sections: &[&TagsSection],
    ) -> TagRules {
        // The stack's rules may name the axes of any image; one that lacks it makes no such tag.
        let mut names: BTreeSet<&str> = axes.iter().map(|(axis, _)| axis.as_str()).collect();
        let matrices = file.image.iter().flatten();
        let matrices = matrices.filter_map(|(_, image)| image.matrix.as_ref());
        names.extend(matrices.flat_map(|matrix| matrix.axes.keys().map(String::as_str)));
        let names: Vec<&str> = names.into_iter().collect();
        let mut rules = TagRules::default();
        for section in sections {
            if let Some(prefix) = &section.prefix {
                rules.prefix = self.template(prefix, PREFIX_FACTS, &names);
            }
            if let Some(branches) = &section.main_branches {
                let globs = branches.0.iter().map(|glob| glob.value.clone());
                rules.main_branches = Some(globs.collect());
            }
            let lists = [
                (EventKind::Branch, &section.branch),
                (EventKind::Main, &section.main),
                (EventKind::Release, &section.release),
                (EventKind::Prerelease, &section.prerelease),
                (EventKind::PullRequest, &section.pull_request),
                (EventKind::Schedule, &section.schedule),
                (EventKind::Manual, &section.manual),
            ];
            for (kind, list) in lists {
                let Some(list) = list else { continue };
                let templates = list.iter().filter_map(|written| {
                    let template = self.template(written, FACTS, &names)?;
                    Some(Spanned::new(template, written.span))
                });
                let templates = templates.collect();
                rules.lists.insert(kind, templates);
            }
        }
        rules
    }

    fn template(
        &mut self,
        written: &Spanned<String>,
        facts: &[&str],
        axes: &[&str],
    ) -> Option<Template> {
        match Template::parse(written, facts, axes) {
            Ok(template) => Some(template),
            Err(wrong) => {
                self.error(written.span, wrong.message).hint(wrong.hint);
                None
            }
        }
    }
}

/// Promotion.
impl Resolver<'_> {
    /// The rules of promotion, in the order of the file.
    pub(super) fn promote(&mut self, file: &SpecFile) -> Vec<PromotionRule> {
        let mut sections: Vec<_> = file.promote.iter().flatten().collect();
        sections.sort_by_key(|(_, section)| section.span.start);
        let mut rules = Vec::new();
        for (to, section) in sections {
            let to = self.pattern(&Spanned::new(to.clone(), section.span));
            let from = section.from.iter().flat_map(|it| &it.0);
            let from: Vec<_> = from.map(|written| self.pattern(written)).collect();
            if from.is_empty() {
                self.error(section.span, "nothing may be promoted by this rule")
                    .hint("`from` names the tags, as in `from = \"{prefix}-main\"`");
            }
            let from: Vec<_> = from.into_iter().flatten().collect();
            rules.extend(to.map(|to| PromotionRule {
                to,
                from,
                tests: section.tests.as_ref().is_some_and(|it| it.value),
                workflows: section.workflow.clone().map_or_else(Vec::new, |it| it.0),
            }));
        }
        rules
    }

    /// Workflow tests that promotion asks for and that no image has are a slip.
    pub(super) fn workflows_are_there(&mut self, rules: &[PromotionRule], images: &[Image]) {
        let suites = images.iter().flat_map(|image| &image.tests.suites);
        let workflows = suites.filter(|suite| suite.kind == SuiteKind::Workflow);
        let known: Vec<&str> = workflows.map(|suite| suite.name.as_str()).collect();
        for name in rules.iter().flat_map(|rule| &rule.workflows) {
            if known.contains(&name.as_str()) {
                continue;
            }
            let near = nearest(name, known.iter().copied());
            let finding = self.error(
                name.span,
                format!("no image has workflow tests called `{}`", name.value),
            );
            match near {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint("`tests.workflow` of an image names them"),
            }
        }
    }

    /// What stays in registries.
    pub(super) fn retention(&mut self, file: &SpecFile) -> Option<Retention> {
        let section = file.retention.as_ref()?;
        let keep = section.keep.iter().flat_map(|it| &it.0);
        let keep: Vec<_> = keep.map(|written| self.pattern(written)).collect();
        let usual = Retention::default();
        Some(Retention {
            keep: keep.into_iter().flatten().map(|it| it.value).collect(),
            generations: self.at_least(1, section.generations.as_ref(), usual.generations),
            days: self.at_least(0, section.days.as_ref(), usual.days),
            branches: section.branches.as_ref().is_none_or(|it| it.value),
            delay_days: self.at_least(0, section.delay_days.as_ref(), usual.delay_days),
            cache_days: self.at_least_one(section.cache_days.as_ref()),
            cache_gigabytes: self.at_least_one(section.cache_gigabytes.as_ref()),
        })
    }

    fn at_least_one(&mut self, written: Option<&Spanned<i64>>) -> Option<u32> {
        written.map(|it| self.at_least(1, Some(it), 1))
    }

    fn at_least(&mut self, least: u32, written: Option<&Spanned<i64>>, usual: u32) -> u32 {
        let Some(written) = written else {
            return usual;
        };
        match u32::try_from(written.value) {
            Ok(number) if number >= least => number,
            _ => {
                self.error(written.span, format!("this is no number from {least}"));
                usual
            }
        }
    }

    fn pattern(&mut self, written: &Spanned<String>) -> Option<Spanned<Pattern>> {
        match Pattern::parse(written) {
            Ok(pattern) => Some(Spanned::new(pattern, written.span)),
            Err(wrong) => {
                self.error(written.span, wrong)
                    .hint("`{prefix}` and the like stand for any text");
                None
            }
        }
    }
}

/// The place of a platform's rule, made if there is none.
fn rule_of(rules: &mut Vec<PlatformRule>, platform: Platform) -> usize {
    let found = rules.iter().position(|rule| rule.platform == platform);
    found.unwrap_or_else(|| {
        rules.push(PlatformRule {
            is_listed: false,
            ..PlatformRule::listed(platform)
        });
        rules.len() - 1
    })
}
