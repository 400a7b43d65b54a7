//! Downloads of package managers that stay in layers (BOR-04).

use crate::lint::facts::{Facts, Found, RunStep};
use crate::lint::finding::{Findings, Fix, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};

/// No downloads of pip.
pub(in crate::lint) static PIP_CACHE_LEFT: Rule = Rule {
    name: "PipCacheLeft",
    aliases: &["DL3042"],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "The downloads of pip should not stay in the image",
    why: "pip keeps every wheel that it downloads, as large again as what it installs. In a layer \
          nobody ever reads them. `--no-cache-dir` or PIP_NO_CACHE_DIR=1 keeps none; a cache mount \
          (`--mount=type=cache,target=/root/.cache`) keeps them outside the image, for the next \
          build.",
    bad: "FROM python:3.13-slim\nRUN pip install numpy\n",
    good: "FROM python:3.13-slim\nRUN pip install --no-cache-dir numpy\n",
    check: pip,
};

fn pip(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs().filter(|run| run.stage.is_shipped) {
        if is_off(&run, "PIP_NO_CACHE_DIR") || is_outside(facts, &run, &["pip", "PIP_CACHE_DIR"]) {
            continue;
        }
        let commands: Vec<Found<'_>> = run.work.commands().collect();
        let is_cleaned = commands.iter().any(|command| {
            let invocation = &command.invocation;
            removes(invocation, &[".cache", "/pip"])
                || installs::is_versioned(invocation.program, "pip")
                    && invocation.subcommand() == Some("cache")
        });
        if is_cleaned {
            continue;
        }
        for command in &commands {
            let invocation = &command.invocation;
            let Some((install, _)) = installs::pip_install(invocation) else {
                continue;
            };
            let is_told = invocation.has_option(&[
                "--no-cache-dir",
                "--no-cache",
                "--cache-dir",
                "--dry-run",
            ]) || is_set(&invocation.variables, "PIP_NO_CACHE_DIR");
            if is_told {
                continue;
            }
            let fix = command
                .exact(&install.range)
                .map(|span| Fix::insert(span.end, " --no-cache-dir"));
            let detail = "the downloads of `pip install` stay in the layer";
            found.fixable(command.span, detail, fix);
        }
    }
}

/// No downloads of conda.
pub(in crate::lint) static CONDA_CACHE_LEFT: Rule = Rule {
    name: "CondaCacheLeft",
    aliases: &[],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "The downloads of conda should not stay in the image",
    why: "conda keeps the archive and an unpacked copy of each package beside the environment: \
          gigabytes for a scientific one. `conda clean -afy` removes them, in the same RUN; a \
          later one only hides them.",
    bad: "FROM condaforge/miniforge3:25.3.0-3\nRUN conda install -y numpy\n",
    good: "FROM condaforge/miniforge3:25.3.0-3\nRUN conda install -y numpy && conda clean -afy\n",
    check: conda,
};

fn conda(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs().filter(|run| run.stage.is_shipped) {
        if is_outside(facts, &run, &["pkgs", "conda", "mamba", "CONDA_PKGS_DIRS"]) {
            continue;
        }
        let commands: Vec<Found<'_>> = run.work.commands().collect();
        let is_cleaned = commands.iter().any(|command| {
            let invocation = &command.invocation;
            removes(invocation, &["pkgs", ".mamba", ".conda"])
                || installs::is_conda(invocation.program)
                    && invocation.subcommand() == Some("clean")
        });
        let first = commands
            .iter()
            .find(|command| installs::conda_install(&command.invocation));
        if let Some(command) = first.filter(|_| !is_cleaned) {
            let detail = format!(
                "the packages that `{}` downloads stay in the layer: end with `{} clean -afy`",
                command.invocation.program, command.invocation.program
            );
            found.at(command.span, detail);
        }
    }
}

/// No downloads of uv.
pub(in crate::lint) static UV_CACHE_LEFT: Rule = Rule {
    name: "UvCacheLeft",
    aliases: &[],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "The downloads of uv should not stay in the image",
    why: "uv keeps what it downloads and unpacks in a cache beside the environment. `--no-cache` \
          or UV_NO_CACHE=1 keeps nothing; a cache mount at /root/.cache/uv keeps it outside the \
          image, for the next build.",
    bad: "FROM python:3.13-slim\nRUN uv sync --frozen\n",
    good: "FROM python:3.13-slim\nRUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen\n",
    check: uv,
};

