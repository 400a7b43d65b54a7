//! `apt-get update`: with its installation (BOR-03), and without its lists.

use cairn_diagnostic::Span;

use crate::lint::facts::{Facts, Found, RunStep};
use crate::lint::finding::{Findings, Fix, Level};
use crate::lint::installs;
use crate::lint::rule::{Group, Rule};
use crate::shell::braces;

/// `update` and `install` in one `RUN`.
pub(in crate::lint) static APT_UPDATE_ALONE: Rule = Rule {
    name: "AptUpdateAlone",
    aliases: &[],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "`apt-get update` and `apt-get install` belong into one RUN",
    why: "A layer with package lists is kept by the build cache for months. When a line is added \
          to the installation below it, the old lists are used: packages are not found any more, \
          or old versions with known holes are installed.",
    bad: "FROM debian:13-slim\nRUN apt-get update\nRUN apt-get install -y --no-install-recommends gcc\n",
    good: "FROM debian:13-slim\nRUN apt-get update \\\n && apt-get install -y --no-install-recommends gcc \\\n && rm -rf /var/lib/apt/lists/*\n",
    check: update_alone,
};

fn update_alone(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        let runs: Vec<RunStep<'_, '_>> = facts.runs_of(stage).collect();
        // From the end, so that the next installation is known and not sought by each.
        let mut next = None;
        for run in runs.iter().rev() {
            if let Some(line) = next
                && let Some(update) = lone_update(facts, run)
            {
                let detail = format!(
                    "the installation in line {line} may use lists of long ago: join the two RUN"
                );
                found.at(update, detail);
            }
            next = stale_install(facts, run).or(next);
        }
    }
}

/// The place of the update in a `RUN` that updates and installs nothing.
fn lone_update(facts: &Facts<'_>, run: &RunStep<'_, '_>) -> Option<Span> {
    if keeps_lists_out(facts, run) {
        return None;
    }
    let mut update = None;
    for command in run.work.commands() {
        match installs::apt(&command.invocation) {
            Some("update") => update = Some(command.span),
            Some("install" | "upgrade" | "dist-upgrade" | "full-upgrade" | "build-dep") => {
                return None;
            }
            _ => {}
        }
    }
    update
}

/// The line of a `RUN` that installs by the lists of an earlier one.
fn stale_install(facts: &Facts<'_>, run: &RunStep<'_, '_>) -> Option<usize> {
    let asks = |verb| {
        let mut commands = run.work.commands();
        commands.any(|command| installs::apt(&command.invocation) == Some(verb))
    };
    let line = facts.file.source.position(run.step.span.start).line;
    (asks("install") && !asks("update")).then_some(line)
}

fn keeps_lists_out(facts: &Facts<'_>, run: &RunStep<'_, '_>) -> bool {
    let kept = run.kept_out(facts);
    kept.iter().any(|target| {
        let target = target.trim_end_matches('/');
        matches!(target, "/var/lib/apt" | "/var/lib/apt/lists" | "/var/lib")
    })
}

/// No package lists in the image.
pub(in crate::lint) static APT_LISTS_LEFT: Rule = Rule {
    name: "AptListsLeft",
    aliases: &["DL3009"],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "The package lists of apt should not stay in the image",
    why: "`apt-get update` writes 20 to 60 megabytes that an image never needs again and that \
          are different on each day, so that equal builds have different layers. They have to be \
          removed in the same RUN, or kept out by a cache mount at /var/lib/apt.",
    bad: "FROM debian:13-slim\nRUN apt-get update && apt-get install -y gcc\n",
    good: "FROM debian:13-slim\nRUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*\n",
    check: lists_left,
};

fn lists_left(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached().filter(|stage| stage.is_shipped) {
        let installs = facts.runs_of(stage);
        let installs = installs.filter(|run| stale_install(facts, run).is_some());
        let last = installs.map(|run| run.step.span.start).last();
        facts
            .runs_of(stage)
            .for_each(|run| lists_left_by(facts, &run, last, found));
    }
}

