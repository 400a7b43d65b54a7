//! The YAML of a test file to a [`TestFile`], with everything that is wrong reported at once.
//!
//! Both schemas are read: 2.0.0, and the older 1.0.0 in which a command is one list. A pattern
//! that does not compile is a warning here and a failure of its test later: the tests beside it
//! are still worth running.

use cairn_diagnostic::{Diagnostic, Source, Span};

use super::file::{
    BindMount, CommandTest, ExecutableBy, Expectation, FileContentTest, FileExistenceTest,
    LicenseTest, MetadataTest, NetworkOption, RunOptions, TestFile, Variable,
};
use super::node::{Entry, Node, Value};
use super::pattern::Pattern;

/// A test file that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The tests.
    pub file: TestFile,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a container-structure-test file (EPI-29).
pub fn parse(source: &Source) -> Result<Parsed, Vec<Diagnostic>> {
    let root = Node::parse(source).map_err(|finding| vec![*finding])?;
    let mut reader = Reader {
        source,
        version: Version::Two,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let file = reader.file(&root);
    if file.test_count() == 0 && reader.errors.is_empty() {
        reader.warn(root.span, "the file has no tests");
    }
    if reader.errors.is_empty() {
        return Ok(Parsed {
            file,
            warnings: reader.warnings,
        });
    }
    reader
        .errors
        .sort_by_key(|finding| finding.label.as_ref().map(|label| label.span.start));
    Err(reader.errors)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

const FILE_KEYS: &[&str] = &[
    "schemaVersion",
    "globalEnvVars",
    "containerRunOptions",
    "commandTests",
    "fileExistenceTests",
    "fileContentTests",
    "metadataTest",
    "licenseTests",
];
const RUN_OPTION_KEYS: &[&str] = &[
    "user",
    "privileged",
    "allocateTty",
    "envVars",
    "envFile",
    "capabilities",
    "bindMounts",
    "network",
];
const COMMAND_KEYS: &[&str] = &[
    "name",
    "setup",
    "teardown",
    "envVars",
    "exitCode",
    "command",
    "args",
    "expectedOutput",
    "excludedOutput",
    "expectedError",
    "excludedError",
];
const EXISTENCE_KEYS: &[&str] = &[
    "name",
    "path",
    "shouldExist",
    "permissions",
    "uid",
    "gid",
    "isExecutableBy",
];
const CONTENT_KEYS: &[&str] = &["name", "path", "expectedContents", "excludedContents"];
const METADATA_KEYS: &[&str] = &[
    "env",
    "envVars",
    "unboundEnvVars",
    "labels",
    "exposedPorts",
    "unexposedPorts",
    "volumes",
    "unmountedVolumes",
    "entrypoint",
    "cmd",
    "workdir",
    "user",
];
const LICENSE_KEYS: &[&str] = &["debian", "files"];
const PAIR_KEYS: &[&str] = &["key", "value", "isRegex"];

/// The entries of one mapping whose keys are known to be good.
struct Fields<'n> {
    entries: Vec<&'n Entry>,
    span: Span,
}

impl<'n> Fields<'n> {
    /// The value of a key; nothing counts as absent.
    fn get(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!matches!(entry.value.value, Value::Null)).then_some(&entry.value)
    }
}

struct Reader<'s> {
    source: &'s Source,
    version: Version,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// The mappings of the schema.
