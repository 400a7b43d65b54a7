//! What a build attests of its images: how it was asked for, and who gathers it.
//!
//! ```text
//! SingleBuild, or an image of a stack    --AskedFor-->  how it was asked for, in BuildKit's words
//! Wish + AskedFor + Prepared + RunReport  --attest-->   Attestations of an image
//! ```

mod asked;
mod request;

pub use asked::AskedFor;

use std::time::{SystemTime, UNIX_EPOCH};

use cairn_attest::provenance::{Detail, Material, Pin, Provenance, SlsaVersion};
use cairn_attest::{Attestation, Attestations, Claim, image_purl};
use cairn_build::attest::{Account, AttestError, Looked, Origin, sbom};
use cairn_build::engine::Engine;
use cairn_build::image::ImageRecord;
use cairn_build::lower::LoweredImage;
use cairn_build::request::{Generator, Lister};
use cairn_build::run::Prepared;
use cairn_oci::{Digest, Reference, rfc3339};

use crate::run::RunReport;

/// What is to be attested.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// How the image was built.
    pub provenance: Option<ProvenanceWish>,
    /// What packages it has.
    pub sbom: Option<SbomWish>,
}

/// How provenance is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenanceWish {
    /// In which version of the format.
    pub version: SlsaVersion,
    /// Whether without values, secrets and steps.
    pub is_minimal: bool,
    /// Who builds.
    pub builder_id: String,
    /// What its file is called.
    pub file_name: String,
    /// Whether it is said that the same bytes come out again.
    pub reproducible: bool,
    /// Whether it goes with images only.
    pub inline_only: bool,
}

/// How packages are to be listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SbomWish {
    /// The image that looks for them; this program if there is none.
    pub generator: Option<Generator>,
}

impl Wish {
    /// Whether nothing is wished for.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Who lists packages.
    pub fn lister(&self) -> Lister {
        match &self.sbom {
            None => Lister::Nobody,
            Some(SbomWish { generator: None }) => Lister::Own,
            Some(SbomWish {
                generator: Some(generator),
            }) => Lister::Image(generator.clone()),
        }
    }
}

/// What only the caller knows of a build.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// What the image is called.
    pub names: &'a [Reference],
    /// Further options of the build, by BuildKit's names.
    pub options: &'a [(String, String)],
    /// When the build began.
    pub began: SystemTime,
    /// This program, with its version.
    pub tool: &'a str,
}

/// A build that is done.
#[derive(Clone, Copy)]
pub struct Done<'a> {
    /// What was asked for.
    pub asked: &'a AskedFor,
    /// The graph.
    pub prepared: &'a Prepared<'a>,
    /// What came of it.
    pub report: &'a RunReport,
    /// What it was built with.
    pub engine: &'a Engine<'a>,
}

/// Gathers what is wished for of an image of a build.
pub fn attest(
    wish: &Wish,
    done: Done<'_>,
    image: &LoweredImage,
    record: &ImageRecord,
    occasion: Occasion<'_>,
) -> Result<Attestations, AttestError> {
    let times = Times::of(done.asked.epoch, occasion.began);
    let mut list = Vec::new();
    if wish.sbom.is_some() {
        let looked = Looked {
            tool: occasion.tool,
            created: &times.seconds,
        };
        list.extend(sbom(done.engine, image, &done.report.results, looked)?);
    }
    if let Some(wish) = &wish.provenance {
        list.push(Attestation {
            file_name: wish.file_name.clone(),
            inline_only: wish.inline_only,
            claim: Claim::Provenance(Box::new(provenance(
                wish, done, image, record, occasion, &times,
            )?)),
        });
    }
    let names = occasion.names.iter();
    let names = names.map(|name| image_purl("docker", name, Some(&image.platform)).to_string());
    Ok(Attestations {
        names: names.collect(),
        list,
    })
}

