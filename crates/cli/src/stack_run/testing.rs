//! Tests of the images of a run, and what commands say about their contents.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use cairn_build::event::EventSink;
use cairn_build::image::ImageRecord;
use cairn_sandbox::Network;
use cairn_spec::tags::{Instead, publication};
use cairn_spec::{ImageId, NetworkPolicy};
use cairn_stack::check::{Checker, ImageCheck, TestError};
use cairn_stack::event::Event;
use cairn_stack::history::{RunNote, record_tests};
use cairn_stack::info::{InfoMeans, InfoSection, gather};
use cairn_stack::run::RunReport;
use cairn_stack::structure::{CheckError, Conditions};
use cairn_stack::suite::SuiteError;

use super::{PlatformRun, StackRun, milliseconds_now};
use crate::error::{CommandError, Kind};
use crate::platforms::can_run;
use crate::session::Session;

/// Python's own index of packages.
const PACKAGE_INDEX: &str = "https://pypi.org/simple";

/// Which tests a run is about.
#[derive(Debug, Clone, Default)]
pub struct Testing {
    /// Tests run even if they passed before.
    pub again: bool,
    /// Workflow suites that were named.
    pub workflows: Vec<String>,
}

impl StackRun {
    /// Runs the tests of the images that were asked for and are there, and writes down what came
    /// of them.
    pub fn check(
        &self,
        command: &str,
        report: &RunReport,
        session: &Session,
        events: &dyn EventSink,
        testing: &Testing,
    ) -> Result<Vec<ImageCheck>, CommandError> {
        let conditions = self.conditions(session);
        let finders = self.platforms.iter().map(|part| {
            let loaded = &part.loaded;
            move |name: &str| {
                let label = loaded.label(loaded.stack.exact(name)?);
                let made = report.record(&label).cloned();
                made.or_else(|| self.last_built(&label))
            }
        });
        let finders: Vec<_> = finders.collect();
        let parts = self
            .platforms
            .iter()
            .zip(&finders)
            .map(|(part, record_of)| {
                let checker = self.checker(part, &conditions, record_of, session, events, testing);
                (checker, images_of(part, report))
            });
        let checks = cairn_stack::check::check(&parts.collect::<Vec<_>>())?;
        let note = RunNote {
            run: self.means.settings.run.clone(),
            command: command.to_owned(),
            stack: Some(self.loaded.stack.name.clone()),
            started_ms: self.started_ms,
        };
        let is_success = report.is_success() && checks.iter().all(ImageCheck::passed);
        let now = milliseconds_now();
        if let Err(error) = record_tests(&self.means.store, &note, now, is_success, &checks) {
            let lost = "these tests are missing from the history";
            crate::bookkeeping::tell(events, lost, error);
        }
        Ok(checks)
    }

    /// What the commands of `info` say about the images that were asked for and are there.
    pub fn about(
        &self,
        report: &RunReport,
        session: &Session,
    ) -> Result<BTreeMap<String, Vec<InfoSection>>, CommandError> {
        let conditions = self.conditions(session);
        let means = InfoMeans {
            store: &self.means.store,
            conditions: &conditions,
            events: &session.printer,
            cancel: &self.means.cancel,
        };
        let mut about = BTreeMap::new();
        for run in &self.platforms {
            for id in &run.selected {
                let image = &run.loaded.stack[*id];
                let name = run.loaded.label(*id);
                let record = report.record(&name).filter(|_| !image.info.is_empty());
                // The commands run in the image.
                let Some(record) = record.filter(|record| can_run(&record.platform)) else {
                    continue;
                };
                let sections =
                    gather(&image.info, &name, record, &means).map_err(TestError::from)?;
                about.insert(name, sections);
            }
        }
        Ok(about)
    }

    /// The event that this run answers.
    pub fn event(&self, session: &Session) -> Event {
        self.event.detect(session, &self.loaded)
    }

    /// Where the images of a run are published for the event at hand, by their names in the stack.
    pub fn references(
        &self,
        report: &RunReport,
        session: &Session,
    ) -> BTreeMap<String, Vec<String>> {
        let stack = &self.loaded.stack;
        if stack.images.iter().all(|it| it.repositories.is_empty()) {
            return BTreeMap::new();
        }
        let event = self.event(session);
        let content = |id: ImageId| {
            let record = report.record(&stack[id].name.to_string())?;
            Some(record.content().to_string())
        };
        let named = publication(stack, &event.facts, &Instead::default(), &content);
        let images = named.images.iter();
        let images = images.map(|it| (stack[it.image].name.to_string(), it.names().collect()));
        images.collect()
    }

    fn checker<'a>(
        &'a self,
        part: &'a PlatformRun,
        conditions: &'a Conditions,
        record_of: &'a (dyn Fn(&str) -> Option<ImageRecord> + Sync),
        session: &'a Session,
        events: &'a dyn EventSink,
        testing: &'a Testing,
    ) -> Checker<'a> {
        let environment = &session.settings.environment;
        Checker {
            store: &self.means.store,
            loaded: &part.loaded,
            conditions,
            fetcher: &self.means.fetcher,
            package_index: environment.text("PIP_INDEX_URL").unwrap_or(PACKAGE_INDEX),
            run: &self.means.settings.run,
            program: std::env::current_exe().unwrap_or_else(|_| "cairn".into()),
            record_of,
            workflows: &testing.workflows,
            events,
            cancel: &self.means.cancel,
            use_evidence: !testing.again,
            fail_fast: self.means.settings.fail_fast,
        }
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
            emulator: None,
            ca: settings.ca.clone(),
            timeout: None,
            jobs: NonZeroUsize::new(settings.jobs).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// The images of a platform that were asked for and are there, in graph order: a parent's tests come
/// before those of what builds on it.
fn images_of<'a>(part: &PlatformRun, report: &'a RunReport) -> Vec<(ImageId, &'a ImageRecord)> {
    let loaded = &part.loaded;
    let order = loaded.graph.with_ancestors(&part.selected);
    let asked = order.into_iter().filter(|id| part.selected.contains(id));
    let there = asked.filter_map(|id| Some((id, report.record(&loaded.label(id))?)));
    there.collect()
}

impl From<TestError> for CommandError {
    fn from(error: TestError) -> Self {
        match error {
            TestError::Findings(findings) => Self::from_findings(Kind::Usage, findings),
            TestError::Store(error) => error.into(),
            TestError::Check(CheckError::Cancelled)
            | TestError::Suite(SuiteError::Check(CheckError::Cancelled)) => {
                CommandError::interrupted()
            }
            TestError::Suite(SuiteError::Packages(error)) => {
                Self::from_error(Kind::Environment, &error)
                    .hint("an image that has pytest itself needs nothing")
                    .hint("`PIP_INDEX_URL` names another package index")
            }
            TestError::Read { .. } => Self::from_error(Kind::Usage, &error),
            error => Self::from_error(Kind::Environment, &error),
        }
    }
}
