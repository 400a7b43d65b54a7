//! One `.deb` file: its control members in memory, its files as a stream.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use thiserror::Error;

use crate::ar::{ArError, Member, members};
use crate::compression::Compression;
use crate::deb822::Paragraph;

/// The largest control member Debian has is a few megabytes.
const CONTROL_SIZE_MAX: u64 = 64 << 20;

/// An opened package file.
#[derive(Debug)]
pub(crate) struct Deb {
    /// What the package says of itself.
    pub(crate) control: Control,
    file: File,
    data: Member,
    data_compression: Compression,
}

/// The control members of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// The control file's text.
    pub(crate) text: String,
    /// All other members: scripts, `conffiles`, `triggers`, `md5sums` and the like.
    pub(crate) members: BTreeMap<String, Vec<u8>>,
}

/// Why a package file cannot be used.
#[derive(Debug, Error)]
pub enum DebError {
    /// The container is broken.
    #[error("it is no package file")]
    Container(#[from] ArError),
    /// It is of a format that is not known.
    #[error("it is of format {found}, not 2.0")]
    Format {
        /// What it says.
        found: String,
    },
    /// It lacks a part.
    #[error("it has no {part}")]
    Missing {
        /// The part.
        part: &'static str,
    },
    /// It is compressed in a way that is not known.
    #[error("its member {name} is compressed in an unknown way")]
    Compression {
        /// The member.
        name: String,
    },
    /// Its control part is too large.
    #[error("its control part is too large")]
    ControlSize,
    /// It is not the package that its name says.
    #[error("it is {found}, not {wanted}")]
    OtherPackage {
        /// What it says it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// A path in it leaves the tree.
    #[error("the path {path:?} leaves the tree")]
    UnsafePath {
        /// The path.
        path: String,
    },
    /// It holds a kind of file that no package has.
    #[error("{path} is of an unknown kind")]
    UnknownKind {
        /// The path.
        path: String,
    },
    /// A relation in it is malformed.
    #[error("its relations cannot be read")]
    Relation(#[from] crate::relation::MalformedRelation),
    /// Its bytes cannot be read.
    #[error("it cannot be unpacked")]
    Read(#[from] std::io::Error),
}

impl Deb {
    /// Opens a package file and reads its control part.
    ///
    /// # Errors
    /// When the file is no package.
    pub(crate) fn open(mut file: File) -> Result<Deb, DebError> {
        let mut found = members(&mut file)?.into_iter();
        let format = found.next().filter(|m| m.name == "debian-binary");
        let format = format.ok_or(DebError::Missing { part: "format" })?;
        check_format(&read_member(&mut file, &format)?)?;
        let mut control = None;
        let mut data = None;
        // Members whose names begin with an underscore are for others to understand.
        for member in found.filter(|member| !member.name.starts_with('_')) {
            if member.name.starts_with("control.tar") {
                let compression = compression(&member, "control.tar")?;
                control = Some(read_control(
                    &read_member(&mut file, &member)?,
                    compression,
                )?);
            } else if member.name.starts_with("data.tar") {
                data = Some((compression(&member, "data.tar")?, member));
            }
        }
        let control = control.ok_or(DebError::Missing {
            part: "control part",
        })?;
        let (data_compression, data) = data.ok_or(DebError::Missing { part: "files" })?;
        Ok(Deb {
            control,
            file,
            data,
            data_compression,
        })
    }

    /// Checks that this is the package it should be.
    ///
    /// # Errors
    /// When name, version or architecture differ.
    pub(crate) fn check(&self, name: &str, version: &str, arch: &str) -> Result<(), DebError> {
        let field = |field| self.control.field(field).unwrap_or_default();
        let found = [field("Package"), field("Version"), field("Architecture")];
        if found == [name, version, arch] {
            return Ok(());
        }
        Err(DebError::OtherPackage {
            found: found.join(" "),
            wanted: [name, version, arch].join(" "),
        })
    }

    /// The package's files, as the bytes of a tar archive.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn data(&mut self) -> Result<Box<dyn Read + '_>, DebError> {
        self.file.seek(SeekFrom::Start(self.data.offset))?;
        let packed = (&mut self.file).take(self.data.size);
        Ok(self.data_compression.reader(packed)?)
    }
}

impl Control {
    /// A field of the control file.
    #[must_use]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        Paragraph(&self.text).field(name)
    }

    /// Whether the package is essential.
    #[must_use]
    pub(crate) fn is_essential(&self) -> bool {
        self.field("Essential") == Some("yes")
    }

    /// The paths below the root that are configuration files.
    #[must_use]
    pub(crate) fn conffiles(&self) -> BTreeSet<String> {
        let lines = self.lines("conffiles");
        let paths = lines.iter().filter(|line| line.starts_with('/'));
        paths
            .map(|path| path.trim_start_matches('/').to_owned())
            .collect()
    }

    /// The configuration files of earlier versions that are not in the package any more.
    #[must_use]
    pub(crate) fn conffiles_to_remove(&self) -> Vec<String> {
        let lines = self.lines("conffiles");
        let removed = lines
            .iter()
            .filter_map(|line| line.strip_prefix("remove-on-upgrade "));
        removed.map(|path| path.trim().to_owned()).collect()
    }

    /// The trimmed lines of a member.
    fn lines(&self, member: &str) -> Vec<String> {
        let text = self
            .members
            .get(member)
            .map(|bytes| String::from_utf8_lossy(bytes));
        let lines = text.as_deref().unwrap_or_default().lines();
        lines.map(|line| line.trim().to_owned()).collect()
    }

    /// The lines of the `triggers` member: directive and trigger.
    #[must_use]
    pub(crate) fn triggers(&self) -> Vec<(String, String)> {
        self.lines("triggers")
            .iter()
            .map(|line| line.split('#').next().unwrap_or_default())
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?.to_owned(), words.next()?.to_owned()))
            })
            .collect()
    }
}

