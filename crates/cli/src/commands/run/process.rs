//! What runs in a container: command, variables, directory, user - the image's settings with
//! what was asked for on top, by docker's rules.

use std::io::Read;
use std::path::{Path, PathBuf};

use cairn_build::account::{Accounts, Identity};
use cairn_oci::RunConfig;
use cairn_store::{EntryKind, LayeredView, StoreError};

use crate::error::{CommandError, Kind};
use crate::settings::Settings;

/// Where programs are looked for in an image that does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// `/etc/passwd` and `/etc/group` are read up to here.
const ACCOUNTS_BYTES_MAX: u64 = 16 << 20;
const SIGTERM: i32 = 15;

/// The command: the entrypoint with arguments. An entrypoint that was asked for drops the image's
/// arguments with the image's entrypoint.
pub fn command(config: &RunConfig, entrypoint: Option<&str>, asked: &[String]) -> Vec<String> {
    let (mut command, own_arguments) = match entrypoint {
        Some("") => (Vec::new(), &[][..]),
        Some(program) => (vec![program.to_owned()], &[][..]),
        None => (
            config.entrypoint.clone().unwrap_or_default(),
            config.cmd.as_deref().unwrap_or_default(),
        ),
    };
    command.extend_from_slice(if asked.is_empty() {
        own_arguments
    } else {
        asked
    });
    command
}

/// The whole environment, in the order: what every container has, proxies of the host, the
/// image, what was asked for.
pub fn environment(
    config: &RunConfig,
    asked: Vec<(String, String)>,
    proxies: Vec<(String, String)>,
    home: &str,
    has_terminal: bool,
) -> Vec<(String, String)> {
    let mut variables = vec![("PATH".to_owned(), PATH.to_owned())];
    let mut set = |name: String, value: String| match variables
        .iter_mut()
        .find(|(known, _)| *known == name)
    {
        Some((_, old)) => *old = value,
        None => variables.push((name, value)),
    };
    set("HOME".to_owned(), home.to_owned());
    if has_terminal {
        set("TERM".to_owned(), "xterm".to_owned());
    }
    for (name, value) in proxies {
        set(name, value);
    }
    for variable in &config.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        set(name.to_owned(), value.to_owned());
    }
    for (name, value) in asked {
        set(name, value);
    }
    variables
}

/// The variables that flags ask for: files first, so that flags win.
pub fn asked_variables(
    files: &[PathBuf],
    flags: &[(String, Option<String>)],
    settings: &Settings,
) -> Result<Vec<(String, String)>, CommandError> {
    let mut asked = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| {
            CommandError::from_error(Kind::Usage, &error)
                .while_doing(format!("cannot read {}", file.display()))
        })?;
        asked.extend(text.lines().filter_map(line));
    }
    asked.extend(flags.iter().cloned());
    let value = |(name, value): (String, Option<String>)| {
        // A variable that the caller does not have is not set at all.
        let value = match value {
            Some(value) => value,
            None => settings.environment.exact(&name)?.to_str()?.to_owned(),
        };
        Some((name, value))
    };
    Ok(asked.into_iter().filter_map(value).collect())
}

/// A line of a file of variables: `NAME=VALUE` or `NAME`; nothing for remarks and empty lines.
/// Quotes are part of the value, as with docker.
fn line(line: &str) -> Option<(String, Option<String>)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    match line.split_once('=') {
        Some((name, value)) => Some((name.trim_end().to_owned(), Some(value.to_owned()))),
        None => Some((line.trim_end().to_owned(), None)),
    }
}

/// Where the command starts. A relative directory is below the image's own.
pub fn directory(config: &RunConfig, asked: Option<&Path>) -> PathBuf {
    let own = Path::new("/").join(&config.working_dir);
    match asked {
        Some(asked) => own.join(asked),
        None => own,
    }
}

/// Finds out who a user of the image is.
pub fn identity(view: &LayeredView, user: &str) -> Result<Identity, CommandError> {
    let accounts = Accounts {
        passwd: account_file(view, "/etc/passwd")?,
        group: account_file(view, "/etc/group")?,
    };
    accounts
        .identity(user)
        .map_err(|error| CommandError::from_error(Kind::Usage, &error))
}

