//! Text to the file as written, with everything that is wrong reported at once.
//!
//! The TOML tree is walked by hand: a derived deserializer would stop at the first error and
//! could neither suggest a key nor tell a key of a later version from a wrong one.

use std::collections::BTreeMap;

use cairn_diagnostic::{Diagnostic, Source, Span};
use toml::de::{DeTable, DeValue};

use super::shape::{self, Shape};
use super::value::{Scalar, Spanned, StringOrList};
use super::{
    BuildSection, DebianSection, Defaults, ImageSection, LockSection, SpecFile, StackSection,
    TestsSection, VariantSection,
};
use crate::suggest::{nearest, quoted};

type Value<'t> = toml::Spanned<DeValue<'t>>;

/// Reads the text of a spec file.
///
/// Errors in the TOML are reported alone; everything else that is wrong (unknown keys, keys that
/// do not work yet, values of a wrong type) is reported together.
pub fn parse(source: &Source) -> Result<SpecFile, Vec<Diagnostic>> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| syntax(source, error)).collect());
    }
    let mut reader = Reader {
        source,
        findings: Vec::new(),
    };
    let file = reader.file(document.get_ref());
    if reader.findings.is_empty() {
        return Ok(file);
    }
    reader
        .findings
        .sort_by_key(|finding| finding.label.as_ref().map(|label| label.span.start));
    Err(reader.findings)
}

fn syntax(source: &Source, error: &toml::de::Error) -> Diagnostic {
    let message = error.message().trim_end().replace('\n', ", ");
    let finding = Diagnostic::error(message);
    match error.span() {
        Some(span) => finding.at(source, span.into()),
        None => finding,
    }
}

/// One key of a table with its value.
#[derive(Clone, Copy)]
struct Entry<'v, 't> {
    key: &'v str,
    key_span: Span,
    value: &'v Value<'t>,
}

impl Entry<'_, '_> {
    fn value_span(&self) -> Span {
        span_of(self.value)
    }
}

fn span_of(value: &Value<'_>) -> Span {
    value.span().into()
}

/// The entries of one table whose keys are known to be good.
struct Fields<'v, 't>(Vec<Entry<'v, 't>>);

impl<'v, 't> Fields<'v, 't> {
    fn get(&self, key: &str) -> Option<Entry<'v, 't>> {
        self.0.iter().find(|entry| entry.key == key).copied()
    }
}

struct Reader<'s> {
    source: &'s Source,
    findings: Vec<Diagnostic>,
}

