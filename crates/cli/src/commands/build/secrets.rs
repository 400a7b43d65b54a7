//! `--secret`: values that steps may use and that never leave the run.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use crate::commands::options::fields;
use crate::environment::Environment;
use crate::error::{CommandError, Kind};

/// Larger files are not secrets; docker's limit is 500 KiB.
const SECRET_BYTES_MAX: u64 = 500 << 10;

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name in the Dockerfile.
    pub id: String,
    /// Where its value is.
    pub from: SecretFrom,
}

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFrom {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
    /// Not said: in the variable of its name, else in the file of its name.
    Name,
}

impl Secret {
    /// Reads `id=NAME[,src=FILE|,env=VARIABLE]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut id = None;
        let mut from = SecretFrom::Name;
        let mut wants_variable = false;
        for (key, value) in fields(text)? {
            match key.as_str() {
                "id" => id = Some(value),
                "src" | "source" => from = SecretFrom::File(value.into()),
                "env" => from = SecretFrom::Variable(value),
                "type" if value == "env" => wants_variable = true,
                "type" if value == "file" => {}
                "type" => return Err(format!("`type={value}` is neither `file` nor `env`")),
                key => return Err(format!("`{key}` is not one of id, src, env, type")),
            }
        }
        let id = id
            .filter(|id| !id.is_empty())
            .ok_or("`id` is missing: `id=NAME,src=FILE`")?;
        // With `type=env` docker lets `src` name the variable.
        let from = match (from, wants_variable) {
            (SecretFrom::File(name), true) => {
                SecretFrom::Variable(name.to_string_lossy().into_owned())
            }
            (SecretFrom::Name, true) => SecretFrom::Variable(id.clone()),
            (from, _) => from,
        };
        Ok(Self { id, from })
    }

    fn value(&self, environment: &Environment) -> Result<Vec<u8>, CommandError> {
        use std::os::unix::ffi::OsStrExt;
        let variable = |name: &str| {
            environment
                .exact(name)
                .map(|value| value.as_bytes().to_vec())
        };
        match &self.from {
            SecretFrom::Variable(name) => variable(name).ok_or_else(|| {
                CommandError::usage(format!(
                    "secret `{}`: the environment has no variable `{name}`",
                    self.id
                ))
            }),
            SecretFrom::File(path) => self.file(path.clone()),
            SecretFrom::Name => match variable(&self.id) {
                Some(value) => Ok(value),
                None => self.file(self.id.clone().into()),
            },
        }
    }

    fn file(&self, path: PathBuf) -> Result<Vec<u8>, CommandError> {
        let mut value = Vec::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut value))
            .map_err(|error| {
                CommandError::from_error(Kind::Usage, &error).while_doing(format!(
                    "secret `{}`: cannot read {}",
                    self.id,
                    path.display()
                ))
            })?;
        if value.len() as u64 > SECRET_BYTES_MAX {
            return Err(CommandError::usage(format!(
                "secret `{}`: {} is larger than {} KiB",
                self.id,
                path.display(),
                SECRET_BYTES_MAX >> 10
            )));
        }
        Ok(value)
    }
}

/// Reads the values of all secrets.
pub fn values(
    secrets: &[Secret],
    environment: &Environment,
) -> Result<BTreeMap<String, Vec<u8>>, CommandError> {
    let value = |secret: &Secret| Ok((secret.id.clone(), secret.value(environment)?));
    secrets.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> SecretFrom {
        let secret = Secret::parse(text).unwrap();
        assert_eq!(secret.id, "t");
        secret.from
    }

    #[test]
    fn secrets_are_read_as_docker_reads_them() {
        let variable = |name: &str| SecretFrom::Variable(name.to_owned());
        assert_eq!(parsed("id=t,src=/x"), SecretFrom::File("/x".into()));
        assert_eq!(
            parsed("id=t,source=/x,type=file"),
            SecretFrom::File("/x".into())
        );
        assert_eq!(parsed("id=t,env=TOKEN"), variable("TOKEN"));
        assert_eq!(parsed("type=env,id=t,src=TOKEN"), variable("TOKEN"));
        assert_eq!(parsed("type=env,id=t"), variable("t"));
        assert_eq!(parsed("id=t"), SecretFrom::Name);
        for wrong in ["src=/x", "id=,src=/x", "id=t,file=/x", "id=t,type=vault"] {
            assert!(Secret::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_come_from_variable_or_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "from file").unwrap();
        let environment = Environment::from([("TOKEN", "from variable"), ("EMPTY", "")]);
        let value = |text: &str| {
            let secret = Secret::parse(text).unwrap();
            values(&[secret], &environment).map(|mut all| all.remove("t").unwrap())
        };
        assert_eq!(value("id=t,env=TOKEN").unwrap(), b"from variable");
        assert_eq!(value("id=t,env=EMPTY").unwrap(), b"");
        assert_eq!(
            value(&format!("id=t,src={}", file.display())).unwrap(),
            b"from file"
        );
        assert!(value("id=t,env=MISSING").is_err());
        assert!(value("id=t,src=/nonexistent/file").is_err());
        std::fs::write(&file, vec![b'x'; 600 << 10]).unwrap();
        assert!(
            value(&format!("id=t,src={}", file.display())).is_err(),
            "too large"
        );
    }
}
