//! Versions of packages.

use super::caches::{is_off, is_set};
use crate::lint::facts::{Facts, Found};
use crate::lint::finding::{Findings, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};
use crate::shell::{Invocation, Word};

/// Packages with versions.
pub(in crate::lint) static UNPINNED_PACKAGES: Rule = Rule {
    name: "UnpinnedPackages",
    aliases: &[
        "DL3008", "DL3013", "DL3016", "DL3018", "DL3028", "DL3033", "DL3037", "DL3041", "DL3062",
    ],
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
    let words = match installs::pip_install(invocation) {
        Some((_, arguments)) => pip(arguments),
        None => others(invocation),
    };
    words.into_iter().map(str::to_owned).collect()
}

/// Whether a text is the name of something, and not a path, an address or a variable.
fn is_name(text: &str) -> bool {
    text.starts_with(|ch: char| ch.is_ascii_alphanumeric()) && !text.contains(['/', '$', ':'])
}

/// Options of `pip install` that take a value.
const PIP_VALUED: [&str; 33] = [
    "-i",
    "--index-url",
    "--extra-index-url",
    "-f",
    "--find-links",
    "-t",
    "--target",
    "--prefix",
    "--root",
    "-b",
    "--build",
    "--src",
    "--trusted-host",
    "--platform",
    "--python-version",
    "--implementation",
    "--abi",
    "--progress-bar",
    "--upgrade-strategy",
    "--global-option",
    "--install-option",
    "-C",
    "--config-settings",
    "--no-binary",
    "--only-binary",
    "--cache-dir",
    "--log",
    "--proxy",
    "--retries",
    "--timeout",
    "--report",
    "--python",
    "--root-user-action",
];

fn pip(arguments: &[Word]) -> Vec<&str> {
    const LOCKED: [&str; 6] = [
        "-r",
        "--requirement",
        "-c",
        "--constraint",
        "-e",
        "--editable",
    ];
    let is_locked = |word: &Word| LOCKED.iter().any(|option| word.text.starts_with(option));
    if arguments.iter().any(is_locked) {
        return Vec::new();
    }
    let names = installs::operands(arguments, &PIP_VALUED).into_iter();
    let names = names.map(|word| word.text.as_str());
    names
        .filter(|text| {
            let is_versioned = text.contains(['=', '<', '>', '~', '@']);
            let is_file = text.ends_with(".whl") || text.ends_with(".gz");
            let is_tool = matches!(*text, "pip" | "setuptools" | "wheel");
            is_name(text) && !is_versioned && !is_file && !is_tool || is_moving_repository(text)
        })
        .collect()
}

/// A repository without a branch, tag or commit: `git+https://host/a.git`.
fn is_moving_repository(text: &str) -> bool {
    let address = text
        .strip_prefix("git+")
        .and_then(|rest| rest.split_once("://"));
    let path = address.and_then(|(_, rest)| rest.split_once('/'));
    path.is_some_and(|(_, path)| !path.contains(['@', '$']))
}

/// Options of apk that take a value.
const APK_VALUED: [&str; 10] = [
    "-t",
    "--virtual",
    "-X",
    "--repository",
    "-p",
    "--root",
    "--arch",
    "--keys-dir",
    "--repositories-file",
    "--cache-dir",
];
/// Options of dnf and its kin, and of zypper, that take a value.
const RPM_VALUED: [&str; 14] = [
    "-c",
    "--config",
    "-x",
    "--exclude",
    "--enablerepo",
    "--disablerepo",
    "--repo",
    "--repoid",
    "--releasever",
    "--installroot",
    "-r",
    "--from",
    "-t",
    "--type",
];

