//! A run over images of a stack, the part that `plan`, `build`, `up` and `test` share.

mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_build::engine::Engine;
use cairn_build::event::{Event, EventSink, NoEvents};
use cairn_build::graph::Op;
use cairn_build::image::ImageRecord;
use cairn_build::image::external::Externals;
use cairn_build::image::record::canonical;
use cairn_build::plan::Decision;
use cairn_build::run::{Prepared, prepare};
use cairn_debian::{DebianError, ResolveProgress};
use cairn_sandbox::{CaTrust, Pem};
use cairn_spec::{CaPolicy, ImageId, LockPolicy};
use cairn_stack::decide::{Range, Reason, ReasonKind, decide, since};
use cairn_stack::load::{LoadError, LoadedStack};
use cairn_stack::lockfile::{
    ExternalChange, LockFile, LockFileError, LockMode, Locker, Locking, bases,
};
use cairn_stack::made_of::MadeOf;
use cairn_stack::plan::{self, ImageDecision, ImagePlan};
use cairn_stack::request::{RequestOptions, Requests, requests};
use cairn_stack::run::{RunReport, run};
use cairn_store::Store;
use tempfile::TempDir;

use crate::bookkeeping::write_down;
use crate::caches::{self, CacheFrom, CacheOptions};
use crate::commands::images::open_image;
use crate::commands::options::{BuildOptions, EventOption, StackOption};
use crate::commands::signatures::trust;
use crate::commands::up::SinceOption;
use crate::error::{CommandError, Kind};
use crate::means::Means;
use crate::policy::Policy;
use crate::secrets_file;
use crate::session::{Session, host_platform};

/// A stack that was read, with what a run over some of its images needs.
pub struct StackRun {
    /// The means.
    pub means: Means,
    /// The stack.
    pub loaded: LoadedStack,
    /// The images that were asked for.
    pub selected: Vec<ImageId>,
    /// The images whose steps all run, whatever the store holds.
    pub again: BTreeMap<ImageId, Reason>,
    /// Whether a run is to tell what its images were made of.
    pub tells_made_of: bool,
    /// The room on the store's disk when this began.
    pub room_before: Option<u64>,
    /// The event, as far as the command line names it.
    event: EventOption,
    /// When this run began, in milliseconds since 1970.
    started_ms: i64,
    /// Locks must not change.
    is_locked: bool,
    caches: CacheOptions,
    options: RequestOptions,
    /// Where the store lies that a `plan` without one thinks about; removed with this value.
    _no_store_yet: Option<TempDir>,
}

/// Which tests a run is about.
#[derive(Debug, Clone, Default)]
pub struct Testing {
    /// Tests run even if they passed before.
    pub again: bool,
    /// Workflow suites that were named.
    pub workflows: Vec<String>,
}

/// Locks, and what became of each.
pub struct LockOutcome {
    /// All locks of the stack.
    pub locks: LockFile,
    /// The Debian bases.
    pub images: BTreeMap<ImageId, Locking>,
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
    /// Reads the stack and opens the store. Conditions as for [`Session::open_store`].
    pub fn open(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
    ) -> Result<Self, CommandError> {
        Self::open_for(session, stack, options, images, &EventOption::default())
    }

    /// As [`StackRun::open`], for an event that the command line may name.
    pub fn open_for(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        event: &EventOption,
    ) -> Result<Self, CommandError> {
        let open = || Ok((session.open_store()?, None));
        Self::over(open, session, stack, options, images, event)
    }

    /// Leaves the images that changes since a commit concern; `false` if there is nothing to do.
    /// What its commits say in words holds here too: everything again, or nothing at all.
    pub fn narrow(
        &mut self,
        session: &Session,
        stack: &StackOption,
        option: &SinceOption,
    ) -> Result<bool, CommandError> {
        let Some(revision) = &option.since else {
            return Ok(true);
        };
        let range = self.range(session, stack, revision)?;
        if let Some(skip) = &range.skip {
            session
                .printer
                .note(&format!("nothing is done: {}", skip.because));
            return Ok(false);
        }
        if let Some(reason) = &range.again {
            let again = self.selected.iter().map(|id| (*id, reason.clone()));
            self.again.extend(again);
            self.options.again = self.again.keys().copied().collect();
            return Ok(true);
        }
        let different = self.known_to_differ(session, &range)?;
        let (concerned, others): (Vec<_>, Vec<_>) = self
            .selected
            .iter()
            .partition(|id| range.concerned.contains_key(id) || different.contains(id));
        self.selected = concerned;
        if !others.is_empty() {
            let left = crate::progress::count(others.len(), "image");
            let text = format!("no change since {revision} concerns {left}");
            session.printer.note(&text);
        }
        Ok(!self.selected.is_empty())
    }