fn uv(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs().filter(|run| run.stage.is_shipped) {
        if is_off(&run, "UV_NO_CACHE") || is_outside(facts, &run, &["uv", "UV_CACHE_DIR"]) {
            continue;
        }
        let commands: Vec<Found<'_>> = run.work.commands().collect();
        let is_cleaned = commands.iter().any(|command| {
            let invocation = &command.invocation;
            removes(invocation, &[".cache", "/uv"])
                || invocation.program == "uv" && invocation.subcommand() == Some("cache")
        });
        let first = commands.iter().find(|command| {
            let invocation = &command.invocation;
            let verbs: Vec<&str> = invocation
                .operands()
                .map(|word| word.text.as_str())
                .collect();
            let installs = matches!(
                verbs.as_slice(),
                ["sync" | "add", ..] | ["pip", "install" | "sync", ..] | ["tool", "install", ..]
            );
            invocation.program == "uv"
                && installs
                && !invocation.has_option(&["--no-cache", "-n", "--cache-dir"])
                && !is_set(&invocation.variables, "UV_NO_CACHE")
        });
        if let Some(command) = first.filter(|_| !is_cleaned) {
            let detail = "the downloads of `uv` stay in the layer";
            found.at(command.span, detail);
        }
    }
}

/// No index of apk.
pub(in crate::lint) static APK_CACHE_LEFT: Rule = Rule {
    name: "ApkCacheLeft",
    aliases: &["DL3019"],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "The index of apk should not stay in the image",
    why: "`apk add --no-cache` reads the package index without keeping it, and needs no \
          `apk update` before.",
    bad: "FROM alpine:3.22\nRUN apk add curl\n",
    good: "FROM alpine:3.22\nRUN apk add --no-cache curl\n",
    check: apk,
};

fn apk(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs().filter(|run| run.stage.is_shipped) {
        if is_outside(facts, &run, &["apk"]) {
            continue;
        }
        let commands: Vec<Found<'_>> = run.work.commands().collect();
        let is_cleaned = commands
            .iter()
            .any(|command| removes(&command.invocation, &["/var/cache/apk", "/etc/apk/cache"]));
        for command in commands.iter().filter(|_| !is_cleaned) {
            let invocation = &command.invocation;
            let mut operands = invocation.operands();
            let Some(add) = operands.find(|word| word.text == "add") else {
                continue;
            };
            if invocation.program != "apk" || invocation.has_option(&["--no-cache"]) {
                continue;
            }
            let fix = command
                .exact(&add.range)
                .map(|span| Fix::insert(span.end, " --no-cache"));
            found.fixable(
                command.span,
                "the index of `apk add` stays in the layer",
                fix,
            );
        }
    }
}

/// No downloads of dnf.
pub(in crate::lint) static DNF_CACHE_LEFT: Rule = Rule {
    name: "DnfCacheLeft",
    aliases: &["DL3032", "DL3036", "DL3040"],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "The downloads of dnf, yum and zypper should not stay in the image",
    why: "Packages and indexes stay in /var/cache until `clean all` removes them, in the same RUN.",
    bad: "FROM fedora:42\nRUN dnf install -y gcc\n",
    good: "FROM fedora:42\nRUN dnf install -y gcc && dnf clean all\n",
    check: dnf,
};

fn dnf(facts: &Facts<'_>, found: &mut Findings) {
    let is_dnf = |program: &str| matches!(program, "dnf" | "dnf5" | "yum" | "microdnf" | "zypper");
    for run in facts.runs().filter(|run| run.stage.is_shipped) {
        if is_outside(facts, &run, &["dnf", "libdnf5", "yum", "zypp"]) {
            continue;
        }
        let commands: Vec<Found<'_>> = run.work.commands().collect();
        let is_cleaned = commands.iter().any(|command| {
            let invocation = &command.invocation;
            let cleans = |word: &crate::shell::Word| matches!(word.text.as_str(), "clean" | "cc");
            removes(invocation, &["/var/cache"])
                || is_dnf(invocation.program) && invocation.operands().any(cleans)
        });
        let first = commands.iter().find(|command| {
            let invocation = &command.invocation;
            let mut operands = invocation.operands();
            is_dnf(invocation.program)
                && operands
                    .any(|word| matches!(word.text.as_str(), "install" | "groupinstall" | "in"))
        });
        if let Some(command) = first.filter(|_| !is_cleaned) {
            let program = command.invocation.program;
            let detail = format!(
                "the downloads of `{program}` stay in the layer: end with `{program} clean all`"
            );
            found.at(command.span, detail);
        }
    }
}

/// Whether a variable is set for a `RUN` to something that means yes.
pub(super) fn is_off(run: &RunStep<'_, '_>, name: &str) -> bool {
    let variables = run.stage.variables_at(run.step);
    let by_stage = variables.value(name).is_some_and(means_yes);
    by_stage
        || run.work.commands().any(|command| {
            let invocation = &command.invocation;
            let start = format!("{name}=");
            invocation.program == "export"
                && invocation
                    .arguments
                    .iter()
                    .any(|word| word.text.strip_prefix(&start).is_some_and(means_yes))
        })
}

