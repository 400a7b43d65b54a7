//! Commands beside the entrypoint that activates the environment: `curl: not found`.

use std::collections::BTreeSet;

use crate::ast::{CommandLine, InstructionKind};
use crate::lint::facts::{Facts, RunStep, StageFacts};
use crate::lint::finding::Findings;
use crate::lint::installs;

/// A stage whose commands go through its entrypoint, and one that does not.
pub(super) fn check(
    facts: &Facts<'_>,
    stage: &StageFacts<'_>,
    runs: &[RunStep<'_, '_>],
    found: &mut Findings,
) {
    let entrypoints: BTreeSet<&str> = stage
        .steps
        .iter()
        .filter_map(|step| match &step.instruction.kind {
            InstructionKind::Entrypoint(CommandLine::Exec(words)) => {
                words.first().map(|word| word.as_str())
            }
            _ => None,
        })
        .filter(|path| path.starts_with('/'))
        .collect();
    let through = |run: &RunStep<'_, '_>| {
        let mut commands = run.work.commands();
        commands.find_map(|command| {
            let first = command.invocation.simple.words.first()?.text.as_str();
            entrypoints.get(first).copied()
        })
    };
    let used = runs
        .iter()
        .enumerate()
        .find_map(|(at, run)| Some((at, through(run)?)));
    let Some((first, entrypoint)) = used.or_else(|| copied(facts, stage, runs, &entrypoints))
    else {
        return;
    };
    for run in runs[first..].iter().filter(|run| through(run).is_none()) {
        let needy = run.work.commands().find(|command| {
            let invocation = &command.invocation;
            let by_path = !invocation.word.text.contains('/');
            by_path
                && invocation.wrappers.is_empty()
                && lives_in_environments(invocation.program)
                && !is_installed(facts, run, invocation.program)
        });
        if let Some(command) = needy {
            let detail = format!(
                "`{}` runs outside the environment: the commands of this stage go through {entrypoint}",
                command.invocation.program
            );
            found.at(command.span, detail);
        }
    }
}

/// An entrypoint that activates an environment and is copied into the stage: the first `RUN` after
/// it, and its path.
fn copied<'e>(
    facts: &Facts<'_>,
    stage: &StageFacts<'_>,
    runs: &[RunStep<'_, '_>],
    entrypoints: &BTreeSet<&'e str>,
) -> Option<(usize, &'e str)> {
    let mut paths = entrypoints.iter().copied();
    let path = paths.find(|path| activates(facts, path))?;
    let copy = stage.steps.iter().find(|step| {
        let is_copy = matches!(step.instruction.kind, InstructionKind::Copy(_));
        is_copy && step.instruction.text.contains(file_name(path))
    })?;
    let after = |run: &RunStep<'_, '_>| run.step.span.start > copy.span.start;
    Some((runs.iter().position(after)?, path))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether some `RUN` of the file writes what activates an environment to a file of this name.
fn activates(facts: &Facts<'_>, path: &str) -> bool {
    facts.runs().any(|run| {
        run.work.commands().any(|command| {
            let simple = command.invocation.simple;
            let mut words = simple.words.iter().map(|word| word.text.as_str());
            let is_activation =
                words.any(|word| word.contains("shell-hook") || word.contains("activate"));
            let mut targets = simple
                .redirects
                .iter()
                .map(|redirect| &redirect.target.text);
            is_activation && targets.any(|target| target.ends_with(file_name(path)))
        })
    })
}

/// Whether a package manager of the base has installed a program of this name.
fn is_installed(facts: &Facts<'_>, run: &RunStep<'_, '_>, program: &str) -> bool {
    let before = facts.history(run.stage).into_iter();
    before
        .take_while(|(_, step)| step.span.start <= run.step.span.start)
        .any(|(_, step)| match &step.instruction.kind {
            InstructionKind::Run(other) => step.work(other, facts).commands().any(|command| {
                let invocation = &command.invocation;
                matches!(
                    invocation.program,
                    "apt-get" | "apt" | "apk" | "dnf" | "yum" | "microdnf" | "zypper"
                ) && invocation.operands().any(|word| word.text == program)
            }),
            _ => false,
        })
}

/// Programs that such an environment brings along.
fn lives_in_environments(program: &str) -> bool {
    installs::is_versioned(program, "python")
        || installs::is_versioned(program, "pip")
        || matches!(
            program,
            "curl"
                | "wget"
                | "git"
                | "R"
                | "Rscript"
                | "julia"
                | "pytest"
                | "jupyter"
                | "make"
                | "cmake"
                | "gcc"
                | "g++"
                | "gfortran"
                | "node"
                | "npm"
        )
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(text: &str, expected: usize) {
        let text = format!("FROM debian:13\n{text}\n");
        assert_eq!(count("OutsideEnvironment", &text), expected, "{text}");
    }

    #[test]
    fn commands_beside_the_entrypoint() {
        let stage = |run: &str| {
            format!(
                "ENTRYPOINT [\"/app/entrypoint.sh\"]\nRUN /app/entrypoint.sh python -c 'import x'\n{run}"
            )
        };
        check(&stage("RUN curl -fO https://x/y"), 1);
        check(&stage("RUN /app/entrypoint.sh curl -fO https://x/y"), 0);
        check(&stage("RUN mkdir /x && chmod 755 /x"), 0);
        check(
            "ENTRYPOINT [\"/app/entrypoint.sh\"]\nRUN curl -fO https://x/y",
            0,
        );
        check(
            &stage("RUN apt-get install -y curl && curl -fO https://x/y"),
            0,
        );
        let copied = |run: &str| {
            format!(
                "RUN pixi shell-hook > /app/entrypoint.sh\nFROM debian:13\n\
                 COPY --from=0 /app/entrypoint.sh /app/\n{run}\nENTRYPOINT [\"/app/entrypoint.sh\"]"
            )
        };
        check(&copied("RUN curl -fO https://x/y"), 1);
        check(&copied("RUN /app/entrypoint.sh curl -fO https://x/y"), 0);
    }
}
