//! Layers that only take away, or store everything again (MAN-40).

use cairn_diagnostic::Span;

use crate::ast::{CopySource, InstructionKind, Word};
use crate::lint::facts::{Facts, Found, RunStep, StageFacts, Step};
use crate::lint::finding::{Findings, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};
use crate::shell;

/// What is removed is removed by the `RUN` that made it.
pub(in crate::lint) static LAYER_ONLY_DELETES: Rule = Rule {
    name: "LayerOnlyDeletes",
    aliases: &[],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "A RUN that only deletes makes no image smaller",
    why: "A layer can hide files of the layers below it and not take them away: they are still \
          stored, pushed and pulled. Delete in the RUN that made the files, or do not let them \
          into a layer at all (`--mount=type=cache`, `COPY --exclude`, another stage).",
    bad: "FROM debian:13-slim\nCOPY data.tar /tmp/\nRUN tar xf /tmp/data.tar -C /srv\nRUN rm -rf /tmp/data.tar /var/lib/apt/lists/*\n",
    good: "FROM debian:13-slim\nRUN --mount=type=bind,source=data.tar,target=/tmp/data.tar tar xf /tmp/data.tar -C /srv\n",
    check: deletes,
};

fn deletes(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs().filter(|run| run.stage.is_shipped) {
        let commands: Vec<Found<'_>> = run.work.commands().collect();
        let acting = || commands.iter().filter(|command| !is_idle(command));
        if acting().next().is_none() || !acting().all(is_deletion) {
            continue;
        }
        // Taking a file of the base away changes what the image does; that is no lost space.
        let is_lost =
            |command: &&Found<'_>| frees_space(command) && is_of_file(facts, &run, command);
        let Some(first) = acting().find(is_lost) else {
            continue;
        };
        let detail =
            "what is deleted here stays in the layers below: delete it in the RUN that makes it";
        found.at(first.span, detail);
    }
}

/// Commands that neither make nor delete anything.
fn is_idle(command: &Found<'_>) -> bool {
    matches!(
        command.invocation.program,
        "cd" | "set" | "true" | ":" | "echo" | "sync" | "ls" | "du" | "df" | "export"
    ) && command.invocation.simple.redirects.is_empty()
}

fn is_deletion(command: &Found<'_>) -> bool {
    let invocation = &command.invocation;
    match invocation.program {
        "rm" | "rmdir" | "unlink" => true,
        "find" => invocation
            .arguments
            .iter()
            .any(|word| word.text == "-delete"),
        _ => is_clean(command),
    }
}

/// A package manager that clears its own cache.
fn is_clean(command: &Found<'_>) -> bool {
    let invocation = &command.invocation;
    let verbs: Vec<&str> = invocation
        .operands()
        .map(|word| word.text.as_str())
        .collect();
    match invocation.program {
        "apt-get" | "apt" => matches!(verbs.as_slice(), ["clean" | "autoclean" | "distclean"]),
        "dnf" | "yum" | "microdnf" | "zypper" | "tdnf" => verbs.contains(&"clean"),
        "npm" | "yarn" => matches!(verbs.as_slice(), ["cache", "clean", ..]),
        "uv" => matches!(verbs.as_slice(), ["cache", "clean" | "prune", ..]),
        program if installs::is_conda(program) => matches!(verbs.as_slice(), ["clean", ..]),
        program if installs::is_versioned(program, "pip") => {
            matches!(verbs.as_slice(), ["cache", "purge", ..])
        }
        _ => false,
    }
}

/// Directories whose content is there for the while.
const PASSING: [&str; 8] = [
    "/tmp",
    "/var/tmp",
    "/var/cache",
    "/var/lib/apt",
    "/root/.cache",
    "~/.cache",
    "/var/log",
    "$HOME/.cache",
];

