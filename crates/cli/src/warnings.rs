//! What the checker says of Dockerfiles that were built: a line each, as `docker build` ends with.

use cairn_build::lint::Warnings;
use cairn_dockerfile::lint::Level;

use crate::printer::Printer;
use crate::progress::count;

/// More findings than this are counted only.
const LINES_MAX: usize = 10;

/// Tells what was found. Where one file was built, its name is not said with every line: then
/// these are docker's words.
pub fn tell(printer: &Printer, warnings: &[Warnings], is_lone: bool) {
    let lines: Vec<String> = warnings
        .iter()
        .flat_map(|file| {
            let shown = file.findings.iter();
            shown
                .filter(|finding| finding.level >= Level::Warning)
                .map(|finding| {
                    let line = file.source.position(finding.span.start).line;
                    let (rule, detail) = (finding.rule.name, &finding.detail);
                    match is_lone {
                        true => format!("{rule}: {detail} (line {line})"),
                        false => format!("{rule}: {detail} ({}:{line})", file.source.name),
                    }
                })
        })
        .collect();
    for line in lines.iter().take(LINES_MAX) {
        printer.warning(line);
    }
    if let Some(more @ 1..) = lines.len().checked_sub(LINES_MAX) {
        let more = count(more, "more warning");
        printer.warning(&format!("{more} of this kind; `cairn lint` shows them"));
    }
}
