//! The second attempt, with backtracking, for requests on which greed fails.
//!
//! Requested packages must be in; installed ones should be, in their order, and give way when they
//! cannot be. Clauses are answered one after the other with the chooser's preferences; a dead end
//! takes back the last decision. The number of decisions is bounded: real archives need few, and a
//! user is better served by an answer than by a proof.

use std::collections::HashSet;

use super::SolveError;
use crate::relation::Clause;
use crate::universe::{PackageId, Universe};

const DECISIONS_MAX: usize = 200_000;

/// What is wrong with a set of packages, in words.
pub(super) fn faults(
    universe: &Universe<'_>,
    chosen: &[PackageId],
    requests: &[PackageId],
) -> Vec<String> {
    let set: HashSet<PackageId> = chosen.iter().copied().collect();
    let mut faults = Vec::new();
    for request in requests.iter().filter(|id| !set.contains(id)) {
        faults.extend(why_not(universe, *request, &set));
    }
    for id in chosen {
        let name = universe.package(*id).name;
        let Ok(relations) = universe.relations(*id) else {
            faults.push(format!("the relations of {name} cannot be read"));
            continue;
        };
        for clause in &relations.needs {
            if !is_met(universe, clause, &set) {
                faults.push(format!("{name} needs {}", shown(universe, clause)));
            }
        }
        for (relation, other) in exclusions(universe, *id) {
            if set.contains(&other) {
                faults.push(format!("{name} excludes {relation}"));
            }
        }
    }
    faults
}

/// Says why a package that was asked for could not be taken.
fn why_not(universe: &Universe<'_>, id: PackageId, set: &HashSet<PackageId>) -> Vec<String> {
    let name = universe.package(id).name;
    let Ok(relations) = universe.relations(id) else {
        return vec![format!("the relations of {name} cannot be read")];
    };
    let mut reasons: Vec<String> = relations
        .needs
        .iter()
        .filter(|clause| !is_met(universe, clause, set))
        .map(|clause| format!("{name} needs {}", shown(universe, clause)))
        .collect();
    if reasons.is_empty() {
        reasons.push(format!("{name} is excluded by another package"));
    }
    reasons
}

fn shown(universe: &Universe<'_>, clause: &Clause<'_>) -> String {
    let text = clause
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" | ");
    let offered = clause
        .iter()
        .any(|relation| !universe.answers(relation).is_empty());
    if offered {
        text
    } else {
        format!("{text}, which no suite offers")
    }
}

fn is_met(universe: &Universe<'_>, clause: &Clause<'_>, set: &HashSet<PackageId>) -> bool {
    clause
        .iter()
        .any(|relation| universe.answers(relation).iter().any(|id| set.contains(id)))
}

fn exclusions(universe: &Universe<'_>, id: PackageId) -> impl Iterator<Item = (String, PackageId)> {
    let relations = universe.relations(id).ok();
    relations
        .into_iter()
        .flat_map(|relations| &relations.excludes)
        .flat_map(move |relation| {
            let others = universe
                .answers(relation)
                .into_iter()
                .filter(move |other| *other != id);
            others.map(|other| (relation.to_string(), other))
        })
}

/// Finds a consistent set with all requests, or says what prevents it.
pub(super) fn search(
    universe: &Universe<'_>,
    installed: &[PackageId],
    requests: &[PackageId],
) -> Result<Vec<PackageId>, SolveError> {
    let mut search = Search {
        universe,
        set: Vec::new(),
        members: HashSet::new(),
        decisions: 0,
    };
    let mut deepest = Vec::new();
    if !search.include_all(requests, &mut deepest) {
        let mut reasons = faults(universe, &deepest, requests);
        reasons.dedup();
        reasons.truncate(5);
        return Err(SolveError::Unsatisfiable { reasons });
    }
    for id in installed {
        // What cannot stay beside the requests goes.
        let mut ignored = Vec::new();
        search.decisions = 0;
        search.include_all(&[*id], &mut ignored);
    }
    Ok(search.set)
}

struct Search<'u, 't> {
    universe: &'u Universe<'t>,
    /// The packages that are in, in the order of the decisions.
    set: Vec<PackageId>,
    members: HashSet<PackageId>,
    decisions: usize,
}

/// Something that is still to be decided.
#[derive(Clone)]
enum Open<'t> {
    Package(PackageId),
    Clause(Clause<'t>),
}

impl<'t> Search<'_, 't> {
    fn include_all(&mut self, ids: &[PackageId], deepest: &mut Vec<PackageId>) -> bool {
        let open: Vec<Open<'t>> = ids.iter().rev().map(|id| Open::Package(*id)).collect();
        self.decide(open, deepest)
    }

    /// Decides all that is open, the last entry first; takes its own decisions back on failure.
    fn decide(&mut self, mut open: Vec<Open<'t>>, deepest: &mut Vec<PackageId>) -> bool {
        let before = self.set.len();
        while let Some(next) = open.pop() {
            match next {
                Open::Package(id) => {
                    if self.members.contains(&id) {
                        continue;
                    }
                    if !self.include(id, &mut open) {
                        self.note(deepest);
                        self.take_back(before);
                        return false;
                    }
                }
                Open::Clause(clause) => {
                    if is_met(self.universe, &clause, &self.members) {
                        continue;
                    }
                    let done = self.try_answers(&clause, &open, deepest);
                    if !done {
                        self.take_back(before);
                    }
                    return done;
                }
            }
        }
        true
    }

    fn try_answers(
        &mut self,
        clause: &Clause<'t>,
        open: &[Open<'t>],
        deepest: &mut Vec<PackageId>,
    ) -> bool {
        for answer in self.answers(clause) {
            self.decisions += 1;
            if self.decisions > DECISIONS_MAX {
                break;
            }
            let mut open = open.to_vec();
            open.push(Open::Package(answer));
            if self.decide(open, deepest) {
                return true;
            }
        }
        self.note(deepest);
        false
    }

    fn include(&mut self, id: PackageId, open: &mut Vec<Open<'t>>) -> bool {
        let universe = self.universe;
        let Ok(relations) = universe.relations(id) else {
            return false;
        };
        let clash = exclusions(universe, id).any(|(_, other)| self.members.contains(&other))
            || self
                .set
                .iter()
                .any(|other| exclusions(universe, *other).any(|(_, o)| o == id));
        if clash {
            return false;
        }
        self.set.push(id);
        self.members.insert(id);
        open.extend(relations.needs.iter().rev().cloned().map(Open::Clause));
        true
    }

    fn answers(&self, clause: &Clause<'t>) -> Vec<PackageId> {
        let mut all = Vec::new();
        for relation in clause {
            let mut answers = self.universe.answers(relation);
            answers.sort_by_key(|id| {
                let package = self.universe.package(*id);
                (
                    package.name != relation.name,
                    !package.essential,
                    package.priority,
                    package.name,
                )
            });
            all.extend(answers);
        }
        all
    }

    fn note(&self, deepest: &mut Vec<PackageId>) {
        if self.set.len() >= deepest.len() {
            deepest.clone_from(&self.set);
        }
    }

    fn take_back(&mut self, to: usize) {
        for id in self.set.drain(to..) {
            self.members.remove(&id);
        }
    }
}