/// Whether a deletion is meant to save space: whole trees outside `/etc`, and what is there for
/// the while.
fn frees_space(command: &Found<'_>) -> bool {
    let invocation = &command.invocation;
    if is_clean(command) || invocation.program == "find" {
        return true;
    }
    let is_recursive = ['r', 'R']
        .iter()
        .any(|letter| invocation.has_letter(*letter))
        || invocation.has_option(&["--recursive"]);
    invocation.operands().any(|word| {
        let path = word.text.as_str();
        let is_passing = PASSING.iter().any(|directory| is_below(path, directory));
        is_passing || is_recursive && !is_below(path, "/etc")
    })
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether an instruction of the file may have put there what a command deletes: a `RUN` may have
/// put anything anywhere, a `COPY` only to where it says.
fn is_of_file(facts: &Facts<'_>, run: &RunStep<'_, '_>, command: &Found<'_>) -> bool {
    let deleted = paths(facts, run, command.invocation.operands());
    let is_there = |stage: &StageFacts<'_>, step: &Step<'_>, to: &Word| {
        let dest = dest(facts, stage, step, to);
        deleted.iter().any(|path| overlaps(path, &dest))
    };
    let steps = before(facts, run.stage, run.step).into_iter();
    let mut steps = steps.map(|(stage, step)| (stage, step, &step.instruction.kind));
    steps.any(|(stage, step, kind)| match kind {
        InstructionKind::Run(_) => true,
        InstructionKind::Copy(copy) => is_there(stage, step, &copy.files.dest),
        InstructionKind::Add(add) => is_there(stage, step, &add.files.dest),
        _ => false,
    })
}

type Steps<'f, 'a> = Vec<(&'f StageFacts<'a>, &'f Step<'a>)>;

fn before<'f, 'a>(facts: &'f Facts<'a>, stage: &StageFacts<'a>, step: &Step<'_>) -> Steps<'f, 'a> {
    let all = facts.history(stage).into_iter();
    all.take_while(|(_, other)| other.span.start < step.span.start)
        .collect()
}

/// Modes and owners are set by what makes the files.
pub(in crate::lint) static LAYER_ONLY_CHANGES_MODES: Rule = Rule {
    name: "LayerOnlyChangesModes",
    aliases: &[],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "A RUN that only changes modes or owners stores every file again",
    why: "A layer holds whole files: `chmod -R` and `chown -R` on files of an earlier layer copy \
          all of them into a new one, and the image has them twice. `COPY --chmod` and `--chown` \
          set both while copying; after an installation, do it in the same RUN.",
    bad: "FROM debian:13-slim\nCOPY app /app\nRUN chown -R 1000:1000 /app\n",
    good: "FROM debian:13-slim\nCOPY --chown=1000:1000 app /app\n",
    check: modes,
};

fn modes(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs().filter(|run| run.stage.is_shipped) {
        let commands: Vec<Found<'_>> = run.work.commands().collect();
        let is_change =
            |command: &Found<'_>| matches!(command.invocation.program, "chmod" | "chown" | "chgrp");
        if !commands
            .iter()
            .all(|command| is_change(command) || is_idle(command))
        {
            continue;
        }
        let recursive = commands.iter().filter(|command| {
            is_change(command)
                && (command.invocation.has_letter('R')
                    || command.invocation.has_option(&["--recursive"]))
        });
        for command in recursive {
            // The first operand is the mode or the owner.
            let operands = command.invocation.operands().skip(1);
            let paths = paths(facts, &run, operands);
            if let Some((path, line)) = made_before(facts, &run, &paths) {
                let path = match path.starts_with(UNKNOWN_WORKDIR) {
                    true => &path[1..],
                    false => &path,
                };
                let detail = format!(
                    "every file below {path} is stored a second time; line {line} has stored it first"
                );
                found.at(command.span, detail);
                break;
            }
        }
    }
}

/// The paths that a command names, absolute.
fn paths<'w>(
    facts: &Facts<'_>,
    run: &RunStep<'_, '_>,
    operands: impl Iterator<Item = &'w shell::Word>,
) -> Vec<String> {
    let variables = run.stage.variables_at(run.step);
    let workdir = workdir(facts, run.stage, run.step);
    operands
        .filter_map(|word| facts.expander.word(&word.text, &variables).ok())
        .map(|word| absolute(workdir, &word.text))
        .collect()
}

/// Stands for a directory that the config of a base may set: no absolute path lies below it.
const UNKNOWN_WORKDIR: &str = "/the base's working directory";

/// The working directory at an instruction. Where nobody sets it, that of a plain distribution is
/// the root; that of another base is not known.
fn workdir<'f>(facts: &Facts<'_>, stage: &StageFacts<'_>, step: &'f Step<'_>) -> &'f str {
    step.workdir_by(|| followed(facts, stage, step))
}

/// The working directory, from one `WORKDIR` to the next.
fn followed(facts: &Facts<'_>, stage: &StageFacts<'_>, step: &Step<'_>) -> String {
    let mut workdir = match stage.has_known_variables {
        true => "/".to_owned(),
        false => UNKNOWN_WORKDIR.to_owned(),
    };
    for (stage, step) in before(facts, stage, step) {
        if let InstructionKind::Workdir(path) = &step.instruction.kind {
            let variables = stage.variables_at(step);
            if let Ok(path) = facts.expander.word(path.as_str(), &variables) {
                workdir = absolute(&workdir, &path.text);
            }
        }
    }
    workdir
}

fn absolute(workdir: &str, path: &str) -> String {
    let joined = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{workdir}/{path}"),
    };
    crate::ignore::clean(&joined)
}

/// Where environments are installed that hold most of an image.
const ENVIRONMENTS: [&str; 5] = [".pixi", "conda", "venv", ".venv", "site-packages"];

