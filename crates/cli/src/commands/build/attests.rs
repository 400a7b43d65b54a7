//! `--provenance`, `--sbom` and `--attest`: what is to be attested, in buildx' language.

use std::collections::BTreeMap;

use cairn_attest::provenance::SlsaVersion;
use cairn_build::request::Generator;
use cairn_stack::attest::{ProvenanceWish, SbomWish, Wish};
use clap::Args;

use crate::commands::options::fields;
use crate::commands::output::{boolean, truth};
use crate::error::CommandError;

const PROVENANCE: &str = "provenance";
const SBOM: &str = "sbom";

/// The group of these flags in the help of each command that has them.
const HEADING: &str = "Attestations";

/// What is attested of the image.
#[derive(Debug, Clone, Default, Args)]
pub struct AttestArgs {
    /// Attest how the image is built: `true`, `false`, or
    /// `mode=min|max,version=v0.2|v1,builder-id=ID,reproducible=true,inline-only=true,filename=NAME`
    /// [default: false]
    #[arg(
        long,
        value_name = "PROVENANCE",
        overrides_with = "provenance",
        help_heading = HEADING
    )]
    pub provenance: Option<String>,
    /// Attest which packages the image has: `true`, `false`, or, of a lone Dockerfile,
    /// `generator=IMAGE` [default: false]
    #[arg(
        long,
        value_name = "SBOM",
        overrides_with = "sbom",
        help_heading = HEADING
    )]
    pub sbom: Option<String>,
    /// Attest something: `type=provenance,...` or `type=sbom,...`, as the flags of these names
    /// (can be repeated)
    #[arg(long, value_name = "ATTESTATION", help_heading = HEADING)]
    pub attest: Vec<String>,
}

impl AttestArgs {
    /// A flag that asks for something, if one does.
    pub fn first_flag(&self) -> Option<&'static str> {
        let wish = self.wish().ok()?;
        let given = [
            (wish.provenance.is_some(), "--provenance"),
            (wish.sbom.is_some(), "--sbom"),
        ];
        given.into_iter().find_map(|(is, flag)| is.then_some(flag))
    }

    /// Whether anything is said of attestations.
    pub fn is_any(&self) -> bool {
        self.provenance.is_some() || self.sbom.is_some() || !self.attest.is_empty()
    }

    /// What is wished for of the images of a stack, whose bases of Debian packages have no Dockerfile
    /// that a generator could be a step of.
    pub fn wish_of_stack(&self) -> Result<Wish, CommandError> {
        let wish = self.wish()?;
        match &wish.sbom {
            Some(SbomWish { generator: Some(_) }) => Err(CommandError::usage(
                "`generator=` is for lone Dockerfiles: of a stack, Cairn itself lists the packages",
            )
            .hint("`--sbom=true` asks for that")),
            _ => Ok(wish),
        }
    }

    /// What is wished for.
    pub fn wish(&self) -> Result<Wish, CommandError> {
        let mut wish = Wish::default();
        let mut known = Vec::new();
        let flags = [
            ("--provenance", self.provenance.as_deref(), Some(PROVENANCE)),
            ("--sbom", self.sbom.as_deref(), Some(SBOM)),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(flag, text, kind)| Some((flag, text?, kind)))
            .chain(
                self.attest
                    .iter()
                    .map(|text| ("--attest", text.as_str(), None)),
            );
        for (flag, text, kind) in given {
            let refused = |error: String| {
                CommandError::usage(error).while_doing(format!("`{flag} {text}` is not understood"))
            };
            let one = One::read(text, kind).map_err(refused)?;
            if known.contains(&one.kind) {
                let text = format!("duplicate attestation field {}", one.kind);
                return Err(CommandError::usage(text));
            }
            known.push(one.kind.clone());
            if one.is_disabled {
                continue;
            }
            match one.kind.as_str() {
                PROVENANCE => wish.provenance = Some(provenance(&one.fields).map_err(refused)?),
                _ => wish.sbom = Some(sbom(&one.fields).map_err(refused)?),
            }
        }
        Ok(wish)
    }
}

/// One flag, its fields apart.
struct One {
    kind: String,
    is_disabled: bool,
    fields: Vec<(String, String)>,
}

impl One {
    fn read(text: &str, kind: Option<&str>) -> Result<Self, String> {
        let mut one = Self {
            kind: kind.unwrap_or_default().to_owned(),
            is_disabled: false,
            fields: Vec::new(),
        };
        if let (Some(is_on), Some(_)) = (truth(text), kind) {
            one.is_disabled = !is_on;
            return Ok(one);
        }
        if let Some(word) = text.split(',').find(|word| !word.contains('=')) {
            return Err(match kind {
                Some(_) => format!("`{word}` is neither `true`, `false` nor `KEY=VALUE`"),
                None => format!("`{word}` is no `KEY=VALUE`"),
            });
        }
        for (key, value) in fields(text)? {
            match key.as_str() {
                "type" => one.kind = value,
                "disabled" => one.is_disabled = boolean(&key, &value)?,
                _ => one.fields.push((key, value)),
            }
        }
        match one.kind.as_str() {
            PROVENANCE | SBOM => Ok(one),
            "" => Err("attestation type not specified: `type=provenance` or `type=sbom`".into()),
            other => Err(format!("`type={other}` is not one of {PROVENANCE}, {SBOM}")),
        }
    }
}

