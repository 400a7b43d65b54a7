//! The order of tests: what waits for what, and the workers that go through it.
//!
//! | waits for | until |
//! | --- | --- |
//! | every test of an image | the basic tests of the images it builds on passed, as far as the run is about them |
//! | integration and workflow tests | the basic ones of the image passed |
//!
//! What waits for something that failed, or was itself left out, is left out; the rest goes on
//! (DH-47).

use std::sync::{Condvar, Mutex, PoisonError};

use cairn_build::image::ImageRecord;
use cairn_spec::ImageId;
use cairn_spec::suite::{Suite, SuiteKind};

use super::{FOREIGN, FileCheck, TestError};
use crate::load::LoadedStack;
use crate::suite;

/// What there is to run.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// A file of structure tests.
    Structure(String),
    /// A suite.
    Suite(Box<Suite>),
}

/// One thing to run.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The place of its image among those of the run.
    pub(super) image: usize,
    pub(super) id: ImageId,
    /// The image's name.
    pub(super) name: String,
    pub(super) work: Work,
    /// The items that must have passed.
    after: Vec<usize>,
}

impl Work {
    pub(super) fn file(&self) -> &str {
        match self {
            Self::Structure(file) => file,
            Self::Suite(suite) => &suite.path.value,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Structure(file) => file,
            Self::Suite(suite) => &suite.name,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Structure(_) => "structure",
            Self::Suite(suite) => suite.kind.key(),
        }
    }

    fn is_basic(&self) -> bool {
        match self {
            Self::Structure(_) => true,
            Self::Suite(suite) => suite.kind == SuiteKind::Basic,
        }
    }
}

impl Item {
    /// The same behind so many items and images of other platforms.
    pub(super) fn behind(mut self, items: usize, images: usize) -> Self {
        self.image += images;
        self.after.iter_mut().for_each(|at| *at += items);
        self
    }

    pub(super) fn title(&self) -> String {
        match &self.work {
            Work::Structure(file) => format!("structure tests {file}"),
            Work::Suite(suite) => suite::title(suite),
        }
    }
}

/// Everything that a run over these images is to run.
pub(super) fn items(
    loaded: &LoadedStack,
    images: &[(ImageId, &ImageRecord)],
    workflows: &[String],
) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for (image, (id, _)) in images.iter().enumerate() {
        let of = &loaded.stack[*id];
        let structure = of.tests.structure.iter();
        let structure = structure.map(|file| Work::Structure(file.value.clone()));
        let wanted = |suite: &&Suite| match suite.kind {
            SuiteKind::Basic | SuiteKind::Integration => true,
            SuiteKind::Workflow => workflows.contains(&suite.name),
            SuiteKind::Manual => false,
        };
        let suites = of.tests.suites.iter().filter(wanted);
        let suites = suites.map(|suite| Work::Suite(Box::new(suite.clone())));
        let ancestors = loaded.graph.with_ancestors(&[*id]);
        let before: Vec<usize> = (0..items.len())
            .filter(|&at| {
                let item = &items[at];
                item.id != *id && item.work.is_basic() && ancestors.contains(&item.id)
            })
            .collect();
        let first = items.len();
        for work in structure.chain(suites) {
            let mut after = before.clone();
            if !work.is_basic() {
                after.extend((first..items.len()).filter(|&at| items[at].work.is_basic()));
            }
            items.push(Item {
                image,
                id: *id,
                name: loaded.label(*id),
                work,
                after,
            });
        }
    }
    items
}

/// How far an item is.
enum State {
    Waiting,
    Running,
    Over(Box<FileCheck>),
}

/// What the workers share.
struct Board {
    states: Vec<State>,
    error: Option<TestError>,
    is_stopped: bool,
}

/// What a worker does next.
enum Next {
    Run(usize),
    LeaveOut(usize, String),
    Wait,
    Nothing,
}

type Run<'a> = &'a (dyn Fn(&Item) -> Result<FileCheck, TestError> + Sync);
type LeaveOut<'a> = &'a (dyn Fn(&Item, &str) -> FileCheck + Sync);

/// Goes through the items with so many workers; results come in the order of the items.
pub(super) fn run(
    items: &[Item],
    jobs: usize,
    fail_fast: bool,
    run: Run<'_>,
    leave_out: LeaveOut<'_>,
) -> Result<Vec<FileCheck>, TestError> {
    let board = Mutex::new(Board {
        states: items.iter().map(|_| State::Waiting).collect(),
        error: None,
        is_stopped: false,
    });
    let changed = Condvar::new();
    let work = || {
        let mut held = board.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let check = match held.next(items) {
                Next::Nothing => return,
                Next::Wait => {
                    held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Next::LeaveOut(at, reason) => (at, Ok(leave_out(&items[at], &reason))),
                Next::Run(at) => {
                    held.states[at] = State::Running;
                    drop(held);
                    let check = run(&items[at]);
                    held = board.lock().unwrap_or_else(PoisonError::into_inner);
                    (at, check)
                }
            };
            match check {
                (at, Ok(check)) => {
                    held.is_stopped |= fail_fast && !check.passed();
                    held.states[at] = State::Over(Box::new(check));
                }
                (_, Err(error)) => {
                    held.error.get_or_insert(error);
                }
            }
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            scope.spawn(work);
        }
    });
    let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = board.error {
        return Err(error);
    }
    let over = board.states.into_iter().zip(items);
    Ok(over
        .map(|(state, item)| match state {
            State::Over(check) => *check,
            _ => leave_out(item, "an earlier failure ended the run (`--fail-fast`)"),
        })
        .collect())
}