    /// The images that no change concerns and that are not as the store has them: content has the
    /// last word, as in a plan.
    fn known_to_differ(
        &self,
        session: &Session,
        range: &Range,
    ) -> Result<BTreeSet<ImageId>, CommandError> {
        if self
            .selected
            .iter()
            .all(|id| range.concerned.contains_key(id))
        {
            return Ok(BTreeSet::new());
        }
        let locks = self.locked(Keep::Forget, &session.printer)?;
        let requests = self.requests(&locks)?;
        let engine = self.engine(&requests, &NoEvents);
        let prepared = self.prepare(&requests, &engine)?;
        let mut plan = plan::report(&prepared, &engine);
        decide(&mut plan, &self.loaded, Some(range), &self.again);
        let is_built = |image: &&ImagePlan| {
            matches!(image.decision, ImageDecision::Build | ImageDecision::Maybe)
        };
        let images = plan.images.iter().filter(is_built);
        let ids = images.filter_map(|image| self.loaded.stack.exact(&image.image));
        Ok(ids.collect())
    }

    /// What commits since a revision say.
    pub fn range(
        &self,
        session: &Session,
        stack: &StackOption,
        revision: &str,
    ) -> Result<Range, CommandError> {
        let loaded = &self.loaded;
        let range = stack.choosing(session, &loaded.platform, |choices| {
            since(loaded, choices, revision)
        });
        range.map_err(|error| {
            CommandError::from_error(Kind::Usage, &error)
                .hint("a CI job that clones a single commit has no other: `fetch-depth: 0` in GitHub's checkout")
        })
    }

    /// As [`StackRun::open`], for a command that changes nothing: no store is made.
    pub fn look(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
    ) -> Result<Self, CommandError> {
        let open = || session.store_or_none_yet();
        let event = EventOption::default();
        Self::over(open, session, stack, options, images, &event)
    }

    fn over(
        open: impl FnOnce() -> Result<(Store, Option<TempDir>), CommandError>,
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        event: &EventOption,
    ) -> Result<Self, CommandError> {
        let platform = session.platform(options.platform.as_deref())?;
        let loaded = stack.load(session, &platform)?;
        let (store, no_store_yet) = open()?;
        let room_before = store.room().ok().map(|room| room.free_bytes);
        let mut means = Means::over(store, session, options)?;
        let platforms = std::slice::from_ref(&platform);
        let mut caches = options.caches.clone();
        if caches.cache_from.is_empty() {
            let named = loaded.stack.build.cache_from.iter().cloned();
            caches.cache_from = named.map(CacheFrom::Registry).collect();
        }
        caches::open(&caches, &mut means, platforms, &session.printer)?;
        let policy = Policy::of(session, &loaded, event);
        let selected = policy.buildable(session, select(&loaded, images)?, !images.is_empty())?;
        if let Some(file) = &loaded.stack.build.secrets {
            means.settings.secrets = secrets_file::read(session, &stack.stack.join(&file.value))?;
            let values = means.settings.secrets.values();
            session.printer.hide(values.map(Vec::as_slice));
        }
        means.trust = trust(&stack.stack, &loaded.stack)?;
        let build = &loaded.stack.build;
        if let (None, Some(jobs)) = (options.jobs, build.jobs) {
            means.settings.jobs = jobs.get();
        }
        match &build.ca.value {
            CaPolicy::Host => {}
            CaPolicy::None => means.settings.ca = None,
            CaPolicy::File(name) => means.settings.ca = Some(trusted(&stack.stack.join(name))?),
        }
        let mut again = policy.again();
        if !options.rebuild.is_empty() {
            let named = select(&loaded, &options.rebuild)?;
            again.extend(named.into_iter().map(|id| (id, by_flag())));
        }
        let keys = again.keys().copied().collect();
        Ok(Self {
            means,
            loaded,
            selected,
            again,
            tells_made_of: false,
            room_before,
            event: event.clone(),
            started_ms: milliseconds_now(),
            is_locked: options.locked,
            caches,
            options: RequestOptions {
                platform,
                build_platform: host_platform(),
                epoch: session.settings.source_date_epoch()?,
                no_cache: options.no_cache,
                again: keys,
            },
            _no_store_yet: no_store_yet,
        })
    }

