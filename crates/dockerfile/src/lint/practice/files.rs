//! `COPY` and `ADD`.

use cairn_diagnostic::Span;

use crate::ast::{CopySource, InstructionKind};
use crate::lint::buildkit::copy_ignored::is_remote;
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Fix, Level};
use crate::lint::rule::{Group, Rule};

/// `COPY` for files, `ADD` for what is fetched or unpacked.
pub(in crate::lint) static ADD_FOR_FILES: Rule = Rule {
    name: "AddForFiles",
    aliases: &["DL3020"],
    group: Group::Practice,
    level: Level::Info,
    is_experimental: false,
    summary: "Files are copied with COPY; ADD is for archives and addresses",
    why: "ADD unpacks what looks like an archive and fetches what looks like an address. A file \
          whose content happens to be an archive ends up as something else than it was.",
    bad: "FROM debian:13-slim\nADD model.py /app/\n",
    good: "FROM debian:13-slim\nCOPY model.py /app/\n",
    check,
};

/// Ends of names of what `ADD` unpacks.
const ARCHIVES: [&str; 12] = [
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".gz", ".xz",
    ".bz2", ".zst",
];

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for (_, step) in facts.steps().filter(|(_, step)| !step.is_trigger) {
        let InstructionKind::Add(add) = &step.instruction.kind else {
            continue;
        };
        let is_plain = add.files.sources.iter().all(|source| match source {
            CopySource::Path(word) => {
                let path = word.as_str().trim_matches(['"', '\'']);
                // A wildcard or a variable may mean an archive.
                !is_remote(path)
                    && !path.contains(['$', '*', '?', '['])
                    && !path.ends_with(".git")
                    && !ARCHIVES.iter().any(|end| path.ends_with(end))
            }
            CopySource::Heredoc(_) => true,
        });
        let has_own_flags =
            add.checksum.is_some() || add.keep_git_dir.is_some() || add.unpack.is_some();
        if !is_plain || has_own_flags {
            continue;
        }
        let keyword = &step.instruction.keyword;
        let copy = match keyword.value.chars().all(|ch| ch.is_ascii_lowercase()) {
            true => "copy",
            false => "COPY",
        };
        let span = Span::new(keyword.span.start, keyword.span.start + keyword.value.len());
        let detail = "nothing is fetched or unpacked here: COPY does the same without surprises";
        found.fixable(step.span, detail, Some(Fix::replace(span, copy)));
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[test]
    fn what_is_fetched_or_unpacked_is_left_alone() {
        for (source, expected) in [
            ("model.py", 1),
            ("\"https://example.org/x\"", 0),
            ("\"a.tar.gz\"", 0),
            ("git@example.org:a/b.git", 0),
            ("$X", 0),
        ] {
            let text = format!("FROM debian:13\nADD {source} /x/\n");
            assert_eq!(count("AddForFiles", &text), expected, "{source}");
        }
    }
}
