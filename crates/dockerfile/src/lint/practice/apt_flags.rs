//! How `apt-get install` is called.

use crate::lint::facts::{Facts, Found, RunStep};
use crate::lint::finding::{Findings, Fix, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};
use crate::shell::Wrapper;

/// `-y`, since nobody can answer.
pub(in crate::lint) static APT_INSTALL_ASKS: Rule = Rule {
    name: "AptInstallAsks",
    aliases: &["DL3014"],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "`apt-get install` should not ask",
    why: "Without `-y` apt asks before it installs anything that was not named. Nobody can answer \
          in a build: it ends with an error.",
    bad: "FROM debian:13-slim\nRUN apt-get update && apt-get install gcc && rm -rf /var/lib/apt/lists/*\n",
    good: "FROM debian:13-slim\nRUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*\n",
    check: asks,
};

fn asks(facts: &Facts<'_>, found: &mut Findings) {
    // An answer may be set once for all of apt.
    for run in runs_without(facts, &["assume-yes", "assumeyes"]) {
        for command in run.work.commands() {
            let invocation = &command.invocation;
            if !is_install(&command) || has_answer(&command) || is_answered(&command) {
                continue;
            }
            let fix = installs::apt_verb(invocation)
                .and_then(|word| command.exact(&word.range))
                .map(|span| Fix::insert(span.end, " -y"));
            let detail = format!(
                "`{} install` without `-y` waits for an answer",
                invocation.program
            );
            found.fixable(command.span, detail, fix);
        }
    }
}

/// The `RUN`s of stages where no instruction has one of these words, whatever its case. Stages are
/// looked at, not `RUN`s: each would read the whole stage.
fn runs_without<'f, 'a>(
    facts: &'f Facts<'a>,
    words: &'f [&str],
) -> impl Iterator<Item = RunStep<'f, 'a>> {
    let has_word = facts.in_or_below(|stage| {
        stage.steps.iter().any(|step| {
            let text = step.instruction.text.to_ascii_lowercase();
            words.iter().any(|word| text.contains(word))
        })
    });
    let stages = facts.reached();
    let stages = stages.filter(move |stage| !has_word[stage.stage.index]);
    stages.flat_map(move |stage| facts.runs_of(stage))
}

/// Whether a pipeline says yes for it: `yes | apt-get install`.
pub(super) fn is_answered(command: &Found<'_>) -> bool {
    matches!(command.feeder(), Some("yes" | "echo" | "printf"))
}

fn is_install(command: &Found<'_>) -> bool {
    let program = command.invocation.program;
    matches!(program, "apt-get" | "apt") && installs::apt(&command.invocation) == Some("install")
}

fn has_answer(command: &Found<'_>) -> bool {
    let invocation = &command.invocation;
    // `-qq` means `-y`; so do `-q=2` and `-q -q`.
    let quiet = invocation.arguments.iter().map(|word| {
        let letters = word.text.strip_prefix('-').unwrap_or_default();
        match letters {
            "q=2" => 2,
            "-quiet" => 1,
            _ if letters.starts_with('-') => 0,
            _ => letters.matches('q').count(),
        }
    });
    invocation.has_option(&[
        "--yes",
        "--assume-yes",
        "-y",
        "--force-yes",
        "--download-only",
    ]) || invocation.has_letter('y')
        || quiet.sum::<usize>() >= 2
        || invocation.arguments.iter().any(|word| {
            // A variable may hold the option.
            word.text.starts_with('$')
        })
        || invocation.has_option(&["-s", "--simulate", "--dry-run", "-d"])
}

/// Only what is asked for.
pub(in crate::lint) static APT_RECOMMENDS: Rule = Rule {
    name: "AptRecommends",
    aliases: &["DL3015"],
    group: Group::Practice,
    level: Level::Info,
    is_experimental: false,
    summary: "`apt-get install` can leave recommended packages out",
    why: "Recommended packages often double what is installed, and a change of the \
          recommendations changes the image.",
    bad: "FROM debian:13-slim\nRUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*\n",
    good: "FROM debian:13-slim\nRUN apt-get update && apt-get install -y --no-install-recommends gcc && rm -rf /var/lib/apt/lists/*\n",
    check: recommends,
};

fn recommends(facts: &Facts<'_>, found: &mut Findings) {
    for run in runs_without(facts, &["install-recommends"]) {
        for command in run.work.commands().filter(is_install) {
            let fix = installs::apt_verb(&command.invocation)
                .and_then(|word| command.exact(&word.range))
                .map(|span| {
                    Fix::insert(span.end, " --no-install-recommends").with_effect(
                        "the image has fewer packages: those only recommended are not installed",
                    )
                });
            let detail = "recommended packages are installed, too";
            found.fixable(command.span, detail, fix);
        }
    }
}

/// No `sudo`.
pub(in crate::lint) static SUDO: Rule = Rule {
    name: "Sudo",
    aliases: &["DL3004"],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "`sudo` has no place in a RUN",
    why: "A build can change the user itself: `USER root` before what needs it and `USER name` \
          after. `sudo` needs a package, a password rule and a terminal, and stays in the image \
          as a way to become root.",
    bad: "FROM debian:13-slim\nUSER ann\nRUN sudo make install\n",
    good: "FROM debian:13-slim\nUSER root\nRUN make install\nUSER ann\n",
    check: sudo,
};

fn sudo(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        let mut commands = run.work.commands();
        let first = commands.find(|command| command.invocation.wrappers.contains(&Wrapper::Sudo));
        if let Some(command) = first {
            let detail = format!("`sudo {}`: use USER instead", command.invocation.program);
            found.at(command.span, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(run: &str, expected: usize) {
        let text = format!("FROM debian:13\n{run}\n");
        assert_eq!(count("AptInstallAsks", &text), expected, "{run}");
    }

    #[test]
    fn who_asks() {
        check("RUN apt-get install gcc", 1);
        check(
            "RUN apt-get update && apt install -q gcc && apt-get install make",
            2,
        );
    }

    #[test]
    fn who_does_not() {
        check("RUN yes | apt-get install gcc", 0);
        check("RUN if true; then yes | sudo apt-get install gcc; fi", 0);
        check("RUN apt-get install -y gcc", 0);
        check("RUN apt-get -qy install gcc", 0);
        check("RUN apt-get install -yq gcc", 0);
        check("RUN apt-get -qq install gcc", 0);
        check("RUN apt-get -q=2 install gcc", 0);
        check("RUN apt-get -q install -q gcc", 0);
        check("RUN apt-get install --quiet --quiet gcc", 0);
        check("RUN apt-get install gcc --assume-yes", 0);
        check("RUN apt-get $OPTIONS install gcc", 0);
        check(
            "RUN echo 'APT::Get::Assume-Yes \"true\";' > /etc/apt/apt.conf.d/y\nRUN apt-get install gcc",
            0,
        );
        check("RUN apt-get update", 0);
    }
}
