//! In which order packages are unpacked and configured.
//!
//! dpkg demands two things: a package's `Pre-Depends` are configured before it is unpacked, its
//! `Depends` before it is configured. The first only shows if the package has a `preinst` script,
//! so the packages are taken in as few *stages* as those scripts allow: the essential packages
//! with what they need, then, as a rule, all others. Everything of a stage is unpacked before
//! anything of it is configured.

use std::collections::{BTreeSet, HashMap};

use crate::deb::{Control, DebError};
use crate::error::DebianError;
use crate::relation::{Clause, Relation, parse};
use crate::version::Version;

/// Unpacked before all others: they bring the directories and the users.
const FIRST: [&str; 2] = ["base-files", "base-passwd"];

/// What the packages of a base need of each other, by position.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    names: Vec<String>,
    essential: Vec<bool>,
    has_preinst: Vec<bool>,
    /// For each package the clauses of `Pre-Depends`, each with those that can answer it.
    before_unpacking: Vec<Vec<Vec<usize>>>,
    /// The same for `Pre-Depends` and `Depends`.
    before_configuring: Vec<Vec<Vec<usize>>>,
}

impl Graph {
    /// Reads the relations of all packages of a base.
    pub(crate) fn new(packages: &[(&str, &Control)], arch: &str) -> Result<Graph, DebianError> {
        let answers = Answers::new(packages, arch)?;
        let mut graph = Graph::default();
        for (name, control) in packages {
            let before_unpacking = answers.to(name, control, &["Pre-Depends"], arch)?;
            let before_configuring =
                answers.to(name, control, &["Pre-Depends", "Depends"], arch)?;
            graph.names.push((*name).to_owned());
            graph.essential.push(control.is_essential());
            graph
                .has_preinst
                .push(control.members.contains_key("preinst"));
            graph.before_unpacking.push(before_unpacking);
            graph.before_configuring.push(before_configuring);
        }
        Ok(graph)
    }

    /// The stages, each in the order of configuration.
    pub(crate) fn stages(&self) -> Vec<Vec<usize>> {
        let mut configured = BTreeSet::new();
        let mut stages = Vec::new();
        let essential = (0..self.names.len()).filter(|at| self.essential[*at]);
        let first = self.closure(essential.collect(), &configured);
        if !first.is_empty() {
            configured.extend(first.iter().copied());
            stages.push(self.ordered(&first));
        }
        while configured.len() < self.names.len() {
            let stage = self.next_stage(&configured);
            configured.extend(stage.iter().copied());
            stages.push(self.ordered(&stage));
        }
        stages
    }

    /// The next packages: all that are left, unless some of their `preinst` scripts have to wait
    /// for others of them; then those others.
    fn next_stage(&self, configured: &BTreeSet<usize>) -> BTreeSet<usize> {
        let remaining: BTreeSet<usize> = (0..self.names.len())
            .filter(|at| !configured.contains(at))
            .collect();
        let waits = |at: &usize| {
            let met = |clause: &Vec<usize>| clause.iter().any(|a| configured.contains(a));
            self.has_preinst[*at] && !self.before_unpacking[*at].iter().all(met)
        };
        let waiting: BTreeSet<usize> = remaining.iter().copied().filter(waits).collect();
        let awaited = |at: &usize| {
            let targets = self.before_unpacking[*at]
                .iter()
                .filter_map(|c| c.first().copied());
            self.closure(targets.collect(), configured)
        };
        let stage: BTreeSet<usize> = waiting
            .iter()
            .map(awaited)
            .filter(|set| set.is_disjoint(&waiting))
            .flatten()
            .collect();
        // Where scripts wait for each other no order is right, so none is sought.
        if stage.is_empty() { remaining } else { stage }
    }

    /// Packages with all they need, without what is configured.
    fn closure(&self, mut open: Vec<usize>, configured: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut closure = BTreeSet::new();
        while let Some(at) = open.pop() {
            if configured.contains(&at) || !closure.insert(at) {
                continue;
            }
            for clause in &self.before_configuring[at] {
                let there = |a: &usize| configured.contains(a) || closure.contains(a);
                if !clause.iter().any(there) {
                    open.extend(clause.first());
                }
            }
        }
        closure
    }

    /// A set with what is needed before what needs it, and otherwise by name.
    fn ordered(&self, set: &BTreeSet<usize>) -> Vec<usize> {
        let mut by_name: Vec<usize> = set.iter().copied().collect();
        by_name.sort_by_key(|at| {
            let name = self.names[*at].as_str();
            (
                FIRST
                    .iter()
                    .position(|first| *first == name)
                    .unwrap_or(FIRST.len()),
                name,
            )
        });
        let mut ordered = Vec::new();
        let mut seen = BTreeSet::new();
        for at in by_name {
            self.visit(at, set, &mut seen, &mut ordered);
        }
        ordered
    }

    /// Walks depth first with a stack of its own: chains of needs can be long.
    fn visit(
        &self,
        from: usize,
        set: &BTreeSet<usize>,
        seen: &mut BTreeSet<usize>,
        ordered: &mut Vec<usize>,
    ) {
        let needs = |at: usize| -> Vec<usize> {
            let mut needs: Vec<usize> = self.before_configuring[at]
                .iter()
                .flatten()
                .copied()
                .filter(|n| set.contains(n))
                .collect();
            needs.reverse();
            needs
        };
        if !seen.insert(from) {
            return;
        }
        let mut stack = vec![(from, needs(from))];
        while let Some((at, todo)) = stack.last_mut() {
            match todo.pop() {
                Some(next) => {
                    if seen.insert(next) {
                        stack.push((next, needs(next)));
                    }
                }
                None => {
                    ordered.push(*at);
                    stack.pop();
                }
            }
        }
    }
}

