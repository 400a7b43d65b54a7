//! `cairn build CONTEXT`: one Dockerfile, with docker's habits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use cairn_build::engine::Engine;
use cairn_build::image::ImageRecord;
use cairn_build::image::annotated::{Annotation, Level};
use cairn_build::image::external::Settled;
use cairn_build::image::named::{Others, save};
use cairn_build::lint::Warnings;
use cairn_build::request::Changes;
use cairn_build::run::{Prepared, prepare};
use cairn_oci::{Descriptor, Platform, Reference};
use cairn_sandbox::interrupt;
use cairn_stack::attest::{AskedFor, Done, Occasion, Wish, attest};
use cairn_stack::contexts::Opener;
use cairn_stack::external::external;
use cairn_stack::run::{Names, RunReport, run};
use cairn_stack::single::{SingleBuild, SingleError, SingleRequest, dockerfile_path, request};
use cairn_stack::unused_args::UnusedArg;

use super::agents::Agents;
use super::args::{BuildArgs, NetworkChoice};
use super::borrowed;
use super::call::{Call, Request};
use super::input::Input;
use super::metadata::{Facts, MetadataWish};
use super::results::{self, Built};
use super::secrets;
use crate::bookkeeping::write_down;
use crate::caches;
use crate::commands::devices;
use crate::commands::lint::Subject;
use crate::commands::load::reference;
use crate::commands::output::truth;
use crate::commands::up::Report;
use crate::environment::Environment;
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
pub fn build(
    args: &BuildArgs,
    wish: &Wish,
    context: &str,
    session: &mut Session,
) -> Result<(), CommandError> {
    let began = SystemTime::now();
    let tags = args.lone.tag.iter().chain(&args.borrowed.manifest);
    let tags = tags.map(|tag| name(tag)).collect::<Result<Vec<_>, _>>()?;
    let names = results::all_names(args, &tags)?;
    let pushes = results::pushes(args, &tags)?;
    let input = Input::new(context, &args.lone.file, session)?;
    let call = match args.lone.check {
        true => Call::CHECK,
        false => args.lone.call.unwrap_or_default(),
    };
    if call.request != Request::Build {
        let single = single(args, wish, context, &input, &[], session)?;
        let file = args.lone.metadata_file.as_deref();
        return call.answer(&single, file, &session.printer);
    }
    let mut means = Means::new(session, &args.options)?;
    let secrets = secrets::values(&args.lone.secret, &session.settings.environment)?;
    means.take_secrets(secrets, &session.printer);
    let place = session.settings.temporary_dir();
    let agents = Agents::new(&args.lone.ssh, &session.settings.environment, &place)?;
    means.settings.ssh.clone_from(&agents.sockets);
    means.settings.memory_max = args.lone.memory;
    let cgroup_parent = &args.lone.cgroup_parent;
    means.settings.cgroup_parent.clone_from(cgroup_parent);
    means.settings.hosts.clone_from(&args.lone.add_host);
    means.settings.ulimits.clone_from(&args.lone.ulimit);
    let network_none = args.lone.network == NetworkChoice::None;
    args.borrowed.settle(&mut means.settings, network_none)?;
    let devices = args.devices.known(devices::allowed(&args.options.allow));
    args.devices.handed(&devices)?;
    means.settings.devices = Arc::new(devices);
    means.settings.volumes.extend(args.devices.files()?);
    let platforms = platforms(args, session)?;
    session.tell_unfamiliar(&platforms);
    let caches = &args.options.caches;
    caches::open(caches, &mut means, &platforms, &session.printer)?;
    if let Some(bytes) = args.lone.shm_size {
        means.settings.shm_bytes = bytes;
    }
    let single = single(args, wish, context, &input, &names, session)?;
    let opener = Opener {
        store: &means.store,
        fetcher: &means.fetcher,
        cancel: &means.cancel,
        platform: &single.platforms[0],
    };
    let request = request(&single, &opener).map_err(|error| {
        if let SingleError::Findings(_) = &error {
            warn_all_the_same(args, &single, session);
        }
        CommandError::from(error)
    })?;
    tell_unused(&session.printer, &request.unused_args);
    let main = main_platform(&request);
    let asked = Asked {
        single: &single,
        request: &request,
        wish,
        began,
    };
    let (report, told) = solve(args, session, &means, asked, main, &names)?;
    let outer: Vec<&Annotation> = args.lone.annotations().filter(|it| !is_plain(it)).collect();
    let records = request.images.iter().map(|image| {
        let record = report.record(&image.name)?.clone();
        let attested = told.attested.get(&image.name).cloned();
        let mut record = ImageRecord { attested, ..record };
        for annotation in &outer {
            record.annotate(annotation);
        }
        Some(record)
    });
    let Some(records) = records.collect::<Option<Vec<ImageRecord>>>() else {
        return Err(CommandError::told(Kind::Work));
    };
    if !(told.attested.is_empty() && outer.is_empty()) {
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        save(&means.store, &names, &records, &Others::Go)?;
    }
    let is_index = request.images.len() > 1 || asks_for_index(&single);
    let built = Built {
        records,
        main,
        is_index,
        attests_as_artifact: !is_asked(&session.settings.environment, NO_ARTIFACTS),
    };
    for record in &built.records {
        record.save(&means.store, &[])?;
    }
    means.make_durable()?;
    results::write_outputs(args, session, &means, &built, &names)?;
    results::push(&pushes, session, &means, &built)?;
    results::write_files(args, &means, &built, &names, &told.facts)?;
    results::tell(args, session, &built.id(), &names)
}

