//! A run over images of a stack, the part that `plan`, `build`, `up` and `test` share.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_build::engine::Engine;
use cairn_build::event::EventSink;
use cairn_build::image::source::StoreImages;
use cairn_build::resolve::DebianBase;
use cairn_build::run::{Prepared, prepare};
use cairn_oci::Reference;
use cairn_sandbox::{CaTrust, Network};
use cairn_spec::{CaPolicy, ImageId, NetworkPolicy};
use cairn_stack::check::{Checker, ImageCheck, TestError};
use cairn_stack::history::{self, RunNote};
use cairn_stack::load::{LoadError, LoadedStack, load};
use cairn_stack::request::{RequestOptions, Requests, requests};
use cairn_stack::run::{RunReport, run};
use cairn_stack::structure::{CheckError, Conditions};

use crate::commands::options::{BuildOptions, StackOption};
use crate::error::{CommandError, Kind};
use crate::means::Means;
use crate::session::{Session, host_platform};

/// A stack that was read, with what a run over some of its images needs.
pub struct StackRun {
    /// The means.
    pub means: Means,
    /// The stack.
    pub loaded: LoadedStack,
    /// The images that were asked for.
    pub selected: Vec<ImageId>,
    options: RequestOptions,
}

impl StackRun {
    /// Opens the store and reads the stack. Conditions as for [`Session::open_store`].
    pub fn open(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
    ) -> Result<Self, CommandError> {
        let platform = session.platform(options.platform.as_deref())?;
        let mut means = Means::new(session, options)?;
        let loaded = load(&stack.stack, &platform)?;
        let selected = select(&loaded, images)?;
        let build = &loaded.stack.build;
        if let (None, Some(jobs)) = (options.jobs, build.jobs) {
            means.settings.jobs = jobs.get();
        }
        match &build.ca.value {
            CaPolicy::Host => {}
            CaPolicy::None => means.settings.ca = None,
            CaPolicy::File(name) => means.settings.ca = Some(trusted(&stack.stack.join(name))?),
        }
        Ok(Self {
            means,
            loaded,
            selected,
            options: RequestOptions {
                platform,
                build_platform: host_platform(),
                epoch: session.settings.source_date_epoch()?,
                no_cache: options.no_cache,
            },
        })
    }

    /// What the engine is asked for.
    pub fn requests(
        &self,
        bases: &BTreeMap<ImageId, Arc<DebianBase>>,
    ) -> Result<Requests, CommandError> {
        let (store, loaded) = (&self.means.store, &self.loaded);
        Ok(requests(
            store,
            loaded,
            &self.selected,
            bases,
            &self.options,
        )?)
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
        let images = StoreImages {
            store: &self.means.store,
        };
        let prepared = prepare(&requests.images, &images, engine);
        prepared.map_err(|findings| CommandError::from_findings(Kind::Usage, findings))
    }

    /// Runs what must run, names the images, and writes the run down if anything happened.
    pub fn solve(
        &self,
        command: &str,
        requests: &Requests,
        prepared: &Prepared<'_>,
        engine: &Engine<'_>,
    ) -> Result<RunReport, CommandError> {
        let started_ms = milliseconds_now();
        let report = run(prepared, engine, &self.names(requests))?;
        for context in &requests.contexts {
            context.save_digests()?;
        }
        if report.ran > 0 || !report.failures.is_empty() {
            let note = RunNote {
                run: self.means.settings.run.clone(),
                command: command.to_owned(),
                stack: Some(self.loaded.stack.name.clone()),
                started_ms,
            };
            history::record(&self.means.store, &note, prepared, &report)?;
        }
        self.means.make_durable()?;
        Ok(report)
    }

    /// Runs the tests of the images that were asked for and are there.
    pub fn check(
        &self,
        report: &RunReport,
        session: &Session,
        events: &dyn EventSink,
        use_evidence: bool,
    ) -> Result<Vec<ImageCheck>, CommandError> {
        let conditions = self.conditions(session);
        let checker = Checker {
            store: &self.means.store,
            loaded: &self.loaded,
            conditions: &conditions,
            events,
            cancel: &self.means.cancel,
            use_evidence,
        };
        let mut checks = Vec::new();
        for &id in &self.selected {
            let name = self.loaded.stack[id].name.to_string();
            if let Some(record) = report.record(&name) {
                checks.push(checker.check(id, record)?);
            }
        }
        Ok(checks)
    }

    fn conditions(&self, session: &Session) -> Conditions {
        let settings = &self.means.settings;
        Conditions {
            exe: "/proc/self/exe".into(),
            scratch: settings.scratch.clone(),
            folder: self.loaded.directory.clone(),
            variables: session.settings.environment.texts(),
            proxies: settings.proxies.clone(),
            network: match self.loaded.stack.build.network {
                NetworkPolicy::Host => Network::Host,
                NetworkPolicy::None => Network::None,
            },
            ca: settings.ca.clone(),
            timeout: None,
            jobs: NonZeroUsize::new(settings.jobs).unwrap_or(NonZeroUsize::MIN),
        }
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

/// The images that words on the command line mean; all if there are none.
fn select(loaded: &LoadedStack, names: &[String]) -> Result<Vec<ImageId>, CommandError> {
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

/// The reference under which the store keeps an image of the stack.
pub fn canonical(name: &str) -> String {
    name.parse::<Reference>()
        .map_or_else(|_| name.to_owned(), |reference| reference.to_string())
}

fn trusted(path: &Path) -> Result<CaTrust, CommandError> {
    let pem = std::fs::read_to_string(path).map_err(|error| {
        CommandError::from_error(Kind::Usage, &error)
            .while_doing(format!("cannot read {}", path.display()))
    })?;
    Ok(CaTrust { pem, set_env: true })
}

fn milliseconds_now() -> i64 {
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

impl From<TestError> for CommandError {
    fn from(error: TestError) -> Self {
        match error {
            TestError::Findings(findings) => Self::from_findings(Kind::Usage, findings),
            TestError::Store(error) => error.into(),
            TestError::Check(CheckError::Cancelled) => interrupted(),
            TestError::Read { .. } => Self::from_error(Kind::Usage, &error),
            error => Self::from_error(Kind::Environment, &error),
        }
    }
}

/// The end of a command that Ctrl-C stopped.
pub fn interrupted() -> CommandError {
    let text = "interrupted; steps that were finished are kept";
    CommandError::new(Kind::Interrupted, text)
}