fn provenance(
    wish: &ProvenanceWish,
    done: Done<'_>,
    image: &LoweredImage,
    record: &ImageRecord,
    occasion: Occasion<'_>,
    times: &Times,
) -> Result<Provenance, AttestError> {
    let Done {
        asked,
        prepared,
        report,
        engine,
    } = done;
    let account = Account::of(
        prepared,
        engine,
        image,
        record,
        &report.results,
        &asked.origins,
    )?;
    let mut locals = asked.locals(&account.locals);
    locals.sort();
    let materials_complete = locals.is_empty();
    let materials = with_context(account.materials, &asked.origins);
    let mut told = cairn_attest::provenance::Request {
        frontend: "dockerfile.v0".to_owned(),
        args: asked.args.clone(),
        secrets: account.secrets,
        ssh: account.ssh,
        locals,
    };
    told.args.extend(occasion.options.iter().cloned());
    let invocation_id = match asked.epoch {
        // The same build is the same invocation: its bytes come out again.
        Some(_) => identity(&format!("{told:?}{materials:?}{:?}", record.filesystem())),
        None => identity(&format!("{:?}{}", occasion.began, std::process::id())),
    };
    let provenance = Provenance {
        version: wish.version,
        builder_id: wish.builder_id.clone(),
        invocation_id,
        started: times.began.clone(),
        finished: times.ended.clone(),
        reproducible: wish.reproducible,
        config_source: asked.config_source.clone(),
        request: told,
        builder_platform: asked.build_platform.to_string(),
        materials,
        request_complete: true,
        materials_complete,
        hermetic: materials_complete && !account.has_network,
        vcs: asked.vcs.clone(),
        detail: asked.source.clone().map(|source| Detail {
            steps: account.steps,
            source,
        }),
    };
    Ok(match wish.is_minimal {
        true => provenance.minimal(),
        false => provenance,
    })
}

/// The context counts even if nothing of it was copied: the Dockerfile came with it.
fn with_context(mut materials: Vec<Material>, origins: &[Origin]) -> Vec<Material> {
    let own = match origins.first() {
        Some(Origin::Git { url, commit }) => Some((url, Pin::Commit(commit.clone()))),
        Some(Origin::File { url, digest }) => Some((url, Pin::Digest(digest.clone()))),
        Some(Origin::Local(_)) | None => None,
    };
    if let Some((uri, pin)) = own
        && !materials.iter().any(|known| known.uri == *uri)
    {
        materials.push(Material {
            uri: uri.clone(),
            digest: Some(pin),
        });
        // Images, repositories, files: each sorted already.
        materials.sort_by_key(|material| match &material.digest {
            _ if material.uri.starts_with("pkg:") => 0,
            Some(Pin::Commit(_)) => 1,
            _ => 2,
        });
    }
    materials
}

/// When a build began and ended; the epoch that was asked for stands for both.
struct Times {
    began: String,
    ended: String,
    /// Without fractions.
    seconds: String,
}

impl Times {
    fn of(epoch: Option<i64>, began: SystemTime) -> Self {
        if let Some(epoch) = epoch {
            let told = rfc3339(epoch);
            return Self {
                began: told.clone(),
                ended: told.clone(),
                seconds: told,
            };
        }
        let ended = SystemTime::now();
        Self {
            began: precise(began),
            ended: precise(ended),
            seconds: rfc3339(since_1970(ended).0),
        }
    }
}

fn since_1970(time: SystemTime) -> (i64, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    (seconds, since.subsec_nanos())
}

fn precise(time: SystemTime) -> String {
    let (seconds, nanoseconds) = since_1970(time);
    let told = rfc3339(seconds);
    format!("{}.{nanoseconds:09}Z", told.trim_end_matches('Z'))
}

/// As long as BuildKit's.
fn identity(text: &str) -> String {
    let mut hex = Digest::sha256(text.as_bytes()).hex().to_owned();
    hex.truncate(25);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_stands_for_every_time() {
        let began = UNIX_EPOCH + std::time::Duration::new(7, 5);
        let times = Times::of(Some(0), began);
        assert_eq!(times.began, "1970-01-01T00:00:00Z");
        assert_eq!((&times.began, &times.began), (&times.ended, &times.seconds));
        let times = Times::of(None, began);
        assert_eq!(times.began, "1970-01-01T00:00:07.000000005Z");
        assert!(times.began < times.ended);
    }

    #[test]
    fn the_context_is_a_material_behind_images() {
        let material = |uri: &str, digest| Material {
            uri: uri.to_owned(),
            digest,
        };
        let file = |uri: &str| material(uri, Some(Pin::Digest(Digest::sha256(b""))));
        let known = vec![material("pkg:docker/a@1", None), file("https://h/f")];
        let origin = Origin::Git {
            url: "https://h/a.git#v1".to_owned(),
            commit: "ab".to_owned(),
        };
        let all = with_context(known, std::slice::from_ref(&origin));
        let uris: Vec<_> = all.iter().map(|it| it.uri.as_str()).collect();
        assert_eq!(
            uris,
            ["pkg:docker/a@1", "https://h/a.git#v1", "https://h/f"]
        );
        assert_eq!(with_context(all.clone(), &[origin]), all);
    }
}
