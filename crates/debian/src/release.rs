//! Release files: what an archive says of one suite, and whether it may still be believed.

use std::collections::HashMap;

use thiserror::Error;

use crate::date;
use crate::deb822::Paragraph;

/// How far a Release's date may lie in the future: clocks differ.
const CLOCK_TOLERANCE_SECS: i64 = 3600;

/// The verified statements of a Release file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `Suite`, such as `stable`.
    pub suite: String,
    /// `Codename`, such as `bookworm`.
    pub codename: String,
    /// When it was made.
    pub date: i64,
    /// Until when it may be believed.
    pub valid_until: Option<i64>,
    /// The architectures it has.
    pub architectures: Vec<String>,
    /// Whether indexes can be had by their hash, which no update can race with.
    pub by_hash: bool,
    /// Whether packages of architecture `all` have indexes of their own.
    pub separate_all: bool,
    files: HashMap<String, IndexFile>,
}

/// An index as a Release file lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// The sha256 of the file, in hex.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a Release file is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ReleaseError {
    /// A field that must be there is not, or cannot be read.
    #[error("it has no usable field {field}")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// It belongs to another suite than the one asked for.
    #[error("it is of the suite {found}, not of {wanted}")]
    OtherSuite {
        /// What it says it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// Its time is over.
    #[error("it was valid until {} only", date::iso(*.valid_until))]
    Expired {
        /// The last moment.
        valid_until: i64,
    },
    /// It comes from the future.
    #[error("it is dated {}, in the future; is the clock right", date::iso(*.date))]
    Future {
        /// Its date.
        date: i64,
    },
}

impl Release {
    /// Reads the text of a Release file.
    ///
    /// # Errors
    /// When a field that is needed is missing.
    pub fn parse(text: &str) -> Result<Release, ReleaseError> {
        let paragraph = Paragraph(text);
        let required = |field| paragraph.field(field).ok_or(ReleaseError::Field { field });
        let optional_date = |field: &'static str| match paragraph.field(field) {
            Some(value) => date::parse(value)
                .map(Some)
                .ok_or(ReleaseError::Field { field }),
            None => Ok(None),
        };
        let words = |value: &str| value.split_whitespace().map(str::to_owned).collect();
        Ok(Release {
            suite: paragraph.field("Suite").unwrap_or_default().to_owned(),
            codename: paragraph.field("Codename").unwrap_or_default().to_owned(),
            date: optional_date("Date")?.ok_or(ReleaseError::Field { field: "Date" })?,
            valid_until: optional_date("Valid-Until")?,
            architectures: words(required("Architectures")?),
            by_hash: paragraph.field("Acquire-By-Hash") == Some("yes"),
            separate_all: paragraph
                .field("No-Support-for-Architecture-all")
                .is_none_or(|value| value != "Packages")
                && required("Architectures")?
                    .split_whitespace()
                    .any(|arch| arch == "all"),
            files: parse_files(required("SHA256")?)
                .ok_or(ReleaseError::Field { field: "SHA256" })?,
        })
    }

    /// Checks that this is the suite that was asked for, and that its time has not passed.
    ///
    /// # Errors
    /// When it is of another suite, expired (unless `check_valid_until` is off) or of the future.
    pub fn check(
        &self,
        wanted: &str,
        now: i64,
        check_valid_until: bool,
    ) -> Result<(), ReleaseError> {
        if wanted != self.suite && wanted != self.codename {
            let found = if self.codename.is_empty() {
                &self.suite
            } else {
                &self.codename
            };
            return Err(ReleaseError::OtherSuite {
                found: found.clone(),
                wanted: wanted.to_owned(),
            });
        }
        if self.date > now + CLOCK_TOLERANCE_SECS {
            return Err(ReleaseError::Future { date: self.date });
        }
        match self.valid_until {
            Some(valid_until) if check_valid_until && now > valid_until => {
                Err(ReleaseError::Expired { valid_until })
            }
            _ => Ok(()),
        }
    }

    /// What the Release says of one of its files, by the path below the suite.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&IndexFile> {
        self.files.get(path)
    }
}

fn parse_files(list: &str) -> Option<HashMap<String, IndexFile>> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (sha256, size, path) = (words.next()?, words.next()?, words.next()?);
        let right = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        let file = IndexFile {
            sha256: sha256.to_ascii_lowercase(),
            size: size.parse().ok()?,
        };
        right.then(|| (path.to_owned(), file))
    };
    list.lines()
        .filter(|l| !l.trim().is_empty())
        .map(line)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: Debian\nSuite: oldstable\nCodename: bookworm\n\
        Date: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sat, 18 Jul 2026 10:16:37 UTC\n\
        Acquire-By-Hash: yes\nNo-Support-for-Architecture-all: Packages\n\
        Architectures: all amd64 arm64\nComponents: main contrib\nSHA256:\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855        7 main/binary-amd64/Packages.xz\n";

    #[test]
    fn a_release_file_is_read() {
        let release = Release::parse(TEXT).unwrap();
        assert_eq!(release.codename, "bookworm");
        assert!(release.by_hash && !release.separate_all);
        assert_eq!(
            release.file("main/binary-amd64/Packages.xz").unwrap().size,
            7
        );
        assert_eq!(release.file("main/binary-i386/Packages.xz"), None);
    }

    #[test]
    fn time_and_suite_are_checked() {
        let release = Release::parse(TEXT).unwrap();
        let (before, within, after) = (1_783_700_000, 1_783_900_000, 1_785_000_000);
        assert_eq!(release.check("bookworm", within, true), Ok(()));
        assert_eq!(release.check("oldstable", within, true), Ok(()));
        assert!(matches!(
            release.check("trixie", within, true),
            Err(ReleaseError::OtherSuite { .. })
        ));
        assert!(matches!(
            release.check("bookworm", before, true),
            Err(ReleaseError::Future { .. })
        ));
        let expired = release.check("bookworm", after, true).unwrap_err();
        assert_eq!(
            expired.to_string(),
            "it was valid until 2026-07-18T10:16:37Z only"
        );
        assert_eq!(release.check("bookworm", after, false), Ok(()));
    }

    #[test]
    fn a_release_without_sha256_is_refused() {
        let text = TEXT.replace("SHA256:", "MD5Sum:");
        assert_eq!(
            Release::parse(&text),
            Err(ReleaseError::Field { field: "SHA256" })
        );
    }
}
