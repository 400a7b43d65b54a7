//! A command line that could not be read, told without the logins that stand in it.

use std::ffi::OsString;
use std::io::{self, Write};

const HIDDEN: &str = "xxxxx:xxxxx";

/// Prints why a command line could not be read, or the help that it asks for.
pub fn print(error: &clap::Error, arguments: &[OsString]) -> io::Result<()> {
    let arguments = arguments.iter().map(|it| it.to_string_lossy());
    let logins: Vec<String> = arguments.filter_map(|it| login(&it)).collect();
    if logins.is_empty() {
        return error.print();
    }
    let mut text = error.render().to_string();
    for login in logins {
        text = text.replace(&format!("{login}@"), &format!("{HIDDEN}@"));
    }
    io::stderr().write_all(text.as_bytes())
}

/// The login in an argument: what stands before an `@` that begins no digest, from the last sign on that
/// can come before an address.
fn login(argument: &str) -> Option<String> {
    let (before, _) = argument
        .rmatch_indices('@')
        .map(|(at, _)| (&argument[..at], &argument[at + 1..]))
        .find(|(_, after)| !after.starts_with("sha256:") && !after.starts_with("sha512:"))?;
    let web = before.rfind("://");
    let start = match web {
        Some(at) => at + "://".len(),
        None => {
            let field = before.rfind(',').map_or(0, |at| at + 1);
            let value = before[field..].find('=');
            value.map_or(field, |at| field + at + 1)
        }
    };
    let login = &before[start..];
    // On the web a token may stand there alone; elsewhere it is a user, as in `git@host`.
    let is_of_web =
        web.is_some_and(|at| before[..at].ends_with("http") || before[..at].ends_with("https"));
    (is_of_web || login.contains(':')).then(|| login.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_found_wherever_an_address_may_stand() {
        for (argument, found) in [
            ("--registry=u:secret@host/lab", Some("u:secret")),
            ("https://u:secret@host/x", Some("u:secret")),
            ("https://token@host/x", Some("token")),
            ("ssh://git@host/x", None),
            ("type=registry,ref=u:se=cret@host/x", Some("u:se=cret")),
            (
                "type=registry,ref=https://u:a/b@c@host/x:1,mode=all",
                Some("u:a/b@c"),
            ),
            ("u:secret@host/x@sha256:12", Some("u:secret")),
            ("localhost:5000/x@sha256:12", None),
            ("git@host:a", None),
            ("plain", None),
        ] {
            assert_eq!(login(argument).as_deref(), found, "{argument}");
        }
    }
}
