//! The locks of a run: which there must be, and what is told of those that move.

use std::collections::{BTreeMap, BTreeSet};

use cairn_build::event::EventSink;
use cairn_build::graph::Op;
use cairn_build::plan::Decision;
use cairn_build::run::Prepared;
use cairn_debian::{DebianError, ResolveProgress};
use cairn_diagnostic::Diagnostic;
use cairn_oci::Platform;
use cairn_spec::{ImageId, LockPolicy};
use cairn_stack::load::LoadedStack;
use cairn_stack::lockfile::{ExternalChange, LockFile, LockFileError, LockMode, Locker, Locking};
use cairn_stack::pixi;
use cairn_stack::request::with_ancestors;

use super::{PlatformRun, StackRun, note};
use crate::error::{CommandError, Kind};

/// Locks, and what became of each.
pub struct LockOutcome {
    /// All locks of the stack.
    pub locks: LockFile,
    /// The Debian bases, by what their locks are called.
    pub images: BTreeMap<String, Locking>,
    /// What is different about images from outside.
    pub external: Vec<ExternalChange>,
}

/// What happens to a lock that was made in passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is written.
    Write,
    /// It serves this run only.
    Forget,
}

impl StackRun {
    /// Makes sure that the Debian bases of the run are locked. Nothing is written.
    pub fn lock(
        &self,
        mode: LockMode,
        events: &dyn EventSink,
    ) -> Result<LockOutcome, CommandError> {
        let tell = |image: &str, step| note(events, locking_step(image, &step));
        let mut locks = LockFile::read(&self.loaded.directory)?;
        // Packages are chosen from a mirror's indexes.
        let of_packages = match (mode, self.is_offline) {
            (LockMode::AsNeeded, true) => LockMode::Locked,
            _ => mode,
        };
        let needed = self.needed();
        let (mut images, mut external) = (BTreeMap::new(), Vec::new());
        let mut settled = BTreeSet::new();
        for (number, run) in self.platforms.iter().enumerate() {
            let of_it = needed.iter().filter(|(part, _)| *part == number);
            let ids: Vec<ImageId> = of_it.map(|(_, id)| *id).collect();
            let platform = &run.loaded.platform;
            let locker = self.locker(platform, &tell);
            let locked = locks.ensure(&run.loaded, &ids, of_packages, &locker);
            images.extend(locked.map_err(|error| self.offline_or(mode, error))?);
            let externals = self.means.externals(platform, events);
            let changes =
                locks.ensure_external(&run.loaded, &ids, mode, &externals, &mut settled)?;
            external.extend(changes);
        }
        Ok(LockOutcome {
            locks,
            images,
            external,
        })
    }

    fn locker<'a>(
        &'a self,
        platform: &'a Platform,
        tell: &'a dyn Fn(&str, ResolveProgress),
    ) -> Locker<'a> {
        Locker {
            store: &self.means.store,
            fetcher: &self.means.fetcher,
            platform,
            now: jiff::Timestamp::now().as_second(),
            cancel: &self.means.cancel,
            progress: tell,
        }
    }

    /// Locks what needs it, tells what moved, and writes the lock file unless this is a `plan`.
    pub fn locked(&self, keep: Keep, events: &dyn EventSink) -> Result<LockFile, CommandError> {
        let mode = match self.is_locked {
            true => LockMode::Locked,
            false => LockMode::AsNeeded,
        };
        let LockOutcome {
            locks,
            images,
            external,
        } = self.lock(mode, events)?;
        self.tell_moved(&images, keep, events);
        for change in &external {
            if let Some(old) = &change.old {
                let (name, new) = (&change.name, &change.new);
                note(events, format!("{name} moved from {old} to {new}"));
            }
        }
        let is_changed = images.values().any(|locking| *locking != Locking::Kept);
        if keep == Keep::Write && (is_changed || !external.is_empty()) {
            locks.write(&self.loaded.directory)?;
        }
        Ok(locks)
    }

    /// A base without a lock that fits, where no mirror may be asked.
    fn offline_or(&self, mode: LockMode, error: LockFileError) -> CommandError {
        match error {
            LockFileError::Stale { .. } if self.is_offline && mode == LockMode::AsNeeded => {
                CommandError::from_error(Kind::Usage, &error).hint(
                    "`--offline` asks no mirror which packages there are: `cairn lock` does, once",
                )
            }
            error => error.into(),
        }
    }

    fn tell_moved(&self, outcome: &BTreeMap<String, Locking>, keep: Keep, events: &dyn EventSink) {
        for (image, locking) in outcome {
            match locking {
                Locking::Kept => {}
                Locking::New { packages } => {
                    let what = match keep {
                        Keep::Write => "locked in cairn.lock",
                        Keep::Forget => "would be locked in cairn.lock; nothing is written",
                    };
                    note(events, format!("{image}: {packages} packages {what}"));
                }
                Locking::Moved { reasons, changes } => {
                    let what = match keep {
                        Keep::Write => "locked again",
                        Keep::Forget => "would be locked again",
                    };
                    let mut text = format!("{image}: {what} because {}", reasons.join("; "));
                    for change in changes {
                        text.push_str(&format!("\n  {change}"));
                    }
                    note(events, text);
                }
            }
        }
    }

    /// Where the stack says so, locks bases again whose packages no mirror has any more; gives
    /// the new locks if there are any.
    ///
    /// Packages are fetched here only for bases that will be assembled.
    pub fn refreshed(
        &self,
        mut locks: LockFile,
        prepared: &Prepared<'_>,
        events: &dyn EventSink,
    ) -> Result<Option<LockFile>, CommandError> {
        if self.loaded.stack.lock_policy != LockPolicy::Refresh || self.is_locked {
            return Ok(None);
        }
        let tell = |image: &str, step| note(events, locking_step(image, &step));
        let mut gone: BTreeMap<String, String> = BTreeMap::new();
        for (id, vertex) in prepared.lowered.graph.iter() {
            let Op::Debian(base) = &vertex.op else {
                continue;
            };
            if matches!(prepared.plan.decision(id), Decision::Reuse(_)) {
                continue;
            }
            let locker = self.locker(&self.loaded.platform, &tell);
            // Other failures come up again, with their place, when the base is assembled.
            if let Err(error @ DebianError::Gone { .. }) = locker.fetch(base, &|_| {}) {
                gone.insert(vertex.origin.image.clone(), error.to_string());
            }
        }
        if gone.is_empty() {
            return Ok(None);
        }
        let mut outcome = BTreeMap::new();
        for (label, error) in gone {
            let Some((PlatformRun { loaded, .. }, image)) = self.find(&label) else {
                continue;
            };
            let locker = self.locker(&loaded.platform, &tell);
            let mut locked = locks.ensure(loaded, &[image], LockMode::Update, &locker)?;
            for locking in locked.values_mut() {
                if let Locking::Moved { reasons, .. } = locking {
                    reasons.push(error.clone());
                }
            }
            outcome.extend(locked);
        }
        self.tell_moved(&outcome, Keep::Write, events);
        locks.write(&self.loaded.directory)?;
        Ok(Some(locks))
    }
}

