//! The file of secrets that a spec names: `build.secrets`, TOML, a line `NAME = "value"` for each.
//!
//! Its values reach steps that ask for them with `RUN --mount=type=secret,id=NAME`, and nothing
//! else: no key, no layer, no record; in what steps print they are masked. The file is not part
//! of the repository, so a missing one is no error: a step that requires the secret says so.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{CommandError, Kind};
use crate::session::Session;

/// Readable by others.
const OTHERS: u32 = 0o077;

/// Reads the secrets by name.
pub fn read(session: &Session, path: &Path) -> Result<BTreeMap<String, Vec<u8>>, CommandError> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            session.printer.note(&format!(
                "there is no {shown}: steps get no secrets from it"
            ));
            return Ok(BTreeMap::new());
        }
        Err(error) => {
            return Err(CommandError::from_error(Kind::Environment, &error)
                .while_doing(format!("cannot read {shown}")));
        }
    };
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & OTHERS != 0 {
        let text = format!("{shown} can be read by others: `chmod 600 {shown}`");
        session.printer.warning(&text);
    }
    let values = parse(&text).map_err(|reason| {
        CommandError::usage(format!("{shown}: {reason}"))
            .hint("a file of secrets has a line `NAME = \"value\"` for each")
    })?;
    Ok(values)
}

/// No message says anything of a value.
fn parse(text: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        format!("line {} is not TOML", before.matches('\n').count() + 1)
    })?;
    table
        .into_iter()
        .map(|(name, value)| match value {
            toml::Value::String(value) => Ok((name, value.into_bytes())),
            _ => Err(format!("the value of `{name}` is not a string")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_strings_and_messages_keep_them() {
        let secrets = parse("PAT = \"x y\"\nKEY = '''\na\nb'''\n").unwrap();
        assert_eq!(secrets["PAT"], b"x y");
        assert_eq!(secrets["KEY"], b"a\nb");
        assert_eq!(
            parse("A = \"x\"\nPAT = ghp_secret\n").unwrap_err(),
            "line 2 is not TOML"
        );
        assert_eq!(
            parse("PAT = 12345").unwrap_err(),
            "the value of `PAT` is not a string"
        );
    }
}
