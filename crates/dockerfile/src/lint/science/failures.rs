//! Failures that nobody sees (PAN-33).

use crate::lint::facts::{Facts, PlacedScript};
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};
use crate::lint::science::pipes::matters;
use crate::shell::{AndOr, Command, CompoundKind, Connector, Invocation, Pipeline, Script, Simple};

/// No `|| true` behind what has to work.
pub(in crate::lint) static HIDDEN_FAILURE: Rule = Rule {
    name: "HiddenFailure",
    aliases: &[],
    group: Group::Science,
    level: Level::Warning,
    is_experimental: false,
    summary: "A failed download, installation or test should fail the build",
    why: "`|| true`, `|| exit 0` and a `;` go on after a failure: the image is built, tagged and \
          used without the data or the package that it is there for, and nobody is told. Commands \
          that may fail harmlessly (`rm`, `mkdir`, `grep`, ...) are not reported.",
    bad: "FROM debian:13-slim\nRUN wget -q https://example.org/index.gz || exit 0 && gunzip index.gz\n",
    good: "FROM debian:13-slim\nRUN wget -q https://example.org/index.gz && gunzip index.gz\n",
    check,
};

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        for script in &run.work.scripts {
            let mut search = Search {
                script,
                found,
                is_told: false,
            };
            search.script(&script.script);
        }
    }
}

struct Search<'a> {
    script: &'a PlacedScript,
    found: &'a mut Findings,
    /// A script without `set -e` is told once: its lines all have the same cause.
    is_told: bool,
}

impl Search<'_> {
    fn script(&mut self, script: &Script) {
        for (index, list) in script.lists.iter().enumerate() {
            self.masked(list);
            let is_last = index + 1 == script.lists.len();
            if !is_last && !list.is_background && !self.script.stops_at_failure {
                self.overwritten(list);
            }
            for command in list.commands() {
                if let Command::Compound(compound) = command {
                    let parts = match compound.kind {
                        CompoundKind::Group | CompoundKind::Subshell => compound.parts.as_slice(),
                        // What becomes of a condition's commands is the author's to decide.
                        _ => continue,
                    };
                    parts.iter().for_each(|part| self.script(part));
                }
            }
        }
    }

    /// `a || true`: the pipeline after `||` always works and does nothing.
    fn masked(&mut self, list: &AndOr) {
        let mut before: Vec<&Pipeline> = vec![&list.first];
        for (connector, pipeline) in &list.rest {
            if *connector == Connector::Or
                && let Some(excuse) = excuse(pipeline)
                && let Some(hidden) = before.iter().rev().find_map(|one| matters_in(one))
            {
                let range = pipeline_range(pipeline).unwrap_or(hidden.range.clone());
                let range = hidden.range.start..range.end.max(hidden.range.end);
                let detail = format!("`|| {excuse}` hides a failure of `{}`", name(hidden));
                self.found.at(self.script.span(&range), detail);
                before.clear();
                continue;
            }
            before.push(pipeline);
        }
    }

    /// `a; b`: the status of `a` is lost.
    fn overwritten(&mut self, list: &AndOr) {
        // `a || b` has an answer to the failure, whatever it is.
        let has_answer = list.rest.iter().any(|(one, _)| *one == Connector::Or);
        if has_answer || self.is_told {
            return;
        }
        let pipelines = list.pipelines();
        let Some(lost) = pipelines.into_iter().find_map(matters_in) else {
            return;
        };
        self.is_told = true;
        let detail = format!(
            "the script goes on after a failure of `{}`: join with `&&`, or begin with `set -e`",
            name(lost)
        );
        self.found.at(self.script.span(&lost.range), detail);
    }
}

/// What follows `||` if it only says that all is well: `true`, `:`, `exit 0`.
fn excuse(pipeline: &Pipeline) -> Option<String> {
    let [Command::Simple(simple)] = pipeline.commands.as_slice() else {
        return None;
    };
    let words: Vec<&str> = simple.words.iter().map(|word| word.text.as_str()).collect();
    matches!(
        words.as_slice(),
        ["true" | ":" | "/bin/true"] | ["exit" | "return", "0"]
    )
    .then(|| words.join(" "))
}

