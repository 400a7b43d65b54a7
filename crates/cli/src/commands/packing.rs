//! How an output wants an image packed: the fields of `--output` that all images of registries and
//! archives share.

use cairn_build::image::ImageRecord;
use cairn_build::image::annotated::{Annotation, Level};
use cairn_build::image::dating::{Dating, Epoch};
use cairn_build::image::dialect::Dialect;
use cairn_oci::Compression;
use cairn_stack::request::DEFAULT_EPOCH;

use super::annotations;
use super::output::boolean;
use crate::error::CommandError;

/// How an image is packed for one output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packing {
    /// How its layers are compressed.
    pub compression: Compression,
    /// Which times it gets.
    pub dating: Dating,
    /// What is said of it.
    pub annotations: Vec<Annotation>,
    /// Whether its media types are Docker's.
    pub has_docker_types: bool,
    /// Whether its attestations are artifacts, which they are unless somebody says otherwise.
    pub attests_as_artifact: Option<bool>,
}

/// The fields, for messages.
pub const KEYS: [&str; 7] = [
    "compression",
    "compression-level",
    "oci-mediatypes",
    "oci-artifact",
    "annotation.NAME",
    "source-date-epoch",
    "rewrite-timestamp",
];

/// Fields of BuildKit's that change nothing here: what they ask for is always so, or is about what
/// BuildKit's daemon keeps.
const WITHOUT_EFFECT: [&str; 6] = [
    "force-compression",
    "unpack",
    "store",
    "dangling-name-prefix",
    "buildinfo",
    "buildinfo-attrs",
];

impl Packing {
    /// With this compression, and nothing special.
    pub fn compressed(compression: Compression) -> Self {
        Self {
            compression,
            ..Self::default()
        }
    }

    /// Reads a field; gives whether it is one of these.
    pub fn read(&mut self, key: &str, value: &str) -> Result<bool, String> {
        if let Some(annotation) = annotations::of_field(key, value) {
            self.annotations.push(annotation?);
            return Ok(true);
        }
        match key {
            "compression" => {
                self.compression = value
                    .parse()
                    .map_err(|_| format!("`{key}={value}` is not one of gzip, zstd, none"))?;
            }
            // Every image is packed at the level that suits it.
            "compression-level" => {
                if !value
                    .parse()
                    .is_ok_and(|level: i32| (0..=22).contains(&level))
                {
                    return Err(format!("`{key}={value}` is no level from 0 to 22"));
                }
            }
            "oci-mediatypes" => self.has_docker_types = !boolean(key, value)?,
            "oci-artifact" => self.attests_as_artifact = Some(boolean(key, value)?),
            "source-date-epoch" if value.is_empty() => self.dating.epoch = Epoch::Forgotten,
            "source-date-epoch" => {
                let seconds = value.parse();
                self.dating.epoch =
                    Epoch::At(seconds.map_err(|_| {
                        format!("`{key}={value}` is no number of seconds since 1970")
                    })?);
            }
            "rewrite-timestamp" => self.dating.marks = boolean(key, value)?,
            key => return Ok(WITHOUT_EFFECT.contains(&key)),
        }
        Ok(true)
    }

    /// The image as it is packed. `by_default` tells whether attestations are artifacts where the
    /// output does not say.
    pub fn of(&self, record: &ImageRecord, by_default: bool) -> ImageRecord {
        let mut image = self.dating.of(record, record.epoch != DEFAULT_EPOCH);
        for annotation in &self.annotations {
            image.annotate(annotation);
        }
        image.dialect = Dialect {
            has_docker_types: self.has_docker_types,
            attests_as_image: !self.attests_as_artifact.unwrap_or(by_default),
        };
        image
    }

    /// Refuses what cannot be done with an image that keeps the manifest it came with.
    pub fn fits(&self, record: &ImageRecord) -> Result<(), CommandError> {
        let changes = self.annotations.iter();
        let changes = changes.filter(|it| it.level == Level::Manifest).count() > 0;
        if record.packed.is_none() || !(changes || self.has_docker_types) {
            return Ok(());
        }
        Err(CommandError::usage(
            "this image keeps the manifest it came with: neither its annotations nor its media \
             types are changed",
        )
        .hint("`FROM` it in a build, whose image gets what the output says"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<Packing, String> {
        let mut packing = Packing::default();
        for (key, value) in fields {
            assert!(packing.read(key, value)?, "{key} is known");
        }
        Ok(packing)
    }

    #[test]
    fn fields_are_read_as_buildkit_reads_them() {
        let packing = read(&[
            ("compression", "zstd"),
            ("compression-level", "22"),
            ("force-compression", "true"),
            ("oci-mediatypes", "false"),
            ("oci-artifact", "0"),
            ("annotation-index.a", "1"),
            ("rewrite-timestamp", "true"),
            ("source-date-epoch", "7"),
        ])
        .unwrap();
        assert_eq!(packing.compression, Compression::Zstd);
        assert!(packing.has_docker_types);
        assert_eq!(packing.attests_as_artifact, Some(false));
        assert_eq!(packing.annotations[0].level, Level::Index);
        assert_eq!(
            (packing.dating.epoch, packing.dating.marks),
            (Epoch::At(7), true)
        );
        let forgotten = read(&[("source-date-epoch", "")]).unwrap();
        assert_eq!(forgotten.dating.epoch, Epoch::Forgotten);
        assert_eq!(Packing::default().read("level", "9"), Ok(false));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for field in [
            ("compression", "estargz"),
            ("compression-level", "best"),
            ("oci-mediatypes", "maybe"),
            ("annotation-layer.a", "1"),
            ("source-date-epoch", "now"),
        ] {
            assert!(read(&[field]).is_err(), "{field:?}");
        }
    }
}