/// What happens while packages are chosen, in words.
fn locking_step(image: &str, step: &ResolveProgress) -> String {
    match step {
        ResolveProgress::Suite { suite, date } => format!("{image}: {suite} of {date}"),
        ResolveProgress::Chosen { packages } => format!("{image}: {packages} packages chosen"),
    }
}

impl From<LockFileError> for CommandError {
    fn from(error: LockFileError) -> Self {
        match &error {
            LockFileError::Stale { .. } => {
                Self::from_error(Kind::Usage, &error).hint("`cairn lock` brings it up to date")
            }
            LockFileError::ExternalMoved { .. } => Self::from_error(Kind::Usage, &error)
                .hint("load the locked image, or take the new one with `cairn lock --update`"),
            LockFileError::Registry { name, source } => {
                let told = Self::from(source.as_ref());
                told.while_doing(format!("cannot find out what `{name}` is now"))
            }
            LockFileError::Digest { .. } => Self::from_error(Kind::Usage, &error),
            LockFileError::Store(_) => Self::from_error(Kind::Environment, &error),
            LockFileError::Damaged { .. } | LockFileError::Architecture(_) => {
                Self::from_error(Kind::Usage, &error)
            }
            LockFileError::Debian { source, .. } => {
                // Else the spec asks for what the archive does not have.
                let kind = match source.is_environment() {
                    true => Kind::Environment,
                    false => Kind::Usage,
                };
                let told = Self::from_error(kind, &error);
                match source.hint() {
                    Some(hint) => told.hint(hint),
                    None => told,
                }
            }
            LockFileError::Io { .. } => Self::from_error(Kind::Environment, &error),
        }
    }
}

/// A lock that a step would refuse is refused before the first step.
pub(super) fn refuse_stale(platforms: &[PlatformRun]) -> Result<(), CommandError> {
    let loaded: Vec<&LoadedStack> = platforms.iter().map(|it| &it.loaded).collect();
    let selected: Vec<&[ImageId]> = platforms.iter().map(|it| &*it.selected).collect();
    let needed = with_ancestors(&loaded, &selected);
    let mut findings: Vec<Diagnostic> = Vec::new();
    for (part, loaded) in loaded.iter().enumerate() {
        let of_it = needed.iter().filter(|(number, _)| *number == part);
        let ids: Vec<ImageId> = of_it.map(|(_, id)| *id).collect();
        let found = pixi::findings(loaded, &ids);
        let new: Vec<_> = found
            .into_iter()
            .filter(|it| !findings.contains(it))
            .collect();
        findings.extend(new);
    }
    match findings.is_empty() {
        true => Ok(()),
        false => Err(CommandError::from_findings(Kind::Usage, findings)),
    }
}
