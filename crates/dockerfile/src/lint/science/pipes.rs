//! Failures at the front of a pipeline, and which commands have to work.

use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};
use crate::shell::{AndOr, Command, Invocation, Pipeline, Script};

/// A download into a pipe, with `pipefail`.
pub(in crate::lint) static PIPE_HIDES_FAILURE: Rule = Rule {
    name: "PipeHidesFailure",
    aliases: &["DL4006"],
    group: Group::Science,
    level: Level::Warning,
    is_experimental: false,
    summary: "A download into a pipe should fail the build when it fails",
    why: "A pipeline ends with the status of its last command. When the download fails, a shell \
          or an interpreter behind the pipe reads nothing, does nothing and reports success. \
          `set -o pipefail` (bash) makes the failure count; a file between the two does so in any \
          shell. Where the last command notices that its input ends too early (`tar`, `gunzip`) \
          nothing is reported.",
    bad: "FROM debian:13-slim\nRUN curl -fsSL https://example.org/install.sh | sh\n",
    good: "FROM debian:13-slim\nSHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN curl -fsSL https://example.org/install.sh | sh\n",
    check,
};

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        let scripts = run.work.scripts.iter();
        for placed in scripts.filter(|script| !script.has_pipefail) {
            let mut pipelines = Vec::new();
            collect(&placed.script, &mut pipelines);
            for pipeline in pipelines {
                if let Some((download, last)) = swallowed(pipeline) {
                    let range = download.simple.range.start..last.simple.range.end;
                    let detail = format!(
                        "a failure of `{}` is not noticed: `{}` reads nothing and succeeds",
                        download.program, last.program
                    );
                    found.at(placed.span(&range), detail);
                }
            }
        }
    }
}

fn collect<'a>(script: &'a Script, found: &mut Vec<&'a Pipeline>) {
    for pipeline in script.lists.iter().flat_map(AndOr::pipelines) {
        found.push(pipeline);
        for command in &pipeline.commands {
            if let Command::Compound(compound) = command {
                compound.parts.iter().for_each(|part| collect(part, found));
            }
        }
    }
}

/// A download at the front, and a last command that is content with nothing.
fn swallowed(pipeline: &Pipeline) -> Option<(Invocation<'_>, Invocation<'_>)> {
    let [first, .., last] = pipeline.commands.as_slice() else {
        return None;
    };
    let (first, last) = (invocation(first)?, invocation(last)?);
    let is_content = matches!(
        last.program,
        "sh" | "bash"
            | "dash"
            | "zsh"
            | "python"
            | "python3"
            | "perl"
            | "ruby"
            | "node"
            | "R"
            | "tee"
            | "cat"
            | "wc"
            | "sort"
            | "head"
            | "tail"
            | "sed"
            | "awk"
            | "tr"
            | "cut"
            | "xargs"
            | "jq"
    );
    // `bash -c "..."` does not read the pipe.
    let reads = !last.has_letter('c');
    (is_download(&first) && is_content && reads).then_some((first, last))
}

fn invocation(command: &Command) -> Option<Invocation<'_>> {
    match command {
        Command::Simple(simple) => Invocation::of(simple),
        Command::Compound(_) => None,
    }
}

fn is_download(invocation: &Invocation<'_>) -> bool {
    match invocation.program {
        "curl" | "wget" | "aria2c" => !invocation.has_option(&["--version", "--help", "-V"]),
        _ => false,
    }
}

/// Whether a build that goes on after this command's failure lacks something.
pub(in crate::lint) fn matters(invocation: &Invocation<'_>) -> bool {
    let program = invocation.program;
    if is_download(invocation) || installs::pip_install(invocation).is_some() {
        return true;
    }
    if installs::conda_install(invocation) {
        return true;
    }
    match program {
        "apt-get" | "apt" | "aptitude" => matches!(
            installs::apt(invocation),
            Some("install" | "update" | "upgrade" | "dist-upgrade" | "build-dep")
        ),
        "apk" => matches!(invocation.subcommand(), Some("add" | "update" | "upgrade")),
        "dnf" | "yum" | "microdnf" | "zypper" => {
            matches!(
                invocation.subcommand(),
                Some("install" | "update" | "upgrade" | "in")
            )
        }
        "npm" | "yarn" | "pnpm" => {
            matches!(
                invocation.subcommand(),
                Some("install" | "ci" | "i" | "add")
            )
        }
        "git" => matches!(
            invocation.subcommand(),
            Some("clone" | "checkout" | "submodule")
        ),
        "uv" | "pixi" | "poetry" | "pdm" => {
            matches!(
                invocation.subcommand(),
                Some("sync" | "install" | "add" | "pip")
            )
        }
        "cargo" | "go" => {
            matches!(invocation.subcommand(), Some("build" | "install" | "test"))
        }
        "make" | "ninja" | "cmake" | "meson" | "configure" => {
            !invocation.has_option(&["--version", "--help"])
        }
        "pytest" | "tox" | "nox" | "ctest" | "Rscript" | "gunzip" | "unzip" | "tar" => {
            !invocation.has_option(&["--version", "--help"])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(run: &str, expected: usize) {
        let text = format!("FROM debian:13\n{run}\n");
        assert_eq!(count("PipeHidesFailure", &text), expected, "{run}");
    }

    #[test]
    fn downloads_into_interpreters() {
        check("RUN curl -fsSL https://x | bash -s -- -y", 1);
        check("RUN wget -O- https://x | sudo tee /etc/apt/x.list", 1);
        check("RUN (curl https://x | sh) && echo", 1);
        check(
            "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN [\"sh\", \"-c\", \"curl https://x | sh\"]",
            1,
        );
    }

    #[test]
    fn what_notices_or_is_told() {
        check("RUN curl -fsSL https://x | tar xz", 0);
        check("RUN set -o pipefail && curl https://x | sh", 0);
        check("RUN set -euxo pipefail; curl https://x | sh", 0);
        check("RUN bash -o pipefail -c 'curl https://x | sh'", 0);
        check(
            "RUN [\"bash\", \"-euo\", \"pipefail\", \"-c\", \"curl https://x | sh\"]",
            0,
        );
        check("RUN curl -o f https://x && sh f", 0);
        check("RUN echo x | sh", 0);
        check("RUN curl https://x | grep -q y", 0);
    }
}