    /// Makes sure that the Debian bases of the run are locked. Nothing is written.
    pub fn lock(
        &self,
        mode: LockMode,
        events: &dyn EventSink,
    ) -> Result<LockOutcome, CommandError> {
        let tell = |image: &str, step| note(events, locking_step(image, &step));
        let mut locks = LockFile::read(&self.loaded.directory)?;
        let ids = self.loaded.graph.with_ancestors(&self.selected);
        let outcome = locks.ensure(&self.loaded, &ids, mode, &self.locker(&tell))?;
        let external = locks.ensure_external(&self.loaded, &ids, mode, &self.externals(events))?;
        Ok(LockOutcome {
            locks,
            images: outcome,
            external,
        })
    }

    fn externals<'a>(&'a self, events: &'a dyn EventSink) -> Externals<'a> {
        self.means.externals(&self.options.platform, events)
    }

    fn locker<'a>(&'a self, tell: &'a dyn Fn(&str, ResolveProgress)) -> Locker<'a> {
        Locker {
            store: &self.means.store,
            fetcher: &self.means.fetcher,
            platform: &self.options.platform,
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
        self.tell_moved(&images, events);
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

    fn tell_moved(&self, outcome: &BTreeMap<ImageId, Locking>, events: &dyn EventSink) {
        for (id, locking) in outcome {
            let image = &self.loaded.stack[*id].name;
            match locking {
                Locking::Kept => {}
                Locking::New { packages } => {
                    note(
                        events,
                        format!("{image}: {packages} packages locked in cairn.lock"),
                    );
                }
                Locking::Moved { reasons, changes } => {
                    let mut text = format!("{image}: locked again because {}", reasons.join("; "));
                    for change in changes {
                        text.push_str(&format!("\n  {change}"));
                    }
                    note(events, text);
                }
            }
        }
    }

    /// What the engine is asked for.
    pub fn requests(&self, locks: &LockFile) -> Result<Requests, CommandError> {
        let (store, loaded) = (&self.means.store, &self.loaded);
        let ids = loaded.graph.with_ancestors(&self.selected);
        let bases = bases(loaded, &ids, locks);
        Ok(requests(
            store,
            loaded,
            &self.selected,
            &bases,
            &locks.external,
            &self.options,
        )?)
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
        let locker = self.locker(&tell);
        let mut gone = BTreeMap::new();
        for (id, vertex) in prepared.lowered.graph.iter() {
            let Op::Debian(base) = &vertex.op else {
                continue;
            };
            if matches!(prepared.plan.decision(id), Decision::Reuse(_)) {
                continue;
            }
            // Other failures come up again, with their place, when the base is assembled.
            if let Err(error @ DebianError::Gone { .. }) = locker.fetch(base, &|_| {}) {
                let image = self.loaded.stack.exact(&vertex.origin.image);
                gone.extend(image.map(|image| (image, error.to_string())));
            }
        }
        if gone.is_empty() {
            return Ok(None);
        }
        let images: Vec<ImageId> = gone.keys().copied().collect();
        let mut outcome = locks.ensure(&self.loaded, &images, LockMode::Update, &locker)?;
        for (image, locking) in &mut outcome {
            if let Locking::Moved { reasons, .. } = locking {
                reasons.extend(gone.remove(image));
            }
        }
        self.tell_moved(&outcome, events);
        locks.write(&self.loaded.directory)?;
        Ok(Some(locks))
    }

    /// The engine for these requests.
    pub fn engine<'a>(&'a self, requests: &'a Requests, events: &'a dyn EventSink) -> Engine<'a> {
        Engine {
            store: &self.means.store,
            contexts: &requests.contexts,
            settings: &self.means.settings,
            fetcher: &self.means.fetcher,
            events,
            cancel: &self.means.cancel,
        }
    }

