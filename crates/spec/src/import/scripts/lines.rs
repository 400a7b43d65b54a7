//! A script to the builds in it: variables and folders as they change from line to line, loops
//! taken once for each of their values, rules of Make once for each folder that they may be for.

use super::places::Places;
use super::variables::{AUTOMATIC, Variables};
use crate::import::Tree;
use crate::import::docker_build::DockerBuild;
use crate::import::shell::{CLOSES, OPENS, assignment, commands};

/// A loop goes round so often at most, all around it counted.
const ROUNDS_MAX: usize = 64;
/// So many scripts may a script hold in a word of its own (`bash -c '...'`).
const NESTED_MAX: usize = 3;
/// Loops in each other, and subshells in each other, are looked at no deeper.
const DEPTH_MAX: usize = 16;
/// So many builds of one text are taken.
const FOUND_MAX: usize = 1024;

/// A command that builds, with what holds where it stands.
pub(super) struct Found {
    pub(super) command: DockerBuild,
    pub(super) variables: Variables,
    pub(super) home: Places,
}

/// The builds of a text, in its order.
pub(super) fn builds(
    tree: &Tree,
    text: &str,
    variables: &mut Variables,
    home: &mut Places,
) -> Vec<Found> {
    let mut reader = Reader {
        tree,
        loops: Vec::new(),
        loops_beyond: 0,
        shells: Vec::new(),
        found: Vec::new(),
        depth: 0,
    };
    reader.read(text, variables, home);
    reader.found
}

/// A Makefile: assignments, and rules whose lines each start in its own folder.
pub(super) fn of_makefile(
    tree: &Tree,
    text: &str,
    variables: &mut Variables,
    home: &Places,
) -> Vec<Found> {
    let joined = text.replace("\\\n", " ");
    let mut recipes = Vec::new();
    for line in joined.lines() {
        match line.strip_prefix('\t') {
            Some(recipe) => recipes.push(recipe),
            None => {
                // `target: NAME ?= value` sets it for one rule; it is the same name all the same.
                let own = line.split_once(": ").map(|(_, behind)| behind);
                for line in [Some(line), own].into_iter().flatten() {
                    set_in_make(line, variables);
                }
            }
        }
    }
    let found = recipes.into_iter().flat_map(|line| {
        let line = line.trim_start_matches(['@', '-', '+']);
        builds(tree, line, &mut variables.clone(), &mut home.clone())
    });
    found.take(FOUND_MAX).collect()
}

fn set_in_make(line: &str, variables: &mut Variables) {
    let line = line.trim_start().trim_start_matches("export ").trim_start();
    let Some((name, value)) = line.split_once('=') else {
        return;
    };
    let value = value.split(" #").next().unwrap_or_default().trim();
    let bare = name.trim_end_matches([':', '?', '+', '!']).trim();
    if assignment(&format!("{bare}=")).is_none() {
        return;
    }
    match name.trim_end().chars().next_back() {
        Some('?') => variables.set_default(bare, value),
        Some('+') => variables.append(bare, value),
        _ => variables.set(bare, value),
    }
}

struct Reader<'a> {
    tree: &'a Tree,
    /// The loops around a line: names with their values.
    loops: Vec<(String, Vec<String>)>,
    /// Loops that are too deep to be looked at.
    loops_beyond: usize,
    /// Where the shells around a subshell are.
    shells: Vec<Places>,
    found: Vec<Found>,
    depth: usize,
}

