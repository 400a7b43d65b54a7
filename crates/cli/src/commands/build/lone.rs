//! `cairn build CONTEXT`: one Dockerfile, with docker's habits.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use cairn_build::engine::Engine;
use cairn_build::image::external::Settled;
use cairn_build::run::prepare;
use cairn_oci::Reference;
use cairn_sandbox::interrupt;
use cairn_stack::contexts::{Opener, is_remote, looks_like_archive};
use cairn_stack::external::external;
use cairn_stack::run::{RunReport, run};
use cairn_stack::single::{
    ContextSource, DockerfileSource, SingleBuild, SingleError, SingleRequest, dockerfile_path,
    request,
};
use cairn_stack::unused_args::UnusedArg;
use tempfile::NamedTempFile;

use super::agents::Agents;
use super::args::{BuildArgs, NetworkChoice};
use super::call::{Call, Targets};
use super::outputs::truth;
use super::results::{self, Built};
use super::secrets;
use crate::bookkeeping::write_down;
use crate::caches;
use crate::commands::lint::{self, Subject};
use crate::commands::load::reference;
use crate::error::{CommandError, Kind};
use crate::failures;
use crate::means::Means;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::session::{Session, host_platform};
use crate::settings::ProgressChoice;
use crate::stack_run::milliseconds_now;
use crate::warnings;

/// Builds a Dockerfile.
pub fn build(args: &BuildArgs, context: &str, session: &mut Session) -> Result<(), CommandError> {
    let tags = args
        .lone
        .tag
        .iter()
        .map(|tag| reference(tag))
        .collect::<Result<Vec<_>, _>>()?;
    let names = results::all_names(args, &tags)?;
    let pushes = results::pushes(args, &tags)?;
    let input = Input::new(context, args.lone.file.as_deref(), session)?;
    let call = match args.lone.check {
        true => Call::Check,
        false => args.lone.call.unwrap_or_default(),
    };
    if call != Call::Build {
        return ask(call, args, context, &input, session);
    }
    let mut means = Means::new(session, &args.options)?;
    means.settings.secrets = secrets::values(&args.lone.secret, &session.settings.environment)?;
    let place = session.settings.temporary_dir();
    let agents = Agents::new(&args.lone.ssh, &session.settings.environment, &place)?;
    means.settings.ssh.clone_from(&agents.sockets);
    means.settings.memory_max = args.lone.memory;
    means.settings.hosts.clone_from(&args.lone.add_host);
    means.settings.ulimits.clone_from(&args.lone.ulimit);
    let platforms = session.platforms(args.options.platform.as_deref())?;
    let caches = &args.options.caches;
    caches::open(caches, &mut means, &platforms, &session.printer)?;
    if let Some(bytes) = args.lone.shm_size {
        means.settings.shm_bytes = bytes;
    }
    let single = single(args, context, &input, &names, session)?;
    let opener = Opener {
        store: &means.store,
        fetcher: &means.fetcher,
        cancel: &means.cancel,
        platform: &single.platforms[0],
    };
    let request = request(&single, &opener)?;
    tell_unused(&session.printer, &request.unused_args);
    let main = main_platform(&request);
    let report = solve(args, session, &means, &request, main, &names)?;
    let records = request
        .images
        .iter()
        .map(|image| report.record(&image.name));
    let Some(records) = records.map(|record| record.cloned()).collect() else {
        return Err(CommandError::told(Kind::Work));
    };
    let is_index = request.images.len() > 1 || asks_for_index(&single);
    let built = Built {
        records,
        main,
        is_index,
    };
    for record in &built.records {
        record.save(&means.store, &[])?;
    }
    means.make_durable()?;
    tell_main(session, &request, main, &names);
    results::write_outputs(args, session, &means, &built, &names)?;
    results::push(&pushes, session, &means, &built)?;
    results::write_files(args, &means, &built, &names)?;
    results::tell(args, session, &built.id(), &names)
}

/// Which of several platforms the names in the store lead to: this machine's, else the first.
fn main_platform(request: &SingleRequest) -> usize {
    let here = host_platform();
    let mut images = request.images.iter();
    images
        .position(|image| image.platform == here)
        .unwrap_or_default()
}

/// Whether a single platform is to be under an index, too, as BuildKit is told.
fn asks_for_index(single: &SingleBuild) -> bool {
    let value = single.args.get("BUILDKIT_MULTI_PLATFORM");
    value.and_then(|value| truth(value)).unwrap_or(false)
}

