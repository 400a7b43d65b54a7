//! `cairn init`: a new stack, or a new image in one.

use std::io::Write;
use std::path::{Path, PathBuf};

use cairn_diagnostic::{Diagnostic, Source};
use cairn_spec::scaffold::{self, NewFile};
use cairn_spec::{Image, Stack, Surroundings};
use clap::{Args, Subcommand};

use super::options::StackOption;
use crate::error::{CommandError, Kind};
use crate::session::{Session, host_platform};

/// The base that is nothing.
const SCRATCH: &str = "scratch";

/// Write a new stack that builds, or a new image in a stack
///
/// Nothing that is there is overwritten.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InitArgs {
    /// The directory of the stack; made if it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The stack's name [default: the directory's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Build on this image rather than on a base made of Debian packages
    #[arg(long, value_name = "IMAGE")]
    from: Option<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    Image(ImageArgs),
}

/// Add an image to the stack
#[derive(Debug, Clone, Args)]
struct ImageArgs {
    /// The image's name
    name: String,
    /// What it builds on: an image of the stack, or any other
    #[arg(long, value_name = "IMAGE")]
    parent: String,
    #[command(flatten)]
    stack: StackOption,
}

pub fn run(args: &InitArgs, session: &Session) -> Result<(), CommandError> {
    match &args.what {
        None => stack(args, session),
        Some(What::Image(args)) => image(args, session),
    }
}

fn stack(args: &InitArgs, session: &Session) -> Result<(), CommandError> {
    let directory = &args.directory;
    let spec = directory.join(cairn_spec::FILE_NAME);
    if spec.exists() {
        return Err(
            CommandError::usage(format!("{} is there already", spec.display()))
                .hint("`cairn init image NAME --parent IMAGE` adds an image to it"),
        );
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => folder_name(directory).unwrap_or_else(|| "lab".to_owned()),
    };
    let files = scaffold::stack(&name, args.from.as_deref());
    let source = Source::new(spec.display().to_string(), files[0].text.as_str());
    cairn_spec::read(&source, &Surroundings::none())
        .map_err(|findings| CommandError::from_findings(Kind::Usage, findings))?;
    write_new(directory, &files, session)?;
    session.printer.note("`cairn up` builds and tests it");
    Ok(())
}

fn folder_name(directory: &Path) -> Option<String> {
    let path = std::path::absolute(directory).ok()?;
    scaffold::name_from(path.file_name()?.to_str()?)
}

fn image(args: &ImageArgs, session: &Session) -> Result<(), CommandError> {
    let loaded = args.stack.load(session, &host_platform())?;
    let is_it = |it: &&Image| it.name.image == args.name;
    if let Some(there) = loaded.stack.images.iter().find(is_it) {
        return Err(
            CommandError::usage(format!("`{}` is there already", args.name)).hint(format!(
                "the stack has `{}`; choose another name",
                there.name
            )),
        );
    }
    let parents = loaded.stack.select(&args.parent);
    if let [_, _, ..] = parents.as_slice() {
        let names: Vec<String> = parents
            .iter()
            .map(|&id| format!("`{}`", loaded.stack[id].name))
            .collect();
        return Err(
            CommandError::usage(format!("`{}` has several variants", args.parent))
                .hint(format!("say which one is meant: {}", names.join(", "))),
        );
    }
    if parents.is_empty()
        && !args.parent.contains(['/', ':', '.'])
        && let Some(near) = loaded.stack.nearest(&args.parent)
    {
        return Err(
            CommandError::usage(format!("the stack has no image `{}`", args.parent)).hint(format!(
                "did you mean `{near}`? An image elsewhere is written with its tag"
            )),
        );
    }
    let directory = &args.stack.stack;
    let surroundings = Surroundings {
        read: &|path| {
            let path = directory.join(path);
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            Ok(Source::new(path.display().to_string(), text))
        },
        overlay: args.stack.overlay.last().map(String::as_str),
        variables: &args.stack.variables.iter().cloned().collect(),
        environment: &session.settings.environment.texts(),
    };
    let spec = loaded.stack.sources.root();
    let files = scaffold::image(spec, &loaded.stack, &args.name, &args.parent, &surroundings)
        .map_err(|findings| cannot_be(&args.name, &findings))?;
    if parents.is_empty() {
        tell_parent(&args.parent, &loaded.stack, session);
    }
    write_new(directory, &files[1..], session)?;
    // Last: a spec that names files that could not be written would be worse than none.
    let path = directory.join(&files[0].path);
    let fresh = directory.join(format!(".{}.{}", files[0].path, std::process::id()));
    std::fs::write(&fresh, &files[0].text)
        .and_then(|()| std::fs::rename(&fresh, &path))
        .map_err(|error| cannot_write(&path, &error))?;
    session.printer.data(&format!("{}\n", path.display()))?;
    session
        .printer
        .note(&format!("`cairn up {}` builds and tests it", args.name));
    Ok(())
}

/// Why an image cannot be added. A finding points into a text that nobody has, so its words alone
/// are told.
fn cannot_be(name: &str, findings: &[Diagnostic]) -> CommandError {
    let Some(first) = findings.first() else {
        return CommandError::usage(format!("`{name}` cannot be added"));
    };
    let error = CommandError::usage(first.message.clone());
    match first.hints.first() {
        Some(hint) => error.hint(hint.clone()),
        None => error,
    }
}

/// Says where a parent comes from that is no image of the stack.
fn tell_parent(parent: &str, stack: &Stack, session: &Session) {
    if parent == SCRATCH {
        return;
    }
    if parent.contains(['/', ':', '@']) {
        let text = format!("`{parent}` is no image of the stack: a build pulls it");
        return session.printer.note(&text);
    }
    let names: Vec<String> = stack
        .images
        .iter()
        .map(|it| format!("`{}`", it.name))
        .collect();
    session.printer.warning(&format!(
        "the stack has no image `{parent}`, so a build pulls `{parent}:latest` from Docker Hub; its images are {}",
        names.join(", ")
    ));
}

/// Writes files that are not there yet; standard output gets their names.
fn write_new(directory: &Path, files: &[NewFile], session: &Session) -> Result<(), CommandError> {
    for file in files {
        let path = directory.join(&file.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| cannot_write(parent, &error))?;
        }
        let created = std::fs::File::create_new(&path);
        match created.and_then(|mut file_| file_.write_all(file.text.as_bytes())) {
            Ok(()) => session.printer.data(&format!("{}\n", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let text = format!("{} is there already and stays as it is", path.display());
                session.printer.note(&text);
            }
            Err(error) => return Err(cannot_write(&path, &error)),
        }
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::from_error(Kind::Environment, error)
        .while_doing(format!("cannot write {}", path.display()))
}
