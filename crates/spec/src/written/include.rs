//! One spec out of several files: what `include` names is read and laid below the file.
//!
//! The file that includes wins over what it includes, and of two included files the later one.
//! An image is written in one file only: two that mean the same one is a mistake, not an
//! overlay. Paths in an included file start from that file's folder.

use cairn_diagnostic::{Diagnostic, Source, Span};

use super::Surroundings;
use super::document::{self, Kind, Table, document, lay_over, sub_table};
use crate::sources::Sources;

/// The key, at the top of a file.
pub(super) const KEY: &str = "include";
/// More files than anybody writes, fewer than a mistake can ask for.
const FILES_MAX: usize = 200;

/// Reads the root and all that it includes to one tree.
pub(super) fn read(
    root: &Source,
    surroundings: &Surroundings<'_>,
) -> Result<(Sources, Table), Vec<Diagnostic>> {
    let table = document(root, 0)?;
    let mut includer = Includer {
        surroundings,
        sources: Sources::new(root.clone()),
        findings: Vec::new(),
        open: vec![file_name(&root.name).to_owned()],
        files: 1,
    };
    let table = includer.with_included(table, "");
    match includer.findings.is_empty() {
        true => Ok((includer.sources, table)),
        false => Err(includer.findings),
    }
}

struct Includer<'s> {
    surroundings: &'s Surroundings<'s>,
    sources: Sources,
    findings: Vec<Diagnostic>,
    /// The files that are being read, by their paths from the root's folder.
    open: Vec<String>,
    files: usize,
}

impl Includer<'_> {
    /// Lays a file over what it includes.
    fn with_included(&mut self, mut upper: Table, folder: &str) -> Table {
        let Some(field) = upper.remove(KEY) else {
            return upper;
        };
        let Kind::Array(items) = &field.node.kind else {
            let message = format!(
                "`include` must be a list of strings, not {}",
                field.node.kind.noun()
            );
            self.error(field.node.span, message);
            return upper;
        };
        let mut merged = Table::new();
        for item in items {
            match &item.kind {
                Kind::String(path) => {
                    if let Some(included) = self.included(path, item.span, folder) {
                        self.images_are_distinct(&merged, &included);
                        lay_over(&mut merged, included);
                    }
                }
                kind => {
                    let message =
                        format!("`include` must be a list of strings, not {}", kind.noun());
                    self.error(item.span, message);
                }
            }
        }
        self.images_are_distinct(&merged, &upper);
        lay_over(&mut merged, upper);
        merged
    }

    fn included(&mut self, written: &str, span: Span, folder: &str) -> Option<Table> {
        if written.trim().is_empty() || written.starts_with('/') {
            self.error(span, "an included file is named by its path from this file")
                .push("write it as in `include = [\"images/common.toml\"]`".to_owned());
            return None;
        }
        let path = join(folder, written);
        if let Some(start) = self.open.iter().position(|open| *open == path) {
            let mut ring = self.open[start..].to_vec();
            ring.push(path);
            let message = format!(
                "files include each other in a circle: {}",
                ring.join(" -> ")
            );
            self.error(span, message);
            return None;
        }
        self.files += 1;
        if self.files > FILES_MAX {
            self.error(span, format!("more than {FILES_MAX} files are included"));
            return None;
        }
        let source = match (self.surroundings.read)(&path) {
            Ok(source) => source,
            Err(reason) => {
                self.error(span, format!("cannot include `{written}`: {reason}"));
                return None;
            }
        };
        let below = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let base = self.sources.add(source.clone(), below.to_owned());
        match document::document(&source, base) {
            Ok(table) => {
                let below = below.to_owned();
                self.open.push(path);
                let table = self.with_included(table, &below);
                self.open.pop();
                Some(table)
            }
            Err(findings) => {
                self.findings.extend(findings);
                None
            }
        }
    }

    fn images_are_distinct(&mut self, lower: &Table, upper: &Table) {
        let (Some(lower), Some(upper)) = (sub_table(lower, "image"), sub_table(upper, "image"))
        else {
            return;
        };
        let twice: Vec<_> = upper
            .iter()
            .filter_map(|(name, field)| Some((name, field.key_span, lower.get(name)?.key_span)))
            .map(|(name, here, there)| (name.clone(), here, there))
            .collect();
        for (name, here, there) in twice {
            // Of two places the one that is read later is where people look.
            let (here, there) = (here.start.max(there.start), here.start.min(there.start));
            let (file, line) = self.sources.line(Span::new(there, there));
            let hint = format!("the other one is in {file}, line {line}");
            self.error(
                Span::new(here, here),
                format!("image `{name}` is in two files"),
            )
            .push(hint);
        }
    }

    /// Notes an error; gives its hints, to be added to.
    fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Vec<String> {
        let finding = self.sources.point(Diagnostic::error(message), span);
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last].hints
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Joins a path to the folder it starts from, without `./` and with `..` where it can be
/// followed by name.
pub(crate) fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