/// Whether a variable that switches something on does so by this value.
fn means_yes(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    !matches!(
        value.as_str(),
        "" | "0" | "off" | "no" | "false" | "n" | "f"
    )
}

pub(super) fn is_set(variables: &[(&str, &str)], name: &str) -> bool {
    variables
        .iter()
        .any(|(known, value)| *known == name && means_yes(value))
}

/// Whether the cache lies outside the layer: on a mount whose path has one of these names or is
/// `.cache`, or in a directory that a variable puts there.
fn is_outside(facts: &Facts<'_>, run: &RunStep<'_, '_>, names: &[&str]) -> bool {
    let kept = run.kept_out(facts);
    let variables = run.stage.variables_at(run.step);
    let by_variable = names.iter().any(|name| {
        variables.value(name).is_some_and(|path| {
            !path.is_empty() && kept.iter().any(|target| path.starts_with(target.as_str()))
        })
    });
    by_variable
        || kept.iter().any(|target| {
            let mut parts = target.split('/');
            parts.any(|part| {
                matches!(part, ".cache" | "cache" | "root" | "tmp")
                    || names
                        .iter()
                        .any(|name| part.trim_start_matches('.').starts_with(name))
            })
        })
}

/// Whether a command removes a path that has one of these in it.
fn removes(invocation: &crate::shell::Invocation<'_>, parts: &[&str]) -> bool {
    matches!(invocation.program, "rm" | "find")
        && invocation
            .arguments
            .iter()
            .any(|word| parts.iter().any(|part| word.text.contains(part)))
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(rule: &str, text: &str, expected: usize) {
        let text = format!("FROM debian:13\n{text}\n");
        assert_eq!(count(rule, &text), expected, "{text}");
    }

    #[test]
    fn pip() {
        let check = |text, expected| check("PipCacheLeft", text, expected);
        check("RUN pip install x", 1);
        check(
            "RUN python3 -m pip install -r r.txt && pip3.12 install y",
            2,
        );
        check("ENV PIP_NO_CACHE_DIR=1\nRUN pip install x", 0);
        check("ARG PIP_NO_CACHE_DIR=1\nRUN pip install x", 0);
        check("RUN PIP_NO_CACHE_DIR=1 pip install x", 0);
        check("RUN export PIP_NO_CACHE_DIR=1 && pip install x", 0);
        check(
            "RUN --mount=type=cache,target=/root/.cache/pip pip install x",
            0,
        );
        check(
            "RUN --mount=type=cache,target=/root/.cache pip install x",
            0,
        );
        check(
            "RUN --mount=type=tmpfs,target=/root/.cache pip install x",
            0,
        );
        check(
            "ENV PIP_CACHE_DIR=/k\nRUN --mount=type=cache,target=/k pip install x",
            0,
        );
        check("RUN --mount=type=cache,target=/x pip install x", 1);
        check("RUN pip --no-cache-dir install x", 0);
        check("RUN pip install x && rm -rf ~/.cache", 0);
        check("RUN pip install x && pip cache purge", 0);
        check("RUN uv pip install --no-cache x", 0);
        check("RUN echo pip install x", 0);
    }

    #[test]
    fn conda() {
        let check = |text, expected| check("CondaCacheLeft", text, expected);
        check("RUN conda install -y x", 1);
        check("RUN mamba env create -f e.yml && conda install y", 1);
        check(
            "RUN micromamba install -y x && micromamba clean --all --yes",
            0,
        );
        check("RUN conda env update -f e.yml && conda clean -afy", 0);
        check(
            "RUN --mount=type=cache,target=/opt/conda/pkgs conda install -y x",
            0,
        );
        check("RUN conda install -y x && rm -rf /opt/conda/pkgs", 0);
        check("RUN conda config --add channels x", 0);
    }

    #[test]
    fn uv_apk_and_dnf() {
        check("UvCacheLeft", "RUN uv pip install x && uv sync", 1);
        check(
            "UvCacheLeft",
            "RUN --mount=type=cache,target=/root/.cache/uv uv sync",
            0,
        );
        check("UvCacheLeft", "ENV UV_NO_CACHE=1\nRUN uv sync", 0);
        check("UvCacheLeft", "RUN uv run python x.py", 0);
        check("ApkCacheLeft", "RUN apk -U add x", 1);
        check("ApkCacheLeft", "RUN apk add --no-cache x && apk del x", 0);
        check(
            "ApkCacheLeft",
            "RUN apk add x && rm -rf /var/cache/apk/*",
            0,
        );
        check("DnfCacheLeft", "RUN yum -y install x", 1);
        check("DnfCacheLeft", "RUN dnf install -y x && dnf clean all", 0);
        check(
            "DnfCacheLeft",
            "RUN zypper -n install x && zypper clean -a",
            0,
        );
    }
}
