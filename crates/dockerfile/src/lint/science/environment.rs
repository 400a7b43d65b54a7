//! Commands outside the environment that was made for them (MAN-10).

mod entrypoint;

use crate::lint::facts::{Facts, Found, RunStep};
use crate::lint::finding::{Findings, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};

/// What is installed in an environment is run in it.
pub(in crate::lint) static OUTSIDE_ENVIRONMENT: Rule = Rule {
    name: "OutsideEnvironment",
    aliases: &[],
    group: Group::Science,
    level: Level::Warning,
    is_experimental: false,
    summary: "A command should run in the environment that was made for it",
    why: "Each RUN starts a new shell: an environment activated in one of them is gone in the \
          next. `python` and `pip` are then those of the base, packages land where nobody looks \
          for them, and a program that only the environment has is `not found`. Put the \
          environment's `bin` first in PATH with ENV, or run each command through it \
          (`conda run`, `pixi run`, the image's entrypoint).",
    bad: "FROM condaforge/miniforge3:25.3.0-3\nRUN conda create -y -n sim python=3.12 && conda clean -ay\nRUN conda activate sim\nRUN pip install --no-cache-dir numpy\n",
    good: "FROM condaforge/miniforge3:25.3.0-3\nRUN conda create -y -n sim python=3.12 && conda clean -ay\nENV PATH=/opt/conda/envs/sim/bin:$PATH\nRUN pip install --no-cache-dir numpy\n",
    check,
};

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        let runs: Vec<RunStep<'_, '_>> = facts.runs_of(stage).collect();
        for run in &runs {
            lost_activation(run, found);
        }
        made_and_not_used(facts, &runs, found);
        entrypoint::check(facts, stage, &runs, found);
    }
}

/// An activation with nothing after it.
fn lost_activation(run: &RunStep<'_, '_>, found: &mut Findings) {
    let commands: Vec<Found<'_>> = run.work.commands().collect();
    let Some(last) = commands.last() else {
        return;
    };
    // In a script with more in it the activation served what stands between.
    let others = commands.iter().filter(|command| !is_preparation(command));
    if is_activation(last) && others.count() == 0 {
        let detail = format!(
            "`{}` ends with this RUN: the next one starts a new shell without it",
            words(last)
        );
        found.at(last.span, detail);
    }
}

fn words(command: &Found<'_>) -> String {
    let words = command.invocation.simple.words.iter();
    let texts: Vec<&str> = words.map(|word| word.text.as_str()).collect();
    texts.join(" ")
}

/// Commands that do nothing but get ready.
fn is_preparation(command: &Found<'_>) -> bool {
    let invocation = &command.invocation;
    is_activation(command)
        || matches!(
            invocation.program,
            "." | "source" | "cd" | "set" | "export" | "eval" | "echo" | "true"
        )
        || installs::is_conda(invocation.program)
            && matches!(
                invocation.subcommand(),
                Some("init" | "shell" | "shell.bash" | "info")
            )
}

fn is_activation(command: &Found<'_>) -> bool {
    let invocation = &command.invocation;
    let subcommand = invocation.subcommand().unwrap_or_default();
    match invocation.program {
        "." | "source" => subcommand == "activate" || subcommand.ends_with("/bin/activate"),
        program if installs::is_conda(program) => subcommand == "activate",
        _ => false,
    }
}

/// An environment that a `RUN` of the stage makes and a later one passes by.
fn made_and_not_used(facts: &Facts<'_>, runs: &[RunStep<'_, '_>], found: &mut Findings) {
    let mut made: Option<Environment> = None;
    for run in runs {
        if let Some(environment) = &made
            && !is_in_reach(facts, run, environment)
            && let Some(command) = bare_python(run, environment)
        {
            let detail = format!(
                "`{}` is the base's, not that of the environment {}, which is not active here",
                command.invocation.program, environment.name
            );
            found.at(command.span, detail);
            // The first one says it for all.
            return;
        }
        let makes = run
            .work
            .commands()
            .filter_map(|command| environment(&command));
        let variables = run.stage.variables_at(run.step);
        let makes = makes.map(|environment| {
            let name = facts.expander.word(&environment.name, &variables);
            Environment {
                name: name.map_or(environment.name, |name| name.text),
            }
        });
        made = made.or(makes.last());
    }
}

