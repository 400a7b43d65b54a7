//! A run over images of a stack, the part that `plan`, `build`, `up` and `test` share: what it is
//! about, what it asks of the engine, and what it may not. How it begins is in [`opening`], which
//! images commits concern in [`narrowing`], its locks are in [`locking`], its tests in [`testing`], what
//! it attests in [`attesting`].

mod attesting;
mod locking;
mod narrowing;
mod opening;
mod testing;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_build::engine::{Engine, Leaving};
use cairn_build::event::{Event, EventSink};
use cairn_build::image::ImageRecord;
use cairn_build::image::external::Externals;
use cairn_build::image::named::{Others, open_of_stack};
use cairn_build::image::record::canonical;
use cairn_build::run::{Prepared, prepare};
use cairn_sandbox::Emulator;
use cairn_spec::ImageId;
use cairn_stack::attest::Wish;
use cairn_stack::decide::Reason;
use cairn_stack::load::LoadedStack;
use cairn_stack::lockfile::{LockFile, bases};
use cairn_stack::made_of::MadeOf;
use cairn_stack::request::{Part, RequestOptions, Requests, requests, with_ancestors};
use cairn_stack::run::{Names, RunReport, run};
use cairn_stack::target::image_and_platform;
use tempfile::TempDir;

pub use self::locking::{Keep, LockOutcome};
pub use self::opening::select;
pub use self::testing::Testing;
use crate::bookkeeping::write_down;
use crate::caches::{self, CacheOptions};
use crate::commands::options::EventOption;
use crate::error::{CommandError, Kind};
use crate::means::Means;
use crate::platforms::{Purpose, can_run};
use crate::sanitize;

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
    /// What is attested of its images.
    wish: Option<Wish>,
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

    /// Lets layers of bases stay where they are that no step needs and that only images have which
    /// leave: they are not fetched to know what they hold either.
    pub fn leave(&mut self, leaving: Leaving) {
        self.means.fetches &= leaving.images.is_empty();
        self.means.settings.leaving = leaving;
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
            .hint(Emulator::how_to_get_one())
            .hint(
                "or build them on a machine of their own: `cairn publish` brings the platforms of several machines together",
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
        self.attest(requests, prepared, engine, &mut report)?;
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

fn note(events: &dyn EventSink, text: String) {
    events.emit(Event::Notice {
        warning: false,
        text,
    });
}

/// The time in milliseconds since 1970.
pub fn milliseconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
