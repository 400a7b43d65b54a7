//! `--output` of a build: files outside the store, or the image itself under more names.

use crate::commands::options::fields;
use crate::commands::output::{Output, boolean};
use crate::commands::packing::{self, Packing};

/// One `--output` of `cairn build`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildOutput {
    /// Files outside the store.
    Files(Output),
    /// The image in the store, which it is in anyway, under more names.
    Image(ImageOutput),
    /// Nothing but the results of steps, which are kept anyway.
    Nothing,
}

/// The image itself as an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOutput {
    /// Names beside those of `--tag`.
    pub names: Vec<String>,
    /// Whether it is sent to the registries of these names, or of `--tag`s if there are none.
    pub push: bool,
    /// Whether it is sent without a tag: people find it by its digest.
    pub by_digest: bool,
    /// How it is packed when it is sent.
    pub packing: Packing,
}

const KEYS: [&str; 3] = ["name", "push", "push-by-digest"];
/// Keys of docker that change nothing: an image can always be named by its digest.
const WITHOUT_EFFECT: [&str; 3] = ["name-canonical", "dest", "tar"];

impl BuildOutput {
    /// Reads docker's language: `type=image,name=NAME[,push=true]`, `type=registry,name=NAME`,
    /// `type=docker` without a destination, `type=cacheonly`, and the forms of [`Output::parse`].
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "-" || !text.contains('=') {
            return Output::parse(text).map(Self::Files);
        }
        let fields = fields(text)?;
        let value = |wanted: &str| {
            let found = fields.iter().find(|(key, _)| key == wanted);
            found.map(|(_, value)| value.as_str())
        };
        match (value("type"), value("dest")) {
            (Some("cacheonly"), _) => Ok(Self::Nothing),
            (Some("image"), _) | (Some("docker"), None) => {
                ImageOutput::read(&fields, false).map(Self::Image)
            }
            (Some("registry"), _) => ImageOutput::read(&fields, true).map(Self::Image),
            _ => Output::parse(text).map(Self::Files),
        }
    }

    /// The files that it means, if it means files.
    pub fn files(&self) -> Option<&Output> {
        match self {
            Self::Files(output) => Some(output),
            Self::Image(_) | Self::Nothing => None,
        }
    }
}

impl ImageOutput {
    fn read(fields: &[(String, String)], push: bool) -> Result<Self, String> {
        let mut image = Self {
            names: Vec::new(),
            push,
            by_digest: false,
            packing: Packing::default(),
        };
        for (key, value) in fields {
            match key.as_str() {
                "type" => {}
                "name" => image.names.extend(value.split(',').map(str::to_owned)),
                "push" => image.push = boolean(key, value)?,
                "push-by-digest" => image.by_digest = boolean(key, value)?,
                key @ "registry.insecure" => {
                    if boolean(key, value)? {
                        return Err(format!(
                            "`{key}` is said for a registry, not for an output: \
                             `CAIRN_INSECURE_REGISTRIES=HOST`"
                        ));
                    }
                }
                key @ "prefer-nondist-layers" => {
                    if boolean(key, value)? {
                        return Err(format!("`{key}`: an image is sent with all its layers"));
                    }
                }
                key if image.packing.read(key, value)? => {}
                key if WITHOUT_EFFECT.contains(&key) => {}
                key => {
                    let known = [&KEYS[..], &packing::KEYS].concat().join("`, `");
                    return Err(format!("`{key}` is not known here; `{known}` are"));
                }
            }
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_an_output_too() {
        let image = |text: &str| match BuildOutput::parse(text) {
            Ok(BuildOutput::Image(image)) => (image.names.join(" "), image.push),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(image("type=image,name=a/b"), ("a/b".into(), false));
        assert_eq!(image("type=image,name=a,push=true"), ("a".into(), true));
        assert_eq!(image("type=registry,\"name=a,b\""), ("a b".into(), true));
        assert_eq!(image("type=docker"), (String::new(), false));
        let by_digest = "type=image,name=a,push-by-digest=true,name-canonical=true,push=true";
        assert_eq!(image(by_digest), ("a".into(), true));
        assert_eq!(
            BuildOutput::parse("type=cacheonly"),
            Ok(BuildOutput::Nothing)
        );
        let files = BuildOutput::parse("type=docker,dest=a.tar").unwrap();
        assert!(files.files().is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (text, part) in [
            ("type=image,push=maybe", "push=maybe"),
            ("type=image,level=9", "level"),
            ("type=registry,compression=lzma", "gzip"),
            ("type=image,registry.insecure=true", "CAIRN_INSECURE"),
            ("type=image,prefer-nondist-layers=1", "all its layers"),
            ("type=oci", "dest"),
        ] {
            let error = BuildOutput::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