fn tell_main(session: &Session, request: &SingleRequest, main: usize, names: &[Reference]) {
    if let (true, [name, ..]) = (request.images.len() > 1, names) {
        session.printer.note(&format!(
            "in the store, `{}` is the image for {}; the others leave it with `--output` and `--push`",
            name.familiar(),
            request.images[main].platform
        ));
    }
}

/// Answers what is asked of a Dockerfile that is not to be built.
fn ask(
    call: Call,
    args: &BuildArgs,
    context: &str,
    input: &Input,
    session: &Session,
) -> Result<(), CommandError> {
    let single = single(args, context, input, &[], session)?;
    let dockerfile = dockerfile_path(&single)?;
    let subject = Subject::of_build(&single, &dockerfile)?;
    let Call::Targets { json } = call else {
        return lint::check_build(&subject, &session.printer);
    };
    let targets = Targets::of(&subject.file);
    match json {
        true => session.printer.json(&targets)?,
        false => session.printer.data(&targets.table())?,
    }
    Ok(())
}

/// Prepares and runs, showing progress; gives up with what failed.
fn solve(
    args: &BuildArgs,
    session: &mut Session,
    means: &Means,
    request: &SingleRequest,
    main: usize,
    names: &[Reference],
) -> Result<RunReport, CommandError> {
    let choice = match args.quiet {
        true => ProgressChoice::Quiet,
        false => args.progress.progress,
    };
    let names = names.iter().map(Reference::to_string).collect();
    let main = &request.images[main];
    let names = BTreeMap::from([(main.name.clone(), names)]);
    let progress = Progress::start(choice, &session.settings, &mut session.printer);
    let engine = Engine {
        store: &means.store,
        contexts: &request.contexts,
        settings: &means.settings,
        fetcher: &means.fetcher,
        events: &progress,
        cancel: &means.cancel,
    };
    let images = means.externals(&main.platform, &progress);
    let wanted: Vec<_> = external(request)
        .into_iter()
        .map(|name| (name, None))
        .collect();
    let prepared = images
        .settle_all(&wanted, false)
        .map_err(CommandError::from)
        .and_then(|settled| refused(&settled))
        .and_then(|()| {
            prepare(&request.images, &images, &engine)
                .map_err(|findings| means.unprepared(findings))
        });
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            progress.finish();
            return Err(error);
        }
    };
    let started_ms = milliseconds_now();
    let report = run(&prepared, &engine, &names);
    if let Ok(report) = &report {
        write_down("build", None, started_ms, &prepared, report, &engine);
    }
    let kept = match &report {
        Ok(report) => caches::keep(
            &args.options.caches,
            means,
            &prepared,
            &engine,
            &report.steps,
        ),
        Err(_) => Ok(()),
    };
    progress.finish();
    let report = report?;
    kept?;
    // `--fail-fast` cancels, too.
    if interrupt::received().is_some() {
        return Err(CommandError::interrupted());
    }
    if session.settings.progress(choice) != ProgressChoice::Quiet {
        warnings::tell(&session.printer, &report.warnings);
    }
    match report.is_success() {
        true => Ok(report),
        false => {
            let shown = session.settings.progress(choice);
            Err(failures::tell(&session.printer, &report.failures, shown))
        }
    }
}

/// With `--pull`, what a registry does not say ends the build.
fn refused(settled: &[Settled]) -> Result<(), CommandError> {
    let failure = settled.iter().find_map(|settled| match settled {
        Settled::Failed(failure) => Some(failure),
        _ => None,
    });
    failure.map_or(Ok(()), |failure| Err(CommandError::from(failure.as_ref())))
}

/// BuildKit's words, with what was probably meant.
fn tell_unused(printer: &Printer, unused: &[UnusedArg]) {
    if unused.is_empty() {
        return;
    }
    let names: Vec<&str> = unused.iter().map(|arg| arg.name.as_str()).collect();
    let mut text = format!(
        "one or more build-args [{}] were not consumed: no ARG declares them",
        names.join(" ")
    );
    for arg in unused {
        if let Some(near) = &arg.near {
            text.push_str(&format!("; for `{}` there is `{near}`", arg.name));
        }
    }
    printer.warning(&text);
}

