//! `--output`: where an image goes, in the language of `docker build`.

use std::path::PathBuf;

use cairn_build::image::dating::{Dating, Epoch};
use cairn_build::image::export::Form;
use cairn_oci::Compression;

use super::options::fields;

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What the image becomes.
    pub form: Form,
    /// Where.
    pub destination: Destination,
    /// How its layers are compressed.
    pub compression: Compression,
    /// Names that the image gets there, instead of its own.
    pub names: Vec<String>,
    /// Whether the files of each platform go into a folder of their own.
    pub split: Option<bool>,
    /// Which times it gets.
    pub dating: Dating,
    /// What the names of files begin with that tell of it, beside its own files.
    pub attestation_prefix: String,
}

/// Where bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To a file or directory.
    Path(PathBuf),
    /// To standard output.
    Stdout,
}

impl Destination {
    /// `-` is standard output.
    pub fn parse(text: &str) -> Self {
        match text {
            "-" => Self::Stdout,
            path => Self::Path(path.into()),
        }
    }
}

/// Keys of docker that ask for what is always so here.
const ALWAYS_SO: [&str; 2] = ["oci-mediatypes", "force-compression"];
const KEYS: [&str; 9] = [
    "type",
    "dest",
    "tar",
    "compression",
    "name",
    "platform-split",
    "attestation-prefix",
    "source-date-epoch",
    "rewrite-timestamp",
];

impl Output {
    /// Reads `type=oci|docker|tar|local,dest=PATH[,tar=false][,compression=gzip|zstd|none]`, a
    /// bare path (a `local` directory), or `-` (a `tar` to standard output).
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Self::new("tar", "-", None, None);
        }
        if !text.contains('=') {
            return Self::new("local", text, None, None);
        }
        let mut kind = None;
        let mut destination = None;
        let mut tar = None;
        let mut compression = None;
        let mut names = Vec::new();
        let mut split = None;
        let mut dating = Dating::default();
        let mut prefix = String::new();
        for (key, value) in fields(text)? {
            match key.as_str() {
                "attestation-prefix" if value.contains('/') => {
                    return Err(format!("`{key}={value}` is no part of a name"));
                }
                "attestation-prefix" => prefix = value,
                "platform-split" => split = Some(boolean(&key, &value)?),
                key if date(&mut dating, key, &value)? => {}
                "type" => kind = Some(value),
                "dest" => destination = Some(value),
                "tar" => tar = Some(value),
                "compression" => compression = Some(value),
                "name" => names.extend(value.split(',').map(str::to_owned)),
                key if ALWAYS_SO.contains(&key) => {}
                key => {
                    let known = KEYS.join("`, `");
                    return Err(format!("`{key}` is not known here; `{known}` are"));
                }
            }
        }
        let kind = kind.ok_or("`type` is missing: `type=oci,dest=PATH`")?;
        let destination = destination.ok_or("`dest` is missing: `type=oci,dest=PATH`")?;
        let output = Self::new(&kind, &destination, tar.as_deref(), compression.as_deref())?;
        Ok(Self {
            names,
            split,
            dating,
            attestation_prefix: prefix,
            ..output
        })
    }

    fn new(
        kind: &str,
        destination: &str,
        tar: Option<&str>,
        compression: Option<&str>,
    ) -> Result<Self, String> {
        let wants_tar = tar.map_or(Ok(true), |value| boolean("tar", value))?;
        let form = match (kind, wants_tar) {
            ("oci", true) => Form::OciArchive,
            ("oci", false) => Form::OciDirectory,
            ("docker", true) => Form::DockerArchive,
            ("tar", true) => Form::Tar,
            ("local", _) => Form::Directory,
            ("docker" | "tar", false) => return Err(format!("`type={kind}` is always a tar")),
            ("image" | "registry", _) => {
                return Err(format!("`type={kind}` is not an export: use `--tag`"));
            }
            (other, _) => {
                return Err(format!(
                    "`type={other}` is not one of oci, docker, tar, local"
                ));
            }
        };
        if destination.is_empty() {
            return Err("`dest` is empty".to_owned());
        }
        let destination = Destination::parse(destination);
        let is_directory = matches!(form, Form::OciDirectory | Form::Directory);
        if is_directory && destination == Destination::Stdout {
            return Err("a directory cannot go to standard output".to_owned());
        }
        let compression = match compression {
            None => Compression::Gzip,
            Some(name) => name
                .parse()
                .map_err(|_| format!("`compression={name}` is not one of gzip, zstd, none"))?,
        };
        Ok(Self {
            form,
            destination,
            compression,
            names: Vec::new(),
            split: None,
            dating: Dating::default(),
            attestation_prefix: String::new(),
        })
    }
}