/// An environment of Python or conda.
struct Environment {
    /// Its name, or the directory it is in.
    name: String,
}

fn environment(command: &Found<'_>) -> Option<Environment> {
    let invocation = &command.invocation;
    let named = |name: &str| {
        Some(Environment {
            name: name.to_owned(),
        })
    };
    let program = invocation.program;
    if installs::is_conda(program) {
        let verbs: Vec<&str> = invocation
            .operands()
            .map(|word| word.text.as_str())
            .collect();
        if !matches!(verbs.as_slice(), ["create", ..] | ["env", "create", ..]) {
            return None;
        }
        let name = option(command, &["-n", "--name", "-p", "--prefix"])?;
        // The base environment is usually active already.
        return (name != "base").then(|| named(name)).flatten();
    }
    let is_venv = installs::is_versioned(program, "python")
        && invocation.arguments.iter().any(|word| word.text == "-m")
        && invocation
            .arguments
            .iter()
            .any(|word| word.text == "venv" || word.text == "virtualenv");
    let directory = match program {
        "virtualenv" => invocation.operands().last()?,
        _ if is_venv => invocation.operands().last()?,
        _ => return None,
    };
    named(&directory.text)
}

/// The value of an option, as the next word or after `=`.
fn option<'a>(command: &Found<'a>, names: &[&str]) -> Option<&'a str> {
    let arguments = command.invocation.arguments;
    arguments.iter().enumerate().find_map(|(at, word)| {
        if names.contains(&word.text.as_str()) {
            return arguments.get(at + 1).map(|value| value.text.as_str());
        }
        let (name, value) = word.text.split_once('=')?;
        names.contains(&name).then_some(value)
    })
}

/// Whether the environment is active where a `RUN` runs, or may be: by PATH, by SHELL, or by what
/// the script does first.
fn is_in_reach(facts: &Facts<'_>, run: &RunStep<'_, '_>, environment: &Environment) -> bool {
    let variables = run.stage.variables_at(run.step);
    let last = environment.name.trim_end_matches('/');
    let last = last.rsplit('/').next().unwrap_or(last);
    // PATH names its directory, or somebody has set what activation sets.
    let by_path = variables.value("PATH").is_some_and(|path| {
        path.split(':').any(|part| {
            part.trim_end_matches('/')
                .split('/')
                .any(|piece| piece == last)
        })
    });
    let by_shell = run.step.last_shell().is_some_and(|shell| {
        let words = shell.iter().map(|word| word.value.as_str());
        words.clone().any(|word| {
            matches!(word, "run" | "activate") || word.contains("activate") || word.contains(last)
        }) || shell
            .first()
            .is_some_and(|word| word.value.contains("entrypoint"))
            || words.clone().any(is_login)
    });
    let by_script = run.work.commands().any(|command| {
        let invocation = &command.invocation;
        is_activation(&command)
            || matches!(invocation.program, "eval" | "." | "source")
            || (invocation.program == "export"
                && invocation
                    .arguments
                    .iter()
                    .any(|word| word.text.starts_with("PATH=")))
    });
    // A shell that reads its start-up files may activate it there.
    let by_startup = facts.runs_of(run.stage).any(|other| {
        other.work.commands().any(|command| {
            let redirects = &command.invocation.simple.redirects;
            redirects.iter().any(|redirect| {
                [
                    ".bashrc",
                    ".profile",
                    ".bash_profile",
                    "/etc/profile",
                    ".zshrc",
                ]
                .iter()
                .any(|file| redirect.target.text.contains(file))
            })
        })
    }) && run.step.last_shell().is_some();
    let has_bash_env = variables.value("BASH_ENV").is_some();
    by_path || by_shell || by_script || by_startup || has_bash_env
}