impl Board {
    fn next(&self, items: &[Item]) -> Next {
        if self.error.is_some() || self.is_stopped {
            return Next::Nothing;
        }
        let mut is_open = false;
        for (at, item) in items.iter().enumerate() {
            if !matches!(self.states[at], State::Waiting) {
                continue;
            }
            is_open = true;
            let mut waits = false;
            for &before in &item.after {
                match &self.states[before] {
                    State::Over(check) => {
                        if let Some(reason) = why_not(&items[before], check, item) {
                            return Next::LeaveOut(at, reason);
                        }
                    }
                    State::Waiting | State::Running => waits = true,
                }
            }
            if !waits {
                return Next::Run(at);
            }
        }
        match is_open {
            true => Next::Wait,
            false => Next::Nothing,
        }
    }
}

/// Why an item is left out because of what came of one that it waits for.
fn why_not(before: &Item, check: &FileCheck, item: &Item) -> Option<String> {
    let is_missing = check.left_out.is_some() && !before.is_own_reason(check);
    if check.passed() && !is_missing {
        return None;
    }
    let what = match before.image == item.image {
        true => "its basic tests".to_owned(),
        false => format!("the tests of {}, which it builds on,", before.name),
    };
    Some(match is_missing {
        true => format!("{what} were left out"),
        false => format!("{what} failed"),
    })
}

impl Item {
    /// Whether it was left out for a reason that says nothing of the image: there is no GPU, or
    /// no machine of its platform.
    fn is_own_reason(&self, check: &FileCheck) -> bool {
        let needs_gpu = matches!(&self.work, Work::Suite(suite) if suite.gpu);
        let reason = check.left_out.as_deref();
        needs_gpu && reason == Some(suite::NO_GPU)
            || reason.is_some_and(|reason| reason.starts_with(FOREIGN))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::check::TestOutcome;

    fn item(image: usize, file: &str, after: &[usize]) -> Item {
        Item {
            image,
            id: ImageId(image),
            name: format!("image{image}"),
            work: Work::Structure(file.to_owned()),
            after: after.to_vec(),
        }
    }

    fn check(item: &Item, passed: bool) -> FileCheck {
        FileCheck {
            tests: vec![TestOutcome {
                test: "t".to_owned(),
                passed,
                skipped: false,
                detail: String::new(),
                seconds: 0.0,
            }],
            ..FileCheck::new(&item.work)
        }
    }

    fn went(items: &[Item], failing: &str, fail_fast: bool, jobs: usize) -> Vec<String> {
        let order = Mutex::new(Vec::new());
        let run = |item: &Item| {
            order.lock().unwrap().push(item.work.file().to_owned());
            Ok(check(item, item.work.file() != failing))
        };
        let leave_out = |item: &Item, reason: &str| FileCheck {
            left_out: Some(reason.to_owned()),
            ..FileCheck::new(&item.work)
        };
        let checks = super::run(items, jobs, fail_fast, &run, &leave_out).unwrap();
        let told = checks
            .iter()
            .map(|check| match (&check.left_out, check.passed()) {
                (Some(reason), _) => format!("{}: {reason}", check.file),
                (None, passed) => format!("{}: {passed}", check.file),
            });
        told.collect()
    }

    #[test]
    fn a_failure_leaves_out_what_builds_on_it_and_nothing_else() {
        let items = [
            item(0, "base", &[]),
            item(1, "child", &[0]),
            item(2, "grandchild", &[0, 1]),
            item(3, "other", &[]),
        ];
        for jobs in [1, 3] {
            assert_eq!(
                went(&items, "child", false, jobs),
                [
                    "base: true",
                    "child: false",
                    "grandchild: the tests of image1, which it builds on, failed",
                    "other: true"
                ]
            );
        }
        let told = went(&items, "base", false, 2);
        assert_eq!(told[3], "other: true");
        assert!(
            told[1].contains("failed") && told[2].contains("image0"),
            "{told:?}"
        );
    }

    #[test]
    fn fail_fast_leaves_out_the_rest() {
        let items = [item(0, "a", &[]), item(1, "b", &[])];
        let told = went(&items, "a", true, 1);
        assert_eq!(told[0], "a: false");
        assert!(told[1].contains("--fail-fast"), "{told:?}");
    }
}
