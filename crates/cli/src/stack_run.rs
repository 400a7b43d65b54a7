//! A run over images of a stack, the part that `plan`, `build`, `up` and `test` share: what it is
//! about, what it asks of the engine, and what it may not. Its locks are in [`locking`], its tests
//! in [`testing`].

mod locking;
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_build::engine::Engine;
use cairn_build::event::{Event, EventSink, NoEvents};
use cairn_build::image::ImageRecord;
use cairn_build::image::external::Externals;
use cairn_build::image::named::{Others, open_of_stack};
use cairn_build::image::record::canonical;
use cairn_build::run::{Prepared, prepare};
use cairn_oci::Platform;
use cairn_sandbox::{CaTrust, Pem};
use cairn_spec::{CaPolicy, ImageId};
use cairn_stack::decide::{Range, Reason, ReasonKind, decide, since};
use cairn_stack::load::{LoadError, LoadedStack};
use cairn_stack::lockfile::{LockFile, bases};
use cairn_stack::made_of::MadeOf;
use cairn_stack::plan::{self, ImageDecision, ImagePlan};
use cairn_stack::request::{Part, RequestOptions, Requests, requests, with_ancestors};
use cairn_stack::run::{Names, RunReport, run};
use cairn_stack::target::image_and_platform;
use cairn_store::Store;
use tempfile::TempDir;

pub use self::locking::{Keep, LockOutcome};
pub use self::testing::Testing;
use crate::bookkeeping::write_down;
use crate::caches::{self, CacheFrom, CacheOptions};
use crate::commands::options::{BuildOptions, EventOption, StackOption};
use crate::commands::signatures::trust;
use crate::commands::up::SinceOption;
use crate::error::{CommandError, Kind};
use crate::means::Means;
use crate::platforms::{Chosen, Purpose, Wanted, can_run, leave_out};
use crate::policy::Policy;
use crate::sanitize;
use crate::secrets_file;
use crate::session::{Session, host_platform};

/// A stack that was read, with what a run over some of its images needs.
pub struct StackRun {
    /// The means.
    pub means: Means,
    /// The stack, as its first platform sees it.
    pub loaded: LoadedStack,
    /// The platforms of the run, this machine's first.
    pub platforms: Vec<PlatformRun>,
    /// The images that were asked for and that this run is about, for any platform.
    pub selected: Vec<ImageId>,
    /// The images that were asked for, whether this run is about them or leaves them out.
    pub asked: Vec<ImageId>,
    /// Whether it is an error that something cannot be built here.
    is_demand: bool,
    purpose: Purpose,
    /// The images whose steps all run, whatever the store holds.
    pub again: BTreeMap<ImageId, Reason>,
    /// Whether a run is to tell what its images were made of.
    pub tells_made_of: bool,
    /// The room on the store's disk when this began.
    pub room_before: Option<u64>,
    /// The event, as far as the command line names it.
    event: EventOption,
    /// When this run began, in milliseconds since 1970.
    pub started_ms: i64,
    /// Locks must not change.
    is_locked: bool,
    is_offline: bool,
    caches: CacheOptions,
    options: RequestOptions,
    /// Where the store lies that a `plan` without one thinks about; removed with this value.
    _no_store_yet: Option<TempDir>,
}

/// The part of a run that is for one platform.
pub struct PlatformRun {
    /// The stack, as the platform sees it.
    pub loaded: LoadedStack,
    /// The images that were asked for.
    pub selected: Vec<ImageId>,
}

impl StackRun {
    /// Reads the stack and opens the store. Conditions as for [`Session::open_store`].
    pub fn open(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
    ) -> Result<Self, CommandError> {
        Self::open_for(session, stack, options, images, Purpose::Build)
    }

    /// As [`StackRun::open`], for something else than images in the store.
    pub fn open_for(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        purpose: Purpose,
    ) -> Result<Self, CommandError> {
        let event = EventOption::default();
        Self::open_event(session, stack, options, images, purpose, &event)
    }

    /// As [`StackRun::open_for`], for an event that the command line may name.
    pub fn open_event(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        purpose: Purpose,
        event: &EventOption,
    ) -> Result<Self, CommandError> {
        let open = || Ok((session.open_store()?, None));
        Self::over(open, session, stack, options, images, purpose, event)
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
        for run in &mut self.platforms {
            run.selected.retain(|id| concerned.contains(id));
        }
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
        let platforms: Vec<&LoadedStack> = self.platforms.iter().map(|it| &it.loaded).collect();
        let range = stack.choosing(session, &self.loaded.platform, |choices| {
            since(&platforms, choices, revision)
        });
        range.map_err(|error| {
            CommandError::from_error(Kind::Usage, &error)
                .hint("a CI job that clones a single commit has no other: `fetch-depth: 0` in GitHub's checkout")
        })
    }