fn is_login(flag: &str) -> bool {
    flag == "--login"
        || flag.strip_prefix('-').is_some_and(|letters| {
            letters.chars().all(|ch| ch.is_ascii_alphabetic()) && letters.contains(['l', 'i'])
        })
}

/// The first `python` or `pip` of a `RUN` that is found by PATH.
fn bare_python<'f>(run: &'f RunStep<'_, '_>, environment: &Environment) -> Option<Found<'f>> {
    run.work.commands().find(|command| {
        let invocation = &command.invocation;
        let is_by_path = !invocation.word.text.contains('/') && invocation.wrappers.is_empty();
        let is_python = installs::is_versioned(invocation.program, "python")
            || installs::pip_install(invocation).is_some();
        // `python -m venv` and `--prefix`/`--target` name another place themselves.
        let is_elsewhere = self::environment(command).is_some()
            || invocation.has_option(&[
                "--prefix",
                "--target",
                "-t",
                "--root",
                "--python",
                "--version",
            ])
            || invocation
                .arguments
                .iter()
                .any(|word| word.text.contains(&environment.name));
        is_by_path && is_python && !is_elsewhere
    })
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(text: &str, expected: usize) {
        let text = format!("FROM debian:13\n{text}\n");
        assert_eq!(count("OutsideEnvironment", &text), expected, "{text}");
    }

    const MADE: &str = "RUN conda create -y -n sim python=3.12";

    #[test]
    fn activations_that_end_at_once() {
        check("RUN conda activate sim", 1);
        check("RUN . /opt/venv/bin/activate", 1);
        check(
            "RUN . /opt/conda/etc/profile.d/conda.sh && conda activate sim",
            1,
        );
    }

    #[test]
    fn activations_that_serve() {
        check("RUN . /opt/venv/bin/activate && pip install x", 0);
        check("RUN conda activate sim && python setup.py install", 0);
        check("RUN echo 'conda activate sim' >> ~/.bashrc", 0);
        check("RUN conda init bash", 0);
    }

    #[test]
    fn environments_that_are_passed_by() {
        check(&format!("{MADE}\nRUN pip install x"), 1);
        check(&format!("{MADE}\nRUN python -c 'import x'"), 1);
        check(
            "RUN python3 -m venv /opt/venv\nRUN pip install x\nRUN pip install y",
            1,
        );
        check(
            "RUN conda env create -n sim -f e.yml\nRUN pip install -e .",
            1,
        );
    }

    #[test]
    fn environments_that_are_used() {
        check(
            &format!("{MADE}\nENV PATH=/opt/conda/envs/sim/bin:$PATH\nRUN pip install x"),
            0,
        );
        check(&format!("{MADE}\nRUN conda run -n sim pip install x"), 0);
        check(
            &format!("{MADE}\nRUN /opt/conda/envs/sim/bin/pip install x"),
            0,
        );
        check(
            &format!(
                "{MADE}\nSHELL [\"conda\", \"run\", \"-n\", \"sim\", \"/bin/bash\", \"-c\"]\nRUN pip install x"
            ),
            0,
        );
        check(&format!("{MADE}\nRUN . activate sim && pip install x"), 0);
        check(
            "RUN python3 -m venv /opt/venv\nENV PATH=\"/opt/venv/bin:$PATH\"\nRUN pip install x",
            0,
        );
        check(
            "RUN python3 -m venv /opt/venv\nRUN /opt/venv/bin/pip install x",
            0,
        );
        check(
            "ENV PATH=/opt/venv/bin:$PATH\nRUN python3 -m venv /opt/venv && pip install x",
            0,
        );
        check(
            "ENV VIRTUAL_ENV=/opt/venv\nRUN python3 -m venv $VIRTUAL_ENV\nENV PATH=$VIRTUAL_ENV/bin:$PATH\nRUN pip install x",
            0,
        );
        check(
            &format!(
                "{MADE}\nRUN echo 'conda activate sim' >> ~/.bashrc\nSHELL [\"/bin/bash\", \"-lc\"]\nRUN pip install x"
            ),
            0,
        );
        check(
            "RUN conda env create -f environment.yml\nRUN pip install x",
            0,
        );
    }
}
