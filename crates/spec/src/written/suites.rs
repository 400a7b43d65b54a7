//! Tests as written: files of structure tests, suites, and the services beside them.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::document::{Kind, Table};
use super::reader::{Entry, Fields, Reader, join};
use super::value::{Scalar, Spanned, StringOrList};
use super::{shape, value};

/// Tests that an image must pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestsSection {
    /// container-structure-test files, by their paths from the spec's folder.
    pub structure: Option<StringOrList>,
    /// Basic tests: folders or files of pytest, run inside the image as soon as it is built.
    pub pytest: Option<Suites>,
    /// Tests that run after the basic ones of the image and of all it builds on, and before
    /// anything is published.
    pub integration: Option<Suites>,
    /// Expensive tests that run only when they are named: `cairn test --workflow NAME`.
    pub workflow: Option<Suites>,
    /// Tests that people do by hand: listed, never run.
    pub manual: Option<Suites>,
    /// What runs beside suites that ask for it, by name.
    pub services: Option<BTreeMap<String, Spanned<ServiceSection>>>,
    /// How long one suite, or one command of a structure test, may take, as in `10m`; suites have
    /// ten minutes without.
    pub timeout: Option<Spanned<String>>,
}

/// One suite or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suites(pub Vec<Spanned<SuiteSection>>);

/// A suite: a path alone, or a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SuiteSection {
    /// The folder or file, by its path from the spec's folder.
    #[schemars(required)]
    pub path: Option<Spanned<String>>,
    /// What the suite is called; the last part of its path without.
    pub name: Option<Spanned<String>>,
    /// Where it runs: in the `image`, or on the `host` with `TEST_IMAGE` set. `image` without.
    #[schemars(with = "Option<crate::SuitePlace>")]
    pub on: Option<Spanned<String>>,
    /// What to run in place of pytest, in the suite's folder: a list of words, or a line for the
    /// shell. It passes if it ends with 0.
    pub command: Option<value::StringOrList>,
    /// Further words for pytest.
    pub args: Option<Vec<Spanned<String>>>,
    /// Folders with Python packages that the suite needs and the image does not have, by their
    /// paths from the spec's folder.
    #[schemars(rename = "python-path")]
    pub python_path: Option<StringOrList>,
    /// Variables.
    pub env: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// Services that run beside it.
    pub services: Option<Vec<Spanned<String>>>,
    /// Who runs it in the image: a user, or `random` for a number that nobody knows, without a
    /// home. The image's own user without.
    pub user: Option<Spanned<String>>,
    /// Whether the image's files are read-only, but for `/tmp`.
    #[schemars(rename = "read-only")]
    pub read_only: Option<Spanned<bool>>,
    /// Whether it needs a GPU: skipped, with a reason, where there is none.
    pub gpu: Option<Spanned<bool>>,
    /// How long it may take, as in `10m`.
    pub timeout: Option<Spanned<String>>,
}

/// Something that runs beside a suite.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ServiceSection {
    /// The image of the stack that it runs in; the image under test without.
    pub image: Option<Spanned<String>>,
    /// What it runs: a list of words, or a line for the shell; what the image is made to run
    /// without.
    pub command: Option<StringOrList>,
    /// Variables.
    pub env: Option<BTreeMap<String, Spanned<Scalar>>>,
    /// It is ready when something on this machine listens on this port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<Spanned<i64>>,
    /// It is ready when it has printed this text.
    pub log: Option<Spanned<String>>,
    /// It is ready when this command, run in its image, ends with 0.
    pub ready: Option<StringOrList>,
    /// How long it may take to be ready, as in `30s`; one minute without.
    pub timeout: Option<Spanned<String>>,
}

impl Reader<'_> {
    pub(super) fn tests(&mut self, fields: &Fields<'_>, at: &str) -> Option<TestsSection> {
        let table = self.table(fields.get("tests")?)?;
        let at = join(at, "tests");
        let fields = self.fields(table, &shape::TESTS, &at);
        Some(TestsSection {
            structure: self.paths(&fields, "structure"),
            pytest: self.suites(&fields, "pytest", &at),
            integration: self.suites(&fields, "integration", &at),
            workflow: self.suites(&fields, "workflow", &at),
            manual: self.suites(&fields, "manual", &at),
            services: fields
                .get("services")
                .and_then(|entry| self.named(entry, &at, Self::service)),
            timeout: self.string(&fields, "timeout"),
        })
    }

    /// A path, a table, or a list of both.
    fn suites(&mut self, fields: &Fields<'_>, key: &str, at: &str) -> Option<Suites> {
        let entry = fields.get(key)?;
        let at = join(at, key);
        let mut suites = Vec::new();
        match &entry.value.kind {
            Kind::Array(items) => {
                for item in items {
                    let entry = Entry {
                        value: item,
                        ..entry
                    };
                    suites.extend(self.suite(entry, &at));
                }
            }
            _ => suites.extend(self.suite(entry, &at)),
        }
        Some(Suites(suites))
    }

    fn suite(&mut self, entry: Entry<'_>, at: &str) -> Option<Spanned<SuiteSection>> {
        let suite = match &entry.value.kind {
            Kind::String(path) => SuiteSection {
                path: Some(self.rebased(Spanned::new(path.clone(), entry.value.span))),
                ..SuiteSection::default()
            },
            Kind::Table(table) => self.suite_table(table, at),
            _ => {
                self.wrong_type(entry, "a path, a table with `path`, or a list of them");
                return None;
            }
        };
        Some(Spanned::new(suite, entry.value.span))
    }

    fn suite_table(&mut self, table: &Table, at: &str) -> SuiteSection {
        let fields = self.fields(table, &shape::SUITE, at);
        SuiteSection {
            path: self.path(&fields, "path"),
            name: self.string(&fields, "name"),
            on: self.string(&fields, "on"),
            command: self.words(&fields, "command"),
            args: self.strings(&fields, "args"),
            python_path: self.paths(&fields, "python-path"),
            env: self.scalars(&fields, "env"),
            services: self.strings(&fields, "services"),
            user: self.string(&fields, "user"),
            read_only: self.boolean(&fields, "read-only"),
            gpu: self.boolean(&fields, "gpu"),
            timeout: self.string(&fields, "timeout"),
        }
    }

    fn service(&mut self, entry: Entry<'_>, at: &str) -> Option<ServiceSection> {
        let table = self.table(entry)?;
        let fields = self.fields(table, &shape::SERVICE, at);
        Some(ServiceSection {
            image: self.string(&fields, "image"),
            command: self.words(&fields, "command"),
            env: self.scalars(&fields, "env"),
            port: self.integer(&fields, "port"),
            log: self.string(&fields, "log"),
            ready: self.words(&fields, "ready"),
            timeout: self.string(&fields, "timeout"),
        })
    }

    /// A command: a list of words, or a line that a shell gets.
    pub(super) fn words(&mut self, fields: &Fields<'_>, key: &str) -> Option<StringOrList> {
        let is_line = matches!(fields.get(key)?.value.kind, Kind::String(_));
        let mut words = self.string_or_list(fields, key)?;
        if is_line && let Some(line) = words.0.first() {
            let word = |text: &str| Spanned::new(text.to_owned(), line.span);
            words.0.splice(0..0, [word("/bin/sh"), word("-c")]);
        }
        Some(words)
    }
}
