//! Tests of files: whether they are there and how, what is in them, what their licences say.

use cairn_store::EntryKind;

use super::file::{ExecutableBy, FileContentTest, FileExistenceTest, LicenseTest};
use super::mode::mode_string;
use super::pattern::Pattern;
use super::result::{CheckError, Failure};
use super::subject::{Content, FileFacts, Inspection};

/// Where Debian's packages keep their documents.
const DOCUMENTS: &str = "/usr/share/doc";
/// Words that a licence must not contain, in capitals.
const REFUSED_LICENSES: &[&str] = &["AGPL", "WTFPL"];
/// Packages that name such a licence without being under it.
const EXEMPT_PACKAGES: &[&str] = &["libgnutls30"];

/// Looks whether a file is there, and whether it is as it should be.
pub(crate) fn check_existence(
    test: &FileExistenceTest,
    inspection: &Inspection<'_>,
) -> Result<Vec<Failure>, CheckError> {
    let path = inspection.expand(&test.path);
    let facts = match (inspection.facts(&path)?, test.should_exist) {
        (None, true) => return Ok(vec![Failure::new(path, "to exist", "nothing")]),
        (None, false) => return Ok(Vec::new()),
        (Some(facts), true) => facts,
        (Some(facts), false) => {
            let found = mode_string(facts.kind, facts.mode);
            return Ok(vec![Failure::new(path, "not to exist", found)]);
        }
    };
    let found = mode_string(facts.kind, facts.mode);
    let wanted_mode = test.permissions.iter().filter(|wanted| **wanted != found);
    let mode = wanted_mode.map(|wanted| Failure::new(format!("mode of {path}"), wanted, &found));
    let executable = test
        .executable_by
        .iter()
        .filter(|by| !is_executable(facts, **by));
    let executable = executable.map(|by| {
        let expected = format!("executable by {}", by.as_str());
        Failure::new(format!("mode of {path}"), expected, &found)
    });
    let owners = [
        ("owner", test.uid, facts.uid),
        ("group", test.gid, facts.gid),
    ];
    let owners = owners.into_iter().filter_map(|(what, wanted, found)| {
        let wanted = wanted.filter(|wanted| *wanted != found)?;
        let subject = format!("{what} of {path}");
        Some(Failure::new(subject, wanted.to_string(), found.to_string()))
    });
    Ok(mode.chain(executable).chain(owners).collect())
}

fn is_executable(facts: FileFacts, by: ExecutableBy) -> bool {
    let bits = match by {
        ExecutableBy::Owner => 0o100,
        ExecutableBy::Group => 0o010,
        ExecutableBy::Other => 0o001,
        ExecutableBy::Any => 0o111,
    };
    facts.mode & bits != 0
}

impl ExecutableBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "its owner",
            Self::Group => "its group",
            Self::Other => "others",
            Self::Any => "anybody",
        }
    }
}

/// Looks for patterns in a file.
pub(crate) fn check_content(
    test: &FileContentTest,
    inspection: &Inspection<'_>,
) -> Result<Vec<Failure>, CheckError> {
    let path = inspection.expand(&test.path);
    Ok(match text_of(inspection, &path)? {
        Ok(text) => check_patterns(&path, &text, &test.expected, &test.excluded),
        Err(failure) => vec![failure],
    })
}

/// Looks for patterns that must be in a text, and for those that must not.
pub(crate) fn check_patterns(
    subject: &str,
    text: &str,
    expected: &[String],
    excluded: &[String],
) -> Vec<Failure> {
    let expected = expected.iter().map(|pattern| (pattern, true));
    let excluded = excluded.iter().map(|pattern| (pattern, false));
    expected
        .chain(excluded)
        .filter_map(|(pattern, wanted)| match Pattern::new(pattern) {
            Err(error) => Some(Failure::new(subject, "a pattern", error.to_string())),
            Ok(compiled) if compiled.is_match(text) == wanted => None,
            Ok(_) => {
                let verb = if wanted { "a match" } else { "no match" };
                let got = if text.trim().is_empty() {
                    "nothing"
                } else {
                    text
                };
                Some(Failure::new(subject, format!("{verb} of `{pattern}`"), got))
            }
        })
        .collect()
}

/// Looks for licences that are refused, as the original does: by their names in the text.
pub(crate) fn check_licenses(
    test: &LicenseTest,
    inspection: &Inspection<'_>,
) -> Result<Vec<Failure>, CheckError> {
    let mut failures = Vec::new();
    if test.debian {
        match documents(inspection)? {
            Some(packages) => {
                for package in packages {
                    let file = format!("{DOCUMENTS}/{package}/copyright");
                    failures.extend(check_license(inspection, &file)?);
                }
            }
            None => failures.push(Failure::new(DOCUMENTS, "a directory", "nothing")),
        }
    }
    for file in &test.files {
        failures.extend(check_license(inspection, &inspection.expand(file))?);
    }
    Ok(failures)
}

/// The packages that have documents of their own.
fn documents(inspection: &Inspection<'_>) -> Result<Option<Vec<String>>, CheckError> {
    let place = inspection.view.resolve(DOCUMENTS.as_ref(), true)?;
    let entry = inspection.view.lookup(&place)?;
    if entry.is_none_or(|entry| entry.kind != EntryKind::Directory) {
        return Ok(None);
    }
    let entries = inspection.view.read_dir(&place)?;
    let packages = entries
        .into_iter()
        .filter(|(_, entry)| entry.kind == EntryKind::Directory)
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .filter(|name| !EXEMPT_PACKAGES.contains(&name.as_str()));
    Ok(Some(packages.collect()))
}

fn check_license(inspection: &Inspection<'_>, file: &str) -> Result<Vec<Failure>, CheckError> {
    let text = match text_of(inspection, file)? {
        Ok(text) => text.to_uppercase(),
        Err(failure) => return Ok(vec![failure]),
    };
    let refused = REFUSED_LICENSES.iter().find(|name| text.contains(**name));
    let failure = refused.map(|name| Failure::new(file, "a licence that is allowed", name));
    Ok(failure.into_iter().collect())
}

/// The text of a file, or why there is none.
fn text_of(inspection: &Inspection<'_>, path: &str) -> Result<Result<String, Failure>, CheckError> {
    Ok(match inspection.read(path)? {
        Content::Text(text) => Ok(text),
        Content::Missing => Err(Failure::new(path, "a file", "nothing")),
        Content::NoFile(what) => Err(Failure::new(path, "a file", what)),
        Content::TooLarge(bytes) => {
            let got = format!("{bytes} bytes");
            Err(Failure::new(path, "a file small enough to look into", got))
        }
    })
}
