//! Flags that several commands share, and the small languages of their values.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use crate::settings::ProgressChoice;

/// Which stack.
#[derive(Debug, Clone, Args)]
pub struct StackOption {
    /// The stack's directory, the one with `cairn.toml`
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub stack: PathBuf,
}

/// How progress is shown.
#[derive(Debug, Clone, Args)]
pub struct ProgressOption {
    /// How to show progress
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    pub progress: ProgressChoice,
}

/// Machine-readable output.
#[derive(Debug, Clone, Args)]
pub struct JsonOption {
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// How a stack is built.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildOptions {
    /// Run so many steps at once [default: the number of CPUs]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Stop everything at the first failure, not only what depends on it
    #[arg(long)]
    pub fail_fast: bool,
    /// Run every step, whatever the store holds
    #[arg(long)]
    pub no_cache: bool,
    /// Fail if `cairn.lock` does not fit the spec, rather than lock again
    #[arg(long)]
    pub locked: bool,
    /// Ask registries what the names of images from outside mean now, and move their locks
    #[arg(long, conflicts_with_all = ["locked", "offline"])]
    pub pull: bool,
    /// Never ask a registry: images from outside must be in the store
    #[arg(long)]
    pub offline: bool,
    /// Build for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
}

/// Splits `NAME=VALUE`; the name is not empty.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

/// Splits `NAME[=VALUE]`: without a value it is taken from the environment.
pub fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(format!("`{text}` is not NAME or NAME=VALUE"));
    }
    Ok((name.to_owned(), value))
}

/// Splits `HOST:IP` or `HOST=IP`. An IPv6 address may stand in brackets.
pub fn host_line(text: &str) -> Result<(String, IpAddr), String> {
    let wrong = || format!("`{text}` is not HOST:IP");
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (host, address) = split.ok_or_else(wrong)?;
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    let address = bare.parse().map_err(|_| wrong())?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok((host.to_owned(), address))
}

/// Splits the `key=value,key=value` of docker's flags. A field may stand in double quotes, in
/// which two of them are one; a key without a value has the value `true`.
pub fn fields(text: &str) -> Result<Vec<(String, String)>, String> {
    csv(text)?
        .into_iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.to_owned())),
            None if field.trim().is_empty() => Err(format!("`{text}` has an empty field")),
            None => Ok((field.trim().to_ascii_lowercase(), "true".to_owned())),
        })
        .collect()
}

fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let at_start = fields.last().is_none_or(String::is_empty);
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                push(&mut fields, '"');
            }
            '"' if is_quoted || at_start => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => push(&mut fields, c),
        }
    }
    if is_quoted {
        return Err(format!("`{text}` has a quote without an end"));
    }
    Ok(fields)
}

fn push(fields: &mut [String], c: char) {
    if let Some(field) = fields.last_mut() {
        field.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_csv_as_docker_reads_it() {
        let split = |text| fields(text).unwrap();
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        assert_eq!(
            split("type=oci,dest=a"),
            own(&[("type", "oci"), ("dest", "a")])
        );
        assert_eq!(
            split("id=a,\"src=b,c\"\"d\""),
            own(&[("id", "a"), ("src", "b,c\"d")])
        );
        assert_eq!(
            split("Type=tar,force"),
            own(&[("type", "tar"), ("force", "true")])
        );
        assert_eq!(split("dest=a=b"), own(&[("dest", "a=b")]));
        assert!(fields("a=b,").is_err() && fields("\"a=b").is_err() && fields("").is_err());
    }

    #[test]
    fn hosts_are_named_with_an_address() {
        let ip = |text: &str| host_line(text).map(|(host, ip)| (host, ip.to_string()));
        assert_eq!(ip("a:10.0.0.1"), Ok(("a".into(), "10.0.0.1".into())));
        assert_eq!(ip("a=::1"), Ok(("a".into(), "::1".into())));
        assert_eq!(ip("a:[::1]"), Ok(("a".into(), "::1".into())));
        for wrong in ["a", "a:b", ":10.0.0.1", "a b:10.0.0.1", "a:10.0.0.300"] {
            assert!(ip(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_may_lack_a_value_pairs_may_not() {
        assert_eq!(variable("A"), Ok(("A".into(), None)));
        assert_eq!(variable("A="), Ok(("A".into(), Some(String::new()))));
        assert_eq!(variable("A=b=c"), Ok(("A".into(), Some("b=c".into()))));
        assert!(variable("=b").is_err() && variable("").is_err());
        assert_eq!(pair("A=b"), Ok(("A".into(), "b".into())));
        assert!(pair("A").is_err() && pair("=b").is_err());
    }
}
