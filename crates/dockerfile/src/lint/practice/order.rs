//! Dependencies before the application (BOR-05).

use crate::ast::InstructionKind;
use crate::lint::facts::{Facts, RunStep, StageFacts, Step};
use crate::lint::finding::{Findings, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};

/// The list of dependencies is copied and installed before everything else.
pub(in crate::lint) static DEPENDENCIES_AFTER_APPLICATION: Rule = Rule {
    name: "DependenciesAfterApplication",
    aliases: &[],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "Dependencies should be installed before the application is copied",
    why: "A copy of the whole context changes with every edit, and everything below it is built \
          again: all packages are downloaded and installed anew for one changed line of code. \
          Copy the list of dependencies alone, install, then copy the rest.",
    bad: "FROM python:3.13-slim\nCOPY . /app\nRUN pip install --no-cache-dir -r /app/requirements.txt\n",
    good: "FROM python:3.13-slim\nCOPY requirements.txt /app/\nRUN pip install --no-cache-dir -r /app/requirements.txt\nCOPY . /app\n",
    check,
};

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        let Some((at, copied)) = stage
            .steps
            .iter()
            .enumerate()
            .find(|(_, step)| !step.is_trigger && copies_everything(facts, stage, step))
        else {
            continue;
        };
        // What was installed before is there already; this only brings it up to date.
        let is_done_before = facts
            .runs_of(stage)
            .filter(|run| run.step.span.start < copied.span.start)
            .any(|run| dependencies(facts, &run).is_some());
        if is_done_before {
            continue;
        }
        let after = facts
            .runs_of(stage)
            .filter(|run| run.step.span.start > stage.steps[at].span.start);
        let first = after.into_iter().find_map(|run| dependencies(facts, &run));
        if let Some((span, command)) = first {
            let line = facts.file.source.position(copied.span.start).line;
            let detail = format!(
                "`{command}` runs again after every change of the context, which line {line} copies whole"
            );
            found.at(span, detail);
        }
    }
}

/// Whether an instruction copies the whole context.
fn copies_everything(facts: &Facts<'_>, stage: &StageFacts<'_>, step: &Step<'_>) -> bool {
    let files = match &step.instruction.kind {
        InstructionKind::Copy(copy) if copy.from.is_none() && !copy.parents => &copy.files,
        InstructionKind::Add(add) => &add.files,
        _ => return false,
    };
    let variables = stage.variables_at(step);
    files.excludes.is_empty()
        && files.sources.iter().any(|source| match source {
            crate::ast::CopySource::Path(word) => facts
                .expander
                .word(word.as_str(), &variables)
                .is_ok_and(|path| matches!(path.text.as_str(), "." | "./" | "/" | "*" | "./*")),
            crate::ast::CopySource::Heredoc(_) => false,
        })
}

/// The first command of a `RUN` that installs from a list of dependencies. With a cache mount it
/// costs little to do it again.
fn dependencies(
    facts: &Facts<'_>,
    run: &RunStep<'_, '_>,
) -> Option<(cairn_diagnostic::Span, String)> {
    if !run.kept_out(facts).is_empty() {
        return None;
    }
    run.work.commands().find_map(|command| {
        let invocation = &command.invocation;
        let verbs: Vec<&str> = invocation
            .operands()
            .map(|word| word.text.as_str())
            .collect();
        let by_list = match invocation.program {
            _ if installs::pip_install(invocation).is_some() => {
                invocation.has_option(&["-r", "--requirement"])
            }
            program if installs::is_conda(program) => {
                installs::conda_install(invocation)
                    && invocation.has_option(&["-f", "--file", "--file="])
            }
            "uv" => {
                matches!(verbs.as_slice(), ["sync", ..])
                    || matches!(verbs.as_slice(), ["pip", "install", ..])
                        && invocation.has_option(&["-r", "--requirement"])
            }
            "pipenv" | "poetry" | "pdm" | "pixi" | "bundle" | "composer" => {
                matches!(verbs.as_slice(), ["install" | "sync", ..])
            }
            "npm" | "pnpm" => matches!(verbs.as_slice(), ["ci" | "install"]),
            "yarn" => {
                matches!(verbs.as_slice(), [] | ["install"])
                    && !invocation.has_option(&["--version", "-v", "--help", "-h"])
            }
            _ => false,
        };
        by_list.then(|| {
            let words = invocation.simple.words.iter().take(2);
            let texts: Vec<&str> = words.map(|word| word.text.as_str()).collect();
            (command.span, texts.join(" "))
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(text: &str, expected: usize) {
        let text = format!("FROM debian:13\n{text}\n");
        assert_eq!(
            count("DependenciesAfterApplication", &text),
            expected,
            "{text}"
        );
    }

    #[test]
    fn dependencies_after_everything() {
        check("COPY . .\nRUN pip install -r requirements.txt", 1);
        check("WORKDIR /x\nADD ./ /x\nRUN cd /x && npm ci", 1);
        check("COPY . .\nRUN conda env create -f environment.yml", 1);
        check("COPY . .\nRUN uv sync\nRUN pip install -r b.txt", 1);
    }

    #[test]
    fn other_orders() {
        check(
            "COPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .",
            0,
        );
        check(
            "COPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\nRUN pip install -r dev.txt",
            0,
        );
        check("COPY . .\nRUN pip install .", 0);
        check(
            "COPY src/ /src/\nRUN pip install -r /src/requirements.txt",
            0,
        );
        check(
            "COPY . .\nRUN --mount=type=cache,target=/root/.cache pip install -r r.txt",
            0,
        );
        check("COPY --from=other . .\nRUN pip install -r r.txt", 0);
        check("COPY . .\nRUN pip install numpy", 0);
        check("COPY . .\nRUN yarn --version", 0);
    }
}
