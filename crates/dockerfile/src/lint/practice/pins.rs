//! Versions of packages.

use super::caches::{is_off, is_set};
use crate::lint::facts::{Facts, Found};
use crate::lint::finding::{Findings, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};

/// Packages with versions.
pub(in crate::lint) static UNPINNED_PACKAGES: Rule = Rule {
    name: "UnpinnedPackages",
    aliases: &["DL3008", "DL3013", "DL3018"],
    group: Group::Science,
    level: Level::Info,
    is_experimental: false,
    summary: "Packages should be installed in versions that are written down",
    why: "The newest version on the day of the build is another one next month. A lock \
          (`cairn.lock`, `requirements.txt` with hashes, `uv.lock`, `pixi.lock`) or a version with \
          each name gives the same packages again.",
    bad: "FROM python:3.13-slim\nRUN pip install --no-cache-dir numpy\n",
    good: "FROM python:3.13-slim\nRUN pip install --no-cache-dir numpy==2.3.1\n",
    check,
};

/// Environments from a lock that is kept to (EPI-05, MAN-03).
pub(in crate::lint) static UNLOCKED_INSTALL: Rule = Rule {
    name: "UnlockedInstall",
    aliases: &[],
    group: Group::Science,
    level: Level::Warning,
    is_experimental: false,
    summary: "An environment should be installed from its lock, or not at all",
    why: "`uv sync` and `pixi install` solve again where the lock is missing or does not fit, and \
          the image has other packages than anybody tested. With `--locked` the build fails then; \
          `--frozen` takes the lock as it is.",
    bad: "FROM python:3.13-slim\nRUN uv sync --no-cache\n",
    good: "FROM python:3.13-slim\nRUN uv sync --no-cache --locked\n",
    check: unlocked,
};

fn unlocked(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        for command in run.work.commands() {
            let invocation = &command.invocation;
            let (verb, variables) = match invocation.program {
                "uv" => ("sync", ["UV_LOCKED", "UV_FROZEN"]),
                "pixi" => ("install", ["PIXI_LOCKED", "PIXI_FROZEN"]),
                _ => continue,
            };
            let is_locked = invocation.has_option(&["--locked", "--frozen"])
                || variables
                    .iter()
                    .any(|name| is_off(&run, name) || is_set(&invocation.variables, name));
            if invocation.subcommand() == Some(verb) && !is_locked {
                let program = invocation.program;
                let detail = format!("`{program} {verb}` without `--locked` or `--frozen`");
                found.at(command.span, detail);
            }
        }
    }
}

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        for command in run.work.commands() {
            let names = unpinned(&command);
            if names.is_empty() {
                continue;
            }
            const SHOWN: usize = 3;
            let more = names.len().saturating_sub(SHOWN);
            let mut text = names[..names.len().min(SHOWN)].join(", ");
            if more > 0 {
                text.push_str(&format!(" and {more} more"));
            }
            found.at(command.span, format!("no version is given for {text}"));
        }
    }
}

fn unpinned(command: &Found<'_>) -> Vec<String> {
    let invocation = &command.invocation;
    let is_name = |text: &str| {
        text.starts_with(|ch: char| ch.is_ascii_alphanumeric()) && !text.contains(['/', '$', ':'])
    };
    let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    if let Some((_, arguments)) = installs::pip_install(invocation) {
        let is_locked = arguments.iter().any(|word| {
            [
                "-r",
                "--requirement",
                "-c",
                "--constraint",
                "-e",
                "--editable",
            ]
            .iter()
            .any(|option| word.text.starts_with(option))
        });
        let names = arguments.iter().map(|word| word.text.as_str());
        let names = names.filter(|text| {
            is_name(text)
                && !text.contains(['=', '<', '>', '~', '@'])
                && !text.ends_with(".whl")
                && !text.ends_with(".gz")
                && !matches!(*text, "pip" | "setuptools" | "wheel")
        });
        return if is_locked {
            Vec::new()
        } else {
            own(names.collect())
        };
    }
    match (invocation.program, installs::apt(invocation)) {
        (_, Some("install")) => {
            let names = installs::apt_packages(invocation).into_iter();
            let names = names.map(|word| word.text.as_str());
            own(names
                .filter(|text| is_name(text) && !text.contains('=') && !text.ends_with(".deb"))
                .collect())
        }
        ("apk", _) if invocation.operands().any(|word| word.text == "add") => {
            let names = invocation.operands().map(|word| word.text.as_str());
            let names = names.skip_while(|text| *text != "add").skip(1);
            own(names
                .filter(|text| is_name(text) && !text.contains(['=', '~', '<', '>']))
                .collect())
        }
        _ => Vec::new(),
    }
}