/// The tables, outermost first.
impl Reader<'_> {
    fn file(&mut self, table: &DeTable<'_>) -> SpecFile {
        let fields = self.fields(table, &shape::FILE, "");
        SpecFile {
            stack: self.section(&fields, "stack", Self::stack),
            build: self.section(&fields, "build", Self::build),
            lock: fields.get("lock").and_then(|entry| self.lock(entry)),
            defaults: self.section(&fields, "defaults", Self::defaults),
            image: fields
                .get("image")
                .and_then(|entry| self.named(entry, Self::image)),
        }
    }

    fn stack(&mut self, table: &DeTable<'_>, _at: &str) -> StackSection {
        let fields = self.fields(table, &shape::STACK, "stack");
        StackSection {
            name: self.string(&fields, "name"),
            registries: self.strings(&fields, "registries"),
            platforms: self.strings(&fields, "platforms"),
            epoch: self.integer(&fields, "epoch"),
        }
    }

    fn build(&mut self, table: &DeTable<'_>, _at: &str) -> BuildSection {
        let fields = self.fields(table, &shape::BUILD, "build");
        BuildSection {
            ca: self.string(&fields, "ca"),
            network: self.string(&fields, "network"),
            jobs: self.integer(&fields, "jobs"),
        }
    }

    /// `lock = "strict"` and `[lock] policy = "strict"` mean the same.
    fn lock(&mut self, entry: Entry<'_, '_>) -> Option<LockSection> {
        match entry.value.get_ref() {
            DeValue::String(word) => Some(LockSection {
                policy: Some(Spanned::new(word.to_string(), entry.value_span())),
            }),
            DeValue::Table(table) => {
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

    fn defaults(&mut self, table: &DeTable<'_>, at: &str) -> Defaults {
        let fields = self.fields(table, &shape::DEFAULTS, at);
        Defaults {
            args: self.scalars(&fields, "args"),
            labels: self.scalars(&fields, "labels"),
            tests: self.tests(&fields, at),
        }
    }

    fn image(&mut self, table: &DeTable<'_>, at: &str) -> ImageSection {
        let fields = self.fields(table, &shape::IMAGE, at);
        ImageSection {
            context: self.string(&fields, "context"),
            dockerfile: self.string(&fields, "dockerfile"),
            target: self.string(&fields, "target"),
            args: self.scalars(&fields, "args"),
            debian: self.debian(&fields, at),
            labels: self.scalars(&fields, "labels"),
            tests: self.tests(&fields, at),
            internal: self.boolean(&fields, "internal"),
            variant: fields
                .get("variant")
                .and_then(|entry| self.named(entry, Self::variant)),
        }
    }

    fn variant(&mut self, table: &DeTable<'_>, at: &str) -> VariantSection {
        let fields = self.fields(table, &shape::VARIANT, at);
        VariantSection {
            context: self.string(&fields, "context"),
            dockerfile: self.string(&fields, "dockerfile"),
            target: self.string(&fields, "target"),
            args: self.scalars(&fields, "args"),
            debian: self.debian(&fields, at),
            labels: self.scalars(&fields, "labels"),
            tests: self.tests(&fields, at),
            internal: self.boolean(&fields, "internal"),
        }
    }

    fn debian(&mut self, fields: &Fields<'_, '_>, at: &str) -> Option<Spanned<DebianSection>> {
        let entry = fields.get("debian")?;
        let table = self.table(entry)?;
        let fields = self.fields(table, &shape::DEBIAN, &join(at, "debian"));
        let section = DebianSection {
            suite: self.string(&fields, "suite"),
            packages: self.strings(&fields, "packages"),
            variant: self.string(&fields, "variant"),
            mirror: self.string_or_list(&fields, "mirror"),
            arch: self.string(&fields, "arch"),
            keyring: self.string(&fields, "keyring"),
            components: self.strings(&fields, "components"),
        };
        Some(Spanned::new(section, entry.key_span))
    }

    fn tests(&mut self, fields: &Fields<'_, '_>, at: &str) -> Option<TestsSection> {
        let table = self.table(fields.get("tests")?)?;
        let fields = self.fields(table, &shape::TESTS, &join(at, "tests"));
        let structure = self.string_or_list(&fields, "structure");
        Some(TestsSection { structure })
    }
}

/// Tables in general.
impl Reader<'_> {
    /// Sorts out the keys of a table: good ones are returned, others reported.
    fn fields<'v, 't>(
        &mut self,
        table: &'v DeTable<'t>,
        shape: &Shape,
        at: &str,
    ) -> Fields<'v, 't> {
        let mut good = Vec::new();
        for (key, value) in table {
            let entry = Entry {
                key: key.get_ref(),
                key_span: key.span().into(),
                value,
            };
            if shape.keys.contains(&entry.key) {
                good.push(entry);
            } else if shape.later.contains(&entry.key) {
                self.not_yet(entry, at);
            } else {
                self.unknown_key(entry, shape, at);
            }
        }
        Fields(good)
    }

    fn not_yet(&mut self, entry: Entry<'_, '_>, at: &str) {
        let path = join(at, entry.key);
        self.findings.push(
            Diagnostic::error(format!("`{path}` is not supported yet"))
                .at(self.source, entry.key_span)
                .hint("this version of cairn knows the key but cannot act on it; remove it to go on without"),
        );
    }

    fn unknown_key(&mut self, entry: Entry<'_, '_>, shape: &Shape, at: &str) {
        let place = match at {
            "" => shape.name.to_owned(),
            at => format!("`{at}`"),
        };
        let key = entry.key;
        let hint = if let Some(near) = nearest(key, shape.keys.iter().copied()) {
            format!("did you mean `{near}`?")
        } else if let Some(home) = shape::ALL.iter().find(|home| home.keys.contains(&key)) {
            format!("`{key}` is a key of {}", home.name)
        } else {
            format!("the keys here are {}", quoted(shape.keys.iter().copied()))
        };
        self.findings.push(
            Diagnostic::error(format!("unknown key `{key}` in {place}"))
                .at(self.source, entry.key_span)
                .hint(hint),
        );
    }

    fn section<T>(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
        read: fn(&mut Self, &DeTable<'_>, &str) -> T,
    ) -> Option<T> {
        let table = self.table(fields.get(key)?)?;
        Some(read(self, table, key))
    }

    /// A table whose keys are names that the author chose.
    fn named<T>(
        &mut self,
        entry: Entry<'_, '_>,
        read: fn(&mut Self, &DeTable<'_>, &str) -> T,
    ) -> Option<BTreeMap<String, Spanned<T>>> {
        let mut named = BTreeMap::new();
        for (name, value) in self.table(entry)? {
            let child = Entry {
                key: name.get_ref(),
                key_span: name.span().into(),
                value,
            };
            let Some(table) = self.table(child) else {
                continue;
            };
            let at = format!("{}.{}", entry.key, child.key);
            let section = read(self, table, &at);
            named.insert(child.key.to_owned(), Spanned::new(section, child.key_span));
        }
        Some(named)
    }

    fn table<'v, 't>(&mut self, entry: Entry<'v, 't>) -> Option<&'v DeTable<'t>> {
        if let DeValue::Table(table) = entry.value.get_ref() {
            return Some(table);
        }
        self.wrong_type(entry, "a table");
        None
    }
}

/// Values.
impl Reader<'_> {
    fn string(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<Spanned<String>> {
        let entry = fields.get(key)?;
        match entry.value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(text.to_string(), entry.value_span())),
            _ => {
                self.wrong_type(entry, "a string");
                None
            }
        }
    }

    fn boolean(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<Spanned<bool>> {
        let entry = fields.get(key)?;
        match entry.value.get_ref() {
            DeValue::Boolean(yes) => Some(Spanned::new(*yes, entry.value_span())),
            _ => {
                self.wrong_type(entry, "`true` or `false`");
                None
            }
        }
    }

    fn integer(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<Spanned<i64>> {
        let entry = fields.get(key)?;
        if let DeValue::Integer(number) = entry.value.get_ref()
            && let Ok(value) = i64::from_str_radix(number.as_str(), number.radix())
        {
            return Some(Spanned::new(value, entry.value_span()));
        }
        self.wrong_type(entry, "a whole number");
        None
    }

    fn strings(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<Vec<Spanned<String>>> {
        let entry = fields.get(key)?;
        match entry.value.get_ref() {
            DeValue::Array(_) => self.items(entry, "a list of strings"),
            _ => {
                self.wrong_type(entry, "a list of strings");
                None
            }
        }
    }

    fn string_or_list(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<StringOrList> {
        const EXPECTED: &str = "a string or a list of strings";
        let entry = fields.get(key)?;
        match entry.value.get_ref() {
            DeValue::String(text) => Some(StringOrList(vec![Spanned::new(
                text.to_string(),
                entry.value_span(),
            )])),
            DeValue::Array(_) => self.items(entry, EXPECTED).map(StringOrList),
            _ => {
                self.wrong_type(entry, EXPECTED);
                None
            }
        }
    }

    fn items(&mut self, entry: Entry<'_, '_>, expected: &str) -> Option<Vec<Spanned<String>>> {
        let DeValue::Array(items) = entry.value.get_ref() else {
            return None;
        };
        let mut strings = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => {
                    strings.push(Spanned::new(text.to_string(), span_of(item)));
                }
                _ => self.wrong_type(
                    Entry {
                        value: item,
                        ..entry
                    },
                    expected,
                ),
            }
        }
        Some(strings)
    }

    /// A table of strings in which numbers and booleans stand for their own text, so that
    /// `PYTHON = 3.10` is "3.10" and not the number 3.1.
    fn scalars(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
    ) -> Option<BTreeMap<String, Spanned<Scalar>>> {
        let mut scalars = BTreeMap::new();
        for (name, value) in self.table(fields.get(key)?)? {
            let entry = Entry {
                key: name.get_ref(),
                key_span: name.span().into(),
                value,
            };
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Boolean(yes) => yes.to_string(),
                DeValue::Float(number) => number.as_str().to_owned(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
                _ => {
                    self.wrong_type(entry, "a string, a decimal number or a boolean");
                    continue;
                }
            };
            let scalar = Spanned::new(Scalar(text), entry.value_span());
            scalars.insert(entry.key.to_owned(), scalar);
        }
        Some(scalars)
    }

    fn wrong_type(&mut self, entry: Entry<'_, '_>, expected: &str) {
        let found = match entry.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("`{}` must be {expected}, not {found}", entry.key);
        self.findings
            .push(Diagnostic::error(message).at(self.source, entry.value_span()));
    }
}

fn join(at: &str, key: &str) -> String {
    match at {
        "" => key.to_owned(),
        at => format!("{at}.{key}"),
    }
}

#[cfg(test)]
mod tests;