fn others<'a>(invocation: &Invocation<'a>) -> Vec<&'a str> {
    let texts = |words: Vec<&'a Word>| words.into_iter().map(|word| word.text.as_str());
    let behind = |verbs: &[&str], valued: &[&str]| {
        let mut words = texts(installs::operands(invocation.arguments, valued));
        let is_install = words.next().is_some_and(|verb| verbs.contains(&verb));
        words.filter(move |_| is_install).collect::<Vec<_>>()
    };
    let has_version = |text: &str| text.contains(['=', '~', '<', '>']);
    let named = |words: Vec<&'a str>, is_pinned: fn(&str) -> bool| -> Vec<&'a str> {
        let words = words.into_iter();
        words
            .filter(|text| is_name(text) && !is_pinned(text))
            .collect()
    };
    match (invocation.program, installs::apt(invocation)) {
        (_, Some("install")) => {
            let names = texts(installs::apt_packages(invocation)).collect();
            named(names, |text| text.contains('=') || text.ends_with(".deb"))
        }
        ("apk", _) => {
            let names = behind(&["add"], &APK_VALUED).into_iter();
            let names = names.filter(|text| !has_version(text)).collect();
            named(names, |text| text.ends_with(".apk"))
        }
        ("dnf" | "dnf5" | "yum" | "microdnf", _) => named(
            behind(&["install", "reinstall"], &RPM_VALUED),
            has_rpm_version,
        ),
        ("zypper", _) => {
            let names = behind(&["install", "in"], &RPM_VALUED).into_iter();
            let names = names.filter(|text| !has_version(text)).collect();
            named(names, has_rpm_version)
        }
        ("npm", _) => {
            let names = behind(&["install", "i", "add"], &["--prefix", "--registry", "-w"]);
            let names = names.into_iter().filter(|text| is_npm_name(text));
            names.filter(|text| !text[1..].contains('@')).collect()
        }
        ("gem", _) if !invocation.has_option(&["-v", "--version", "-g", "--file"]) => named(
            behind(
                &["install", "i"],
                &["-i", "--install-dir", "-n", "--bindir", "-s", "--source"],
            ),
            |text| text.contains(':') || text.ends_with(".gem"),
        ),
        ("go", _) => {
            let names = behind(&["install"], &["-ldflags", "-tags", "-o"]).into_iter();
            names.filter(|text| text.ends_with("@latest")).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the name of a package of rpm ends with a version: `openssl-1:1.1.1k`. A name may have a
/// number of its own, and then is taken for one with a version.
fn has_rpm_version(text: &str) -> bool {
    let is_file = text.ends_with(".rpm");
    let parts = text.split('-').skip(1);
    is_file
        || parts
            .into_iter()
            .any(|part| part.starts_with(|ch: char| ch.is_ascii_digit()))
}

/// Whether a word names a package of npm, with its scope or without.
fn is_npm_name(text: &str) -> bool {
    match text.strip_prefix('@') {
        Some(scoped) => scoped.split('/').count() == 2 && !scoped.contains(['$', ':']),
        None => is_name(text),
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(run: &str, expected: usize) {
        let text = format!("FROM debian:13\nRUN {run}\n");
        assert_eq!(count("UnpinnedPackages", &text), expected, "{run}");
    }

    #[test]
    fn what_has_no_version() {
        for run in [
            "pip install --index-url url example",
            "pip install git+https://example.org/a/b.git#egg=b",
            "apk add --no-cache -t deps curl",
            "apk --no-cache add curl",
            "dnf install -y rpm-sign",
            "microdnf install tomcat",
            "zypper -n install curl",
            "npm install -g typescript",
            "npm i @scope/name",
            "gem install bundler",
            "go install example.org/cmd@latest",
        ] {
            check(run, 1);
        }
    }

    #[test]
    fn what_has_one_or_needs_none() {
        for run in [
            "pip install x==1 --index-url y -U",
            "pip install --target lib x==1",
            "pip install git+https://example.org/a/b.git@v1#egg=b",
            "apk add --virtual deps curl=8.1",
            "apk add -X https://example.org/edge curl~8.1",
            "apk add x-1.1.apk",
            "dnf install -y --enablerepo extra tomcat-9.0.1 gcc-c++-1.1.1",
            "dnf install -y openssl-1:1.1.1k \"git-core-${GIT_VER}\"",
            "yum install -y ./x.rpm x.rpm",
            "zypper in -y curl=8.1",
            "npm install",
            "npm install -g typescript@5.4 @scope/name@1",
            "npm ci",
            "gem install bundler -v 2.0",
            "gem install bundler:2.0",
            "go install example.org/cmd@v1.2.3",
            "go build ./...",
        ] {
            check(run, 0);
        }
    }
}
