//! What a build of a lone Dockerfile leaves: names, exports, pushes, files about it.

use std::path::Path;
use std::time::Instant;

use cairn_build::image::ImageRecord;
use cairn_build::image::pack::Image;
use cairn_build::image::push::Shipment;
use cairn_oci::{Digest, Reference};
use cairn_registry::Watch;
use serde_json::json;

use super::args::BuildArgs;
use super::metadata::{self, Facts};
use super::outputs::BuildOutput;
use crate::commands::export::{export, protect, tell_exported};
use crate::commands::load::reference;
use crate::commands::output::{Destination, Output};
use crate::commands::packing::Packing;
use crate::commands::push::{in_words, tagged};
use crate::error::{CommandError, Kind};
use crate::means::Means;
use crate::session::Session;

/// The images of a build, one for each platform.
pub struct Built {
    /// In the order of the platforms.
    pub records: Vec<ImageRecord>,
    /// The one that stands for all where there is room for one.
    pub main: usize,
    /// Whether they leave the store under an index.
    pub is_index: bool,
    /// Whether attestations are artifacts where an output does not say.
    pub attests_as_artifact: bool,
}

impl Built {
    fn image(&self) -> Image<'_> {
        match self.is_index {
            true => Image::Index(&self.records),
            false => Image::One(&self.records[self.main]),
        }
    }

    /// The same as an output asks for it.
    fn packed(&self, packing: &Packing) -> Self {
        let of = |record: &ImageRecord| packing.of(record, self.attests_as_artifact);
        Self {
            records: self.records.iter().map(of).collect(),
            ..*self
        }
    }

    /// The id of the image that stands for all.
    pub fn id(&self) -> Digest {
        self.records[self.main].id()
    }
}

/// The names that an image gets in the store: those of `--tag` and of image outputs.
pub fn all_names(args: &BuildArgs, tags: &[Reference]) -> Result<Vec<Reference>, CommandError> {
    let mut names = tags.to_vec();
    for output in &args.lone.output {
        let BuildOutput::Image(image) = output else {
            continue;
        };
        if image.by_digest {
            continue;
        }
        for name in &image.names {
            let name = reference(name)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Something that is sent to a registry when all is built.
pub struct Push {
    /// Without a tag, it is sent under its digest alone.
    name: Reference,
    packing: Packing,
}

/// What is sent to registries when all is built.
pub fn pushes(args: &BuildArgs, tags: &[Reference]) -> Result<Vec<Push>, CommandError> {
    let mut pushes = Vec::new();
    let mut add = |names: &[Reference], packing: &Packing| {
        if names.is_empty() {
            return Err(
                CommandError::usage("nothing says where to push the image to")
                    .hint("name it with its registry: `--tag ghcr.io/lab/app:1`"),
            );
        }
        for name in names {
            let packing = packing.clone();
            let name = tagged(name)?;
            pushes.push(Push { name, packing });
        }
        Ok(())
    };
    if args.lone.push {
        add(tags, &Packing::default())?;
    }
    for output in &args.lone.output {
        let BuildOutput::Image(image) = output else {
            continue;
        };
        if !image.push {
            continue;
        }
        let names = match image.names.as_slice() {
            [] => &args.lone.tag,
            names => names,
        };
        let names: Vec<Reference> = match (image.by_digest, image.names.is_empty()) {
            (true, _) => names
                .iter()
                .map(|name| untagged(name))
                .collect::<Result<_, _>>()?,
            (false, true) => tags.to_vec(),
            (false, false) => names
                .iter()
                .map(|name| reference(name))
                .collect::<Result<_, _>>()?,
        };
        add(&names, &image.packing)?;
    }
    Ok(pushes)
}

/// A repository; what is pushed by its digest has no tag.
fn untagged(name: &str) -> Result<Reference, CommandError> {
    let named = reference(name)?;
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) {
        let error = CommandError::usage(format!("can't push tagged ref {named} by digest"));
        return Err(error.hint(format!("name the repository alone: `{}`", named.name())));
    }
    Ok(named.without_tag())
}

/// Writes the outputs that are files.
pub fn write_outputs(
    args: &BuildArgs,
    session: &Session,
    means: &Means,
    built: &Built,
    names: &[Reference],
) -> Result<(), CommandError> {
    for output in files(args) {
        protect(output, &session.settings, &args.targets)?;
        let built = built.packed(&output.packing);
        let exported = export(&means.store, built.image(), names, output, &means.cancel)?;
        tell_exported(&session.printer, output, &exported);
    }
    Ok(())
}

/// Sends the image to registries.
pub fn push(
    pushes: &[Push],
    session: &Session,
    means: &Means,
    built: &Built,
) -> Result<(), CommandError> {
    let watch = Watch {
        is_stopped: &|| means.cancel.is_cancelled(),
        moved: &|_| {},
    };
    for push in pushes {
        let printer = &session.printer;
        let built = built.packed(&push.packing);
        let compression = push.packing.compression;
        let shipment = Shipment::pack(&means.store, built.image(), compression)?;
        printer.note(&format!("pushing to {}", push.name.familiar()));
        let began = Instant::now();
        let pushed = shipment.send(&means.store, &means.registry, &push.name, watch)?;
        printer.note(&in_words(&pushed, began));
    }
    Ok(())
}

/// Writes `--iidfile` and `--metadata-file`.
pub fn write_files(
    args: &BuildArgs,
    means: &Means,
    built: &Built,
    names: &[Reference],
    facts: &Facts,
) -> Result<(), CommandError> {
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|error| {
            CommandError::from_error(Kind::Environment, &error)
                .while_doing(format!("cannot write {}", path.display()))
        })
    };
    let id = built.id();
    if let Some(path) = &args.lone.iidfile {
        write(path, id.as_str())?;
    }
    if let Some(path) = &args.borrowed.iidfile_raw {
        write(path, id.hex())?;
    }
    if let Some(path) = &args.lone.metadata_file {
        let packing = first_packing(args);
        let built = built.packed(&packing);
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        let image = built.image();
        let compression = packing.compression;
        let about = metadata::document(&means.store, image, compression, &id, &names, facts)?;
        metadata::write(path, &about)?;
    }
    Ok(())
}

/// Standard output gets the id, unless an archive went there.
pub fn tell(
    args: &BuildArgs,
    session: &Session,
    id: &Digest,
    names: &[Reference],
) -> Result<(), CommandError> {
    if names.is_empty() && args.lone.output.is_empty() && !args.quiet {
        session
            .printer
            .note("the image has no name; `--tag NAME` gives it one");
    }
    if files(args).any(|output| output.destination == Destination::Stdout) {
        return Ok(());
    }
    if args.json.json {
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        return Ok(session.printer.json(&json!({ "id": id, "names": names }))?);
    }
    Ok(session.printer.data(&format!("{id}\n"))?)
}

/// How the first output packs the image: the digests that are told are of those bytes.
fn first_packing(args: &BuildArgs) -> Packing {
    let mut outputs = args.lone.output.iter();
    let first = outputs.find_map(|output| match output {
        BuildOutput::Files(output) => Some(&output.packing),
        BuildOutput::Image(image) => Some(&image.packing),
        BuildOutput::Nothing => None,
    });
    first.cloned().unwrap_or_default()
}

fn files(args: &BuildArgs) -> impl Iterator<Item = &Output> {
    args.lone.output.iter().filter_map(BuildOutput::files)
}
