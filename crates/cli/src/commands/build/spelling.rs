//! Flags of a build in the spellings of other builders, as this one spells them.
//!
//! Docker and Buildah take `--no-cache=true` for `--no-cache`, and have `--pull` say when.

use std::ffi::OsString;

/// Switches of `cairn build` that others give a value.
const SWITCHES: [&str; 9] = [
    "--check",
    "--load",
    "--no-cache",
    "--offline",
    "--pull",
    "--pull-never",
    "--push",
    "--quiet",
    "--squash",
];

/// Puts the flags of `cairn build` into our spelling; other commands stay as they are.
pub fn plain(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut plain: Vec<OsString> = Vec::new();
    let mut place = Place::BeforeTheCommand;
    // The program's own name is no command.
    let mut is_value = true;
    for argument in arguments {
        let text = argument.to_str().unwrap_or_default();
        let was_value = std::mem::replace(&mut is_value, text == "--home" || text == "--color");
        let is_command = place == Place::BeforeTheCommand && !was_value && !text.starts_with('-');
        if is_command && text == "build" {
            place = Place::InABuild;
        } else if is_command || text == "--" {
            place = Place::Elsewhere;
        }
        let spelled = match ours(text).filter(|_| place == Place::InABuild) {
            Some(ours) => ours.map(OsString::from),
            None => Some(argument.clone()),
        };
        // A switch that is said twice says no more than once.
        let is_switch = SWITCHES.contains(&text) || spelled != Some(argument);
        if let Some(spelled) = spelled
            && !(place == Place::InABuild && is_switch && plain.contains(&spelled))
        {
            plain.push(spelled);
        }
    }
    plain
}

/// Where on the command line we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeTheCommand,
    InABuild,
    Elsewhere,
}

/// A flag in our spelling, if it has another; `None` in it stands for no flag at all.
fn ours(text: &str) -> Option<Option<&'static str>> {
    if text == "--pull-always" {
        return Some(Some("--pull"));
    }
    let (name, value) = text.split_once('=')?;
    if name == "--pull" {
        return match value {
            "true" | "1" | "always" | "newer" | "ifnewer" => Some(Some("--pull")),
            "false" | "0" | "missing" | "ifmissing" => Some(None),
            "never" => Some(Some("--pull-never")),
            _ => None,
        };
    }
    let switch = SWITCHES.into_iter().find(|switch| *switch == name)?;
    match crate::commands::output::truth(value)? {
        true => Some(Some(switch)),
        false => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_spelled_as_here_and_nothing_else() {
        let spelled = |line: &str| {
            let words = line.split_whitespace().map(OsString::from);
            let words: Vec<_> = plain(words)
                .into_iter()
                .map(|w| w.into_string().unwrap())
                .collect();
            words.join(" ")
        };
        for (line, expected) in [
            ("cairn build --no-cache=true .", "cairn build --no-cache ."),
            (
                "cairn build --no-cache=false --push=1 .",
                "cairn build --push .",
            ),
            (
                "cairn --home build build --pull=always .",
                "cairn --home build build --pull .",
            ),
            ("cairn build --pull=missing .", "cairn build ."),
            ("cairn build --pull=never .", "cairn build --pull-never ."),
            ("cairn build --pull-always .", "cairn build --pull ."),
            (
                "cairn build --pull=never --pull-never --no-cache --no-cache=1 .",
                "cairn build --pull-never --no-cache .",
            ),
            (
                "cairn build --pull=sometimes .",
                "cairn build --pull=sometimes .",
            ),
            ("cairn build -- --pull=never", "cairn build -- --pull=never"),
            (
                "cairn run i --no-cache=false",
                "cairn run i --no-cache=false",
            ),
            (
                "cairn run build --pull=never",
                "cairn run build --pull=never",
            ),
        ] {
            assert_eq!(spelled(line), expected);
        }
    }
}
