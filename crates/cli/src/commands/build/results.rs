//! What a build of a lone Dockerfile leaves: names, exports, pushes, files about it.

use std::path::Path;
use std::time::Instant;

use cairn_build::image::ImageRecord;
use cairn_build::image::dating::Dating;
use cairn_build::image::pack::{Image, pack_image};
use cairn_build::image::push::Shipment;
use cairn_oci::{Compression, Digest, Reference};
use cairn_registry::Watch;
use cairn_stack::request::DEFAULT_EPOCH;
use serde_json::json;

use super::args::BuildArgs;
use super::outputs::BuildOutput;
use crate::commands::export::{export, tell_exported};
use crate::commands::load::reference;
use crate::commands::output::{Destination, Output};
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
}

impl Built {
    fn image(&self) -> Image<'_> {
        match self.is_index {
            true => Image::Index(&self.records),
            false => Image::One(&self.records[self.main]),
        }
    }

    /// The same with the times that an output asks for.
    fn dated(&self, dating: Dating) -> Self {
        let of = |record: &ImageRecord| dating.of(record, record.epoch != DEFAULT_EPOCH);
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
    name: Reference,
    compression: Compression,
    dating: Dating,
}

/// What is sent to registries when all is built.
pub fn pushes(args: &BuildArgs, tags: &[Reference]) -> Result<Vec<Push>, CommandError> {
    let mut pushes = Vec::new();
    let mut add = |names: &[Reference], compression, dating| {
        if names.is_empty() {
            return Err(
                CommandError::usage("nothing says where to push the image to")
                    .hint("name it with its registry: `--tag ghcr.io/lab/app:1`"),
            );
        }
        for name in names {
            pushes.push(Push {
                name: tagged(name)?,
                compression,
                dating,
            });
        }
        Ok(())
    };
    if args.lone.push {
        add(tags, Compression::Gzip, Dating::default())?;
    }
    for output in &args.lone.output {
        let BuildOutput::Image(image) = output else {
            continue;
        };
        if !image.push {
            continue;
        }
        match image.names.as_slice() {
            [] => add(tags, image.compression, image.dating)?,
            names => {
                let names: Result<Vec<_>, _> = names.iter().map(|name| reference(name)).collect();
                add(&names?, image.compression, image.dating)?;
            }
        }
    }
    Ok(pushes)
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
        let built = built.dated(output.dating);
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
        let built = built.dated(push.dating);
        let shipment = Shipment::pack(&means.store, built.image(), push.compression)?;
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
        // What docker writes there are digests of packed bytes.
        let output = files(args).next();
        let compression = output.map(|output| output.compression).unwrap_or_default();
        let built = built.dated(output.map(|output| output.dating).unwrap_or_default());
        let packed = pack_image(&means.store, built.image(), compression)?;
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        let mut metadata = json!({
            "containerimage.digest": packed.root.digest,
            "containerimage.descriptor": packed.root,
            "image.name": names.join(","),
            "cairn.image.id": id,
        });
        if let [image] = packed.images.as_slice() {
            metadata["containerimage.config.digest"] = json!(image.config.digest);
        }
        write(path, &format!("{metadata:#}\n"))?;
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

fn files(args: &BuildArgs) -> impl Iterator<Item = &Output> {
    args.lone.output.iter().filter_map(BuildOutput::files)
}
