//! What flags and environment mean together, decided once at the start.
//!
//! | setting | flag | variable | default |
//! | --- | --- | --- | --- |
//! | store | `--home` | `CAIRN_HOME` | `$XDG_DATA_HOME/cairn`, `~/.local/share/cairn` |
//! | colour | `--color` | `NO_COLOR`, `TERM=dumb` | where a terminal reads it |
//! | live progress | `--progress` | `TERM=dumb`, `CI` | where standard error is a terminal |
//! | image times | - | `SOURCE_DATE_EPOCH` | the commit's time |
//! | proxies | - | `HTTP_PROXY` and relatives, either case | none |

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::environment::Environment;
use crate::error::CommandError;

/// The proxy variables that builds pass on, as Docker predefines them.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// Whether to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ColorChoice {
    /// Where a terminal reads it and `NO_COLOR` is not set
    #[default]
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProgressChoice {
    /// `tty` on a terminal, else `plain`
    #[default]
    Auto,
    /// A live view
    Tty,
    /// Lines that keep each step's output together
    Plain,
    /// One JSON object per event and line, on standard error
    #[value(alias = "rawjson")]
    Json,
    /// Failures only
    #[value(alias = "none")]
    Quiet,
}

/// What is known of the terminals around the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terminals {
    /// Standard input is one.
    pub stdin: bool,
    /// Standard output is one.
    pub stdout: bool,
    /// Standard error is one.
    pub stderr: bool,
}

impl Terminals {
    /// Asks the operating system.
    pub fn of_process() -> Self {
        Self {
            stdin: std::io::stdin().is_terminal(),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
        }
    }
}

/// What every command needs to know about its surroundings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The variables, for the few commands that pass some of them on.
    pub environment: Environment,
    /// Which of the three streams are terminals.
    pub terminals: Terminals,
    /// Colour on standard output.
    pub color_stdout: bool,
    /// Colour on standard error.
    pub color_stderr: bool,
    /// The terminal shows more than ASCII.
    pub unicode: bool,
    /// `--home` made absolute, or the default; `None` where neither it nor `HOME` is known.
    home: Option<PathBuf>,
}

impl Settings {
    /// Combines flags, variables and terminals.
    pub fn new(
        environment: Environment,
        terminals: Terminals,
        home: Option<&Path>,
        color: ColorChoice,
    ) -> Self {
        let dumb = environment.text("TERM") == Some("dumb");
        let colored = |terminal: bool| match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !dumb && environment.raw("NO_COLOR").is_none(),
        };
        Self {
            terminals,
            color_stdout: colored(terminals.stdout),
            color_stderr: colored(terminals.stderr),
            unicode: speaks_unicode(&environment),
            home: store_home(&environment, home),
            environment,
        }
    }

    /// The store's directory.
    pub fn home(&self) -> Result<&Path, CommandError> {
        self.home.as_deref().ok_or_else(|| {
            CommandError::usage("there is no place for the store: `HOME` is not set")
                .hint("name a directory with `--home DIR` or `CAIRN_HOME`")
        })
    }

    /// How progress is shown when `choice` was asked for.
    pub fn progress(&self, choice: ProgressChoice) -> ProgressChoice {
        let draws = self.terminals.stderr
            && self.environment.text("TERM") != Some("dumb")
            && self.environment.raw("CI").is_none();
        match choice {
            ProgressChoice::Auto if draws => ProgressChoice::Tty,
            ProgressChoice::Auto => ProgressChoice::Plain,
            // A live view needs a terminal; asked for without one, lines are the nearest.
            ProgressChoice::Tty if !self.terminals.stderr => ProgressChoice::Plain,
            other => other,
        }
    }

    /// The proxy variables of this process, as build arguments. Both cases of a name are kept as
    /// they are: programs disagree on which one they read.
    pub fn proxies(&self) -> Vec<(String, String)> {
        PROXIES
            .iter()
            .flat_map(|name| [(*name).to_owned(), name.to_ascii_lowercase()])
            .filter_map(|name| {
                let value = self.environment.text(&name)?.to_owned();
                Some((name, value))
            })
            .collect()
    }

    /// `SOURCE_DATE_EPOCH`, if it is set.
    pub fn source_date_epoch(&self) -> Result<Option<i64>, CommandError> {
        let Some(value) = self.environment.raw("SOURCE_DATE_EPOCH") else {
            return Ok(None);
        };
        value
            .to_str()
            .and_then(|text| text.trim().parse().ok())
            .filter(|seconds| *seconds >= 0)
            .map(Some)
            .ok_or_else(|| {
                CommandError::usage(format!(
                    "`SOURCE_DATE_EPOCH` is `{}`, not a number of seconds",
                    value.to_string_lossy()
                ))
            })
    }

    /// Where temporary files of a run may lie.
    pub fn temporary_dir(&self) -> PathBuf {
        let named = self.environment.absolute_path("TMPDIR");
        named.unwrap_or_else(|| PathBuf::from("/tmp"))
    }
}