fn check_format(bytes: &[u8]) -> Result<(), DebError> {
    let text = String::from_utf8_lossy(bytes);
    let found = text.lines().next().unwrap_or_default();
    if found.starts_with("2.") {
        return Ok(());
    }
    Err(DebError::Format {
        found: found.to_owned(),
    })
}

fn compression(member: &Member, stem: &str) -> Result<Compression, DebError> {
    Compression::of(&member.name, stem).ok_or_else(|| DebError::Compression {
        name: member.name.clone(),
    })
}

fn read_member(file: &mut File, member: &Member) -> Result<Vec<u8>, DebError> {
    if member.size > CONTROL_SIZE_MAX {
        return Err(DebError::ControlSize);
    }
    file.seek(SeekFrom::Start(member.offset))?;
    let mut bytes = vec![0; member.size as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_control(packed: &[u8], compression: Compression) -> Result<Control, DebError> {
    let unpacked = compression.reader(packed)?.take(CONTROL_SIZE_MAX);
    let mut archive = tar::Archive::new(unpacked);
    let mut control = Control::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.trim_start_matches("./").to_owned();
        if name.is_empty() || name.contains('/') {
            return Err(DebError::UnsafePath { path });
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if name == "control" {
            control.text = String::from_utf8_lossy(&bytes).into_owned();
        } else {
            control.members.insert(name, bytes);
        }
    }
    if control.text.is_empty() {
        return Err(DebError::Missing {
            part: "control file",
        });
    }
    Ok(control)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ar::tests::archive;

    /// Packs files into a tar archive; a name ending in a slash is a directory.
    pub(crate) fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            let kind = if name.ends_with('/') {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            };
            header.set_entry_type(kind);
            header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
            header.set_size(bytes.len() as u64);
            header.set_mtime(1_700_000_000);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn opened(bytes: &[u8]) -> Result<Deb, DebError> {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Deb::open(file)
    }

    const CONTROL: &[u8] = b"Package: a\nVersion: 1\nArchitecture: all\nEssential: yes\n";

    #[test]
    fn a_package_is_read_in_any_compression() {
        let control = tarball(&[
            ("control", CONTROL),
            ("conffiles", b"/etc/a.conf\nremove-on-upgrade /etc/old\n"),
            ("triggers", b"# why\nactivate-noawait ldconfig\n"),
        ]);
        let data = tarball(&[("usr/", b""), ("usr/a", b"hello")]);
        let zstd = zstd::encode_all(data.as_slice(), 1).unwrap();
        let bytes = archive(&[
            ("debian-binary", b"2.0\n"),
            ("_gpgorigin", b"?"),
            ("control.tar", &control),
            ("data.tar.zst", &zstd),
        ]);
        let mut deb = opened(&bytes).unwrap();
        assert!(deb.control.is_essential());
        assert_eq!(
            deb.control.conffiles(),
            BTreeSet::from(["etc/a.conf".to_owned()])
        );
        assert_eq!(
            deb.control.triggers(),
            [("activate-noawait".to_owned(), "ldconfig".to_owned())]
        );
        let mut unpacked = Vec::new();
        deb.data().unwrap().read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, data);
        deb.check("a", "1", "all").unwrap();
        let other = deb.check("a", "2", "all").unwrap_err();
        assert_eq!(other.to_string(), "it is a 1 all, not a 2 all");
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let control = tarball(&[("control", CONTROL)]);
        let nested = tarball(&[("sub/control", CONTROL)]);
        let cases: [&[(&str, &[u8])]; 6] = [
            &[],
            &[
                ("debian-binary", b"3.0\n"),
                ("control.tar", &control),
                ("data.tar", b""),
            ],
            &[("debian-binary", b"2.0\n"), ("data.tar", b"")],
            &[("debian-binary", b"2.0\n"), ("control.tar", &control)],
            &[
                ("debian-binary", b"2.0\n"),
                ("control.tar.rar", &control),
                ("data.tar", b""),
            ],
            &[
                ("debian-binary", b"2.0\n"),
                ("control.tar", &nested),
                ("data.tar", b""),
            ],
        ];
        for members in cases {
            assert!(opened(&archive(members)).is_err());
        }
    }
}