    /// Decides what runs.
    pub fn prepare<'a>(
        &self,
        requests: &Requests,
        engine: &Engine<'a>,
    ) -> Result<Prepared<'a>, CommandError> {
        let images = self.externals(engine.events);
        let prepared = prepare(&requests.images, &images, engine);
        prepared.map_err(|findings| self.means.unprepared(findings))
    }

    /// Runs what must run, names the images, and writes the run down if anything happened.
    pub fn solve(
        &self,
        command: &str,
        requests: &Requests,
        prepared: &Prepared<'_>,
        engine: &Engine<'_>,
    ) -> Result<RunReport, CommandError> {
        let mut report = run(prepared, engine, &self.names(requests))?;
        if self.tells_made_of {
            report.made_of = made_of(prepared, engine, &report);
        }
        let stack = Some(self.loaded.stack.name.as_str());
        write_down(command, stack, self.started_ms, prepared, &report, engine);
        self.means.make_durable()?;
        caches::keep(&self.caches, &self.means, prepared, engine, &report.steps)?;
        Ok(report)
    }

    /// An image of the stack: of this run, or as the store has it.
    pub fn record_of(&self, name: &str, report: &RunReport) -> Option<ImageRecord> {
        if let Some(record) = report.record(name) {
            return Some(record.clone());
        }
        let id = self.loaded.stack.exact(name)?;
        self.last_built(&self.loaded.stack[id].name.to_string())
    }

    /// What the name of an image means in the store.
    pub fn last_built(&self, name: &str) -> Option<ImageRecord> {
        open_image(&self.means.store, name).ok()
    }

    /// The references of each image: its name in the stack, as `cairn run` takes it.
    fn names(&self, requests: &Requests) -> BTreeMap<String, Vec<String>> {
        requests
            .images
            .iter()
            .map(|image| (image.name.clone(), vec![canonical(&image.name)]))
            .collect()
    }
}

/// What the images of a run were made of.
fn made_of(
    prepared: &Prepared<'_>,
    engine: &Engine<'_>,
    report: &RunReport,
) -> BTreeMap<String, MadeOf> {
    let images = prepared.lowered.images.iter().map(|image| {
        let record = report.record(&image.name);
        let made_of = MadeOf::of(prepared, engine, image, &report.results, record);
        (image.name.clone(), made_of)
    });
    images.collect()
}

fn by_flag() -> Reason {
    Reason {
        kind: ReasonKind::Flag,
        because: "`--rebuild` names it".to_owned(),
        place: None,
    }
}

/// The images that words on the command line mean; all if there are none.
pub fn select(loaded: &LoadedStack, names: &[String]) -> Result<Vec<ImageId>, CommandError> {
    if names.is_empty() {
        return Ok(loaded.stack.ids().collect());
    }
    let mut selected = Vec::new();
    for name in names {
        let meant = loaded.stack.select(name);
        if meant.is_empty() {
            return Err(unknown_image(loaded, name));
        }
        selected.extend(meant);
    }
    selected.sort();
    selected.dedup();
    Ok(selected)
}

fn unknown_image(loaded: &LoadedStack, name: &str) -> CommandError {
    let stack = &loaded.stack.name;
    let error = CommandError::usage(format!("the stack `{stack}` has no image `{name}`"));
    if Path::new(name).is_dir() {
        return error.hint(format!(
            "to build the Dockerfile in that directory, write `./{name}`"
        ));
    }
    match loaded.stack.nearest(name) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// What happens while packages are chosen, in words.
pub fn locking_step(image: &str, step: &ResolveProgress) -> String {
    match step {
        ResolveProgress::Suite { suite, date } => format!("{image}: {suite} of {date}"),
        ResolveProgress::Chosen { packages } => format!("{image}: {packages} packages chosen"),
    }
}

fn note(events: &dyn EventSink, text: String) {
    events.emit(Event::Notice {
        warning: false,
        text,
    });
}

fn trusted(path: &Path) -> Result<CaTrust, CommandError> {
    let pem = std::fs::read_to_string(path).map_err(|error| {
        CommandError::from_error(Kind::Usage, &error)
            .while_doing(format!("cannot read {}", path.display()))
    })?;
    Ok(CaTrust {
        pem: Pem::Text(pem),
        set_env: true,
    })
}

/// The time in milliseconds since 1970.
pub fn milliseconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

impl From<LoadError> for CommandError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Findings(findings) => Self::from_findings(Kind::Usage, findings),
            LoadError::NoSpec { .. } => Self::from_error(Kind::Usage, &error)
                .hint("name the stack's directory with `--stack DIR`")
                .hint("a Dockerfile alone is built with its context: `cairn build .`"),
            LoadError::Read { .. } => Self::from_error(Kind::Environment, &error),
        }
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
                let kind = match **source {
                    // The spec asks for what the suite does not have.
                    DebianError::Solve(_) | DebianError::NoIndex { .. } => Kind::Usage,
                    _ => Kind::Environment,
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
