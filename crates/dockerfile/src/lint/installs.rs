//! Which commands install packages, and which.

use crate::shell::{Invocation, Word};

/// `pip install ...`, also as `python3 -m pip install`: the arguments after `install`, and the
/// word `install` itself.
pub(super) fn pip_install<'a>(invocation: &Invocation<'a>) -> Option<(&'a Word, &'a [Word])> {
    let program = invocation.program;
    let arguments = match program {
        _ if is_versioned(program, "pip") => invocation.arguments,
        _ if is_versioned(program, "python") || program == "pypy" => {
            let at = invocation
                .arguments
                .iter()
                .position(|word| word.text == "-m")?;
            match invocation.arguments.get(at + 1) {
                Some(module) if module.text == "pip" => &invocation.arguments[at + 2..],
                _ => return None,
            }
        }
        _ => return None,
    };
    // Options may stand before the word.
    let at = arguments
        .iter()
        .position(|word| !word.text.starts_with('-'))?;
    let install = &arguments[at];
    (install.text == "install").then(|| (install, &arguments[at + 1..]))
}

/// `pip`, `pip3`, `pip3.12` for `pip`.
pub(super) fn is_versioned(program: &str, name: &str) -> bool {
    program
        .strip_prefix(name)
        .is_some_and(|version| version.chars().all(|ch| ch.is_ascii_digit() || ch == '.'))
}

/// Whether a program is one of conda's kin.
pub(super) fn is_conda(program: &str) -> bool {
    matches!(program, "conda" | "mamba" | "micromamba")
}

/// Whether a command of conda's kin puts packages into an environment.
pub(super) fn conda_install(invocation: &Invocation<'_>) -> bool {
    if !is_conda(invocation.program) {
        return false;
    }
    let mut words = invocation.operands().map(|word| word.text.as_str());
    match words.next() {
        Some("install" | "create" | "update" | "upgrade") => true,
        Some("env") => matches!(words.next(), Some("create" | "update")),
        _ => false,
    }
}

/// `apt-get install` and its kin: what is asked of apt.
pub(super) fn apt<'a>(invocation: &Invocation<'a>) -> Option<&'a str> {
    match invocation.program {
        "apt-get" | "apt" | "aptitude" => apt_verb(invocation).map(|word| word.text.as_str()),
        _ => None,
    }
}

/// The word of `apt-get` that says what to do; options with a value stand before it.
pub(super) fn apt_verb<'a>(invocation: &Invocation<'a>) -> Option<&'a Word> {
    let mut words = invocation.arguments.iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "-o" | "-c" | "-t" | "--option" | "--config-file" | "--target-release"
            | "--default-release" => {
                words.next();
            }
            text if text.starts_with('-') => {}
            _ => return Some(word),
        }
    }
    None
}

/// The words that are neither options nor values of those that take one.
pub(super) fn operands<'a>(words: &'a [Word], valued: &[&str]) -> Vec<&'a Word> {
    let mut words = words.iter();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            option if valued.contains(&option) => {
                words.next();
            }
            option if option.starts_with('-') => {}
            _ => found.push(word),
        }
    }
    found
}

/// The packages that a command of apt names.
pub(super) fn apt_packages<'a>(invocation: &Invocation<'a>) -> Vec<&'a Word> {
    let mut words = invocation.arguments.iter();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "-o" | "-c" | "-t" | "--option" | "--config-file" | "--target-release"
            | "--default-release" => {
                words.next();
            }
            text if text.starts_with('-') => {}
            _ => found.push(word),
        }
    }
    if !found.is_empty() {
        found.remove(0);
    }
    found
}
