//! `RUN --mount=`: the flag as written, and the mount it means once variables are expanded.
//!
//! Values may hold variables, so most checks wait until the step is lowered, as they do in
//! BuildKit; only `from` is needed before (it makes stages depend on each other) and may not
//! hold any.

use cairn_diagnostic::Span;

use crate::ast::Word;
use crate::csv::{self, CsvError};
use crate::expand::ExpandError;
use crate::{suggest, value};

const KEYS: [&str; 18] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "size",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
];
const KEY_ENV: &str = "env";
const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const SHARINGS: [&str; 3] = ["shared", "private", "locked"];

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
        let mut fields = Fields::default();
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// The fields read so far. Order matters: a key is checked against the type known by then.
#[derive(Default)]
struct Fields {
    kind: Kind,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    required: bool,
    size: Option<u64>,
    id: Option<String>,
    sharing: Option<Sharing>,
    env: Option<String>,
    file: FileAttributes,
}

impl Fields {
    fn set_bare(&mut self, field: &str) -> Result<(), MountError> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => {
                self.only_for(&[Kind::Secret, Kind::Ssh], "required")?;
                self.required = true;
            }
            _ => return Err(MountError::NoValue(field.to_owned())),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), MountError> {
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match key {
            "type" => self.kind = kind(value)?,
            "from" => self.from = text(),
            "source" | "src" => self.source = text(),
            "target" | "dst" | "destination" => self.target = text(),
            "readonly" | "ro" => self.read_only = Some(boolean(key, value)?),
            "readwrite" | "rw" => self.read_only = Some(!boolean(key, value)?),
            "required" => {
                self.only_for(&[Kind::Secret, Kind::Ssh], key)?;
                self.required = boolean(key, value)?;
            }
            "size" => {
                self.only_for(&[Kind::Tmpfs], key)?;
                let size = value::bytes(value).ok_or_else(|| invalid(key, value))?;
                self.size = (size > 0).then_some(size);
            }
            "id" => self.id = text(),
            "sharing" => self.sharing = Some(sharing(value)?),
            "mode" => self.file.mode = Some(number(key, value, 8)?),
            "uid" => self.file.uid = Some(number(key, value, 10)?),
            "gid" => self.file.gid = Some(number(key, value, 10)?),
            KEY_ENV => self.env = Some(value.to_owned()),
            _ => {
                return Err(MountError::Key {
                    key: key.to_owned(),
                    field: field.to_owned(),
                    suggestion: suggest::nearest(key, KEYS.iter().chain([&KEY_ENV]).copied()),
                });
            }
        }
        Ok(())
    }

    fn only_for(&self, kinds: &[Kind], key: &str) -> Result<(), MountError> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        Err(MountError::KeyForType {
            key: key.to_owned(),
            kind: self.kind.name(),
        })
    }

    fn finish(self) -> Result<Mount, MountError> {
        self.check_file_attributes()?;
        if self.kind == Kind::Secret {
            return self.secret();
        }
        if self.sharing.is_some() && self.kind != Kind::Cache {
            return Err(MountError::SharingForType(self.kind.name()));
        }
        if self.kind == Kind::Ssh {
            return self.ssh();
        }
        // Without a target BuildKit mounts at the working directory.
        let target = self.target.unwrap_or_else(|| ".".to_owned());
        Ok(match self.kind {
            Kind::Cache => Mount::Cache {
                id: self.id,
                target,
                sharing: self.sharing.unwrap_or_default(),
                from: self.from,
                source: self.source,
                read_only: self.read_only.unwrap_or(false),
                file: self.file,
            },
            Kind::Tmpfs => Mount::Tmpfs {
                target,
                size: self.size,
                read_only: self.read_only.unwrap_or(false),
            },
            _ => Mount::Bind {
                from: self.from,
                source: self.source,
                target,
                read_only: self.read_only.unwrap_or(true),
            },
        })
    }

    fn check_file_attributes(&self) -> Result<(), MountError> {
        if !matches!(self.kind, Kind::Bind | Kind::Tmpfs) {
            return Ok(());
        }
        let given = [
            ("mode", self.file.mode),
            ("uid", self.file.uid),
            ("gid", self.file.gid),
        ];
        match given.iter().find(|(_, value)| value.is_some()) {
            Some((key, _)) => Err(MountError::FileAttribute {
                key,
                kind: self.kind.name(),
            }),
            None => Ok(()),
        }
    }

    fn secret(self) -> Result<Mount, MountError> {
        if self.from.is_some() {
            return Err(MountError::SecretFrom);
        }
        if self.sharing.is_some() {
            return Err(MountError::SharingForType("secret"));
        }
        let id = match (self.source, self.id, &self.target) {
            (Some(_), Some(_), _) => return Err(MountError::SecretWithTwoNames),
            (Some(name), None, _) | (None, Some(name), _) => name,
            (None, None, Some(target)) => base_name(target).to_owned(),
            (None, None, None) => return Err(MountError::SecretWithoutName),
        };
        // Without a variable and without a path the secret still becomes a file.
        let target = match (self.target, &self.env) {
            (None, None) => Some(format!("/run/secrets/{}", base_name(&id))),
            (target, _) => target,
        };
        Ok(Mount::Secret {
            env: self
                .env
                .map(|name| if name.is_empty() { id.clone() } else { name }),
            id,
            target,
            required: self.required,
            file: self.file,
        })
    }

    fn ssh(self) -> Result<Mount, MountError> {
        if self.source.is_some() {
            return Err(MountError::SshSource);
        }
        Ok(Mount::Ssh {
            id: self.id,
            target: self.target,
            required: self.required,
            file: self.file,
        })
    }
}

