//! `RUN --mount=`: the flag as written, and the mount it means once variables are expanded.
//!
//! Values may hold variables, so most checks wait until the step is lowered, as they do in
//! BuildKit; only `from` is needed before (it makes stages depend on each other) and may not
//! hold any.

mod fields;

use cairn_diagnostic::Span;

use crate::ast::Word;
use crate::csv::{self, CsvError};
use crate::expand::ExpandError;

/// A `--mount=` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The flag's value, `type=cache,target=/x`.
    pub text: Word,
    /// Its `from`, known before expansion: a stage, a number, a named context or an image.
    pub from: Option<String>,
}

/// A mount of a `RUN`, with all values known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// `type=bind`
    Bind {
        /// Where the files come from; the build context if `None`.
        from: Option<String>,
        /// The path there; the root if `None`.
        source: Option<String>,
        /// Where they appear; a relative path starts at the working directory.
        target: String,
        /// Whether the step may write (writes are thrown away).
        read_only: bool,
    },
    /// `type=cache`
    Cache {
        /// The cache's id, if it is not its target.
        id: Option<String>,
        /// Where it appears; a relative path starts at the working directory.
        target: String,
        /// What happens when two steps use it at once.
        sharing: Sharing,
        /// What a new cache starts from; empty if `None`.
        from: Option<String>,
        /// The path there.
        source: Option<String>,
        /// Whether the step may write.
        read_only: bool,
        /// The directory's owner and mode when it is new.
        file: FileAttributes,
    },
    /// `type=tmpfs`
    Tmpfs {
        /// Where it appears; a relative path starts at the working directory.
        target: String,
        /// The limit in bytes.
        size: Option<u64>,
        /// Whether the step may write.
        read_only: bool,
    },
    /// `type=secret`
    Secret {
        /// Which secret.
        id: String,
        /// The file it becomes, if it becomes one.
        target: Option<String>,
        /// The variable it becomes, if it becomes one.
        env: Option<String>,
        /// Whether the step fails without it.
        required: bool,
        /// The file's owner and mode; 0:0 and 0400 by default.
        file: FileAttributes,
    },
    /// `type=ssh`
    Ssh {
        /// Which agent; `default` if `None`.
        id: Option<String>,
        /// The socket's path, if a certain one is wanted.
        target: Option<String>,
        /// Whether the step fails without it.
        required: bool,
        /// The socket's owner and mode; 0:0 and 0600 by default.
        file: FileAttributes,
    },
}

/// `sharing=` of a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Several steps use it at once.
    #[default]
    Shared,
    /// A second step gets a cache of its own.
    Private,
    /// A second step waits.
    Locked,
}

/// `mode=`, `uid=` and `gid=` of a mount, where given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileAttributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A `--mount=` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// It is no list of fields.
    #[error("failed to parse csv mounts: {0}")]
    Csv(CsvError),
    /// A value cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A variable in `from`.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    VariableInFrom,
    /// A field without a value.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// A value that does not fit its key.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A type that does not exist.
    #[error("unsupported mount type {value:?}{}", did_you_mean(*.suggestion))]
    Type {
        /// The type as written.
        value: String,
        /// The nearest that exists.
        suggestion: Option<&'static str>,
    },
    /// A sharing that does not exist.
    #[error("unsupported sharing value {value:?}{}", did_you_mean(*.suggestion))]
    Sharing {
        /// The value as written.
        value: String,
        /// The nearest that exists.
        suggestion: Option<&'static str>,
    },
    /// A key that does not exist.
    #[error("unexpected key '{key}' in '{field}'{}", did_you_mean(*.suggestion))]
    Key {
        /// The key.
        key: String,
        /// The whole field.
        field: String,
        /// The nearest that exists.
        suggestion: Option<&'static str>,
    },
    /// A key that another type has.
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    KeyForType {
        /// The key.
        key: String,
        /// The mount's type.
        kind: &'static str,
    },
    /// `mode`, `uid` or `gid` where they mean nothing.
    #[error("{key} not allowed for {kind:?} type mounts")]
    FileAttribute {
        /// The key.
        key: &'static str,
        /// The mount's type.
        kind: &'static str,
    },
    /// `sharing` of something that is no cache.
    #[error("invalid cache sharing set for {0} mount")]
    SharingForType(&'static str),
    /// `from` of a secret.
    #[error("secret mount should not have a from")]
    SecretFrom,
    /// A secret without a name.
    #[error("invalid secret mount. one of source, target required")]
    SecretWithoutName,
    /// A secret with two names.
    #[error("both source and id can't be set")]
    SecretWithTwoNames,
    /// `source` of an agent.
    #[error("ssh does not support source")]
    SshSource,
}

impl MountError {
    /// What to do about a field that another builder has, and BuildKit has not.
    pub fn hint(&self) -> Option<&'static str> {
        let key = match self {
            Self::NoValue(field) => field.as_str(),
            Self::Key { key, .. } => key.as_str(),
            _ => return None,
        };
        match key.to_ascii_lowercase().as_str() {
            "z" | "relabel" => Some(
                "`z` and `Z` set labels of SELinux for podman and Buildah; steps need none here: \
                 leave it out.",
            ),
            "u" | "chown" | "idmap" => Some(
                "It gives the files to the step's user for podman and Buildah; `uid=` and `gid=` do \
                 for caches, secrets and agents, `COPY --chown` for files.",
            ),
            "tmpcopyup" | "notmpcopyup" | "bind-propagation" | "bind-nonrecursive" => {
                Some("BuildKit and Cairn have no such option: leave it out.")
            }
            _ => None,
        }
    }
}

fn did_you_mean(suggestion: Option<&'static str>) -> String {
    suggestion
        .map(|word| format!(" (did you mean {word}?)"))
        .unwrap_or_default()
}

impl MountFlag {
    /// Takes a flag as written; checks what can be checked before expansion.
    pub fn parse(text: Word) -> Result<Self, MountError> {
        let mut from = None;
        for field in csv::fields(&text.value).map_err(MountError::Csv)? {
            let Some((key, value)) = field.split_once('=') else {
                continue;
            };
            if !key.eq_ignore_ascii_case("from") {
                continue;
            }
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(MountError::VariableInFrom);
            }
            from = (!value.is_empty()).then(|| value.to_owned());
        }
        Ok(Self { text, from })
    }

    /// Where the flag's value stands.
    pub fn span(&self) -> Span {
        self.text.span
    }

    /// Expands the values and says which mount is meant.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Mount, MountError> {
        let mut fields = fields::Fields::default();
        for field in csv::fields(&self.text.value).map_err(MountError::Csv)? {
            match field.split_once('=') {
                Some((key, text)) => {
                    let value = expand(text)?;
                    fields.set(&key.to_lowercase(), &value, &field)?;
                }
                None => fields.set_bare(&field)?,
            }
        }
        fields.finish()
    }
}

#[cfg(test)]
mod tests;