/// Reads the keys about times: `source-date-epoch` and `rewrite-timestamp`. Gives whether it is
/// one of them.
pub fn date(dating: &mut Dating, key: &str, value: &str) -> Result<bool, String> {
    match (key, value) {
        ("source-date-epoch", "") => dating.epoch = Epoch::Forgotten,
        ("source-date-epoch", value) => {
            dating.epoch = Epoch::At(value.parse().map_err(|_| {
                format!("`source-date-epoch={value}` is no number of seconds since 1970")
            })?);
        }
        ("rewrite-timestamp", value) => dating.marks = boolean(key, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads the value of a key that is a truth.
pub fn boolean(key: &str, value: &str) -> Result<bool, String> {
    truth(value).ok_or_else(|| format!("`{key}={value}` is neither `true` nor `false`"))
}

/// A truth value as Go reads it.
pub fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, form: Form, destination: &str, compression: Compression) {
        let destination = Destination::parse(destination);
        let output = Output::parse(text).unwrap();
        assert_eq!(
            (output.form, output.destination, output.compression),
            (form, destination, compression),
            "{text}"
        );
    }

    #[test]
    fn outputs_are_read_as_docker_reads_them() {
        let gzip = Compression::Gzip;
        check("type=oci,dest=a.tar", Form::OciArchive, "a.tar", gzip);
        check("type=oci,tar=false,dest=d", Form::OciDirectory, "d", gzip);
        check("type=docker,dest=-", Form::DockerArchive, "-", gzip);
        check("type=tar,dest=r.tar", Form::Tar, "r.tar", gzip);
        check("type=local,dest=out", Form::Directory, "out", gzip);
        check("out/dir", Form::Directory, "out/dir", gzip);
        check("-", Form::Tar, "-", gzip);
        check(
            "type=oci,dest=a,compression=zstd",
            Form::OciArchive,
            "a",
            Compression::Zstd,
        );
        check(
            "type=oci,dest=a,compression=uncompressed,oci-mediatypes=true",
            Form::OciArchive,
            "a",
            Compression::None,
        );
    }

    #[test]
    fn names_are_for_the_archive() {
        let output = Output::parse("type=oci,dest=a,\"name=a:1,b:2\"").unwrap();
        assert_eq!(output.names, ["a:1", "b:2"]);
    }

    #[test]
    fn times_and_folders_can_be_asked_for() {
        let output = |rest: &str| Output::parse(&format!("type=local,dest=a{rest}")).unwrap();
        assert_eq!(output("").split, None);
        assert_eq!(output(",platform-split=false").split, Some(false));
        assert_eq!(output("").dating, Dating::default());
        let dated = output(",rewrite-timestamp=true,source-date-epoch=7").dating;
        assert_eq!((dated.epoch, dated.marks), (Epoch::At(7), true));
        let epoch = output(",source-date-epoch=").dating.epoch;
        assert_eq!(epoch, Epoch::Forgotten);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (text, part) in [
            ("type=oci", "dest"),
            ("dest=a", "type"),
            ("type=oci,dest=", "empty"),
            ("type=zip,dest=a", "oci, docker, tar, local"),
            ("type=registry,dest=a", "--tag"),
            ("type=oci,dest=a,level=9", "level"),
            ("type=local,dest=-", "standard output"),
            ("type=docker,tar=false,dest=a", "always a tar"),
            ("type=oci,dest=a,compression=lzma", "gzip"),
            ("type=oci,dest=a,source-date-epoch=now", "seconds"),
            ("type=oci,dest=a,rewrite-timestamp=x", "neither"),
        ] {
            let error = Output::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
