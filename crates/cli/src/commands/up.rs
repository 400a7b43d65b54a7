//! `cairn up`, `cairn test` and `cairn build` for a stack: plan, build, test, report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cairn_sandbox::interrupt;
use cairn_spec::suite::SuiteKind;
use cairn_stack::check::{ImageCheck, junit, read_files};
use cairn_stack::publish::Tested;
use cairn_stack::records::{self, Records};
use cairn_stack::run::{ImageState, RunReport};
use cairn_stack::target::image_and_platform;
use clap::Args;
use serde::Serialize;

use super::build::BuildArgs;
use super::options::{BuildOptions, JsonOption, ProgressOption, StackOption};
use super::{test_list, testify};
use crate::error::{CommandError, Kind};
use crate::failures;
use crate::progress::{Progress, count};
use crate::session::Session;
use crate::settings::ProgressChoice;
use crate::stack_run::{Keep, StackRun, Testing};
use crate::style::Tone;
use crate::table::{Align, Cell, Table};
use crate::warnings;

/// Plan, build, test and report: everything for the images of a stack
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// Images of the stack [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    options: BuildOptions,
    #[command(flatten)]
    since: SinceOption,
    #[command(flatten)]
    results: ResultsOption,
    #[command(flatten)]
    progress: ProgressOption,
    #[command(flatten)]
    json: JsonOption,
}

/// Which images a run is about, by what changed.
#[derive(Debug, Clone, Default, Args)]
pub struct SinceOption {
    /// Only images that changes since this commit concern, as `cairn plan --since` tells
    #[arg(long, value_name = "REV")]
    pub since: Option<String>,
}

/// Where results go besides.
#[derive(Debug, Clone, Args)]
pub struct ResultsOption {
    /// Write the tests' results as JUnit XML, also when something failed
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    pub records: RecordsOption,
}

/// Where what CI keeps goes.
#[derive(Debug, Clone, Default, Args)]
pub struct RecordsOption {
    /// Write artifacts/, logs/ and manifests/ below this directory, also when something failed
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
}

/// Test images of a stack, building first what is not up to date
///
/// A test that passed on the very same image and has not changed is not run again.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// Images of the stack [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Run tests even if they passed before
    #[arg(long)]
    again: bool,
    /// Run the workflow tests of this name, too (can be repeated)
    #[arg(long, value_name = "NAME")]
    workflow: Vec<String>,
    /// Write down for promotion what passed, of the images that are the ones this tag means
    #[arg(long = "for", value_name = "TAG")]
    for_tag: Option<String>,
    /// Run nothing: list the tests of the images, those that people do by hand among them
    #[arg(long, conflicts_with_all = ["again", "workflow", "junit", "records", "for_tag"])]
    list: bool,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    options: BuildOptions,
    #[command(flatten)]
    since: SinceOption,
    #[command(flatten)]
    results: ResultsOption,
    #[command(flatten)]
    progress: ProgressOption,
    #[command(flatten)]
    json: JsonOption,
}

/// What a run came to, as JSON.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    images: Vec<ImageLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tests: Option<&'a [ImageCheck]>,
    seconds: f64,
}

impl<'a> Report<'a> {
    /// A run without tests.
    pub fn of(run: &'a RunReport) -> Self {
        Self {
            images: run.images.iter().map(image_line).collect(),
            tests: None,
            seconds: run.elapsed.as_secs_f64(),
        }
    }
}

/// One image of the report.
#[derive(Debug, Serialize)]
struct ImageLine<'a> {
    image: &'a str,
    platform: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_ran: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_cached: Option<usize>,
    /// Of them, those that no image before it needs: over all images they are the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    own_steps_ran: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    own_steps_cached: Option<usize>,
    /// The image's id, as `cairn images` shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The digest of all that a container of this image can observe.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