fn store_home(environment: &Environment, flag: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = flag {
        return std::path::absolute(path).ok();
    }
    if let Some(path) = environment.raw("CAIRN_HOME") {
        return std::path::absolute(path).ok();
    }
    environment
        .absolute_path("XDG_DATA_HOME")
        .or_else(|| Some(environment.absolute_path("HOME")?.join(".local/share")))
        .map(|data| data.join("cairn"))
}

fn speaks_unicode(environment: &Environment) -> bool {
    // The first of these that is set decides, by POSIX.
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| environment.text(name))
        .is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Terminals = Terminals {
        stdin: true,
        stdout: true,
        stderr: true,
    };

    fn with<const N: usize>(variables: [(&str, &str); N], terminals: Terminals) -> Settings {
        Settings::new(variables.into(), terminals, None, ColorChoice::Auto)
    }

    #[test]
    fn the_store_is_named_by_flag_then_variable_then_xdg() {
        let home = |settings: Settings| settings.home().map(Path::to_owned).ok();
        let full = [
            ("CAIRN_HOME", "/c"),
            ("XDG_DATA_HOME", "/x"),
            ("HOME", "/h"),
        ];
        let flagged = Settings::new(full.into(), ALL, Some(Path::new("/f")), ColorChoice::Auto);
        assert_eq!(home(flagged), Some("/f".into()));
        assert_eq!(home(with(full, ALL)), Some("/c".into()));
        assert_eq!(
            home(with([("XDG_DATA_HOME", "/x"), ("HOME", "/h")], ALL)),
            Some("/x/cairn".into())
        );
        assert_eq!(
            home(with([("XDG_DATA_HOME", "rel"), ("HOME", "/h")], ALL)),
            Some("/h/.local/share/cairn".into())
        );
        assert_eq!(home(with([], ALL)), None);
    }

    #[test]
    fn colour_follows_terminal_no_color_and_flag() {
        assert!(with([], ALL).color_stdout);
        assert!(!with([("NO_COLOR", "1")], ALL).color_stdout);
        assert!(
            with([("NO_COLOR", "")], ALL).color_stdout,
            "empty means unset"
        );
        assert!(!with([("TERM", "dumb")], ALL).color_stderr);
        assert!(!with([], Terminals::default()).color_stdout);
        let forced = Settings::new(
            [("NO_COLOR", "1")].into(),
            Terminals::default(),
            None,
            ColorChoice::Always,
        );
        assert!(forced.color_stderr, "a flag beats a variable");
    }

    #[test]
    fn progress_is_live_only_where_it_can_be() {
        let auto = ProgressChoice::Auto;
        assert_eq!(with([], ALL).progress(auto), ProgressChoice::Tty);
        assert_eq!(
            with([("CI", "true")], ALL).progress(auto),
            ProgressChoice::Plain
        );
        assert_eq!(
            with([("TERM", "dumb")], ALL).progress(auto),
            ProgressChoice::Plain
        );
        let piped = with([], Terminals::default());
        assert_eq!(piped.progress(auto), ProgressChoice::Plain);
        assert_eq!(piped.progress(ProgressChoice::Tty), ProgressChoice::Plain);
        assert_eq!(piped.progress(ProgressChoice::Json), ProgressChoice::Json);
    }

    #[test]
    fn both_cases_of_a_proxy_variable_pass() {
        let settings = with([("HTTP_PROXY", "http://a"), ("no_proxy", "b")], ALL);
        assert_eq!(
            settings.proxies(),
            [
                ("HTTP_PROXY".to_owned(), "http://a".to_owned()),
                ("no_proxy".to_owned(), "b".to_owned())
            ]
        );
    }

    #[test]
    fn an_epoch_that_is_no_number_is_wrong_usage() {
        assert_eq!(with([], ALL).source_date_epoch().ok(), Some(None));
        let good = with([("SOURCE_DATE_EPOCH", "1700000000")], ALL);
        assert_eq!(good.source_date_epoch().ok(), Some(Some(1_700_000_000)));
        for bad in ["yesterday", "-5", "1.5"] {
            let settings = with([("SOURCE_DATE_EPOCH", bad)], ALL);
            assert!(settings.source_date_epoch().is_err(), "{bad}");
        }
    }
}
