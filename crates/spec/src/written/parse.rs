//! Text to the file as written, with everything that is wrong reported at once.

use std::collections::BTreeMap;

use cairn_diagnostic::{Diagnostic, Source};

use super::document::{Kind, Table};
use super::reader::{Entry, Fields, Reader, entries, join};
use super::value::{Spanned, StringOrList};
use super::{
    AxisSection, BuildSection, ChangesSection, DebianSection, Defaults, EnvSection, ImageSection,
    LockSection, MatrixSection, NamesSection, OnSection, PlatformEntry, PromoteSection,
    RetentionSection, SignSection, SpecFile, StackOverlay, StackSection, Surroundings, TagsSection,
    VariableSection, VariantSection, VerifySection, include, overlay, shape, variables,
};
use crate::sources::Sources;

/// What a spec says, with the files it says it in.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The files that all places point into.
    pub sources: Sources,
    /// The spec as written, all files together, with the chosen environment and the values of
    /// variables.
    pub file: SpecFile,
}

/// Reads a spec: the text, the files it includes, the overlay of the environment, variables.
///
/// Errors in the TOML are reported alone; everything else that is wrong (unknown keys, keys that
/// do not work yet, values of a wrong type) is reported together.
pub fn parse(root: &Source, surroundings: &Surroundings<'_>) -> Result<Parsed, Vec<Diagnostic>> {
    let (sources, mut document) = include::read(root, surroundings)?;
    overlay::apply(&mut document, &sources, surroundings.overlay)?;
    let unset = variables::expand(&mut document, &sources, surroundings);
    let mut reader = Reader {
        sources: &sources,
        findings: unset,
    };
    let file = reader.file(&document);
    let mut findings = reader.findings;
    if findings.is_empty() {
        return Ok(Parsed { sources, file });
    }
    // An overlay that was laid over the spec is read twice: as what it is, and as part of it.
    crate::in_order(&sources, &mut findings);
    Err(findings)
}

