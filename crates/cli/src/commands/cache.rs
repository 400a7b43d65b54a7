//! `cairn cache`: the cache mounts of the store, listed and carried between machines.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use cairn_build::cache_archive::{CacheArchiveError, restore, save};
use cairn_oci::rfc3339;
use cairn_sandbox::{Cancel, interrupt};
use cairn_store::{CacheMountUse, Store};
use clap::{Args, Subcommand};
use tempfile::NamedTempFile;

use super::options::JsonOption;
use crate::error::{CommandError, Kind};
use crate::quantity::bytes;
use crate::session::Session;
use crate::style::Tone;
use crate::table::{Align, Cell, Table};

/// How the archive of one cache is called in a directory.
const ENDING: &str = ".cache.tar.zst";

/// List cache mounts, save them to a file, restore them
///
/// What `RUN --mount=type=cache` keeps between builds. A CI job restores it from its own cache
/// before the build and saves it afterwards.
#[derive(Debug, Clone, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum CacheCommand {
    /// List the cache mounts of the store
    Ls(ListArgs),
    /// Write cache mounts to one archive, or one to a cache in a directory
    Save(SaveArgs),
    /// Put saved cache mounts into the store, in the place of those it has
    Restore(RestoreArgs),
}

#[derive(Debug, Clone, Args)]
struct ListArgs {
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Debug, Clone, Args)]
struct SaveArgs {
    /// The archive to write, or an existing directory for archives
    #[arg(value_name = "FILE|DIR")]
    to: PathBuf,
    /// Only the cache of this id (can be repeated) [default: all]
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
}

#[derive(Debug, Clone, Args)]
struct RestoreArgs {
    /// An archive, or a directory of archives
    #[arg(value_name = "FILE|DIR")]
    from: PathBuf,
    /// Only the cache of this id (can be repeated) [default: all]
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
}

pub fn run(args: &CacheArgs, session: &Session) -> Result<(), CommandError> {
    match &args.command {
        CacheCommand::Ls(args) => list(args, session),
        CacheCommand::Save(args) => save_caches(args, session),
        CacheCommand::Restore(args) => restore_caches(args, session),
    }
}

fn list(args: &ListArgs, session: &Session) -> Result<(), CommandError> {
    let caches = match session.store_if_there()? {
        Some(store) => store.cache_mounts()?,
        None => {
            session.tell_no_store()?;
            Vec::new()
        }
    };
    if args.json.json {
        return Ok(session.printer.json(&caches)?);
    }
    let mut table = Table::new(&[
        ("ID", Align::Left),
        ("SIZE", Align::Right),
        ("LAST USED", Align::Left),
    ]);
    for cache in &caches {
        let last_use = i64::try_from(cache.last_use).unwrap_or(i64::MAX);
        table.row([
            Cell::new(Tone::Strong, &cache.start.name),
            bytes(cache.bytes).into(),
            rfc3339(last_use).into(),
        ]);
    }
    Ok(session.printer.lines(&table.lines())?)
}

fn save_caches(args: &SaveArgs, session: &Session) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    let mut caches = store.cache_mounts()?;
    for id in &args.id {
        if !caches.iter().any(|cache| cache.start.name == *id) {
            return Err(unknown(id, &caches));
        }
    }
    caches.retain(|cache| args.id.is_empty() || args.id.contains(&cache.start.name));
    let saved = if args.to.is_dir() {
        let mut saved = Vec::new();
        for cache in &caches {
            let path = args.to.join(format!("{}{ENDING}", cache.key));
            saved.extend(write(&store, std::slice::from_ref(cache), &path)?);
        }
        saved
    } else {
        write(&store, &caches, &args.to)?
    };
    tell(session, &saved)
}

/// Writes an archive beside its place and puts it there when it is whole.
fn write(
    store: &Store,
    caches: &[CacheMountUse],
    path: &Path,
) -> Result<Vec<String>, CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::from_error(Kind::Environment, &error)
            .while_doing(format!("cannot write {}", path.display()))
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(directory).map_err(failed)?;
    let saved = save(store, caches, &mut file)?;
    file.flush().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(saved)
}

fn restore_caches(args: &RestoreArgs, session: &Session) -> Result<(), CommandError> {
    let failed = |path: &Path, error: &std::io::Error| {
        CommandError::from_error(Kind::Usage, error)
            .while_doing(format!("cannot read {}", path.display()))
    };
    let archives = match args.from.is_dir() {
        true => archives(&args.from).map_err(|error| failed(&args.from, &error))?,
        false => vec![args.from.clone()],
    };
    let mut files = Vec::new();
    for path in &archives {
        files.push(File::open(path).map_err(|error| failed(path, &error))?);
    }
    let store = session.open_store()?;
    let cancel = Cancel::new();
    interrupt::cancel_on_signals(&cancel)?;
    let wanted = |name: &str| args.id.is_empty() || args.id.iter().any(|id| id == name);
    let mut restored = Vec::new();
    for file in files {
        restored.extend(restore(&store, file, &wanted, &cancel)?);
    }
    if let Some(missing) = args.id.iter().find(|id| !restored.contains(id)) {
        return Err(CommandError::usage(format!(
            "{} holds no cache `{missing}`",
            args.from.display()
        )));
    }
    tell(session, &restored)
}

/// The archives that `save` has put into a directory.
fn archives(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ENDING) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Prints the ids, one per line.
fn tell(session: &Session, names: &[String]) -> Result<(), CommandError> {
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    Ok(session.printer.data(&text)?)
}

fn unknown(id: &str, caches: &[CacheMountUse]) -> CommandError {
    let error = CommandError::usage(format!("the store has no cache mount `{id}`"));
    let names: Vec<&str> = caches
        .iter()
        .map(|cache| cache.start.name.as_str())
        .collect();
    match names.as_slice() {
        [] => error,
        names => error.hint(format!("it has {}", names.join(", "))),
    }
}

impl From<CacheArchiveError> for CommandError {
    fn from(error: CacheArchiveError) -> Self {
        let kind = match &error {
            CacheArchiveError::Stranger(_) | CacheArchiveError::Unpack(_) => Kind::Usage,
            _ => Kind::Environment,
        };
        Self::from_error(kind, &error)
    }
}
