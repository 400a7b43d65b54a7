//! What the chooser has decided about each package so far.

use crate::relation::{Clause, Relation};
use crate::universe::{PackageId, Universe};

/// What is to happen with a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It stays as it is, installed or not.
    Keep,
    /// It is to be installed.
    Install,
    /// It is installed and is to go.
    Remove,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// Whether it was installed before.
    pub(super) installed: bool,
    /// Whether it may be installed at all.
    pub(super) available: bool,
    /// Whether the decision stands, because a request depends on it.
    pub(super) protected: bool,
    pub(super) mode: Mode,
}

impl State {
    /// Whether the package will be there in the end.
    pub(super) fn is_in(self) -> bool {
        match self.mode {
            Mode::Install => true,
            Mode::Keep => self.installed,
            Mode::Remove => false,
        }
    }

    /// Whether a request forbids the package.
    pub(super) fn is_forbidden(self) -> bool {
        self.protected
            && (self.mode == Mode::Remove || (self.mode == Mode::Keep && !self.installed))
    }
}

/// The decisions about all packages of a universe.
pub(super) struct States<'u, 't> {
    pub(super) universe: &'u Universe<'t>,
    states: Vec<State>,
}

impl<'u, 't> States<'u, 't> {
    pub(super) fn new(universe: &'u Universe<'t>, installed: &[PackageId]) -> States<'u, 't> {
        let state = State {
            installed: false,
            available: true,
            protected: false,
            mode: Mode::Keep,
        };
        let mut states = vec![state; universe.len()];
        for id in installed {
            states[id.index()].installed = true;
        }
        States { universe, states }
    }

    pub(super) fn get(&self, id: PackageId) -> State {
        self.states[id.index()]
    }

    pub(super) fn edit(&mut self, id: PackageId) -> &mut State {
        &mut self.states[id.index()]
    }

    pub(super) fn chosen(&self) -> Vec<PackageId> {
        self.universe
            .ids()
            .filter(|id| self.get(*id).is_in())
            .collect()
    }

    pub(super) fn is_satisfied(&self, clause: &Clause<'_>) -> bool {
        let there = |relation: &Relation<'_>| {
            self.universe
                .answers(relation)
                .into_iter()
                .any(|id| self.get(id).is_in())
        };
        clause.iter().any(there)
    }

    /// Whether a clause could be satisfied by something that is there or may be installed.
    pub(super) fn is_satisfiable(&self, clause: &Clause<'_>) -> bool {
        let possible = |relation: &Relation<'_>| {
            self.universe.answers(relation).into_iter().any(|id| {
                let state = self.get(id);
                state.available || state.is_in()
            })
        };
        clause.iter().any(possible)
    }

    /// The packages that `owner` must not stand beside because of one relation.
    pub(super) fn excluded_by(&self, owner: PackageId, relation: &Relation<'_>) -> Vec<PackageId> {
        self.universe
            .answers(relation)
            .into_iter()
            .filter(|id| *id != owner)
            .collect()
    }

    /// Whether what a chosen package needs is missing, or what it excludes is there.
    pub(super) fn is_broken(&self, id: PackageId) -> bool {
        if !self.get(id).is_in() {
            return false;
        }
        let Ok(relations) = self.universe.relations(id) else {
            return true;
        };
        relations
            .needs
            .iter()
            .any(|clause| !self.is_satisfied(clause))
            || relations.excludes.iter().any(|relation| {
                self.excluded_by(id, relation)
                    .into_iter()
                    .any(|other| self.get(other).is_in())
            })
    }
}