fn provenance(fields: &[(String, String)]) -> Result<ProvenanceWish, String> {
    let mut wish = ProvenanceWish {
        version: SlsaVersion::default(),
        is_minimal: false,
        builder_id: String::new(),
        file_name: "provenance.json".to_owned(),
        reproducible: false,
        inline_only: false,
    };
    for (key, value) in fields {
        match key.as_str() {
            "mode" => {
                wish.is_minimal = match value.as_str() {
                    "min" => true,
                    "max" | "full" => false,
                    _ => {
                        return Err(format!(
                            "invalid mode \"{value}\": `min` and `max` are known"
                        ));
                    }
                }
            }
            "version" => {
                wish.version = SlsaVersion::parse(value).ok_or_else(|| {
                    format!("invalid provenance SLSA version: {value}; `v0.2` and `v1` are known")
                })?;
            }
            "builder-id" => wish.builder_id.clone_from(value),
            "reproducible" => wish.reproducible = boolean(key, value)?,
            "inline-only" => wish.inline_only = boolean(key, value)?,
            "filename" if ["", ".", ".."].contains(&&**value) || value.contains('/') => {
                return Err(format!("`filename={value}` is no name of a file"));
            }
            "filename" => wish.file_name.clone_from(value),
            // What steps used is not measured in a form that BuildKit's readers know.
            "capture-usage" if truth(value) == Some(false) => {}
            key => {
                return Err(format!(
                    "`{key}` is not known here; `mode`, `version`, `builder-id`, `reproducible`, \
                     `inline-only`, `filename` are"
                ));
            }
        }
    }
    Ok(wish)
}

fn sbom(fields: &[(String, String)]) -> Result<SbomWish, String> {
    let mut image = None;
    let mut parameters = BTreeMap::new();
    for (key, value) in fields {
        match key.as_str() {
            "generator" if value.is_empty() => return Err("`generator` names no image".into()),
            "generator" => image = Some(value.clone()),
            key => {
                parameters.insert(key.to_ascii_uppercase(), value.clone());
            }
        }
    }
    let generator = match (image, parameters.keys().next()) {
        (Some(image), _) => Some(Generator { image, parameters }),
        (None, None) => None,
        (None, Some(key)) => {
            let key = key.to_ascii_lowercase();
            return Err(format!(
                "`{key}` is for a generator: `generator=IMAGE,{key}=...`"
            ));
        }
    };
    Ok(SbomWish { generator })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(provenance: Option<&str>, sbom: Option<&str>, attest: &[&str]) -> AttestArgs {
        AttestArgs {
            provenance: provenance.map(str::to_owned),
            sbom: sbom.map(str::to_owned),
            attest: attest.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    fn refused(args: &AttestArgs) -> String {
        let error = args.wish().unwrap_err();
        error.messages.join(": ")
    }

    #[test]
    fn nothing_is_attested_unless_somebody_asks() {
        for nothing in [
            args(None, None, &[]),
            args(Some("false"), Some("0"), &[]),
            args(None, None, &["type=sbom,disabled=true"]),
        ] {
            assert!(nothing.wish().unwrap().is_nothing());
            assert_eq!(nothing.first_flag(), None);
        }
    }

    #[test]
    fn spellings_of_buildx_mean_the_same() {
        let asked = args(
            Some("mode=min,version=v0.2,builder-id=me"),
            Some("true"),
            &[],
        );
        let wish = asked.wish().unwrap();
        let provenance = wish.provenance.clone().unwrap();
        assert!(provenance.is_minimal && provenance.version == SlsaVersion::V02);
        assert_eq!(provenance.builder_id, "me");
        assert_eq!(wish.sbom, Some(SbomWish::default()));
        assert_eq!(asked.first_flag(), Some("--provenance"));
        let same = args(
            None,
            None,
            &[
                "type=provenance,mode=min,version=v0.2,builder-id=me",
                "type=sbom",
            ],
        );
        assert_eq!(same.wish().unwrap(), wish);
        let all = args(Some("true"), None, &[]).wish().unwrap();
        assert!(!all.provenance.unwrap().is_minimal, "as BuildKit: the most");
        let generated = args(None, Some("generator=g:1,extra=x"), &[]);
        let lister = generated.wish().unwrap().lister();
        let generator = lister.generator().unwrap();
        assert_eq!(generator.image, "g:1");
        assert_eq!(generator.parameters["EXTRA"], "x");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (args, part) in [
            (args(Some("."), None, &[]), "neither `true`"),
            (args(Some("mode=most"), None, &[]), "`min` and `max`"),
            (args(Some("version=v2"), None, &[]), "`v0.2` and `v1`"),
            (args(Some("level=9"), None, &[]), "`builder-id`"),
            (args(Some("filename=../x"), None, &[]), "no name of a file"),
            (args(None, Some("extra=x"), &[]), "generator=IMAGE"),
            (args(None, None, &["mode=max"]), "type not specified"),
            (args(None, None, &["type=cve"]), "provenance, sbom"),
            (
                args(Some("true"), None, &["type=provenance"]),
                "duplicate attestation field provenance",
            ),
        ] {
            let told = refused(&args);
            assert!(told.contains(part), "{told}");
        }
    }
}
