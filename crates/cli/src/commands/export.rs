//! `cairn export`: images out of the store.

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use cairn_build::image::ImageRecord;
use cairn_build::image::export::{Export, ExportError, Exported, Form};
use cairn_build::image::pack::{Image, pack_image};
use cairn_oci::{Compression, Reference};
use cairn_sandbox::{Cancel, interrupt};
use cairn_stack::request::DEFAULT_EPOCH;
use cairn_store::Store;
use clap::{Args, ValueEnum};

use super::images::{open_image, open_images};
use super::load::reference;
use super::options::PlatformOption;
use super::output::{Destination, Output};
use super::packing::Packing;
use crate::error::{CommandError, Kind, OutputError};
use crate::printer::Printer;
use crate::session::Session;
use crate::settings::Settings;

/// Write an image to a file or directory
///
/// Prints the digest of the manifest for the forms that have one.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn export app app.tar                   an OCI archive
  cairn export app layout/                   an OCI layout
  cairn export app --format docker - | docker load
  cairn export app --output type=tar,dest=rootfs.tar")]
pub struct ExportArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The file or directory, or `-` for standard output
    #[arg(value_name = "DEST", required_unless_present = "output")]
    destination: Option<String>,
    /// What the image becomes
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Compress layers so: gzip, zstd or none
    #[arg(long, value_name = "FORM", default_value_t)]
    compression: Compression,
    /// Give the image this name in the archive [default: IMAGE] (can be repeated)
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// The same in the language of `cairn build` (can be repeated)
    #[arg(long, short, value_name = "OUTPUT", value_parser = Output::parse, conflicts_with = "destination")]
    output: Vec<Output>,
    #[command(flatten)]
    platform: PlatformOption,
}

/// What an image becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// An OCI image layout: a tar if DEST ends in `.tar` or is `-`, else a directory
    #[default]
    Oci,
    /// An archive for `docker load`
    Docker,
    /// The root file system as a tar
    Tar,
    /// The root file system as files, put among those that DEST has, as with docker
    Local,
}

impl ExportArgs {
    fn outputs(&self) -> Vec<Output> {
        let Some(text) = &self.destination else {
            return self.output.clone();
        };
        let destination = Destination::parse(text);
        let is_tar = destination == Destination::Stdout
            || Path::new(text).extension().is_some_and(|end| end == "tar");
        let form = match self.format {
            Format::Oci if is_tar => Form::OciArchive,
            Format::Oci => Form::OciDirectory,
            Format::Docker => Form::DockerArchive,
            Format::Tar => Form::Tar,
            Format::Local => Form::Directory,
        };
        vec![Output {
            packing: Packing::compressed(self.compression),
            ..Output::to(form, destination)
        }]
    }
}

pub fn run(args: &ExportArgs, session: &Session) -> Result<(), CommandError> {
    let outputs = args.outputs();
    let names = match args.name.as_slice() {
        [] => reference(&args.image).map(|name| vec![name])?,
        names => names
            .iter()
            .map(|name| reference(name))
            .collect::<Result<_, _>>()?,
    };
    let to_terminal = session.settings.terminals.stdout
        && outputs
            .iter()
            .any(|output| output.destination == Destination::Stdout);
    if to_terminal {
        return Err(CommandError::usage("an archive is not for a terminal")
            .hint("name a file, or send standard output to one"));
    }
    let platform = args.platform.named(session)?;
    let store = session.open_existing_store()?;
    let records = open_images(&store, &args.image, platform.as_ref())?;
    let alone = open_image(&store, &args.image, platform.as_ref())?;
    let cancel = Cancel::new();
    for output in &outputs {
        for record in &records {
            output.packing.fits(record)?;
        }
        let packed = |record: &ImageRecord| output.packing.of(record, true);
        let records: Vec<ImageRecord> = records.iter().map(packed).collect();
        let alone = packed(&alone);
        let image = match output.form {
            Form::OciDirectory | Form::OciArchive => Image::of(&records),
            // These have no place for several.
            Form::DockerArchive | Form::Tar | Form::Directory => Image::One(&alone),
        };
        if image.records().len() < records.len() {
            session.printer.note(&format!(
                "this is the image for {}; `--platform` takes another",
                alone.platform
            ));
        }
        protect(output, &session.settings, &[])?;
        if matches!(
            output.form,
            Form::OciDirectory | Form::OciArchive | Form::DockerArchive
        ) {
            // What is packed stays in the store, so this may be cut off anywhere.
            pack_image(&store, image, output.packing.compression)?;
        }
        interrupt::cancel_on_signals(&cancel)?;
        let exported = export(&store, image, &names, output, &cancel)?;
        tell_exported(&session.printer, output, &exported);
        if output.destination == Destination::Stdout {
            continue;
        }
        if let Some(packed) = &exported.packed {
            let digest = &packed.root.digest;
            session.printer.data(&format!("{digest}\n"))?;
        }
    }
    Ok(())
}