impl Reader<'_> {
    fn file(&mut self, root: &Node) -> TestFile {
        let Some(fields) = self.fields(root, "the file", FILE_KEYS) else {
            return TestFile::default();
        };
        self.version(&fields);
        let options = fields.get("containerRunOptions");
        TestFile {
            global_env: self.variables(&fields, "globalEnvVars"),
            run_options: options
                .map(|node| self.run_options(node))
                .unwrap_or_default(),
            commands: self.each(&fields, "commandTests", Self::command),
            file_existence: self.each(&fields, "fileExistenceTests", Self::existence),
            file_content: self.each(&fields, "fileContentTests", Self::content),
            metadata: fields
                .get("metadataTest")
                .and_then(|node| self.metadata(node)),
            licenses: self.each(&fields, "licenseTests", Self::license),
        }
    }

    fn version(&mut self, fields: &Fields<'_>) {
        let Some(node) = fields.get("schemaVersion") else {
            self.error(fields.span, "`schemaVersion` is missing")
                .hint("write `schemaVersion: '2.0.0'`");
            return;
        };
        match self.text(node, "schemaVersion").as_deref() {
            Some("2.0.0") | None => {}
            Some("1.0.0") => self.version = Version::One,
            Some(other) => {
                self.error(node.span, format!("`{other}` is no known schema version"))
                    .hint("known are 2.0.0 and 1.0.0");
            }
        }
        if self.version == Version::One {
            for key in ["metadataTest", "containerRunOptions"] {
                if let Some(node) = fields.get(key) {
                    self.error(node.span, format!("`{key}` came with schema version 2.0.0"));
                }
            }
        }
    }

    fn run_options(&mut self, node: &Node) -> RunOptions {
        let Some(fields) = self.fields(node, "`containerRunOptions`", RUN_OPTION_KEYS) else {
            return RunOptions::default();
        };
        RunOptions {
            user: self.string(&fields, "user"),
            privileged: self.boolean(&fields, "privileged").unwrap_or(false),
            allocate_tty: self.boolean(&fields, "allocateTty").unwrap_or(false),
            env_vars: self.strings(&fields, "envVars"),
            env_file: self.string(&fields, "envFile"),
            capabilities: self.strings(&fields, "capabilities"),
            bind_mounts: self.bind_mounts(&fields),
            network: self.network(&fields),
        }
    }

    /// Networks that people make by name are not known here.
    fn network(&mut self, fields: &Fields<'_>) -> Option<NetworkOption> {
        let node = fields.get("network")?;
        let name = self.text(node, "network")?;
        let known = NetworkOption::from_word(&name);
        if known.is_none() {
            self.error(
                node.span,
                format!("`{name}` is no network that tests can have"),
            )
            .hint("known are `none`, `host` and `bridge`, which is the usual one");
        }
        known
    }

    fn bind_mounts(&mut self, fields: &Fields<'_>) -> Vec<BindMount> {
        let Some(node) = fields.get("bindMounts") else {
            return Vec::new();
        };
        let mut mounts = Vec::new();
        for item in self.items(node, "bindMounts") {
            let Some(text) = self.text(item, "bindMounts") else {
                continue;
            };
            let mut parts = text.split(':');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(source), Some(target), options, None)
                    if !source.is_empty() && target.starts_with('/') =>
                {
                    let mut options = options.unwrap_or_default().split(',');
                    mounts.push(BindMount {
                        source: source.to_owned(),
                        target: target.to_owned(),
                        read_only: options.any(|it| it == "ro"),
                    });
                }
                _ => {
                    self.error(item.span, format!("`{text}` is not a mount"))
                        .hint("write it as in `/on/the/host:/inside` or `/on/the/host:/inside:ro`");
                }
            }
        }
        mounts
    }

    fn command(&mut self, node: &Node) -> Option<CommandTest> {
        let fields = self.fields(node, "a command test", COMMAND_KEYS)?;
        let name = self.required(&fields, "name", "a command test");
        let argv = self.argv(&fields);
        let test = CommandTest {
            setup: self.command_lines(&fields, "setup"),
            teardown: self.command_lines(&fields, "teardown"),
            env: self.variables(&fields, "envVars"),
            exit_code: self.integer(&fields, "exitCode").unwrap_or(0),
            expected_output: self.patterns(&fields, "expectedOutput"),
            excluded_output: self.patterns(&fields, "excludedOutput"),
            expected_error: self.patterns(&fields, "expectedError"),
            excluded_error: self.patterns(&fields, "excludedError"),
            name: name?,
            argv: argv?,
        };
        Some(test)
    }

    /// In 2.0.0 `command` with `args`, in 1.0.0 `command` as a list.
    fn argv(&mut self, fields: &Fields<'_>) -> Option<Vec<String>> {
        let Some(node) = fields.get("command") else {
            return self
                .required(fields, "command", "a command test")
                .map(|it| vec![it]);
        };
        let mut argv = match (self.version, &node.value) {
            (Version::Two, Value::List(_)) => {
                self.error(node.span, "`command` must be a single value, not a list")
                    .hint("put the program into `command` and its arguments into `args`");
                return None;
            }
            (Version::Two, _) => vec![self.text(node, "command")?],
            (Version::One, _) => self.strings(fields, "command"),
        };
        if let (Version::One, Some(args)) = (self.version, fields.get("args")) {
            self.error(args.span, "`args` came with schema version 2.0.0");
        } else {
            argv.extend(self.strings(fields, "args"));
        }
        if argv.first().is_none_or(String::is_empty) {
            self.error(node.span, "`command` must not be empty");
            return None;
        }
        Some(argv)
    }

    fn existence(&mut self, node: &Node) -> Option<FileExistenceTest> {
        let fields = self.fields(node, "a file existence test", EXISTENCE_KEYS)?;
        let name = self.required(&fields, "name", "a file existence test");
        let path = self.required(&fields, "path", "a file existence test");
        let test = FileExistenceTest {
            should_exist: self.boolean(&fields, "shouldExist").unwrap_or(true),
            permissions: self.string(&fields, "permissions"),
            uid: self.owner(&fields, "uid"),
            gid: self.owner(&fields, "gid"),
            executable_by: self.executable_by(&fields),
            name: name?,
            path: path?,
        };
        Some(test)
    }

    /// -1 is how the original says "any".
    fn owner(&mut self, fields: &Fields<'_>, key: &str) -> Option<u32> {
        let node = fields.get(key)?;
        let text = self.text(node, key)?;
        if text == "-1" {
            return None;
        }
        let number = text.parse().ok();
        if number.is_none() {
            self.error(node.span, format!("`{key}` must be a number"));
        }
        number
    }

    fn executable_by(&mut self, fields: &Fields<'_>) -> Option<ExecutableBy> {
        let node = fields.get("isExecutableBy")?;
        let text = self.text(node, "isExecutableBy")?;
        match text.as_str() {
            "owner" => Some(ExecutableBy::Owner),
            "group" => Some(ExecutableBy::Group),
            "other" => Some(ExecutableBy::Other),
            "any" => Some(ExecutableBy::Any),
            "" => None,
            other => {
                self.error(node.span, format!("`isExecutableBy` cannot be `{other}`"))
                    .hint("it is one of `owner`, `group`, `other`, `any`");
                None
            }
        }
    }

    fn content(&mut self, node: &Node) -> Option<FileContentTest> {
        let fields = self.fields(node, "a file content test", CONTENT_KEYS)?;
        let name = self.required(&fields, "name", "a file content test");
        let path = self.required(&fields, "path", "a file content test");
        let test = FileContentTest {
            expected: self.patterns(&fields, "expectedContents"),
            excluded: self.patterns(&fields, "excludedContents"),
            name: name?,
            path: path?,
        };
        Some(test)
    }

    /// An empty one is none; `env` is the older name of `envVars`.
    fn metadata(&mut self, node: &Node) -> Option<MetadataTest> {
        let fields = self.fields(node, "`metadataTest`", METADATA_KEYS)?;
        let mut env = self.expectations(&fields, "env");
        env.extend(self.expectations(&fields, "envVars"));
        let unbound = self.expectations(&fields, "unboundEnvVars");
        let test = MetadataTest {
            env,
            unbound_env: unbound.into_iter().map(|it| it.key).collect(),
            labels: self.expectations(&fields, "labels"),
            exposed_ports: self.filled(&fields, "exposedPorts"),
            unexposed_ports: self.filled(&fields, "unexposedPorts"),
            volumes: self.filled(&fields, "volumes"),
            unmounted_volumes: self.filled(&fields, "unmountedVolumes"),
            entrypoint: fields
                .get("entrypoint")
                .map(|_| self.strings(&fields, "entrypoint")),
            cmd: fields.get("cmd").map(|_| self.strings(&fields, "cmd")),
            workdir: self.string(&fields, "workdir"),
            user: self.string(&fields, "user"),
        };
        (test != MetadataTest::default()).then_some(test)
    }

    fn license(&mut self, node: &Node) -> Option<LicenseTest> {
        let fields = self.fields(node, "a license test", LICENSE_KEYS)?;
        Some(LicenseTest {
            debian: self.boolean(&fields, "debian").unwrap_or(false),
            files: self.strings(&fields, "files"),
        })
    }

    fn variables(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Variable> {
        let pairs = self.expectations(fields, key);
        pairs
            .into_iter()
            .map(|pair| Variable {
                key: pair.key,
                value: pair.value,
            })
            .collect()
    }

    fn expectations(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Expectation> {
        self.each(fields, key, |reader, node| {
            let pair = reader.fields(node, &format!("`{key}`"), PAIR_KEYS)?;
            let name = reader.required(&pair, "key", &format!("an entry of `{key}`"))?;
            let is_regex = reader.boolean(&pair, "isRegex").unwrap_or(false);
            let value = reader.string(&pair, "value").unwrap_or_default();
            if let (true, Some(node)) = (is_regex, pair.get("value")) {
                reader.check_pattern(node.span, &value);
            }
            Some(Expectation {
                key: name,
                value,
                is_regex,
            })
        })
    }
}

/// Values in general.
impl<'s> Reader<'s> {
    /// Sorts out the keys of a mapping: good ones are returned, others reported.
    fn fields<'n>(&mut self, node: &'n Node, what: &str, keys: &[&str]) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            let message = format!("{what} must be a mapping, not {}", node.kind());
            self.error(node.span, message);
            return None;
        };
        let mut good = Vec::new();
        for entry in entries {
            if keys.contains(&entry.key.as_str()) {
                good.push(entry);
                continue;
            }
            let finding = self.error(
                entry.key_span,
                format!("unknown key `{}` in {what}", entry.key),
            );
            match cairn_dockerfile::suggest::nearest(&entry.key, keys.iter()) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("the keys here are `{}`", keys.join("`, `"))),
            }
        }
        let span = entries.first().map_or(node.span, |first| first.key_span);
        Some(Fields {
            entries: good,
            span,
        })
    }

    fn each<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        let Some(node) = fields.get(key) else {
            return Vec::new();
        };
        let items = self.items(node, key);
        items.iter().filter_map(|item| read(self, item)).collect()
    }

    fn items<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Node] {
        if let Value::List(items) = &node.value {
            return items;
        }
        self.error(
            node.span,
            format!("`{key}` must be a list, not {}", node.kind()),
        );
        &[]
    }

    fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        match &node.value {
            Value::Scalar(text) => Some(text.clone()),
            Value::Null => Some(String::new()),
            _ => {
                let message = format!("`{key}` must be a single value, not {}", node.kind());
                self.error(node.span, message);
                None
            }
        }
    }

    /// A string that says something.
    fn string(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let text = self.text(fields.get(key)?, key)?;
        (!text.is_empty()).then_some(text)
    }

    fn required(&mut self, fields: &Fields<'_>, key: &str, what: &str) -> Option<String> {
        let node = fields.get(key);
        let text = match node {
            Some(node) => self.text(node, key)?,
            None => String::new(),
        };
        if text.is_empty() {
            let span = node.map_or(fields.span, |node| node.span);
            self.error(span, format!("{what} needs a `{key}`"));
            return None;
        }
        Some(text)
    }

    fn strings(&mut self, fields: &Fields<'_>, key: &str) -> Vec<String> {
        self.each(fields, key, |reader, item| reader.text(item, key))
    }

    /// Strings of which none may be empty.
    fn filled(&mut self, fields: &Fields<'_>, key: &str) -> Vec<String> {
        self.each(fields, key, |reader, item| {
            let text = reader.text(item, key)?;
            if text.is_empty() {
                reader.error(item.span, format!("`{key}` holds an empty entry"));
            }
            Some(text)
        })
    }

    fn patterns(&mut self, fields: &Fields<'_>, key: &str) -> Vec<String> {
        self.each(fields, key, |reader, item| {
            let text = reader.text(item, key)?;
            reader.check_pattern(item.span, &text);
            Some(text)
        })
    }

    fn check_pattern(&mut self, span: Span, pattern: &str) {
        if let Err(error) = Pattern::new(pattern) {
            self.warn(span, error.to_string());
        }
    }

    fn command_lines(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Vec<String>> {
        self.each(fields, key, |reader, line| {
            let words: Vec<String> = reader
                .items(line, key)
                .iter()
                .filter_map(|word| reader.text(word, key))
                .collect();
            if words.is_empty() && matches!(line.value, Value::List(_)) {
                reader.error(line.span, format!("`{key}` holds an empty command"));
            }
            Some(words)
        })
    }

    fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> Option<bool> {
        let node = fields.get(key)?;
        let text = self.text(node, key)?;
        // The words of YAML 1.1, which the original reads.
        match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => {
                self.error(node.span, format!("`{key}` must be true or false"));
                None
            }
        }
    }

    fn integer(&mut self, fields: &Fields<'_>, key: &str) -> Option<i32> {
        let node = fields.get(key)?;
        let text = self.text(node, key)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.error(node.span, format!("`{key}` must be a whole number"));
        }
        number
    }

    fn error(&mut self, span: Span, message: impl Into<String>) -> Finding<'_> {
        self.errors
            .push(Diagnostic::error(message).at(self.source, span));
        Finding(&mut self.errors)
    }

    fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.warnings
            .push(Diagnostic::warning(message).at(self.source, span));
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

#[cfg(test)]
mod tests;