pub fn up(args: &UpArgs, session: &mut Session) -> Result<(), CommandError> {
    let mut stack = StackRun::open(session, &args.stack, &args.options, &args.images)?;
    if !stack.narrow(session, &args.stack, &args.since)? {
        return Ok(());
    }
    let choice = args.progress.progress;
    stack.tells_made_of = args.results.records.records.is_some();
    let done = Done::of(&stack, "up", Tests::Run, choice, session)?;
    done.keep(&args.results, &stack, session)?;
    match args.json.json {
        true => session.printer.json(&done.report())?,
        false => session.printer.lines(&done.table().lines())?,
    }
    done.verdict(session, choice)
}

pub fn test(args: &TestArgs, session: &mut Session) -> Result<(), CommandError> {
    if args.list {
        return test_list::run(&args.stack, &args.images, args.json.json, session);
    }
    let mut stack = StackRun::open(session, &args.stack, &args.options, &args.images)?;
    if !stack.narrow(session, &args.stack, &args.since)? {
        return Ok(());
    }
    test_list::check_workflows(&stack.loaded, &stack.selected, &args.workflow)?;
    let choice = args.progress.progress;
    let tests = Tests::Chosen(Testing {
        again: args.again,
        workflows: args.workflow.clone(),
    });
    stack.tells_made_of = args.results.records.records.is_some();
    let done = Done::of(&stack, "test", tests, choice, session)?;
    done.keep(&args.results, &stack, session)?;
    if args.json.json {
        session.printer.json(&done.checks)?;
    }
    if let Some(tag) = args.for_tag.as_ref().filter(|_| done.all_passed()) {
        testify::keep(tag, &stack, &done, session)?;
    }
    if done.run.is_success() && !done.has_tests() {
        session.printer.note(
            "there is nothing to test: no image of this run has `tests` in cairn.toml that run by \
             themselves (`--list` lists all)",
        );
    }
    done.verdict(session, choice)
}