fn kind(value: &str) -> Result<Kind, MountError> {
    Ok(match value.to_lowercase().as_str() {
        "bind" => Kind::Bind,
        "cache" => Kind::Cache,
        "tmpfs" => Kind::Tmpfs,
        "secret" => Kind::Secret,
        "ssh" => Kind::Ssh,
        _ => {
            return Err(MountError::Type {
                value: value.to_owned(),
                suggestion: suggest::nearest(value, TYPES),
            });
        }
    })
}

fn sharing(value: &str) -> Result<Sharing, MountError> {
    Ok(match value.to_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => {
            return Err(MountError::Sharing {
                value: value.to_owned(),
                suggestion: suggest::nearest(value, SHARINGS),
            });
        }
    })
}

fn boolean(key: &str, value: &str) -> Result<bool, MountError> {
    value::boolean(value).ok_or_else(|| invalid(key, value))
}

fn number(key: &str, value: &str, radix: u32) -> Result<u32, MountError> {
    // `from_str_radix` takes a sign, which is no number here.
    if value.starts_with('+') {
        return Err(invalid(key, value));
    }
    u32::from_str_radix(value, radix).map_err(|_| invalid(key, value))
}

fn invalid(key: &str, value: &str) -> MountError {
    MountError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Mount, String> {
        let flag = MountFlag::parse(Word::new(text.to_owned(), Span::default()))
            .map_err(|error| error.to_string())?;
        flag.resolve(&mut |word| Ok(word.replace("$CACHE", "/cache")))
            .map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        assert_eq!(resolve(text).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn bind_is_the_default_and_read_only() {
        assert_eq!(
            resolve("target=/src,from=base,source=/x").unwrap(),
            Mount::Bind {
                from: Some("base".into()),
                source: Some("/x".into()),
                target: "/src".into(),
                read_only: true
            }
        );
        assert!(matches!(
            resolve("dst=/src,rw").unwrap(),
            Mount::Bind {
                read_only: false,
                ..
            }
        ));
    }

    #[test]
    fn cache_values_are_expanded() {
        assert_eq!(
            resolve("type=cache,target=$CACHE,sharing=locked,mode=0750,uid=1000,id=x").unwrap(),
            Mount::Cache {
                id: Some("x".into()),
                target: "/cache".into(),
                sharing: Sharing::Locked,
                from: None,
                source: None,
                read_only: false,
                file: FileAttributes {
                    mode: Some(0o750),
                    uid: Some(1000),
                    gid: None
                },
            }
        );
    }

    #[test]
    fn tmpfs_has_a_size() {
        assert!(matches!(
            resolve("type=tmpfs,target=/t,size=64m").unwrap(),
            Mount::Tmpfs {
                size: Some(0x400_0000),
                ..
            }
        ));
    }

    #[test]
    fn secret_names_and_places() {
        let places = |text| match resolve(text).unwrap() {
            Mount::Secret {
                id, target, env, ..
            } => (id, target, env),
            other => panic!("{other:?}"),
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            places("type=secret,id=a"),
            ("a".into(), some("/run/secrets/a"), None)
        );
        assert_eq!(
            places("type=secret,target=/etc/token"),
            ("token".into(), some("/etc/token"), None)
        );
        assert_eq!(
            places("type=secret,id=a,env=TOKEN"),
            ("a".into(), None, some("TOKEN"))
        );
        assert_eq!(
            places("type=secret,id=a,env="),
            ("a".into(), None, some("a"))
        );
    }

    #[test]
    fn ssh_may_be_required() {
        assert!(matches!(
            resolve("type=ssh,required").unwrap(),
            Mount::Ssh {
                required: true,
                id: None,
                ..
            }
        ));
    }

    #[test]
    fn refusals() {
        check_error(
            "type=cash,target=/x",
            "unsupported mount type \"cash\" (did you mean cache?)",
        );
        check_error(
            "type=cache,traget=/x",
            "unexpected key 'traget' in 'traget=/x' (did you mean target?)",
        );
        check_error(
            "type=bind,from=$x,target=/x",
            "'from' doesn't support variable expansion, define alias stage instead",
        );
        check_error(
            "type=bind,target=/x,required",
            "unexpected key 'required' for mount type 'bind'",
        );
        check_error(
            "target=/x,mode=1",
            "mode not allowed for \"bind\" type mounts",
        );
        check_error(
            "target=/x,size=1",
            "unexpected key 'size' for mount type 'bind'",
        );
        check_error("type=cache,target=/x,mode=8", "invalid value for mode: 8");
        check_error(
            "target=/x,sharing=shared",
            "invalid cache sharing set for bind mount",
        );
        check_error(
            "type=secret",
            "invalid secret mount. one of source, target required",
        );
        check_error(
            "type=secret,id=a,source=b",
            "both source and id can't be set",
        );
        check_error(
            "target=/x,what",
            "invalid field 'what' must be a key=value pair",
        );
        check_error("", "failed to parse csv mounts: no fields");
    }
}