    /// As [`StackRun::open_for`], for a command that changes nothing: no store is made.
    pub fn look(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        purpose: Purpose,
    ) -> Result<Self, CommandError> {
        let open = || session.store_or_none_yet();
        let event = EventOption::default();
        let mut run = Self::over(open, session, stack, options, images, purpose, &event)?;
        run.means.fetches = false;
        Ok(run)
    }

    fn over(
        open: impl FnOnce() -> Result<(Store, Option<TempDir>), CommandError>,
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        purpose: Purpose,
        event: &EventOption,
    ) -> Result<Self, CommandError> {
        let wanted = Wanted::read(session, options.platform.as_deref())?;
        let loaded = stack.load(session, &wanted.first())?;
        let (store, no_store_yet) = open()?;
        let room_before = store.room().ok().map(|room| room.free_bytes);
        let mut means = Means::over(store, session, options)?;
        let mut caches = options.caches.clone();
        if caches.cache_from.is_empty() {
            let named = loaded.stack.build.cache_from.iter().cloned();
            caches.cache_from = named.map(CacheFrom::Registry).collect();
        }
        let policy = Policy::of(session, &loaded, event);
        let asked = select(&loaded, images)?;
        let is_named = !images.is_empty();
        let chosen = wanted.choose(session, &policy, purpose, &asked, is_named)?;
        let leaves_out = !wanted.is_demand() && purpose != Purpose::Elsewhere;
        let platforms = platform_runs(session, &loaded, chosen, leaves_out)?;
        let selected: BTreeSet<ImageId> = platforms
            .iter()
            .flat_map(|run| run.selected.iter().copied())
            .collect();
        let lacking = asked.iter().find(|id| !selected.contains(id));
        if let Some(id) = lacking
            && purpose != Purpose::Publish
            && (is_named || selected.is_empty())
        {
            let name = &loaded.stack[*id].name;
            let text = format!("`{name}` is for platforms that this machine cannot build it for");
            return Err(CommandError::usage(text).hint(
                "`--platform` asks for one of them all the same, and says what is in the way",
            ));
        }
        locking::refuse_stale(&platforms)?;
        let names: Vec<Platform> = platforms
            .iter()
            .map(|run| run.loaded.platform.clone())
            .collect();
        caches::open(&caches, &mut means, &names, &session.printer)?;
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
            platforms,
            selected: selected.into_iter().collect(),
            asked,
            is_demand: wanted.is_demand() && purpose != Purpose::Elsewhere,
            purpose,
            loaded,
            again,
            tells_made_of: false,
            room_before,
            event: event.clone(),
            started_ms: milliseconds_now(),
            is_locked: options.locked,
            is_offline: options.offline,
            caches,
            options: RequestOptions {
                build_platform: host_platform(),
                epoch: session.settings.source_date_epoch()?,
                no_cache: options.no_cache,
                again: keys,
            },
            _no_store_yet: no_store_yet,
        })
    }

    /// Every image that is needed, by the number of its platform, in an order to build them.
    fn needed(&self) -> Vec<(usize, ImageId)> {
        let loaded: Vec<&LoadedStack> = self.platforms.iter().map(|it| &it.loaded).collect();
        let selected: Vec<&[ImageId]> = self.platforms.iter().map(|it| &*it.selected).collect();
        with_ancestors(&loaded, &selected)
    }

    fn externals<'a>(&'a self, events: &'a dyn EventSink) -> Externals<'a> {
        let platform = &self.platforms[0].loaded.platform;
        self.means.externals(platform, events)
    }

    /// What the engine is asked for.
    pub fn requests(&self, locks: &LockFile) -> Result<Requests, CommandError> {
        let needed = self.needed();
        let parts = self.platforms.iter().enumerate().map(|(number, run)| {
            let of_it = needed.iter().filter(|(part, _)| *part == number);
            let ids: Vec<ImageId> = of_it.map(|(_, id)| *id).collect();
            Part {
                loaded: &run.loaded,
                selected: &run.selected,
                bases: bases(&run.loaded, &ids, locks),
            }
        });
        let parts: Vec<Part<'_>> = parts.collect();
        Ok(requests(
            &self.means.store,
            &parts,
            &locks.external,
            &self.options,
        )?)
    }

    /// The image that is called so in the run, and the part of the run that is for its platform.
    pub fn find(&self, label: &str) -> Option<(&PlatformRun, ImageId)> {
        let (name, platform) = image_and_platform(label);
        let mut platforms = self.platforms.iter();
        let run = platforms.find(|run| run.loaded.platform == platform)?;
        Some((run, self.loaded.stack.exact(name)?))
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
        let prepared = prepared.map_err(|findings| self.means.unprepared(findings))?;
        if self.purpose != Purpose::Elsewhere {
            self.refuse_other_platforms(&prepared)?;
        }
        Ok(prepared)
    }

    /// An image for one platform that is made of files for another one is nobody's wish.
    fn refuse_other_platforms(&self, prepared: &Prepared<'_>) -> Result<(), CommandError> {
        for image in &prepared.lowered.images {
            let (name, wanted) = image_and_platform(&image.name);
            let found = &image.platform;
            if (&found.os, &found.architecture) != (&wanted.os, &wanted.architecture) {
                return Err(CommandError::usage(format!(
                    "`{name}` cannot be for {wanted}: what it builds on is for {found}"
                ))
                .hint("`--platform` leaves platforms out, as does `platforms` of the image"));
            }
        }
        Ok(())
    }

    /// Refuses steps that this machine would have to run and cannot, where they were asked for.
    pub fn refuse_foreign(&self, prepared: &Prepared<'_>) -> Result<(), CommandError> {
        if !self.is_demand {
            return Ok(());
        }
        let foreign = prepared.foreign(&can_run);
        if foreign.is_empty() {
            return Ok(());
        }
        let lines = foreign.iter().map(|step| {
            let origin = &prepared.lowered.graph.vertex(step.vertex).origin;
            let (image, _) = image_and_platform(&origin.image);
            let place = origin.label.as_ref().map_or(String::new(), |label| {
                let line = label.source.position(label.span.start).line;
                format!(" ({}:{line})", label.source.name)
            });
            let title = sanitize::name(&origin.title);
            format!("{image} for {}: `{title}`{place}", step.platform)
        });
        let text = "this machine cannot run programs of every platform that was asked for";
        let mut error = CommandError::new(Kind::Environment, text);
        error.messages.extend(lines);
        Err(error
            .hint("an emulator lets it: register one with the kernel (Debian: qemu-user-binfmt)")
            .hint(
                "or build them on a machine of their own: `cairn publish` brings the platforms of                  several machines together",
            ))
    }

    /// Runs what must run, names the images, and writes the run down if anything happened.
    pub fn solve(
        &self,
        command: &str,
        requests: &Requests,
        prepared: &Prepared<'_>,
        engine: &Engine<'_>,
    ) -> Result<RunReport, CommandError> {
        self.refuse_foreign(prepared)?;
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

    /// What this stack built last under the name of an image, for the platform that it is called
    /// with.
    pub fn last_built(&self, label: &str) -> Option<ImageRecord> {
        let (name, platform) = image_and_platform(label);
        let stack = &self.loaded.stack.name;
        open_of_stack(&self.means.store, name, stack, &platform)
            .ok()
            .flatten()
    }

    /// The references of each image: its name in the stack, as `cairn run` takes it. The images for
    /// all platforms share it.
    fn names(&self, requests: &Requests) -> Names {
        let images = requests.images.iter();
        let of = images.map(|image| (image.name.clone(), vec![canonical(&image.called)]));
        Names {
            of: of.collect(),
            others: Others::OfStackStay(self.loaded.stack.name.clone()),
        }
    }
}