fn account_file(view: &LayeredView, path: &str) -> Result<String, StoreError> {
    let found = view.find(Path::new(path), true)?;
    let Some(entry) = found.filter(|entry| entry.kind == EntryKind::File) else {
        return Ok(String::new());
    };
    let mut bytes = Vec::new();
    let file = view.open(&entry)?;
    file.take(ACCOUNTS_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|source| StoreError::Io {
            action: "read",
            path: entry.host_path,
            source,
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The signal that asks the command to stop: the image's, or SIGTERM.
pub fn stop_signal(config: &RunConfig) -> i32 {
    const NAMES: [(&str, i32); 12] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("WINCH", 28),
    ];
    /// The first real-time signal that programs may use.
    const RTMIN: i32 = 34;
    const SIGNALS_MAX: i32 = 64;
    let Some(text) = &config.stop_signal else {
        return SIGTERM;
    };
    let text = text.trim().to_ascii_uppercase();
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let number = match name.strip_prefix("RTMIN") {
        Some("") => Some(RTMIN),
        Some(above) => above.parse::<i32>().ok().map(|above| RTMIN + above),
        None => NAMES
            .iter()
            .find_map(|(known, number)| (*known == name).then_some(*number))
            .or_else(|| name.parse().ok()),
    };
    number
        .filter(|number| (1..=SIGNALS_MAX).contains(number))
        .unwrap_or(SIGTERM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::settings::{ColorChoice, Terminals};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn entrypoint_and_arguments_combine_as_with_docker() {
        let config = RunConfig {
            entrypoint: Some(words("/entry -x")),
            cmd: Some(words("serve")),
            ..RunConfig::default()
        };
        let run = |entrypoint, asked: &str| command(&config, entrypoint, &words(asked)).join(" ");
        assert_eq!(run(None, ""), "/entry -x serve");
        assert_eq!(run(None, "a b"), "/entry -x a b");
        assert_eq!(
            run(Some("sh"), ""),
            "sh",
            "the image's arguments go with its entrypoint"
        );
        assert_eq!(run(Some("sh"), "-c id"), "sh -c id");
        assert_eq!(run(Some(""), "id"), "id");
        assert_eq!(run(Some(""), ""), "");
        assert!(command(&RunConfig::default(), None, &[]).is_empty());
    }

    #[test]
    fn later_variables_win_and_keep_the_place() {
        let config = RunConfig {
            env: words("PATH=/bin A=1 HTTP_PROXY=own"),
            ..RunConfig::default()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let asked = vec![pair("A", "2"), pair("B", "")];
        let proxies = vec![pair("HTTP_PROXY", "host"), pair("NO_PROXY", "x")];
        let all = environment(&config, asked, proxies, "/root", true);
        let text: Vec<String> = all.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            text.join(" "),
            "PATH=/bin HOME=/root TERM=xterm HTTP_PROXY=own NO_PROXY=x A=2 B="
        );
    }

    #[test]
    fn variables_come_from_files_flags_and_the_caller() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        std::fs::write(
            &file,
            "# remark\n\nA=1\nFROM_CALLER\n  B = \"q\"\nMISSING\n",
        )
        .unwrap();
        let environment = Environment::from([("FROM_CALLER", "c"), ("D", "d")]);
        let terminals = Terminals::default();
        let settings = Settings::new(environment, terminals, None, ColorChoice::Auto);
        let flags = [
            ("A".to_owned(), Some("2".to_owned())),
            ("D".to_owned(), None),
        ];
        let all = asked_variables(&[file], &flags, &settings).unwrap();
        let text: Vec<String> = all.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(text, ["A=1", "FROM_CALLER=c", "B= \"q\"", "A=2", "D=d"]);
        assert!(asked_variables(&["/nonexistent".into()], &[], &settings).is_err());
    }

    #[test]
    fn a_directory_is_below_the_images_own() {
        let config = RunConfig {
            working_dir: "/app".to_owned(),
            ..RunConfig::default()
        };
        let at = |asked: Option<&str>| directory(&config, asked.map(Path::new));
        assert_eq!(at(None), Path::new("/app"));
        assert_eq!(at(Some("/x")), Path::new("/x"));
        assert_eq!(at(Some("y")), Path::new("/app/y"));
        assert_eq!(directory(&RunConfig::default(), None), Path::new("/"));
    }

    #[test]
    fn stop_signals_have_names_and_numbers() {
        let signal = |text: &str| {
            stop_signal(&RunConfig {
                stop_signal: Some(text.to_owned()),
                ..RunConfig::default()
            })
        };
        assert_eq!(signal("SIGINT"), 2);
        assert_eq!(signal("quit"), 3);
        assert_eq!(signal("9"), 9);
        assert_eq!(signal("SIGRTMIN+3"), 37);
        assert_eq!(signal("SIGNONSENSE"), SIGTERM);
        assert_eq!(signal("99"), SIGTERM);
        assert_eq!(stop_signal(&RunConfig::default()), SIGTERM);
    }
}
