//! The variables of a stage: its own over those of the stage it stands on, each set once and shared.
//!
//! A stage sees those of all stages below it, and an instruction sees those that were set before it.
//! Nothing is copied for either. A look at a variable walks down only the stages that set some, and
//! a chain of stages may be as long as a file can hold: nothing here calls itself for each of them.

use std::collections::HashMap;
use std::rc::Rc;

use crate::expand::Env;

/// The variables that a stage has set so far, over those it has from below.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    below: Option<Rc<Scope>>,
    own: Vec<(String, String)>,
    /// Where in `own` each name is set, in order.
    places: HashMap<String, Vec<usize>>,
    /// How many arguments were declared when each was declared first.
    declared: HashMap<String, usize>,
    declarations: usize,
}

impl Scope {
    /// Begins over the variables of the stage below.
    pub(super) fn over(below: Option<Rc<Scope>>) -> Self {
        // What sets nothing has nothing to tell: whoever looks goes on below it.
        let below = match below {
            Some(below) if below.is_empty() => below.below.clone(),
            below => below,
        };
        let mut scope = Self::default();
        scope.below = below;
        scope
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.declarations == 0
    }

    pub(super) fn set(&mut self, name: String, value: String) {
        let place = self.own.len();
        self.places.entry(name.clone()).or_default().push(place);
        self.own.push((name, value));
    }

    pub(super) fn declare(&mut self, name: &str) {
        self.declared
            .entry(name.to_owned())
            .or_insert(self.declarations);
        self.declarations += 1;
    }

    /// What is there now.
    pub(super) fn now(&self) -> Moment {
        Moment {
            set: self.own.len(),
            declared: self.declarations,
        }
    }

    /// What was there at a moment.
    pub(super) fn at(&self, moment: Moment) -> Seen<'_> {
        Seen {
            scope: self,
            moment,
        }
    }

    /// What is there at the end.
    pub(super) fn all(&self) -> Seen<'_> {
        self.at(self.now())
    }
}

impl Drop for Scope {
    /// Frees the stages below one after the other: freed by each other, a long chain of them would
    /// need more stack than there is.
    fn drop(&mut self) {
        let mut next = self.below.take();
        while let Some(mut below) = next.and_then(Rc::into_inner) {
            next = below.below.take();
        }
    }
}

/// A moment in the life of a stage: how much of its variables is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    set: usize,
    declared: usize,
}

/// The variables that an instruction sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    scope: &'a Scope,
    moment: Moment,
}

impl<'a> Seen<'a> {
    /// The value of a variable.
    pub(crate) fn value(self, name: &str) -> Option<&'a str> {
        let mut seen = Some(self);
        while let Some(this) = seen {
            let places = this.scope.places.get(name).map_or(&[][..], Vec::as_slice);
            let before = places.partition_point(|place| *place < this.moment.set);
            if let Some(place) = before.checked_sub(1).map(|last| places[last]) {
                return Some(&this.scope.own[place].1);
            }
            seen = this.below();
        }
        None
    }

    /// Whether an argument of this name was declared, with a value or without.
    pub(super) fn declares(self, name: &str) -> bool {
        let below = std::iter::successors(Some(self), |seen| seen.below());
        below.into_iter().any(|seen| {
            let first = seen.scope.declared.get(name);
            first.is_some_and(|first| *first < seen.moment.declared)
        })
    }

    /// The names that were set last, at most so many, in the order they were set.
    pub(crate) fn last_names(self, most: usize) -> Vec<&'a str> {
        let mut names = Vec::new();
        for seen in std::iter::successors(Some(self), |seen| seen.below()) {
            let own = seen.scope.own[..seen.moment.set].iter().rev();
            names.extend(own.take(most - names.len()).map(|(name, _)| name.as_str()));
            if names.len() == most {
                break;
            }
        }
        names.reverse();
        names
    }

    fn below(self) -> Option<Self> {
        self.scope.below.as_deref().map(Scope::all)
    }
}

impl Env for Seen<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.value(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_sees_what_was_there_and_what_is_below() {
        let mut base = Scope::default();
        base.set("A".into(), "1".into());
        base.declare("A");
        let mut scope = Scope::over(Some(Rc::new(base)));
        let start = scope.now();
        scope.declare("B");
        scope.set("A".into(), "2".into());
        let middle = scope.now();
        scope.set("C".into(), "3".into());
        assert_eq!(scope.at(start).value("A"), Some("1"));
        assert_eq!(scope.at(middle).value("A"), Some("2"));
        assert_eq!(scope.at(middle).value("C"), None);
        assert_eq!(scope.all().value("C"), Some("3"));
        assert!(scope.at(start).declares("A") && !scope.at(start).declares("B"));
        assert!(scope.all().declares("B"));
        assert_eq!(scope.all().last_names(9), ["A", "A", "C"]);
        assert_eq!(scope.all().last_names(2), ["A", "C"]);
    }

    #[test]
    fn a_long_chain_is_freed_and_what_sets_nothing_is_skipped() {
        let mut scope = Scope::default();
        scope.set("A".into(), "0".into());
        for _ in 0..200_000 {
            scope = Scope::over(Some(Rc::new(scope)));
        }
        let below = scope.below.as_ref().expect("what sets A");
        assert!(below.below.is_none(), "nothing between");
        assert_eq!(scope.all().value("A"), Some("0"));
        for at in 0..200_000 {
            scope = Scope::over(Some(Rc::new(scope)));
            scope.set(format!("A{at}"), "1".into());
        }
        assert_eq!(scope.all().value("A"), Some("0"));
        drop(scope);
    }
}