/// Whether an annotation is of the manifest for every platform, which an image has from the start.
fn is_plain(annotation: &Annotation) -> bool {
    annotation.level == Level::Manifest && annotation.platform.is_none()
}

/// Whether a variable of buildx' is true.
fn is_asked(environment: &Environment, variable: &str) -> bool {
    environment.text(variable).and_then(truth).unwrap_or(false)
}

/// Which of several platforms stands for the image where there is room for one: this machine's, else
/// the first.
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

/// What was asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    single: &'a SingleBuild,
    request: &'a SingleRequest,
    wish: &'a Wish,
    began: SystemTime,
}

/// What is told of a build beside its images.
#[derive(Default)]
struct Told {
    /// What is attested of each image, by its name in the run.
    attested: BTreeMap<String, Descriptor>,
    /// What `--metadata-file` says.
    facts: Facts,
}

/// Keeps attestations in the form that registries without artifacts take.
const NO_ARTIFACTS: &str = "BUILDX_NO_DEFAULT_OCI_ARTIFACT";

/// Prepares and runs, showing progress; gives up with what failed.
fn solve(
    args: &BuildArgs,
    session: &mut Session,
    means: &Means,
    asked: Asked<'_>,
    main: usize,
    own_names: &[Reference],
) -> Result<(RunReport, Told), CommandError> {
    let Asked {
        single, request, ..
    } = asked;
    let choice = match args.quiet {
        true => ProgressChoice::Quiet,
        false => args.progress.progress,
    };
    // An image that is to be attested gets its names with its attestations, or not at all.
    let references: Vec<String> = match asked.wish.is_nothing() {
        true => own_names.iter().map(Reference::to_string).collect(),
        false => Vec::new(),
    };
    let main = &request.images[main];
    let images = request.images.iter();
    let names = Names {
        of: images
            .map(|image| (image.name.clone(), references.clone()))
            .collect(),
        others: Others::Go,
    };
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
    let settled = images
        .settle_all(&wanted, false)
        .map_err(CommandError::from)
        .and_then(|settled| refused(&settled));
    if let Err(error) = settled {
        progress.finish();
        return Err(error);
    }
    let prepared = match prepare(&request.images, &images, &engine) {
        Ok(prepared) => prepared,
        Err(findings) => {
            progress.finish();
            warn_all_the_same(args, single, session);
            return Err(means.unprepared(findings));
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
    let wish = MetadataWish::of(&session.settings.environment);
    let wish = Some(wish).filter(|_| args.lone.metadata_file.is_some());
    let told = match &report {
        Ok(report) if report.is_success() => {
            let wish = wish.unwrap_or_default();
            attestations(args, asked, &wish, &prepared, report, &engine, own_names)
        }
        _ => Ok(Told::default()),
    };
    progress.finish();
    let report = report?;
    kept?;
    // `--fail-fast` cancels, too.
    if interrupt::received().is_some() {
        return Err(CommandError::interrupted());
    }
    if session.settings.progress(choice) != ProgressChoice::Quiet {
        warnings::tell(&session.printer, &report.warnings, true);
    }
    match report.is_success() {
        true => Ok((report, told?)),
        false => {
            if args.json.json {
                session.printer.json(&Report::of(&report))?;
            }
            let shown = session.settings.progress(choice);
            Err(failures::tell(&session.printer, &report.failures, shown))
        }
    }
}

/// Gathers what is to be attested, and what is told in the file about the build.
fn attestations(
    args: &BuildArgs,
    asked: Asked<'_>,
    wish: &MetadataWish,
    prepared: &Prepared<'_>,
    report: &RunReport,
    engine: &Engine<'_>,
    names: &[Reference],
) -> Result<Told, CommandError> {
    let mut told = Told::default();
    told.facts.run.clone_from(&engine.settings.run);
    if wish.has_warnings {
        told.facts.warnings.clone_from(&report.warnings);
    }
    if asked.wish.is_nothing() && wish.provenance.is_none() {
        return Ok(told);
    }
    let occasion = Occasion {
        names,
        options: &options(args),
        began: asked.began,
        tool: concat!("cairn-", env!("CARGO_PKG_VERSION")),
    };
    let done = Done {
        asked: &AskedFor::of_single(asked.single, asked.request),
        prepared,
        report,
        engine,
    };
    for image in &prepared.lowered.images {
        let Some(record) = report.record(&image.name) else {
            continue;
        };
        if !asked.wish.is_nothing() {
            let all = attest(asked.wish, done, image, record, occasion)?;
            let mut record = record.clone();
            record.attest(engine.store, &all)?;
            let attested = record.attested.map(|it| (image.name.clone(), it));
            told.attested.extend(attested);
        }
        if let Some(wish) = &wish.provenance {
            let all = attest(wish, done, image, record, occasion)?;
            let provenance = all.list.iter().map(|it| it.predicate(&[]));
            let of_platform = provenance.map(|it| (image.platform.clone(), it));
            told.facts.provenance.extend(of_platform);
        }
    }
    Ok(told)
}

/// Flags that change what steps see, by BuildKit's names.
fn options(args: &BuildArgs) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let hosts = args.lone.add_host.iter();
    let hosts: Vec<String> = hosts.map(|(name, ip)| format!("{name}={ip}")).collect();
    if !hosts.is_empty() {
        options.push(("add-hosts".to_owned(), hosts.join(",")));
    }
    if let Some(bytes) = args.lone.shm_size {
        options.push(("shm-size".to_owned(), bytes.to_string()));
    }
    options
}

/// Tells what the checker says of a Dockerfile that cannot be built, or of what stands before its
/// first mistake: it may be why.
fn warn_all_the_same(args: &BuildArgs, single: &SingleBuild, session: &Session) {
    if args.quiet || session.settings.progress(args.progress.progress) == ProgressChoice::Quiet {
        return;
    }
    let found = dockerfile_path(single)
        .map_err(CommandError::from)
        .and_then(|path| Subject::of_build(single, &path));
    let Ok((Some(subject), _)) = found else {
        return;
    };
    // A violation that is an error is told with that.
    if let Ok(checked) = subject.check(&BTreeMap::new())
        && checked.violations.is_empty()
    {
        let warnings = Warnings {
            source: checked.source,
            findings: checked.findings,
        };
        warnings::tell(&session.printer, &[warnings], true);
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
    wish: &Wish,
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
    let epoch = match args.borrowed.source_date_epoch {
        Some(seconds) => Some(seconds),
        None => session.settings.source_date_epoch()?,
    };
    let mut all: BTreeMap<_, _> = args
        .borrowed
        .args_of_files(environment)?
        .into_iter()
        .collect();
    all.extend(build_args);
    // Docker hands the variable on, too: a Dockerfile may declare it.
    if let Some(seconds) = epoch {
        let name = "SOURCE_DATE_EPOCH".to_owned();
        all.entry(name).or_insert_with(|| seconds.to_string());
    }
    Ok(SingleBuild {
        context: input.context.clone(),
        dockerfile: input.dockerfile.clone(),
        name: names
            .first()
            .map_or_else(|| name_of(context), Reference::familiar),
        target: lone.target.clone(),
        args: all,
        labels: lone.label.iter().cloned().collect(),
        annotations: lone
            .annotations()
            .filter(|it| is_plain(it))
            .map(|it| (it.name.clone(), it.value.clone()))
            .collect(),
        contexts: lone.build_context.clone(),
        platforms: platforms(args, session)?,
        build_platform: host_platform(),
        epoch,
        no_cache: args.options.no_cache,
        no_cache_stages: lone.no_cache_filter.clone(),
        network_none: lone.network == NetworkChoice::None,
        base: args.borrowed.from.clone(),
        ignore_file: args.borrowed.ignorefile.clone(),
        changes: changes(args, environment)?,
        lister: wish.lister(),
    })
}

/// What is changed beside what the Dockerfile says.
fn changes(args: &BuildArgs, environment: &Environment) -> Result<Changes, CommandError> {
    let mut changes = args.borrowed.changes(&args.stack.overlay, environment)?;
    for mount in args.devices.files()? {
        let words = borrowed::in_words(&mount);
        changes.surroundings.push(("device file".to_owned(), words));
    }
    changes.devices = args.devices.names();
    Ok(changes)
}

/// The platforms asked for, as a whole or by their parts.
fn platforms(args: &BuildArgs, session: &Session) -> Result<Vec<Platform>, CommandError> {
    let parts = args.borrowed.platform();
    session.platforms(args.options.platform.as_deref().or(parts.as_deref()))
}

/// Reads a name for the image; Buildah's destinations are outputs here.
fn name(text: &str) -> Result<Reference, CommandError> {
    const DESTINATIONS: [(&str, &str); 5] = [
        ("oci:", "type=oci,tar=false,dest="),
        ("oci-archive:", "type=oci,dest="),
        ("docker-archive:", "type=docker,dest="),
        ("dir:", "type=oci,tar=false,dest="),
        ("docker://", "type=registry,name="),
    ];
    reference(text).map_err(|error| {
        let mut known = DESTINATIONS.iter();
        match known.find_map(|(prefix, output)| Some((output, text.strip_prefix(prefix)?))) {
            Some((output, to)) => error.hint(format!("write it by `--output {output}{to}`")),
            None => error,
        }
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
