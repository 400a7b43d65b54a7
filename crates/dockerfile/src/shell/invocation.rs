//! Which program a command really starts: `sudo env A=b conda run -n x pip install y` is a `pip`.

use super::{Simple, Word};

/// A program that starts another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapper {
    /// `sudo`
    Sudo,
    /// One that changes nothing about where programs are found: `env`, `nice`, `time`.
    Plain,
    /// One that starts it in an environment: `conda run`, `pixi run`, `uv run`.
    Environment,
}

/// A program and its arguments, wrappers taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// The command it was found in.
    pub simple: &'a Simple,
    /// The wrappers, outermost first.
    pub wrappers: Vec<Wrapper>,
    /// Variables set for it, by assignments and by `env`.
    pub variables: Vec<(&'a str, &'a str)>,
    /// The program's name without its directory.
    pub program: &'a str,
    /// The program as a word.
    pub word: &'a Word,
    /// Its arguments.
    pub arguments: &'a [Word],
}

/// Wrappers with those of their options that take a value.
const WRAPPERS: &[(&str, Wrapper, &[&str])] = &[
    (
        "sudo",
        Wrapper::Sudo,
        &["-u", "-g", "-h", "-p", "-C", "--user", "--group"],
    ),
    ("env", Wrapper::Plain, &["-u", "-C", "-S"]),
    ("nice", Wrapper::Plain, &["-n"]),
    ("ionice", Wrapper::Plain, &["-c", "-n"]),
    ("time", Wrapper::Plain, &["-o", "-f"]),
    ("timeout", Wrapper::Plain, &["-s", "-k"]),
    ("nohup", Wrapper::Plain, &[]),
    ("exec", Wrapper::Plain, &["-a"]),
    ("eatmydata", Wrapper::Plain, &[]),
    ("gosu", Wrapper::Plain, &[]),
    ("retry", Wrapper::Plain, &[]),
];

/// Programs whose `run` starts another one in an environment, and options with a value.
const RUNNERS: &[(&str, &[&str])] = &[
    ("conda", RUN_OPTIONS),
    ("mamba", RUN_OPTIONS),
    ("micromamba", RUN_OPTIONS),
    ("pixi", &["-e", "--environment", "--manifest-path"]),
    (
        "uv",
        &[
            "--with",
            "--python",
            "-p",
            "--extra",
            "--group",
            "--project",
            "--directory",
        ],
    ),
    ("poetry", &["-C", "-P"]),
    ("pipenv", &[]),
    ("hatch", &[]),
];
const RUN_OPTIONS: &[&str] = &["-n", "--name", "-p", "--prefix", "--cwd", "-e"];

impl<'a> Invocation<'a> {
    /// Finds the program of a command; `None` if there is none, or it cannot be known.
    pub fn of(simple: &'a Simple) -> Option<Self> {
        let mut variables: Vec<(&str, &str)> = simple
            .assignments
            .iter()
            .map(|(name, value)| (name.as_str(), value.text.as_str()))
            .collect();
        let mut wrappers = Vec::new();
        let mut words = simple.words.as_slice();
        loop {
            let (word, arguments) = words.split_first()?;
            let program = base_name(&word.text);
            let Some((wrapper, rest)) = unwrap(program, arguments, &mut variables) else {
                return Some(Self {
                    simple,
                    wrappers,
                    variables,
                    program,
                    word,
                    arguments,
                });
            };
            wrappers.push(wrapper);
            words = rest;
        }
    }

    /// The arguments that are no options, up to `--`.
    pub fn operands(&self) -> impl Iterator<Item = &'a Word> + use<'a> {
        self.arguments
            .iter()
            .filter(|word| !word.text.starts_with('-'))
    }

    /// The first argument that is no option: `install` of `pip -q install x`.
    pub fn subcommand(&self) -> Option<&'a str> {
        self.operands().next().map(|word| word.text.as_str())
    }

    /// Whether one of these options is there, alone or as `--name=value`.
    pub fn has_option(&self, names: &[&str]) -> bool {
        self.arguments.iter().any(|word| {
            let name = word.text.split('=').next().unwrap_or_default();
            names.contains(&name)
        })
    }

    /// Whether a single letter is among the short options: `y` of `-qy`.
    pub fn has_letter(&self, letter: char) -> bool {
        self.arguments.iter().any(|word| {
            let letters = word.text.strip_prefix('-').unwrap_or_default();
            !letters.starts_with('-')
                && letters.chars().all(|ch| ch.is_ascii_alphabetic())
                && letters.contains(letter)
        })
    }
}

fn base_name(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

/// Takes a wrapper and its options off.
fn unwrap<'a>(
    program: &str,
    arguments: &'a [Word],
    variables: &mut Vec<(&'a str, &'a str)>,
) -> Option<(Wrapper, &'a [Word])> {
    if let Some((_, wrapper, valued)) = WRAPPERS.iter().find(|(name, ..)| *name == program) {
        let mut rest = skip_options(arguments, valued);
        // The duration of `timeout`, the user of `gosu`.
        if matches!(program, "timeout" | "gosu") {
            rest = rest.get(1..)?;
        }
        while let Some((first, after)) = rest.split_first() {
            let Some((name, value)) = first.text.split_once('=') else {
                break;
            };
            variables.push((name, value));
            rest = after;
        }
        return (!rest.is_empty()).then_some((*wrapper, rest));
    }
    let (_, valued) = RUNNERS.iter().find(|(name, _)| *name == program)?;
    let before = skip_options(arguments, &[]);
    let (first, rest) = before.split_first()?;
    if first.text != "run" {
        return None;
    }
    let rest = skip_options(rest, valued);
    (!rest.is_empty()).then_some((Wrapper::Environment, rest))
}

fn skip_options<'a>(mut words: &'a [Word], valued: &[&str]) -> &'a [Word] {
    while let Some((first, rest)) = words.split_first() {
        if first.text == "--" {
            return rest;
        }
        if !first.text.starts_with('-') {
            break;
        }
        words = match valued.contains(&first.text.as_str()) {
            true => rest.get(1..).unwrap_or_default(),
            false => rest,
        };
    }
    words
}