/// Who answers to which name.
struct Answers<'p> {
    by_name: HashMap<&'p str, Vec<(usize, Option<Version<'p>>)>>,
}

impl<'p> Answers<'p> {
    fn new(packages: &[(&'p str, &'p Control)], arch: &str) -> Result<Answers<'p>, DebianError> {
        let mut by_name: HashMap<&str, Vec<_>> = HashMap::new();
        for (at, (name, control)) in packages.iter().enumerate() {
            let version = control.field("Version").map(Version);
            by_name.entry(name).or_default().insert(0, (at, version));
            for provided in clauses(name, control, "Provides", arch)?
                .into_iter()
                .flatten()
            {
                let version = provided.version.map(|(_, version)| version);
                by_name
                    .entry(provided.name)
                    .or_default()
                    .push((at, version));
            }
        }
        Ok(Answers { by_name })
    }

    fn to(
        &self,
        name: &str,
        control: &Control,
        fields: &[&str],
        arch: &str,
    ) -> Result<Vec<Vec<usize>>, DebianError> {
        let mut all = Vec::new();
        for field in fields {
            for clause in clauses(name, control, field, arch)? {
                let answers: Vec<usize> = clause.iter().flat_map(|r| self.to_one(r)).collect();
                if !answers.is_empty() {
                    all.push(answers);
                }
            }
        }
        Ok(all)
    }

    fn to_one(&self, relation: &Relation<'_>) -> Vec<usize> {
        let named = self
            .by_name
            .get(relation.name)
            .map_or(&[][..], Vec::as_slice);
        let fits = |version: &Option<Version<'_>>| match version {
            Some(version) => relation.accepts(*version),
            None => relation.version.is_none(),
        };
        named
            .iter()
            .filter(|(_, version)| fits(version))
            .map(|(at, _)| *at)
            .collect()
    }
}

fn clauses<'c>(
    name: &str,
    control: &'c Control,
    field: &str,
    arch: &str,
) -> Result<Vec<Clause<'c>>, DebianError> {
    parse(control.field(field).unwrap_or_default(), arch).map_err(|source| DebianError::Deb {
        package: name.to_owned(),
        source: DebError::Relation(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stages of packages given as `name fields`, with `!` for a preinst script.
    fn stages(packages: &[(&str, &str)]) -> Vec<String> {
        let controls: Vec<(String, Control)> = packages
            .iter()
            .map(|(name, fields)| {
                let bare = name.trim_end_matches('!');
                let mut control = Control {
                    text: format!("Package: {bare}\nVersion: 1\n{fields}\n"),
                    ..Control::default()
                };
                if name.ends_with('!') {
                    control.members.insert("preinst".to_owned(), Vec::new());
                }
                (bare.to_owned(), control)
            })
            .collect();
        let packages: Vec<_> = controls.iter().map(|(n, c)| (n.as_str(), c)).collect();
        let graph = Graph::new(&packages, "amd64").unwrap();
        let shown = |stage: Vec<usize>| {
            stage
                .into_iter()
                .map(|at| graph.names[at].clone())
                .collect::<Vec<_>>()
                .join(" ")
        };
        graph.stages().into_iter().map(shown).collect()
    }

    #[test]
    fn essential_packages_come_first_with_what_they_need() {
        let packages = [
            ("app", "Depends: lib"),
            ("base-files", "Essential: yes\nPre-Depends: awk"),
            ("bash", "Essential: yes\nDepends: base-files"),
            ("lib", ""),
            ("mawk", "Provides: awk"),
        ];
        assert_eq!(stages(&packages), ["mawk base-files bash", "lib app"]);
    }

    #[test]
    fn only_scripts_need_a_stage_of_their_own() {
        let quiet = [("a", "Pre-Depends: b"), ("b", "Depends: c"), ("c", "")];
        assert_eq!(stages(&quiet), ["c b a"]);
        let scripted = [
            ("a!", "Pre-Depends: b"),
            ("b", "Depends: c"),
            ("c", ""),
            ("d", ""),
        ];
        assert_eq!(stages(&scripted), ["c b", "a d"]);
        let chained = [
            ("a!", "Pre-Depends: b"),
            ("b!", "Pre-Depends: c"),
            ("c", ""),
        ];
        assert_eq!(stages(&chained), ["c", "b", "a"]);
        let two = [
            ("a!", "Pre-Depends: c"),
            ("b!", "Pre-Depends: d"),
            ("c", ""),
            ("d", ""),
        ];
        assert_eq!(stages(&two), ["c d", "a b"]);
    }

    #[test]
    fn circles_are_taken_together() {
        let needs = [("a", "Depends: b"), ("b", "Depends: a")];
        assert_eq!(stages(&needs), ["b a"]);
        let scripts = [("a!", "Pre-Depends: b"), ("b!", "Pre-Depends: a")];
        assert_eq!(stages(&scripts), ["b a"]);
    }

    #[test]
    fn versions_decide_who_answers() {
        let packages = [
            ("a!", "Pre-Depends: v (>= 2)"),
            ("p", "Provides: v (= 1)"),
            ("q", "Provides: v (= 2)"),
        ];
        assert_eq!(stages(&packages), ["q", "a p"]);
    }
}
