//! The fields of a mount, collected and checked in the order they are written.

use super::{FileAttributes, Mount, MountError, Sharing};
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
pub(super) struct Fields {
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
    pub(super) fn set_bare(&mut self, field: &str) -> Result<(), MountError> {
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

    pub(super) fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), MountError> {
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

    pub(super) fn finish(self) -> Result<Mount, MountError> {
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