/// Reads the stack for each platform, and takes out what this machine cannot build if it may.
fn platform_runs(
    session: &Session,
    first: &LoadedStack,
    chosen: Vec<Chosen>,
    leaves_out: bool,
) -> Result<Vec<PlatformRun>, CommandError> {
    let mut runs: Vec<PlatformRun> = Vec::new();
    for Chosen {
        platform,
        mut images,
    } in chosen
    {
        let loaded = match platform == first.platform {
            true => first.clone(),
            false => first.on(&platform)?,
        };
        if leaves_out {
            leave_out(&session.printer, &loaded, &mut images);
        }
        runs.push(PlatformRun {
            loaded,
            selected: images,
        });
    }
    // Siblings that are taken for yet other platforms: `FROM --platform=$BUILDPLATFORM`.
    loop {
        let loaded: Vec<&LoadedStack> = runs.iter().map(|it| &it.loaded).collect();
        let selected: Vec<&[ImageId]> = runs.iter().map(|it| &*it.selected).collect();
        let mut lacking: Option<Platform> = None;
        for (part, id) in with_ancestors(&loaded, &selected) {
            let mut elsewhere = loaded[part].parents_elsewhere(id);
            let is_new = |it: &Platform| loaded.iter().all(|known| known.platform != *it);
            lacking = lacking.or_else(|| {
                let (_, platform) = elsewhere.find(|(_, platform)| is_new(platform))?;
                Some(platform.clone())
            });
        }
        let Some(platform) = lacking else {
            return Ok(runs);
        };
        runs.push(PlatformRun {
            loaded: first.on(&platform)?,
            selected: Vec::new(),
        });
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
            LoadError::Read { ref source, .. } => {
                let kind = match source.kind() {
                    io::ErrorKind::InvalidData => Kind::Usage,
                    _ => Kind::Environment,
                };
                Self::from_error(kind, &error)
            }
        }
    }
}
