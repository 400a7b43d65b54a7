//! Annotations in buildx' language: `--annotation` and the fields of `--output`.
//!
//! | flag | field of an output | stands in |
//! | --- | --- | --- |
//! | `NAME=VALUE`, `manifest:NAME=VALUE` | `annotation.NAME=`, `annotation-manifest.NAME=` | the manifest |
//! | `manifest-descriptor:NAME=VALUE` | `annotation-manifest-descriptor.NAME=` | where it is named |
//! | `index:NAME=VALUE` | `annotation-index.NAME=` | the index |
//! | `index-descriptor:NAME=VALUE` | `annotation-index-descriptor.NAME=` | where that is named |
//!
//! A platform in brackets behind the level says which image is meant.

use cairn_build::image::annotated::{Annotation, Level};
use cairn_oci::Platform;

const LEVELS: [(&str, Level); 4] = [
    ("manifest", Level::Manifest),
    ("manifest-descriptor", Level::ManifestDescriptor),
    ("index", Level::Index),
    ("index-descriptor", Level::IndexDescriptor),
];

/// Reads one `--annotation`: `[LEVEL[[PLATFORM]][,LEVEL...]:]NAME=VALUE`.
pub fn annotation(text: &str) -> Result<Vec<Annotation>, String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(format!("invalid annotation \"{text}\", expected key=value"));
    };
    let (levels, name) = key.split_once(':').unwrap_or(("manifest", key));
    if name.is_empty() {
        return Err(format!("invalid key-value pair \"{text}\": empty key"));
    }
    let levels = levels.split(',').map(level);
    levels
        .map(|found| found.map(|found| with(found, name, value)))
        .collect()
}

/// Reads a field of an output, if it is an annotation: `annotation[-LEVEL[[PLATFORM]]].NAME`.
pub fn of_field(key: &str, value: &str) -> Option<Result<Annotation, String>> {
    let rest = key.strip_prefix("annotation")?;
    // A platform may have a dot in it: `[windows(10.0.1)/amd64]`.
    let end = rest.find(']').map_or(0, |at| at + 1);
    let dot = end + rest[end..].find('.')?;
    let (place, name) = (&rest[..dot], &rest[dot + 1..]);
    let found = match place.strip_prefix('-') {
        Some(place) => level(place),
        None if place.is_empty() => level("manifest"),
        None => return None,
    };
    if name.is_empty() {
        return Some(Err(format!("`{key}` names no annotation")));
    }
    Some(found.map(|found| with(found, name, value)))
}

type Place = (Level, Option<Platform>);

fn with((level, platform): Place, name: &str, value: &str) -> Annotation {
    Annotation {
        level,
        platform,
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn level(text: &str) -> Result<Place, String> {
    let (name, platform) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(platform) => (name, Some(platform)),
            None => {
                return Err(format!(
                    "invalid annotation type \"{text}\", expected type and optional platform in \
                     square brackets"
                ));
            }
        },
    };
    let known = LEVELS.iter().find(|(known, _)| *known == name);
    let Some((_, level)) = known else {
        let known: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "unknown annotation type \"{name}\"; {} are known",
            known.join(", ")
        ));
    };
    let platform = platform.map(str::parse::<Platform>).transpose();
    let platform = platform.map_err(|error| format!("`{text}`: {error}"))?;
    Ok((*level, platform.map(Platform::normalised)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(all: &[Annotation]) -> Vec<String> {
        let one = |it: &Annotation| {
            let platform = it.platform.as_ref().map(Platform::to_string);
            let platform = platform.unwrap_or_default();
            format!("{:?} {platform} {}={}", it.level, it.name, it.value)
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn flags_name_levels_and_platforms() {
        for (text, all) in [
            ("a=1=2", vec!["Manifest  a=1=2"]),
            ("manifest:a=1", vec!["Manifest  a=1"]),
            (
                "index,manifest-descriptor[linux/arm/v7]:org.a:b=1",
                vec![
                    "Index  org.a:b=1",
                    "ManifestDescriptor linux/arm/v7 org.a:b=1",
                ],
            ),
            ("index-descriptor:a=", vec!["IndexDescriptor  a="]),
        ] {
            assert_eq!(told(&annotation(text).unwrap()), all, "{text}");
        }
        for (text, part) in [
            ("a", "expected key=value"),
            ("=a", "empty key"),
            ("layer:a=1", "unknown annotation type \"layer\""),
            ("index[linux:a=1", "square brackets"),
            ("index[lin ux/amd64]:a=1", "index[lin ux/amd64]"),
        ] {
            let error = annotation(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn fields_of_outputs_mean_the_same() {
        let field = |key| of_field(key, "1").map(|it| told(&[it.unwrap()]).remove(0));
        let manifest = Some("Manifest  org.a=1".to_owned());
        assert_eq!(field("annotation.org.a"), manifest);
        assert_eq!(field("annotation-manifest.org.a"), manifest);
        let of_arm = field("annotation-manifest-descriptor[linux/arm64].a");
        assert_eq!(
            of_arm.as_deref(),
            Some("ManifestDescriptor linux/arm64 a=1")
        );
        for none in ["annotation", "annotations.a", "attestation-prefix"] {
            assert!(of_field(none, "1").is_none(), "{none}");
        }
        for wrong in ["annotation.", "annotation-layer.a", "annotation-index[a.b"] {
            assert!(of_field(wrong, "1").unwrap().is_err(), "{wrong}");
        }
    }
}