/// Refuses to clear a directory that holds what nobody means to lose: the one that this program
/// was called in, the store, or the source of a build.
pub fn protect(
    output: &Output,
    settings: &Settings,
    sources: &[String],
) -> Result<(), CommandError> {
    let Destination::Path(place) = &output.destination else {
        return Ok(());
    };
    let Some(place) = place.canonicalize().ok().filter(|_| output.deletes) else {
        return Ok(());
    };
    let kept = [Path::new(".")].into_iter();
    let kept = kept
        .chain(settings.home())
        .chain(sources.iter().map(Path::new));
    for path in kept {
        if path
            .canonicalize()
            .is_ok_and(|path| path.starts_with(&place))
        {
            let (place, path) = (place.display(), path.display());
            return Err(CommandError::usage(format!(
                "`mode=delete` would clear {place}, and `{path}` with it"
            ))
            .hint("name a directory for the image alone"));
        }
    }
    Ok(())
}

/// Writes an image where an output says, under its own names or those of the output.
pub fn export(
    store: &Store,
    image: Image<'_>,
    names: &[Reference],
    output: &Output,
    cancel: &Cancel,
) -> Result<Exported, CommandError> {
    let given: Vec<Reference> = output
        .names
        .iter()
        .map(|name| reference(name))
        .collect::<Result<_, _>>()?;
    let export = Export {
        image,
        names: match given.as_slice() {
            [] => names,
            given => given,
        },
        form: output.form,
        compression: output.packing.compression,
        split: output.split,
        deletes: output.deletes,
        attestation_prefix: &output.attestation_prefix,
        // Where nobody asked for an epoch, files are what they came as, as with docker.
        keeps_times: image
            .records()
            .iter()
            .all(|record| record.epoch == DEFAULT_EPOCH),
        cancel,
    };
    let exported = match &output.destination {
        Destination::Path(path) => export.to_path(store, path).map_err(CommandError::from),
        Destination::Stdout => to_stdout(&export, store),
    };
    match exported {
        // Whatever it says then is because of that.
        Err(_) if cancel.is_cancelled() => Err(CommandError::interrupted()),
        exported => exported,
    }
}

fn to_stdout(export: &Export<'_>, store: &Store) -> Result<Exported, CommandError> {
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout());
    let exported = match export.to_stream(store, &mut out) {
        Ok(exported) => out.flush().map(|()| exported).map_err(ExportError::Stream),
        failed => failed,
    };
    exported.map_err(|error| match error {
        error if is_cut(&error) => CommandError::new(
            Kind::Environment,
            "whoever reads the archive stopped before its end",
        ),
        ExportError::Stream(error) => OutputError(error).into(),
        error => error.into(),
    })
}

/// Whether an archive's reader went away. It needs all of it: unlike text, an archive that was cut
/// is a failure, which a script (`cairn export app - | ssh host docker load`) must notice.
fn is_cut(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let system: Option<&io::Error> = error.downcast_ref();
        if system.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Tells what is not as one may expect it: whose files are there, and what could not be made.
pub fn tell_exported(printer: &Printer, output: &Output, exported: &Exported) {
    const TOLD_MAX: usize = 5;
    if let (true, Destination::Path(path)) = (exported.is_merged, &output.destination) {
        printer.note(&format!(
            "{} was not empty: what was there stays, but for what the image has under the same name",
            path.display()
        ));
    }
    let skipped = &exported.skipped;
    if skipped.is_empty() {
        return;
    }
    let told: Vec<String> = skipped
        .iter()
        .take(TOLD_MAX)
        .map(|path| path.display().to_string())
        .collect();
    let more = match skipped.len().saturating_sub(TOLD_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    printer.warning(&format!(
        "special files that this user may not make were left out: {}{more}; a tar \
         keeps them (`--format tar`)",
        told.join(", ")
    ));
}
