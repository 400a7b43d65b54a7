//! `--metadata-file`: what was built, or what a call answered, under buildx' names.
//!
//! How an image was built is told there even where it is not attested: the file is beside the
//! image, whose digest stays.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_attest::provenance::SlsaVersion;
use cairn_build::image::pack::{Image, pack_image};
use cairn_build::lint::Warnings;
use cairn_dockerfile::lint::Level;
use cairn_oci::{Compression, Digest, Platform};
use cairn_stack::attest::{ProvenanceWish, Wish};
use cairn_store::Store;
use serde_json::{Map, Value, json};

use crate::commands::output::truth;
use crate::environment::Environment;
use crate::error::{CommandError, Kind};

/// What buildx' variables ask of the file.
#[derive(Debug, Clone, Default)]
pub struct MetadataWish {
    /// How much of the provenance; none of it if there is none.
    pub provenance: Option<Wish>,
    /// Whether the checker's findings.
    pub has_warnings: bool,
}

impl MetadataWish {
    /// Reads `BUILDX_METADATA_PROVENANCE` and `BUILDX_METADATA_WARNINGS`.
    pub fn of(environment: &Environment) -> Self {
        let detail = environment.text("BUILDX_METADATA_PROVENANCE");
        let provenance = match detail {
            Some("disabled") => None,
            Some(text) if truth(text) == Some(false) => None,
            detail => Some(Wish {
                provenance: Some(ProvenanceWish {
                    // The one that readers of the file know.
                    version: SlsaVersion::V02,
                    is_minimal: detail != Some("max"),
                    builder_id: String::new(),
                    file_name: String::new(),
                    reproducible: false,
                    inline_only: true,
                }),
                sbom: None,
            }),
        };
        let warnings = environment.text("BUILDX_METADATA_WARNINGS");
        Self {
            provenance,
            has_warnings: warnings.and_then(truth).unwrap_or(false),
        }
    }
}

/// What is known of a build beside its images.
#[derive(Debug, Default)]
pub struct Facts {
    /// What the run is called in the history.
    pub run: String,
    /// How the image for each platform was built, if that is told.
    pub provenance: Vec<(Platform, Value)>,
    /// What the checker said, if that is told.
    pub warnings: Vec<Warnings>,
}

/// The document about a build.
pub fn document(
    store: &Store,
    image: Image<'_>,
    compression: Compression,
    id: &Digest,
    names: &[String],
    facts: &Facts,
) -> Result<Value, CommandError> {
    // What docker writes there are digests of packed bytes.
    let packed = pack_image(store, image, compression)?;
    let mut metadata = Map::new();
    let mut put = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
    match facts.provenance.as_slice() {
        [(_, one)] => {
            put("buildx.build.provenance", one.clone());
        }
        several => {
            for (platform, one) in several {
                put(&format!("buildx.build.provenance/{platform}"), one.clone());
            }
        }
    }
    put(
        "buildx.build.ref",
        json!(format!("cairn/local/{}", facts.run)),
    );
    if !facts.warnings.is_empty() {
        put("buildx.build.warnings", warnings(&facts.warnings));
    }
    put("containerimage.digest", json!(packed.root.digest));
    put("containerimage.descriptor", json!(packed.root));
    if let [image] = packed.images.as_slice() {
        put("containerimage.config.digest", json!(image.config.digest));
    }
    put("image.name", json!(names.join(",")));
    put("cairn.image.id", json!(id));
    Ok(Value::Object(metadata))
}

/// Findings as the warnings of BuildKit's client: texts are bytes there.
fn warnings(all: &[Warnings]) -> Value {
    let mut list = Vec::new();
    for file in all {
        let shown = file.findings.iter();
        for finding in shown.filter(|finding| finding.level >= Level::Warning) {
            let rule = finding.rule;
            let place = |at| json!({ "line": file.source.position(at).line });
            let short = format!("{}: {}", rule.name, finding.detail);
            list.push(json!({
                "level": 1,
                "short": STANDARD.encode(short),
                "detail": [STANDARD.encode(rule.summary)],
                "url": rule.url(),
                "sourceInfo": {
                    "filename": file.source.name.rsplit('/').next(),
                    "data": STANDARD.encode(file.source.text.as_bytes()),
                    "language": "Dockerfile",
                },
                "range": [{
                    "start": place(finding.span.start),
                    "end": place(finding.span.end),
                }],
            }));
        }
    }
    Value::Array(list)
}

/// Writes the file.
pub fn write(path: &Path, document: &Value) -> Result<(), CommandError> {
    std::fs::write(path, format!("{document:#}\n")).map_err(|error| {
        CommandError::from_error(Kind::Environment, &error)
            .while_doing(format!("cannot write {}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_buildx_say_how_much_is_told() {
        fn wish<const N: usize>(variables: [(&str, &str); N]) -> (Option<bool>, bool) {
            let wish = MetadataWish::of(&Environment::from(variables));
            let provenance = wish.provenance.and_then(|it| it.provenance);
            (provenance.map(|it| it.is_minimal), wish.has_warnings)
        }
        let told = "BUILDX_METADATA_PROVENANCE";
        assert_eq!(wish([]), (Some(true), false));
        assert_eq!(wish([(told, "max")]), (Some(false), false));
        assert_eq!(wish([(told, "min")]), (Some(true), false));
        for none in ["disabled", "false", "0"] {
            assert_eq!(wish([(told, none)]), (None, false));
        }
        assert!(wish([("BUILDX_METADATA_WARNINGS", "1")]).1);
        assert!(!wish([("BUILDX_METADATA_WARNINGS", "no")]).1);
    }
}