fn single(
    args: &BuildArgs,
    context: &str,
    input: &Input,
    names: &[Reference],
    session: &Session,
) -> Result<SingleBuild, CommandError> {
    let lone = &args.lone;
    let environment = &session.settings.environment;
    let build_args = lone.build_arg.iter().filter_map(|(name, value)| {
        // Docker leaves out what the environment does not have: the Dockerfile's default counts.
        let value = match value {
            Some(value) => value.clone(),
            None => environment.exact(name)?.to_str()?.to_owned(),
        };
        Some((name.clone(), value))
    });
    Ok(SingleBuild {
        context: input.context.clone(),
        dockerfile: input.dockerfile.clone(),
        name: names
            .first()
            .map_or_else(|| name_of(context), Reference::familiar),
        target: lone.target.clone(),
        args: build_args.collect(),
        labels: lone.label.iter().cloned().collect(),
        annotations: lone.annotation.iter().cloned().collect(),
        contexts: lone.build_context.clone(),
        platforms: session.platforms(args.options.platform.as_deref())?,
        build_platform: host_platform(),
        epoch: session.settings.source_date_epoch()?,
        no_cache: args.options.no_cache,
        no_cache_stages: lone.no_cache_filter.clone(),
        network_none: lone.network == NetworkChoice::None,
    })
}

/// What an image without a tag is called in messages: its context's directory.
fn name_of(context: &str) -> String {
    let path = Path::new(context).canonicalize().ok();
    let name = path.as_deref().and_then(Path::file_name);
    name.map_or_else(
        || "image".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Context and Dockerfile; what came by standard input lies in a file for the while.
struct Input {
    context: ContextSource,
    dockerfile: DockerfileSource,
    /// Removed with this value.
    _spooled: Option<NamedTempFile>,
}

impl Input {
    fn new(context: &str, file: Option<&Path>, session: &Session) -> Result<Self, CommandError> {
        let file_is_stdin = file == Some(Path::new("-"));
        if context == "-" && file_is_stdin {
            return Err(CommandError::usage(
                "standard input cannot be both the context and the Dockerfile",
            ));
        }
        let named = match file {
            Some(path) => DockerfileSource::Named(path.to_owned()),
            None => DockerfileSource::Default,
        };
        if context == "-" {
            let (spooled, is_archive) = spool(session)?;
            let path = spooled.path().to_owned();
            let (context, dockerfile) = match is_archive {
                true => (ContextSource::Archive(path), named),
                false => (ContextSource::Empty, DockerfileSource::File(path)),
            };
            return Ok(Self {
                context,
                dockerfile,
                _spooled: Some(spooled),
            });
        }
        let context = match is_remote(context) {
            true => ContextSource::Remote(context.to_owned()),
            false => ContextSource::Directory(context.into()),
        };
        let (dockerfile, spooled) = match file_is_stdin {
            true => {
                let (spooled, _) = spool(session)?;
                (
                    DockerfileSource::File(spooled.path().to_owned()),
                    Some(spooled),
                )
            }
            false => (named, None),
        };
        Ok(Self {
            context,
            dockerfile,
            _spooled: spooled,
        })
    }
}

/// Writes standard input to a file; tells whether it looks like an archive: a Dockerfile is text.
fn spool(session: &Session) -> Result<(NamedTempFile, bool), CommandError> {
    let failed = |error: io::Error| {
        CommandError::from_error(Kind::Environment, &error)
            .while_doing("cannot keep standard input")
    };
    let directory = session.settings.temporary_dir();
    let mut file = NamedTempFile::new_in(directory).map_err(failed)?;
    io::copy(&mut io::stdin().lock(), &mut file).map_err(failed)?;
    file.flush().map_err(failed)?;
    let is_archive = looks_like_archive(file.path())?;
    Ok((file, is_archive))
}

impl From<SingleError> for CommandError {
    fn from(error: SingleError) -> Self {
        let kind = match error.is_usage() {
            true => Kind::Usage,
            false => Kind::Environment,
        };
        match error {
            SingleError::Findings(findings) => Self::from_findings(Kind::Usage, findings),
            SingleError::Store(error) => error.into(),
            SingleError::NoDockerfile(_) => Self::from_error(kind, &error)
                .hint("name it with `--file` if it is called otherwise or lies elsewhere"),
            error => {
                let hint = match &error {
                    SingleError::Git(inner) => inner.hint(),
                    SingleError::Fetch(inner) => inner.hint(),
                    _ => None,
                };
                let told = Self::from_error(kind, &error);
                hint.into_iter().fold(told, Self::hint)
            }
        }
    }
}
