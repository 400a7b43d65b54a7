//! apt's way of choosing: mark a package, then all it needs, depth first.
//!
//! The rules, each of which shows in the result:
//! - all requests are marked before anything they need is looked at, so that a request is taken as
//!   the answer to an alternative wherever it fits;
//! - a clause that something chosen satisfies asks for nothing;
//! - among the alternatives of a clause, installed packages come first, then the order as written;
//!   among the providers of one alternative, the package of that very name, then essential ones,
//!   then by priority, then the one that the indexes mentioned last;
//! - what only one package can answer for a request is protected like the request, and what a
//!   protected package excludes is forbidden from then on;
//! - a package whose needs cannot be met is unmarked, and the next alternative is tried.

use std::cmp::{Ordering, Reverse};

use super::state::{Mode, States};
use crate::relation::{Clause, Relation};
use crate::universe::{PackageId, Universe};

/// Deeper chains than this do not occur; the bound keeps a hostile index from using up the stack.
const DEPTH_MAX: usize = 400;

/// Marks the requests and what they need beside what is installed, and returns what is then there.
///
/// The result may be inconsistent where greed leads into a corner.
pub(super) fn choose(
    universe: &Universe<'_>,
    installed: &[PackageId],
    requests: &[PackageId],
) -> Vec<PackageId> {
    let mut chooser = Chooser {
        states: States::new(universe, installed),
    };
    for id in requests {
        chooser.states.edit(*id).protected = true;
        chooser.mark(*id, Marking::Request);
    }
    for id in requests {
        chooser.install(*id, Marking::Request, 0);
    }
    chooser.states.chosen()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marking {
    /// The user asked for it.
    Request,
    /// Another package needs it.
    Need,
}

struct Chooser<'u, 't> {
    states: States<'u, 't>,
}

impl<'t> Chooser<'_, 't> {
    /// Decides that a package is to be there, without looking at what it needs.
    fn mark(&mut self, id: PackageId, marking: Marking) -> bool {
        if !self.may_install(id, marking) || !self.states.get(id).available {
            return false;
        }
        let state = self.states.edit(id);
        state.mode = if state.installed {
            Mode::Keep
        } else {
            Mode::Install
        };
        true
    }

    /// Decides that a package is to be there, with all it needs.
    fn install(&mut self, id: PackageId, marking: Marking, depth: usize) -> bool {
        let state = self.states.get(id);
        if depth > DEPTH_MAX || !self.may_install(id, marking) || !state.available {
            return false;
        }
        let settled = state.is_in() && !state.protected && !self.states.is_broken(id);
        if settled {
            return true;
        }
        if marking == Marking::Need && !self.needs_can_be_met(id) {
            self.discard(id);
            return false;
        }
        let gives_up = !state.protected && marking == Marking::Need;
        let Ok(relations) = self.states.universe.relations(id) else {
            return false;
        };
        let needs: Vec<Clause<'t>> = self.open_needs(id, &relations.needs);
        let excludes = relations.excludes.clone();
        let mut removals = Vec::new();
        let mut failed = !self.exclude(id, &excludes, gives_up, &mut removals);
        if failed && gives_up {
            return false;
        }
        self.mark(id, marking);

        let propagate = state.protected;
        self.states.edit(id).protected = true;
        let met = self.meet(&needs, propagate, gives_up, depth);
        self.states.edit(id).protected = propagate;
        let removed = removals.into_iter().all(|other| self.remove(other));
        failed |= !met || !removed;
        if failed && gives_up {
            self.discard(id);
        }
        !failed
    }

    /// The needs that are to be looked at: a protected package also protects what satisfies it.
    fn open_needs(&self, id: PackageId, needs: &[Clause<'t>]) -> Vec<Clause<'t>> {
        let protected = self.states.get(id).protected;
        needs
            .iter()
            .filter(|n| protected || !self.states.is_satisfied(n))
            .cloned()
            .collect()
    }

    /// Whether the mode of a package may be changed to be installed.
    fn may_install(&self, id: PackageId, marking: Marking) -> bool {
        let state = self.states.get(id);
        marking == Marking::Request || state.is_in() || !state.protected
    }

    fn needs_can_be_met(&self, id: PackageId) -> bool {
        if self.states.get(id).installed {
            return true;
        }
        let relations = self.states.universe.relations(id);
        relations.is_ok_and(|r| {
            r.needs
                .iter()
                .all(|clause| self.states.is_satisfiable(clause))
        })
    }

    /// Gets what a package excludes out of the way; packages that are installed go at the end.
    fn exclude(
        &mut self,
        id: PackageId,
        excludes: &[Relation<'t>],
        gives_up: bool,
        removals: &mut Vec<PackageId>,
    ) -> bool {
        let protected = self.states.get(id).protected;
        let mut succeeded = true;
        for relation in excludes {
            for other in self.states.excluded_by(id, relation) {
                let done = if self.states.get(other).installed {
                    self.exclude_installed(other, protected, removals)
                } else {
                    self.exclude_new(other, protected)
                };
                succeeded &= done;
                if !done && gives_up {
                    return false;
                }
            }
        }
        succeeded
    }

    fn exclude_new(&mut self, other: PackageId, protected: bool) -> bool {
        let state = self.states.get(other);
        if state.mode == Mode::Install {
            if state.protected {
                return false;
            }
            self.states.edit(other).mode = Mode::Keep;
        }
        if protected {
            let state = self.states.edit(other);
            state.available = false;
            state.protected = true;
        }
        true
    }

    fn exclude_installed(
        &mut self,
        other: PackageId,
        protected: bool,
        removals: &mut Vec<PackageId>,
    ) -> bool {
        let state = self.states.get(other);
        if state.mode == Mode::Remove {
            return true;
        }
        if state.protected {
            return false;
        }
        if !protected {
            removals.push(other);
            return true;
        }
        let state = self.states.edit(other);
        state.mode = Mode::Remove;
        state.available = false;
        state.protected = true;
        true
    }

    fn remove(&mut self, id: PackageId) -> bool {
        let state = self.states.edit(id);
        if state.protected && state.mode != Mode::Remove {
            return false;
        }
        state.mode = Mode::Remove;
        true
    }

    /// Chooses an answer to each clause.
    fn meet(
        &mut self,
        needs: &[Clause<'t>],
        propagate: bool,
        gives_up: bool,
        depth: usize,
    ) -> bool {
        let mut succeeded = true;
        for clause in needs {
            let met = if self.states.is_satisfied(clause) {
                !propagate || self.protect_only_answer(clause, depth)
            } else {
                self.meet_one(clause, propagate, depth)
            };
            succeeded &= met;
            if !met && gives_up {
                return false;
            }
        }
        succeeded
    }

    /// Protects the one package that can answer a satisfied clause of a protected package.
    fn protect_only_answer(&mut self, clause: &Clause<'t>, depth: usize) -> bool {
        let [only] = self.answers(clause)[..] else {
            return true;
        };
        if self.states.get(only).protected {
            return true;
        }
        self.states.edit(only).protected = true;
        self.install(only, Marking::Need, depth + 1)
    }

    fn meet_one(&mut self, clause: &Clause<'t>, propagate: bool, depth: usize) -> bool {
        let answers = self.answers(clause);
        for answer in &answers {
            if propagate && answers.len() == 1 {
                if !self.mark(*answer, Marking::Need) {
                    continue;
                }
                self.states.edit(*answer).protected = true;
            }
            if self.install(*answer, Marking::Need, depth + 1) {
                return true;
            }
        }
        false
    }

    /// All packages that may answer a clause, the preferred one first.
    fn answers(&self, clause: &Clause<'t>) -> Vec<PackageId> {
        let mut installed = Vec::new();
        let mut new = Vec::new();
        for relation in clause {
            let mut answers = self.states.universe.answers(relation);
            answers.retain(|id| self.states.get(*id).available);
            answers.sort_by(|a, b| self.prefer(relation.name, *a, *b));
            for id in answers {
                let list = if self.states.get(id).installed {
                    &mut installed
                } else {
                    &mut new
                };
                if !list.contains(&id) {
                    list.push(id);
                }
            }
        }
        installed.extend(new);
        installed.retain(|id| !self.states.get(*id).is_forbidden());
        installed
    }

    fn prefer(&self, name: &str, a: PackageId, b: PackageId) -> Ordering {
        let rank = |id: PackageId| {
            let (package, state) = (self.states.universe.package(id), self.states.get(id));
            (
                Reverse(state.protected),
                Reverse(state.installed),
                Reverse(package.name == name),
                Reverse(package.essential),
                Reverse(package.protected),
                package.priority,
            )
        };
        let by_rank = rank(a).cmp(&rank(b));
        by_rank.then_with(|| {
            let mention = |id| {
                self.states
                    .universe
                    .mention(self.states.universe.package(id).name)
            };
            mention(b).cmp(&mention(a))
        })
    }

    /// Gives a package up: it stays as it was before, and is no longer offered.
    fn discard(&mut self, id: PackageId) {
        let state = self.states.edit(id);
        state.mode = Mode::Keep;
        state.available = state.installed;
    }
}