/// The first command of a pipeline whose failure matters.
fn matters_in(pipeline: &Pipeline) -> Option<&Simple> {
    if pipeline.is_negated {
        return None;
    }
    pipeline.commands.iter().find_map(|command| match command {
        Command::Simple(simple) => {
            let invocation = Invocation::of(simple)?;
            matters(&invocation).then_some(simple)
        }
        Command::Compound(compound)
            if matches!(compound.kind, CompoundKind::Group | CompoundKind::Subshell) =>
        {
            let lists = compound.parts.iter().flat_map(|part| &part.lists);
            lists.flat_map(AndOr::pipelines).find_map(matters_in)
        }
        Command::Compound(_) => None,
    })
}

fn pipeline_range(pipeline: &Pipeline) -> Option<std::ops::Range<usize>> {
    match pipeline.commands.as_slice() {
        [Command::Simple(simple)] => Some(simple.range.clone()),
        _ => None,
    }
}

/// A command in short: the program, and what it is to do.
fn name(simple: &Simple) -> String {
    let mut words = simple.words.iter().map(|word| word.text.as_str());
    let program = words.next().unwrap_or_default();
    match words.find(|word| !word.starts_with('-')) {
        Some(first) => format!("{program} {first}"),
        None => program.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(run: &str, expected: usize) {
        let text = format!("FROM debian:13\n{run}\n");
        assert_eq!(count("HiddenFailure", &text), expected, "{run}");
    }

    #[test]
    fn what_is_hidden() {
        check("RUN pip install x || true", 1);
        check("RUN curl -fO https://x/y || exit 0 && tar xf y", 1);
        check("RUN make && make test || :", 1);
        check("RUN apt-get update; apt-get install -y x", 1);
        check("RUN (pytest tests || true) && echo done", 1);
        check("RUN <<EOF\napt-get update\napt-get install -y x\nEOF", 1);
        check("RUN sh -c 'pip install x || true'", 1);
        check("RUN conda install -y x | tee log || true", 1);
        check(
            "RUN set -e; sh -c 'apt-get update; apt-get install -y x'",
            1,
        );
    }

    #[test]
    fn what_may_fail() {
        check("RUN rm -rf /x || true", 0);
        check("RUN groupadd -g 1 x || true && pip install y", 0);
        check("RUN grep -q x y || true", 0);
        check("RUN command -v pip || pip install x", 0);
        check("RUN pip install x || pip install y", 0);
        check("RUN pip install x || (cat log && exit 1)", 0);
        check("RUN set -eux; apt-get update; apt-get install -y x", 0);
        check(
            "RUN <<EOF\nset -e\napt-get update\napt-get install -y x\nEOF",
            0,
        );
        check(
            "SHELL [\"/bin/bash\", \"-ec\"]\nRUN apt-get update; apt-get install x",
            0,
        );
        check("RUN bash -ec 'apt-get update; apt-get install -y x'", 0);
        check(
            "RUN sh -c 'set -e; apt-get update; apt-get install -y x'",
            0,
        );
        check(
            "RUN [\"bash\", \"-ec\", \"apt-get update; apt-get install -y x\"]",
            0,
        );
        check(
            "RUN <<EOF\n#!/bin/bash -eu\napt-get update\napt-get install -y x\nEOF",
            0,
        );
        check("RUN cd /x; pip install y", 0);
        check("RUN pip install y; ", 0);
        check("RUN if pip install x; then echo; fi; echo", 0);
        check("RUN find / -name '*.pyc' -delete || true", 0);
        check("RUN ! pip install x; echo", 0);
        check("RUN python - <<EOF\na || true\nEOF", 0);
        check("RUN [\"pip\", \"install\", \"x\", \"||\", \"true\"]", 0);
        check(
            "RUN for x in a b; do pip install $x || exit 1; done; echo",
            0,
        );
    }
}
