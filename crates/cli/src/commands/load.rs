//! `cairn load`: images from files into the store.

use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use cairn_build::image::load::{LoadOptions, Loaded, Source, load};
use cairn_oci::{Reference, redact};
use cairn_store::{Store, write_advice};
use clap::Args;

use crate::error::{CommandError, Kind};
use crate::session::Session;

/// Load images from a file or directory
///
/// Prints the names of the images, one per line.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Sources:
  oci:DIR[:TAG]         an OCI image layout (also oci-archive:FILE)
  docker-archive:FILE   what `docker save` writes
  tar:FILE              a root file system
  PATH                  any of these, recognised
  -                     the same on standard input
Archives may be compressed with gzip, zstd, xz or bzip2.")]
pub struct LoadArgs {
    /// Name the image [default: its names in the source] (can be repeated)
    #[arg(long, short, value_name = "NAME")]
    tag: Vec<String>,
    /// Take the image for this platform [default: this machine's, or the only one]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Read from a file; the same as SOURCE
    #[arg(long, short, value_name = "FILE", conflicts_with = "source")]
    input: Option<PathBuf>,
    /// Where the image is [default: standard input]
    #[arg(value_name = "SOURCE")]
    source: Option<String>,
}

pub fn run(args: &LoadArgs, session: &Session) -> Result<(), CommandError> {
    let tags = args
        .tag
        .iter()
        .map(|tag| reference(tag))
        .collect::<Result<Vec<_>, _>>()?;
    let options = LoadOptions {
        platform: session.platform(args.platform.as_deref())?,
        platform_required: args.platform.is_some(),
    };
    let store = session.open_store()?;
    let loaded = match (&args.input, args.source.as_deref()) {
        (Some(path), _) => load(&store, &Source::Unknown(path.clone()), &options)?,
        (None, Some("-") | None) => load_stdin(session, &store, &options)?,
        (None, Some(source)) => load(&store, &Source::parse(source), &options)?,
    };
    let names = names(&loaded, &tags)?;
    let mut published = Vec::new();
    for (image, names) in loaded.iter().zip(&names) {
        let descriptor = image.record.save(&store, &[])?;
        published.extend(
            names
                .iter()
                .map(|name| (name.to_string(), descriptor.clone())),
        );
    }
    store.publish(&published)?;
    for (name, _) in &published {
        session.printer.data(&format!("{name}\n"))?;
    }
    Ok(())
}

/// Archives are read at random, so a stream becomes a file first; it is gone afterwards.
fn load_stdin(
    session: &Session,
    store: &Store,
    options: &LoadOptions,
) -> Result<Vec<Loaded>, CommandError> {
    if session.settings.terminals.stdin {
        return Err(CommandError::usage("an image cannot be typed in")
            .hint("pipe an archive in, or name a file"));
    }
    let mut kept = tempfile::tempfile_in(store.home()).map_err(not_kept)?;
    io::copy(&mut io::stdin().lock(), &mut kept).map_err(not_kept)?;
    // The file has no name, so that nothing of it can be left behind.
    let path = format!("/proc/self/fd/{}", kept.as_raw_fd());
    Ok(load(store, &Source::Kept(path.into()), options)?)
}

fn not_kept(error: io::Error) -> CommandError {
    let told = CommandError::from_error(Kind::Environment, &error)
        .while_doing("cannot keep standard input in the store");
    match write_advice(&error) {
        Some(advice) => told.hint(advice),
        None => told,
    }
}

/// Decides what each image is called.
fn names(loaded: &[Loaded], tags: &[Reference]) -> Result<Vec<Vec<Reference>>, CommandError> {
    if let ([_], [_, ..]) = (loaded, tags) {
        return Ok(vec![tags.to_vec()]);
    }
    if !tags.is_empty() {
        let count = loaded.len();
        let all: Vec<&str> = loaded
            .iter()
            .flat_map(|image| image.names.iter().map(String::as_str))
            .collect();
        return Err(CommandError::usage(format!(
            "`--tag` names one image, and the source holds {count}"
        ))
        .hint(format!(
            "leave `--tag` out to keep their names: {}",
            all.join(", ")
        )));
    }
    loaded
        .iter()
        .map(|image| {
            let names: Result<Vec<_>, _> = image.names.iter().map(|name| reference(name)).collect();
            match names {
                Ok(names) if names.is_empty() => {
                    Err(CommandError::usage("the image has no name in its source")
                        .hint("name it with `--tag NAME`"))
                }
                names => names,
            }
        })
        .collect()
}

/// Reads an image's name.
pub fn reference(text: &str) -> Result<Reference, CommandError> {
    text.parse::<Reference>().map_err(|error| {
        CommandError::from_error(Kind::Usage, &error)
            .while_doing(format!("`{}` is not an image's name", redact(text)))
    })
}