/// The tables, outermost first.
impl Reader<'_> {
    fn file(&mut self, table: &Table) -> SpecFile {
        let fields = self.fields(table, &shape::FILE, "");
        SpecFile {
            stack: self.section(&fields, "stack", "", Self::stack),
            build: self.section(&fields, "build", "", Self::build),
            lint: self.scalars(&fields, "lint"),
            lock: fields.get("lock").and_then(|entry| self.lock(entry)),
            defaults: self.section(&fields, "defaults", "", Self::defaults),
            tags: self.section(&fields, "tags", "", Self::tags),
            promote: fields.get("promote").and_then(|entry| {
                self.named(entry, "", |reader, entry, at| {
                    let table = reader.table(entry)?;
                    Some(reader.promote(table, at))
                })
            }),
            retention: self.section(&fields, "retention", "", Self::retention),
            verify: fields.get("verify").and_then(|entry| {
                self.named(entry, "", |reader, entry, at| {
                    let table = reader.table(entry)?;
                    Some(reader.verify(table, at))
                })
            }),
            sign: fields.get("sign").and_then(|entry| {
                let table = self.table(entry)?;
                Some(Spanned::new(self.sign(table, "sign"), entry.value.span))
            }),
            changes: self.section(&fields, "changes", "", Self::changes),
            variables: fields
                .get("variables")
                .and_then(|entry| self.named(entry, "", Self::variable)),
            info: fields
                .get("info")
                .and_then(|entry| self.named(entry, "", Self::info)),
            image: self.images(&fields, ""),
            env: fields.get("env").and_then(|entry| {
                self.named(entry, "", |reader, entry, at| {
                    let table = reader.table(entry)?;
                    Some(reader.environment(table, at))
                })
            }),
            // Read and gone before the tree is walked.
            include: None,
        }
    }

    fn environment(&mut self, table: &Table, at: &str) -> EnvSection {
        let fields = self.fields(table, &shape::ENV, at);
        EnvSection {
            stack: self.section(&fields, "stack", at, Self::stack_overlay),
            build: self.section(&fields, "build", at, Self::build),
            lock: fields.get("lock").and_then(|entry| self.lock(entry)),
            defaults: self.section(&fields, "defaults", at, Self::defaults),
            tags: self.section(&fields, "tags", at, Self::tags),
            changes: self.section(&fields, "changes", at, Self::changes),
            variables: fields
                .get("variables")
                .and_then(|entry| self.named(entry, at, Self::variable)),
            image: self.images(&fields, at),
        }
    }

    fn stack(&mut self, table: &Table, at: &str) -> StackSection {
        let fields = self.fields(table, &shape::STACK, at);
        StackSection {
            name: self.string(&fields, "name"),
            registries: self.strings(&fields, "registries"),
            platforms: self.strings(&fields, "platforms"),
            epoch: self.integer(&fields, "epoch"),
        }
    }

    fn stack_overlay(&mut self, table: &Table, at: &str) -> StackOverlay {
        let fields = self.fields(table, &shape::STACK, at);
        StackOverlay {
            name: self.string(&fields, "name"),
            registries: self.strings(&fields, "registries"),
            platforms: self.strings(&fields, "platforms"),
            epoch: self.integer(&fields, "epoch"),
        }
    }

    fn build(&mut self, table: &Table, at: &str) -> BuildSection {
        let fields = self.fields(table, &shape::BUILD, at);
        let ca = self.string(&fields, "ca");
        BuildSection {
            // A word or a path: only a path is a matter of folders.
            ca: ca.map(|ca| match ca.value.contains(['/', '.']) {
                true => self.rebased(ca),
                false => ca,
            }),
            network: self.string(&fields, "network"),
            jobs: self.integer(&fields, "jobs"),
            secrets: self.path(&fields, "secrets"),
            cache_from: self.strings(&fields, "cache-from"),
        }
    }

    /// `lock = "strict"` and `[lock] policy = "strict"` mean the same.
    fn lock(&mut self, entry: Entry<'_>) -> Option<LockSection> {
        match &entry.value.kind {
            Kind::String(word) => Some(LockSection {
                policy: Some(Spanned::new(word.clone(), entry.value.span)),
            }),
            Kind::Table(table) => {
                let fields = self.fields(table, &shape::LOCK, "lock");
                let policy = self.string(&fields, "policy");
                Some(LockSection { policy })
            }
            _ => {
                self.wrong_type(entry, "a string or a table");
                None
            }
        }
    }

    fn defaults(&mut self, table: &Table, at: &str) -> Defaults {
        let fields = self.fields(table, &shape::DEFAULTS, at);
        Defaults {
            dockerfile: self.string(&fields, "dockerfile"),
            args: self.scalars(&fields, "args"),
            debian: self.debian(&fields, at),
            labels: self.scalars(&fields, "labels"),
            tests: self.tests(&fields, at),
            registries: self.strings(&fields, "registries"),
            platforms: self.platforms(&fields, at),
            rebuild: self.string(&fields, "rebuild"),
            info: self.strings(&fields, "info"),
        }
    }

    fn tags(&mut self, table: &Table, at: &str) -> TagsSection {
        let fields = self.fields(table, &shape::TAGS, at);
        TagsSection {
            prefix: self.string(&fields, "prefix"),
            main_branches: self.string_or_list(&fields, "main-branches"),
            branch: self.strings(&fields, "branch"),
            main: self.strings(&fields, "main"),
            release: self.strings(&fields, "release"),
            prerelease: self.strings(&fields, "prerelease"),
            pull_request: self.strings(&fields, "pull-request"),
            schedule: self.strings(&fields, "schedule"),
            manual: self.strings(&fields, "manual"),
        }
    }

    fn promote(&mut self, table: &Table, at: &str) -> PromoteSection {
        let fields = self.fields(table, &shape::PROMOTE, at);
        PromoteSection {
            from: self.string_or_list(&fields, "from"),
            tests: self.boolean(&fields, "tests"),
            workflow: self.string_or_list(&fields, "workflow"),
        }
    }

    fn verify(&mut self, table: &Table, at: &str) -> VerifySection {
        let fields = self.fields(table, &shape::VERIFY, at);
        VerifySection {
            keys: self.paths(&fields, "keys"),
        }
    }

    fn sign(&mut self, table: &Table, at: &str) -> SignSection {
        let fields = self.fields(table, &shape::SIGN, at);
        SignSection {
            key: self.path(&fields, "key"),
            form: self.string(&fields, "form"),
            when: self.string_or_list(&fields, "when"),
            registries: self.string_or_list(&fields, "registries"),
        }
    }

    fn retention(&mut self, table: &Table, at: &str) -> RetentionSection {
        let fields = self.fields(table, &shape::RETENTION, at);
        RetentionSection {
            keep: self.string_or_list(&fields, "keep"),
            generations: self.integer(&fields, "generations"),
            days: self.integer(&fields, "days"),
            branches: self.boolean(&fields, "branches"),
            delay_days: self.integer(&fields, "delay-days"),
            cache_days: self.integer(&fields, "cache-days"),
            cache_gigabytes: self.integer(&fields, "cache-gigabytes"),
        }
    }

    fn changes(&mut self, table: &Table, at: &str) -> ChangesSection {
        let fields = self.fields(table, &shape::CHANGES, at);
        ChangesSection {
            ignore: self.strings(&fields, "ignore"),
            build_all: self.strings(&fields, "build-all"),
            rebuild_words: self.strings(&fields, "rebuild-words"),
            skip_words: self.strings(&fields, "skip-words"),
        }
    }

    fn variable(&mut self, entry: Entry<'_>, at: &str) -> Option<VariableSection> {
        let Kind::Table(table) = &entry.value.kind else {
            let default = self.scalar(entry)?;
            return Some(VariableSection {
                env: None,
                default: Some(default),
            });
        };
        let fields = self.fields(table, &shape::VARIABLE, at);
        Some(VariableSection {
            env: self.string(&fields, "env"),
            default: fields.get("default").and_then(|entry| self.scalar(entry)),
        })
    }
}