/// `last` is where the stage's last installation by lists of an earlier `RUN` stands.
fn lists_left_by(
    facts: &Facts<'_>,
    run: &RunStep<'_, '_>,
    last: Option<usize>,
    found: &mut Findings,
) {
    let commands: Vec<Found<'_>> = run.work.commands().collect();
    let update = commands
        .iter()
        .find(|command| installs::apt(&command.invocation) == Some("update"));
    let is_removed = commands.iter().any(|command| {
        let invocation = &command.invocation;
        matches!(invocation.program, "rm" | "find")
            && invocation
                .arguments
                .iter()
                .flat_map(|word| braces(&word.text))
                .any(|path| removes_lists(&path))
    });
    let Some(update) = update.filter(|_| !is_removed) else {
        return;
    };
    // The other rule has said to join it with its installation.
    let is_before = last.is_some_and(|last| last > run.step.span.start);
    let is_alone = is_before && lone_update(facts, run).is_some();
    if is_alone || keeps_lists_out(facts, run) {
        return;
    }
    let detail = "the package lists of `apt-get update` stay in the layer";
    found.fixable(update.span, detail, removal(run));
}

fn removes_lists(path: &str) -> bool {
    let path = path.trim_end_matches(['*', '/']);
    matches!(path, "/var/lib/apt/lists" | "/var/lib/apt" | "/var/lib")
        || path.starts_with("/var/lib/apt/lists")
}

/// Removes the lists at the end of a script that is one list of commands joined by `&&`.
fn removal(run: &RunStep<'_, '_>) -> Option<Fix> {
    let [script] = run.work.scripts.as_slice() else {
        return None;
    };
    let [list] = script.script.lists.as_slice() else {
        return None;
    };
    let is_chain = list
        .rest
        .iter()
        .all(|(connector, _)| *connector == crate::shell::Connector::And);
    let last = run.work.commands().last()?;
    let last = last.exact(&last.invocation.simple.range)?;
    // Something behind the last command (a bracket, a comment) is not for us to move.
    let is_end = last.end == run.step.span.end;
    (is_chain && is_end).then(|| Fix::insert(last.end, " \\\n && rm -rf /var/lib/apt/lists/*"))
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(text: &str, alone: usize, lists: usize) {
        let text = format!("FROM debian:13\n{text}\n");
        assert_eq!(count("AptUpdateAlone", &text), alone, "{text}");
        assert_eq!(count("AptListsLeft", &text), lists, "{text}");
    }

    #[test]
    fn updates_apart() {
        check("RUN apt-get update\nRUN apt-get install -y x", 1, 0);
        check(
            "RUN apt update && rm x\nRUN echo\nRUN apt install -y x",
            1,
            0,
        );
        check(
            "RUN apt-get -qq -o A=b update\nRUN apt-get install -y x",
            1,
            0,
        );
    }

    #[test]
    fn updates_with_their_installation() {
        check(
            "RUN apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*",
            0,
            0,
        );
        check(
            "RUN apt-get update; apt-get upgrade -y; rm -r /var/lib/apt/lists",
            0,
            0,
        );
        check(
            "RUN apt-get update && apt-get install -y x && rm -rf /var/lib/{apt,dpkg,cache,log}/",
            0,
            0,
        );
        check("RUN apt-get update && ./install.sh", 0, 1);
        check(
            "RUN apt-get update\nRUN apt-get update && apt-get install -y x",
            0,
            2,
        );
        check(
            "RUN --mount=type=cache,target=/var/lib/apt apt-get update\nRUN --mount=type=cache,target=/var/lib/apt apt-get install -y x",
            0,
            0,
        );
        check(
            "RUN --mount=type=cache,target=/var/lib/apt/lists,sharing=locked apt-get update && apt-get install -y x",
            0,
            0,
        );
        check("RUN echo apt-get update\nRUN apt-get install -y x", 0, 0);
    }

    #[test]
    fn lists_in_a_stage_that_is_copied_from_harm_nobody() {
        let text = "FROM debian:13 AS build\nRUN apt-get update && apt-get install -y gcc\n\
                    FROM debian:13\nCOPY --from=build /x /x\n";
        assert_eq!(count("AptListsLeft", text), 0);
        assert_eq!(count("AptListsLeft", &format!("{text}FROM build\n")), 1);
    }
}
