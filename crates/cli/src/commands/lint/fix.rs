//! `cairn lint --fix`: what is mechanical is mended, shown as a diff, and written.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use cairn_dockerfile::lint::{fix, masked};
use tempfile::NamedTempFile;

use super::LintArgs;
use super::diff::unified;
use super::subject::{self, Checked, Levels, STANDARD_INPUT, Subject};
use crate::error::{CommandError, Kind};
use crate::progress::count;
use crate::session::Session;

/// Mending one thing may show another; after so many rounds it is enough.
const ROUNDS_MAX: usize = 4;

/// Mends the files of the subjects; gives what is left to be found in them.
pub fn mend(
    args: &LintArgs,
    subjects: &[Subject],
    levels: &Levels,
    session: &Session,
) -> Result<Vec<Checked>, CommandError> {
    let mut left: Vec<Checked> = Vec::new();
    let mut files = 0;
    let mut done: Vec<String> = Vec::new();
    let mut effects = BTreeSet::new();
    for subject in subjects {
        let name = subject.file.source.name.clone();
        let old = subject.file.source.text.clone();
        // Images that share a file mend it once.
        if done.contains(&name) {
            continue;
        }
        if !args.dry_run && name == STANDARD_INPUT {
            return Err(CommandError::usage("standard input cannot be written")
                .hint("`--fix --dry-run` prints what would be changed"));
        }
        done.push(name.clone());
        let (mended, checked) = rounds(args, subject, levels, &mut effects)?;
        let new = &mended.file.source.text;
        let diff = unified(&name, &old, new);
        if !diff.is_empty() {
            files += 1;
            // A secret that stands in the file is not said once more.
            session.printer.data(&masked(&diff))?;
            if !args.dry_run {
                write(Path::new(&name), &old, new)?;
            }
        }
        subject::merge(&mut left, checked);
    }
    for (rule, effect) in effects {
        session.printer.note(&format!("{rule}: {effect}"));
    }
    let what = count(files, "file");
    session.printer.note(&match (files, args.dry_run) {
        (0, _) => "nothing here can be mended mechanically".to_owned(),
        (_, true) => format!("{what} would be changed; without `--dry-run` it is done"),
        (_, false) => format!("{what} changed; read the diff before you keep it"),
    });
    Ok(left)
}

/// Mends and checks again until there is nothing left to mend; adds what that changes in images.
fn rounds(
    args: &LintArgs,
    subject: &Subject,
    levels: &Levels,
    effects: &mut BTreeSet<(&'static str, &'static str)>,
) -> Result<(Subject, Checked), CommandError> {
    let wrong = |error| CommandError::from_findings(Kind::Usage, vec![error]);
    let mut subject = subject.clone();
    let mut checked = subject.check(levels).map_err(|error| wrong(*error))?;
    for _ in 0..ROUNDS_MAX {
        let shown = checked.findings.iter();
        let shown = shown.filter(|finding| args.level.has(finding.level));
        effects.extend(fix::effects(shown.clone()));
        let edits = fix::edits(shown);
        if edits.is_empty() {
            break;
        }
        let text = fix::apply(&subject.file.source.text, &edits);
        // What no longer is a Dockerfile is never written.
        let Some(next) = subject.with_text(&text) else {
            break;
        };
        checked = next.check(levels).map_err(|error| wrong(*error))?;
        subject = next;
    }
    Ok((subject, checked))
}

/// Writes a file whole: who reads it meanwhile sees the old one or the new one. A file that is not
/// what was checked (it changed, or some of its bytes are no text) is left alone.
fn write(path: &Path, old: &str, text: &str) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::from_error(Kind::Environment, &error)
            .while_doing(format!("cannot write {}", path.display()))
    };
    // A link stays a link.
    let path = path.canonicalize().map_err(failed)?;
    if std::fs::read(&path).map_err(failed)? != old.as_bytes() {
        let text = format!("{} is not the text that was checked", path.display());
        return Err(CommandError::usage(text)
            .hint("it changed meanwhile, or is not UTF-8: save it as UTF-8 and try again"));
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let permissions = std::fs::metadata(&path).map_err(failed)?.permissions();
    file.as_file()
        .set_permissions(permissions)
        .map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
}