/// Images.
impl Reader<'_> {
    fn images(
        &mut self,
        fields: &Fields<'_>,
        at: &str,
    ) -> Option<BTreeMap<String, Spanned<ImageSection>>> {
        self.named(fields.get("image")?, at, |reader, entry, at| {
            let table = reader.table(entry)?;
            Some(reader.image(table, at))
        })
    }

    fn image(&mut self, table: &Table, at: &str) -> ImageSection {
        let fields = self.fields(table, &shape::IMAGE, at);
        ImageSection {
            context: self.path(&fields, "context"),
            dockerfile: self.string(&fields, "dockerfile"),
            target: self.string(&fields, "target"),
            args: self.scalars(&fields, "args"),
            debian: self.debian(&fields, at),
            labels: self.scalars(&fields, "labels"),
            tests: self.tests(&fields, at),
            internal: self.boolean(&fields, "internal"),
            names: fields.get("names").and_then(|entry| self.names(entry)),
            registries: self.strings(&fields, "registries"),
            platforms: self.platforms(&fields, at),
            on: fields
                .get("on")
                .and_then(|entry| self.named(entry, at, Self::on)),
            rebuild: self.string(&fields, "rebuild"),
            tags: self.section(&fields, "tags", at, Self::tags),
            info: self.strings(&fields, "info"),
            variant: fields
                .get("variant")
                .and_then(|entry| self.named(entry, at, Self::variant)),
            matrix: fields
                .get("matrix")
                .and_then(|entry| Some(Spanned::new(self.matrix(entry, at)?, entry.key_span))),
        }
    }

    fn variant(&mut self, entry: Entry<'_>, at: &str) -> Option<VariantSection> {
        let table = self.table(entry)?;
        let fields = self.fields(table, &shape::VARIANT, at);
        Some(VariantSection {
            context: self.path(&fields, "context"),
            dockerfile: self.string(&fields, "dockerfile"),
            target: self.string(&fields, "target"),
            args: self.scalars(&fields, "args"),
            debian: self.debian(&fields, at),
            labels: self.scalars(&fields, "labels"),
            tests: self.tests(&fields, at),
            internal: self.boolean(&fields, "internal"),
            prefix: self.string(&fields, "prefix"),
            suffix: self.string(&fields, "suffix"),
            names: fields.get("names").and_then(|entry| self.names(entry)),
            registries: self.strings(&fields, "registries"),
            platforms: self.platforms(&fields, at),
            on: fields
                .get("on")
                .and_then(|entry| self.named(entry, at, Self::on)),
            rebuild: self.string(&fields, "rebuild"),
            tags: self.section(&fields, "tags", at, Self::tags),
            info: self.strings(&fields, "info"),
        })
    }

    fn on(&mut self, entry: Entry<'_>, at: &str) -> Option<OnSection> {
        let table = self.table(entry)?;
        let fields = self.fields(table, &shape::ON, at);
        Some(OnSection {
            when: self.string_or_list(&fields, "when"),
            dockerfile: self.string(&fields, "dockerfile"),
            target: self.string(&fields, "target"),
            args: self.scalars(&fields, "args"),
            debian: self.debian(&fields, at),
        })
    }

    /// `names = "x"` is the name in every registry, a table one for each.
    fn names(&mut self, entry: Entry<'_>) -> Option<NamesSection> {
        match &entry.value.kind {
            Kind::String(name) => Some(NamesSection::Everywhere(Spanned::new(
                name.clone(),
                entry.value.span,
            ))),
            Kind::Table(table) => {
                let mut names = BTreeMap::new();
                for child in entries(table) {
                    match &child.value.kind {
                        Kind::String(name) => {
                            let name = Spanned::new(name.clone(), child.value.span);
                            names.insert(child.key.to_owned(), Spanned::new(name, child.key_span));
                        }
                        _ => self.wrong_type(child, "a string"),
                    }
                }
                Some(NamesSection::By(names))
            }
            _ => {
                self.wrong_type(entry, "a string, or a table of names by registry");
                None
            }
        }
    }

    /// Each a word, or a table that says when it is built.
    fn platforms(&mut self, fields: &Fields<'_>, at: &str) -> Option<Vec<Spanned<PlatformEntry>>> {
        const EXPECTED: &str = "a list of platforms";
        let entry = fields.get("platforms")?;
        let Kind::Array(items) = &entry.value.kind else {
            self.wrong_type(entry, EXPECTED);
            return None;
        };
        let mut platforms = Vec::new();
        for item in items {
            let platform = match &item.kind {
                Kind::String(text) => PlatformEntry {
                    platform: Some(Spanned::new(text.clone(), item.span)),
                    when: None,
                },
                Kind::Table(table) => {
                    let fields = self.fields(table, &shape::PLATFORM, &join(at, "platforms"));
                    PlatformEntry {
                        platform: self.string(&fields, "platform"),
                        when: self.string_or_list(&fields, "when"),
                    }
                }
                _ => {
                    self.wrong_type(
                        Entry {
                            value: item,
                            ..entry
                        },
                        EXPECTED,
                    );
                    continue;
                }
            };
            platforms.push(Spanned::new(platform, item.span));
        }
        Some(platforms)
    }

    fn matrix(&mut self, entry: Entry<'_>, at: &str) -> Option<MatrixSection> {
        let at = join(at, "matrix");
        let mut matrix = MatrixSection::default();
        for axis in entries(self.table(entry)?) {
            if axis.key == "exclude" {
                matrix.exclude = self.exclusions(axis);
            } else if let Some(section) = self.axis(axis, &join(&at, axis.key)) {
                matrix
                    .axes
                    .insert(axis.key.to_owned(), Spanned::new(section, axis.key_span));
            }
        }
        Some(matrix)
    }

    fn axis(&mut self, entry: Entry<'_>, at: &str) -> Option<AxisSection> {
        match &entry.value.kind {
            Kind::Array(items) => {
                let values = items.iter().filter_map(|item| {
                    self.scalar(Entry {
                        value: item,
                        ..entry
                    })
                });
                Some(AxisSection::Values(values.collect()))
            }
            Kind::Table(_) => {
                let at = at.rsplit_once('.').map_or("", |(at, _)| at);
                let values = self.named(entry, at, Self::variant)?;
                Some(AxisSection::Sections(values))
            }
            _ => {
                self.wrong_type(entry, "a list of values, or a table of them");
                None
            }
        }
    }

    fn exclusions(&mut self, entry: Entry<'_>) -> Vec<Spanned<BTreeMap<String, StringOrList>>> {
        let Kind::Array(items) = &entry.value.kind else {
            self.wrong_type(entry, "a list of tables");
            return Vec::new();
        };
        let mut exclusions = Vec::new();
        for item in items {
            let Kind::Table(table) = &item.kind else {
                self.wrong_type(
                    Entry {
                        value: item,
                        ..entry
                    },
                    "a list of tables",
                );
                continue;
            };
            let mut exclusion = BTreeMap::new();
            for condition in entries(table) {
                let values: Vec<Spanned<String>> = match &condition.value.kind {
                    Kind::Array(items) => items
                        .iter()
                        .filter_map(|item| {
                            self.scalar(Entry {
                                value: item,
                                ..condition
                            })
                        })
                        .map(|scalar| Spanned::new(scalar.value.0, scalar.span))
                        .collect(),
                    _ => self
                        .scalar(condition)
                        .map(|scalar| Spanned::new(scalar.value.0, scalar.span))
                        .into_iter()
                        .collect(),
                };
                exclusion.insert(condition.key.to_owned(), StringOrList(values));
            }
            exclusions.push(Spanned::new(exclusion, item.span));
        }
        exclusions
    }

    fn debian(&mut self, fields: &Fields<'_>, at: &str) -> Option<Spanned<DebianSection>> {
        let entry = fields.get("debian")?;
        let table = self.table(entry)?;
        let fields = self.fields(table, &shape::DEBIAN, &join(at, "debian"));
        let section = DebianSection {
            suite: self.string(&fields, "suite"),
            packages: self.strings(&fields, "packages"),
            without: self.strings(&fields, "without"),
            variant: self.string(&fields, "variant"),
            mirror: self.string_or_list(&fields, "mirror"),
            arch: self.string(&fields, "arch"),
            keyring: self.path(&fields, "keyring"),
            components: self.strings(&fields, "components"),
        };
        Some(Spanned::new(section, entry.key_span))
    }
}

#[cfg(test)]
mod tests;
