//! A test file as meant: what [`parse`](super::parse()) makes of the YAML.
//!
//! Serialised, the types are the normal form that the digest of a test is taken of: two files
//! that mean the same have the same.

use serde::Serialize;

/// All tests of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TestFile {
    /// Variables that are set in all tests.
    pub global_env: Vec<Variable>,
    /// How command tests run.
    pub run_options: RunOptions,
    /// Tests of what commands do.
    pub commands: Vec<CommandTest>,
    /// Tests of files being there, and how.
    pub file_existence: Vec<FileExistenceTest>,
    /// Tests of what is in files.
    pub file_content: Vec<FileContentTest>,
    /// The test of the image's settings.
    pub metadata: Option<MetadataTest>,
    /// Tests of the licences of what is installed.
    pub licenses: Vec<LicenseTest>,
}

impl TestFile {
    /// How many results it has.
    pub fn test_count(&self) -> usize {
        self.commands.len()
            + self.file_existence.len()
            + self.file_content.len()
            + usize::from(self.metadata.is_some())
            + self.licenses.len()
    }
}

/// A variable to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value; may name other variables.
    pub value: String,
}

/// `containerRunOptions`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RunOptions {
    /// Who runs the commands, instead of the image's user.
    pub user: Option<String>,
    /// Without confinement.
    pub privileged: bool,
    /// On a terminal.
    pub allocate_tty: bool,
    /// Names of the caller's variables to hand on.
    pub env_vars: Vec<String>,
    /// A file of variables, by its path from the folder tests are run from.
    pub env_file: Option<String>,
    /// Capabilities beyond the usual.
    pub capabilities: Vec<String>,
    /// Paths of the host to mount.
    pub bind_mounts: Vec<BindMount>,
    /// The network that commands see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkOption>,
}

/// `network`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum NetworkOption {
    /// Nothing but loopback.
    None,
    /// The host's.
    Host,
    /// What commands see where nothing is said.
    Usual,
}

impl NetworkOption {
    /// Reads Docker's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "host" => Self::Host,
            "bridge" | "default" | "" => Self::Usual,
            _ => return None,
        })
    }
}

/// `source:target[:ro]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BindMount {
    /// On the host.
    pub source: String,
    /// Inside.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// `commandTests`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandTest {
    /// Its name.
    pub name: String,
    /// Commands to run before, whose changes the command sees.
    pub setup: Vec<Vec<String>>,
    /// Commands to run after.
    pub teardown: Vec<Vec<String>>,
    /// Further variables.
    pub env: Vec<Variable>,
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// The code to exit with.
    pub exit_code: i32,
    /// Patterns to be found in the output.
    pub expected_output: Vec<String>,
    /// Patterns not to be found in the output.
    pub excluded_output: Vec<String>,
    /// Patterns to be found in the error output.
    pub expected_error: Vec<String>,
    /// Patterns not to be found in the error output.
    pub excluded_error: Vec<String>,
}

/// `fileExistenceTests`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileExistenceTest {
    /// Its name.
    pub name: String,
    /// The file or directory.
    pub path: String,
    /// Whether it must be there, or must not.
    pub should_exist: bool,
    /// Its mode, as in `-rwxr-xr-x`.
    pub permissions: Option<String>,
    /// Its owner.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// Who must be able to execute it.
    pub executable_by: Option<ExecutableBy>,
}

/// `isExecutableBy`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutableBy {
    /// Its owner.
    Owner,
    /// Its group.
    Group,
    /// Everybody else.
    Other,
    /// Any of them.
    Any,
}

/// `fileContentTests`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileContentTest {
    /// Its name.
    pub name: String,
    /// The file.
    pub path: String,
    /// Patterns to be found in it.
    pub expected: Vec<String>,
    /// Patterns not to be found in it.
    pub excluded: Vec<String>,
}

/// `metadataTest`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MetadataTest {
    /// Variables that must be set so.
    pub env: Vec<Expectation>,
    /// Variables that must not be set.
    pub unbound_env: Vec<String>,
    /// Labels that must be set so.
    pub labels: Vec<Expectation>,
    /// Ports that must be exposed.
    pub exposed_ports: Vec<String>,
    /// Ports that must not be.
    pub unexposed_ports: Vec<String>,
    /// Paths that must be volumes.
    pub volumes: Vec<String>,
    /// Paths that must not be.
    pub unmounted_volumes: Vec<String>,
    /// The entry point, exactly.
    pub entrypoint: Option<Vec<String>>,
    /// The command, exactly.
    pub cmd: Option<Vec<String>>,
    /// The working directory.
    pub workdir: Option<String>,
    /// The user.
    pub user: Option<String>,
}

/// A variable or label and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// Its name.
    pub key: String,
    /// Its value, or a pattern to be found in it.
    pub value: String,
    /// Which of the two.
    pub is_regex: bool,
}

/// `licenseTests`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LicenseTest {
    /// Whether to look at every package under `/usr/share/doc`.
    pub debian: bool,
    /// Further files to look at.
    pub files: Vec<String>,
}
