//! `--output`: where an image goes, in the language of `docker build`.

use std::path::PathBuf;

use cairn_build::image::export::Form;

use super::options::fields;
use super::packing::{self, Packing};

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What the image becomes.
    pub form: Form,
    /// Where.
    pub destination: Destination,
    /// How it is packed.
    pub packing: Packing,
    /// Names that the image gets there, instead of its own.
    pub names: Vec<String>,
    /// Whether the files of each platform go into a folder of their own.
    pub split: Option<bool>,
    /// Whether a directory loses what the image does not have.
    pub deletes: bool,
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

const KEYS: [&str; 7] = [
    "type",
    "dest",
    "tar",
    "name",
    "platform-split",
    "attestation-prefix",
    "mode",
];

impl Output {
    /// Reads `type=oci|docker|tar|local,dest=PATH[,tar=false][,compression=gzip|zstd|none]`, a
    /// bare path (a `local` directory), or `-` (a `tar` to standard output).
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Self::new("tar", "-", None);
        }
        if !text.contains('=') {
            return Self::new("local", text, None);
        }
        let mut kind = None;
        let mut destination = None;
        let mut tar = None;
        let mut packing = Packing::default();
        let mut deletes = false;
        let mut names = Vec::new();
        let mut split = None;
        let mut prefix = String::new();
        for (key, value) in fields(text)? {
            match key.as_str() {
                "attestation-prefix" if value.contains('/') => {
                    return Err(format!("`{key}={value}` is no part of a name"));
                }
                "attestation-prefix" => prefix = value,
                "platform-split" => split = Some(boolean(&key, &value)?),
                "type" => kind = Some(value),
                "dest" => destination = Some(value),
                "tar" => tar = Some(value),
                "name" => names.extend(value.split(',').map(str::to_owned)),
                "mode" => {
                    deletes = match value.as_str() {
                        "copy" => false,
                        "delete" => true,
                        _ => return Err(format!("`mode={value}` is neither `copy` nor `delete`")),
                    }
                }
                key if packing.read(key, &value)? => {}
                key => {
                    let known = [&KEYS[..], &packing::KEYS].concat().join("`, `");
                    return Err(format!("`{key}` is not known here; `{known}` are"));
                }
            }
        }
        let kind = kind.ok_or("`type` is missing: `type=oci,dest=PATH`")?;
        let destination = destination.ok_or("`dest` is missing: `type=oci,dest=PATH`")?;
        let output = Self::new(&kind, &destination, tar.as_deref())?;
        if deletes && output.form != Form::Directory {
            return Err("`mode=delete` is about the files of a directory: `type=local`".to_owned());
        }
        Ok(Self {
            packing,
            names,
            split,
            deletes,
            attestation_prefix: prefix,
            ..output
        })
    }

    fn new(kind: &str, destination: &str, tar: Option<&str>) -> Result<Self, String> {
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
        Ok(Self::to(form, destination))
    }

    /// An output with nothing special about it.
    pub fn to(form: Form, destination: Destination) -> Self {
        Self {
            form,
            destination,
            packing: Packing::default(),
            names: Vec::new(),
            split: None,
            deletes: false,
            attestation_prefix: String::new(),
        }
    }
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
    use cairn_build::image::dating::{Dating, Epoch};
    use cairn_oci::Compression;

    use super::*;

    fn check(text: &str, form: Form, destination: &str, compression: Compression) {
        let destination = Destination::parse(destination);
        let output = Output::parse(text).unwrap();
        assert_eq!(
            (output.form, output.destination, output.packing.compression),
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
        assert_eq!(output("").packing.dating, Dating::default());
        let dated = output(",rewrite-timestamp=true,source-date-epoch=7").packing;
        let dated = dated.dating;
        assert_eq!((dated.epoch, dated.marks), (Epoch::At(7), true));
        let forgotten = output(",source-date-epoch=").packing.dating.epoch;
        assert_eq!(forgotten, Epoch::Forgotten);
        assert!(!output(",mode=copy").deletes && output(",mode=delete").deletes);
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
            ("type=local,dest=a,mode=move", "`delete`"),
            ("type=tar,dest=a,mode=delete", "type=local"),
            ("type=oci,dest=a,rewrite-timestamp=x", "neither"),
        ] {
            let error = Output::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