/// The line that put files at one of these paths, and the path.
fn made_before(
    facts: &Facts<'_>,
    run: &RunStep<'_, '_>,
    paths: &[String],
) -> Option<(String, usize)> {
    let line = |span: Span| facts.file.source.position(span.start).line;
    for (stage, step) in before(facts, run.stage, run.step) {
        let path = match &step.instruction.kind {
            InstructionKind::Copy(copy) => {
                let is_small = is_single_file(&copy.files.sources) && copy.from.is_none();
                let dest = dest(facts, stage, step, &copy.files.dest);
                paths.iter().find(|path| !is_small && overlaps(path, &dest))
            }
            InstructionKind::Add(add) => {
                let dest = dest(facts, stage, step, &add.files.dest);
                paths.iter().find(|path| overlaps(path, &dest))
            }
            InstructionKind::Run(other) if !step.is_trigger => {
                let mut commands = step.work(other, facts).commands();
                let installs = commands.any(|command| {
                    let invocation = &command.invocation;
                    installs::conda_install(invocation)
                        || installs::pip_install(invocation).is_some()
                        || invocation.program == "pixi"
                });
                paths.iter().filter(|_| installs).find(|path| {
                    let last = path.rsplit('/').next().unwrap_or_default();
                    ENVIRONMENTS.contains(&last)
                })
            }
            _ => None,
        };
        if let Some(path) = path {
            return Some((path.clone(), line(step.span)));
        }
    }
    None
}

/// Whether a `COPY` is of one file by its name: it is not worth a word.
fn is_single_file(sources: &[CopySource]) -> bool {
    match sources {
        [CopySource::Heredoc(_)] => true,
        [CopySource::Path(word)] => {
            let last = word.value.rsplit('/').next().unwrap_or_default();
            last.trim_start_matches('.').contains('.') && !last.contains('*')
        }
        _ => false,
    }
}

fn dest(facts: &Facts<'_>, stage: &StageFacts<'_>, step: &Step<'_>, dest: &Word) -> String {
    let variables = stage.variables_at(step);
    let text = facts.expander.word(dest.as_str(), &variables);
    let text = text.map_or_else(|_| dest.value.clone(), |word| word.text);
    absolute(workdir(facts, stage, step), &text)
}

/// Whether what lies at `dest` is changed by a change of all below `path`.
fn overlaps(path: &str, dest: &str) -> bool {
    is_below(dest, path.trim_end_matches(['*', '/'])) || is_below(path, dest) && dest != "/"
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
    fn deletions() {
        let check = |text, expected| check("LayerOnlyDeletes", text, expected);
        check("RUN make\nRUN rm -rf /var/lib/apt/lists/*", 1);
        check("COPY a.tar /tmp/\nRUN rm /tmp/a.tar", 1);
        check("RUN make\nRUN cd /x && rm -rf src && apt-get clean", 1);
        check("RUN make\nRUN conda clean -afy", 1);
        check("RUN make && rm -rf /src", 0);
        check("RUN rm -rf /usr/share/doc", 0);
        check("COPY a /a\nRUN rm -f /etc/nginx/conf.d/default.conf", 0);
        check(
            "COPY a /a\nRUN rm /etc/apt/apt.conf.d/docker-clean; echo x > /etc/apt/y",
            0,
        );
        check("COPY a /a\nRUN rm -rf /x && mkdir /x", 0);
        check(
            "COPY a.conf /etc/nginx/\nRUN rm -rf /usr/share/nginx/html/*",
            0,
        );
    }

    #[test]
    fn deletions_in_a_stage_that_is_copied_from_are_fine() {
        let text =
            "FROM debian:13 AS b\nRUN make\nRUN rm -rf /src\nFROM scratch\nCOPY --from=b /x /\n";
        assert_eq!(count("LayerOnlyDeletes", text), 0);
    }

    #[test]
    fn modes() {
        let check = |text, expected| check("LayerOnlyChangesModes", text, expected);
        check("COPY . /app\nRUN chown -R app /app", 1);
        check("WORKDIR /app\nCOPY . .\nRUN chmod -R a+rwX .", 1);
        check(
            "COPY --from=build /app/.pixi /app/.pixi\nRUN chmod -R a+rwx /app/.pixi",
            1,
        );
        check(
            "WORKDIR /app\nRUN pixi install\nRUN chmod -R a+rwx .pixi",
            1,
        );
        check("COPY run.sh /\nRUN chmod +x /run.sh", 0);
        check("COPY run.sh /app/\nRUN chown -R app /app", 0);
        check("COPY . /app\nRUN chown -R app /var/log", 0);
        check("COPY . /app\nRUN mkdir /data && chown -R app /data", 0);
        check("RUN pixi install && chmod -R a+rwx .pixi", 0);
        check("COPY --chown=app . /app", 0);
    }

    #[test]
    fn modes_below_a_directory_that_the_base_sets() {
        let check = |text: &str, expected| {
            let text = format!("FROM elasticsearch:9\n{text}\n");
            assert_eq!(count("LayerOnlyChangesModes", &text), expected, "{text}");
        };
        check("COPY --from=build /all bin/\nRUN chown -R app ./", 1);
        check("COPY --from=build /all /opt/app/\nRUN chown -R app ./", 0);
        check("WORKDIR /\nCOPY . /opt/app/\nRUN chown -R app opt", 1);
    }
}