/// Builds images of the stack. Standard output gets the names of those that are there.
pub fn build(
    args: &BuildArgs,
    images: &[String],
    session: &mut Session,
) -> Result<(), CommandError> {
    let mut stack = StackRun::open(session, &args.stack, &args.options, images)?;
    if !stack.narrow(session, &args.stack, &args.since)? {
        return Ok(());
    }
    let choice = match args.quiet {
        true => ProgressChoice::Quiet,
        false => args.progress.progress,
    };
    stack.tells_made_of = args.records.records.is_some();
    let done = Done::of(&stack, "build", Tests::Skip, choice, session)?;
    done.keep_records(&args.records, &stack, session, &BTreeMap::new())?;
    if args.json.json {
        session.printer.json(&done.report())?;
    } else {
        let ready = done.run.images.iter();
        let ready = ready.filter(|image| matches!(image.state, ImageState::Ready { .. }));
        let mut names: Vec<&str> = Vec::new();
        for image in ready {
            let (name, _) = image_and_platform(&image.name);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let names: String = names.iter().map(|name| format!("{name}\n")).collect();
        session.printer.data(&names)?;
    }
    done.verdict(session, choice)
}

/// What becomes of the images' tests.
#[derive(Debug, Clone)]
pub enum Tests {
    /// They are not run.
    Skip,
    /// They are run where they have not passed on the same image before.
    Run,
    /// They are run as was said.
    Chosen(Testing),
}

/// A run that came to its end.
pub struct Done {
    /// The images.
    pub run: RunReport,
    checks: Option<Vec<ImageCheck>>,
    /// How long tests took.
    testing: Duration,
}

impl Done {
    /// Builds and tests, showing progress.
    pub fn of(
        stack: &StackRun,
        command: &str,
        tests: Tests,
        choice: ProgressChoice,
        session: &mut Session,
    ) -> Result<Self, CommandError> {
        if !matches!(tests, Tests::Skip) {
            for run in &stack.platforms {
                read_files(&run.loaded, &run.selected)?;
            }
        }
        let progress = Progress::start(choice, &session.settings, &mut session.printer);
        let done = Self::under(stack, command, tests, &progress, session);
        progress.finish();
        let done = done?;
        // `--fail-fast` cancels, too.
        match interrupt::received().is_some() {
            true => Err(CommandError::interrupted()),
            false => Ok(done),
        }
    }

    fn under(
        stack: &StackRun,
        command: &str,
        tests: Tests,
        progress: &Progress,
        session: &Session,
    ) -> Result<Self, CommandError> {
        let locks = stack.locked(Keep::Write, progress)?;
        let mut requests = stack.requests(&locks)?;
        let refreshed = {
            let engine = stack.engine(&requests, progress);
            let prepared = stack.prepare(&requests, &engine)?;
            match stack.refreshed(locks, &prepared, progress)? {
                Some(locks) => locks,
                None => {
                    let run = stack.solve(command, &requests, &prepared, &engine)?;
                    return Self::with_tests(stack, command, run, tests, progress, session);
                }
            }
        };
        requests = stack.requests(&refreshed)?;
        let engine = stack.engine(&requests, progress);
        let prepared = stack.prepare(&requests, &engine)?;
        let run = stack.solve(command, &requests, &prepared, &engine)?;
        Self::with_tests(stack, command, run, tests, progress, session)
    }

    fn with_tests(
        stack: &StackRun,
        command: &str,
        run: RunReport,
        tests: Tests,
        progress: &Progress,
        session: &Session,
    ) -> Result<Self, CommandError> {
        let started = Instant::now();
        let checks = match tests {
            _ if stack.means.cancel.is_cancelled() => None,
            Tests::Skip => None,
            Tests::Run => {
                Some(stack.check(command, &run, session, progress, &Testing::default())?)
            }
            Tests::Chosen(testing) => {
                Some(stack.check(command, &run, session, progress, &testing)?)
            }
        };
        Ok(Self {
            run,
            checks,
            testing: started.elapsed(),
        })
    }

    /// Writes results where they were asked for.
    fn keep(
        &self,
        option: &ResultsOption,
        stack: &StackRun,
        session: &Session,
    ) -> Result<(), CommandError> {
        let checks = self.checks.as_deref().unwrap_or_default();
        if let Some(path) = &option.junit {
            std::fs::write(path, junit(checks)).map_err(|error| {
                CommandError::from_error(Kind::Environment, &error)
                    .while_doing(format!("cannot write {}", path.display()))
            })?;
        }
        self.keep_records(&option.records, stack, session, &BTreeMap::new())
    }

    /// Writes what CI keeps, if that was asked for. Images have the names that `named` gives, else
    /// those that the rules of the spec give for the event.
    pub fn keep_records(
        &self,
        option: &RecordsOption,
        stack: &StackRun,
        session: &Session,
        named: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), CommandError> {
        let Some(folder) = &option.records else {
            return Ok(());
        };
        let started = Instant::now();
        let info = stack.about(&self.run, session)?;
        let references = match named.is_empty() {
            true => stack.references(&self.run, session),
            false => named.clone(),
        };
        let checks = self.checks.as_deref().unwrap_or_default();
        let phases = [
            ("build", self.run.elapsed),
            ("tests", self.testing),
            ("pages", started.elapsed()),
        ];
        let commit = stack.loaded.commit.as_ref();
        let written = records::write(
            folder,
            &Records {
                store: &stack.means.store,
                run: &stack.means.settings.run,
                report: &self.run,
                checks,
                info: &info,
                references: &references,
                commit: commit.map(|it| it.hash.as_str()),
                phases: &phases,
                room_before: stack.room_before,
            },
        );
        written.map_err(|error| CommandError::from_error(Kind::Environment, &error))
    }

    /// Says what failed, and with which code to end.
    pub fn verdict(&self, session: &Session, choice: ProgressChoice) -> Result<(), CommandError> {
        if session.settings.progress(choice) != ProgressChoice::Quiet {
            warnings::tell(&session.printer, &self.run.warnings, false);
        }
        if !self.run.is_success() {
            let shown = session.settings.progress(choice);
            return Err(failures::tell(&session.printer, &self.run.failures, shown));
        }
        let failed = self.checks.iter().flatten().flat_map(ImageCheck::tests);
        let failed = failed.filter(|test| !test.passed).count();
        match failed {
            0 => Ok(()),
            failed => {
                let text = format!("{} failed", count(failed, "test"));
                let error = CommandError::new(Kind::Work, text);
                let files = self.checks.iter().flatten().flat_map(|check| &check.files);
                let log = files
                    .filter(|file| !file.passed())
                    .find_map(|file| file.log.as_ref());
                Err(match log.and_then(|log| log.parent()) {
                    Some(folder) => {
                        error.hint(format!("all that they printed is in {}", folder.display()))
                    }
                    None => error,
                })
            }
        }
    }

    /// Whether every image is there and no test failed.
    fn all_passed(&self) -> bool {
        self.run.is_success() && self.checks.iter().flatten().all(ImageCheck::passed)
    }

    /// What came of the tests of each image, by what it is called in the run.
    pub fn tested(&self) -> BTreeMap<String, Tested> {
        let checks = self.checks.iter().flatten();
        let tested = checks.map(|check| {
            let passed = check.tests().filter(|test| test.passed && !test.skipped);
            let left_out = check.files.iter().filter(|file| file.left_out.is_some());
            let workflows = check.files.iter().filter(|file| {
                file.kind == SuiteKind::Workflow.key() && file.left_out.is_none() && file.passed()
            });
            let tested = Tested {
                passed: passed.count(),
                left_out: left_out.count(),
                workflows: workflows.map(|file| file.name.clone()).collect(),
            };
            (check.label.clone(), tested)
        });
        tested.collect()
    }

    fn has_tests(&self) -> bool {
        let checks = self.checks.iter().flatten();
        checks.flat_map(ImageCheck::tests).next().is_some()
    }

    /// What came of it, as JSON.
    pub fn report(&self) -> Report<'_> {
        Report {
            tests: self.checks.as_deref(),
            ..Report::of(&self.run)
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            ("IMAGE", Align::Left),
            ("STATE", Align::Left),
            ("RAN", Align::Right),
            ("CACHED", Align::Right),
            ("TESTS", Align::Left),
        ]);
        for image in &self.run.images {
            let line = image_line(image);
            let tone = match line.state {
                "failed" => Tone::Bad,
                _ => Tone::Good,
            };
            let number = |number: Option<usize>| number.map_or(String::new(), |n| n.to_string());
            table.row([
                Cell::new(Tone::Strong, image.name.as_str()),
                Cell::new(tone, line.state),
                number(line.own_steps_ran).into(),
                number(line.own_steps_cached).into(),
                self.tests_of(&image.name).into(),
            ]);
        }
        table
    }

    fn tests_of(&self, image: &str) -> String {
        let checks = self.checks.iter().flatten();
        let tests = checks
            .filter(|check| check.label == image)
            .flat_map(ImageCheck::tests);
        let mut counts = [(0, "passed"), (0, "failed"), (0, "skipped")];
        for test in tests {
            let at = match (test.passed, test.skipped) {
                (true, false) => 0,
                (false, _) => 1,
                (true, true) => 2,
            };
            counts[at].0 += 1;
        }
        let told = counts.iter().filter(|(number, _)| *number > 0);
        let told: Vec<String> = told
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
        told.join(", ")
    }
}

fn image_line(image: &cairn_stack::run::ImageResult) -> ImageLine<'_> {
    let (name, platform) = image_and_platform(&image.name);
    let mut line = ImageLine {
        image: name,
        platform: platform.to_string(),
        state: "failed",
        steps_ran: None,
        steps_cached: None,
        own_steps_ran: None,
        own_steps_cached: None,
        id: None,
        content: None,
        reason: None,
    };
    match &image.state {
        ImageState::Failed { reason } => line.reason = Some(reason),
        ImageState::Ready {
            record,
            ran,
            cached,
            own,
        } => {
            line.state = if *ran > 0 { "built" } else { "cached" };
            line.steps_ran = Some(*ran);
            line.steps_cached = Some(*cached);
            line.own_steps_ran = Some(own.ran);
            line.own_steps_cached = Some(own.cached);
            if record.is_known() {
                line.id = Some(record.id().to_string());
                line.content = Some(record.content().to_string());
            }
        }
    }
    line
}