impl Reader<'_> {
    fn read(&mut self, text: &str, variables: &mut Variables, home: &mut Places) {
        for words in commands(text) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.command(&words, variables, home);
        }
    }

    fn command(&mut self, mut words: &[&str], variables: &mut Variables, home: &mut Places) {
        // What stands behind a word of the shell is a command.
        while let ["do" | "then" | "else" | "{" | "-", rest @ ..] = words
            && !rest.is_empty()
        {
            words = rest;
        }
        match words {
            [OPENS] if self.shells.len() < DEPTH_MAX => self.shells.push(home.clone()),
            // One without a beginning is that of a `case`.
            [CLOSES] => {
                if let Some(around) = self.shells.pop() {
                    *home = around;
                }
            }
            ["for", _, "in", ..] if self.loops.len() == DEPTH_MAX => self.loops_beyond += 1,
            ["for", name, "in", values @ ..] => {
                let values = values.iter().take(ROUNDS_MAX).flat_map(|it| {
                    let filled = variables.fill(it);
                    filled
                        .split_whitespace()
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                });
                let values = values.flat_map(|it| home.matching(self.tree, &it));
                let values = values.take(ROUNDS_MAX).collect();
                self.loops.push(((*name).to_owned(), values));
            }
            ["done", ..] if self.loops_beyond > 0 => self.loops_beyond -= 1,
            ["done", ..] => {
                self.loops.pop();
            }
            ["cd" | "pushd", place, ..] => home.enter(&variables.fill(place)),
            ["popd", ..] => home.leave(),
            ["export" | "readonly" | "local" | "declare", rest @ ..] => {
                let rest = rest.iter().filter(|it| !it.starts_with('-'));
                rest.filter_map(|it| assignment(it))
                    .for_each(|(name, value)| variables.set(name, value));
            }
            // `: ${NAME:=value}`
            [":", rest @ ..] => {
                for word in rest {
                    let inside = word.strip_prefix("${").and_then(|it| it.strip_suffix('}'));
                    if let Some((name, value)) = inside.and_then(|it| it.split_once(":=")) {
                        variables.set_default(name, value);
                    }
                }
            }
            words if words.iter().all(|it| assignment(it).is_some()) => {
                for (name, value) in words.iter().filter_map(|it| assignment(it)) {
                    variables.set(name, value);
                }
            }
            // `reg := "ghcr.io/lab"` of a justfile.
            [name, ":=", value] => variables.set(name, value),
            words => self.run(words, variables, home),
        }
    }

    fn run(&mut self, words: &[&str], variables: &mut Variables, home: &mut Places) {
        let owned: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
        if let Some(command) = DockerBuild::read(&owned) {
            self.found(&command, variables, home);
            return;
        }
        // `bash -c "docker build ..."`, and what a pipeline hands to a shell.
        let scripts = words
            .iter()
            .filter(|it| it.contains(char::is_whitespace) && it.contains("build"));
        for script in scripts {
            if self.depth < NESTED_MAX {
                self.depth += 1;
                self.read(script, variables, home);
                self.depth -= 1;
            }
        }
    }

    /// One build for each round of the loops around it.
    fn found(&mut self, command: &DockerBuild, variables: &Variables, home: &Places) {
        if self.found.len() >= FOUND_MAX {
            return;
        }
        let mut rounds = vec![variables.clone()];
        for (name, values) in &self.loops {
            let with = rounds.iter().flat_map(|round| {
                values.iter().map(move |value| {
                    let mut round = round.clone();
                    round.set(name, value);
                    round
                })
            });
            rounds = with.take(ROUNDS_MAX).collect();
        }
        for variables in rounds {
            for variables in for_folders(self.tree, command, variables, home) {
                self.found.push(Found {
                    command: command.clone(),
                    variables,
                    home: home.clone(),
                });
            }
        }
    }
}

/// A rule of Make for whatever it is called for: once for each folder that has a Dockerfile where
/// the rule looks for it.
fn for_folders(
    tree: &Tree,
    command: &DockerBuild,
    variables: Variables,
    home: &Places,
) -> Vec<Variables> {
    let named = [Some(&command.context), command.dockerfile.as_ref()];
    let is_automatic = |text: &&String| {
        let marks = ["$@", "$*", "$(@", "$(*", "$(notdir $@"];
        marks.iter().any(|mark| text.contains(mark))
    };
    if !named.into_iter().flatten().any(|it| is_automatic(&it)) {
        return vec![variables];
    }
    let with = home.names(tree).into_iter().filter_map(|name| {
        let mut variables = variables.clone();
        variables.set(AUTOMATIC, &name);
        home.dockerfile(tree, command, &variables)
            .map(|_| variables)
    });
    with.take(ROUNDS_MAX).collect()
}
