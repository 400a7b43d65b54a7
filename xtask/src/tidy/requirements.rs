//! Tests that docs/dev/requirements.md names are there.

use super::Finding;
use crate::workspace::TextFile;

const RULE: &str = "requirement";
const PAGE: &str = "docs/dev/requirements.md";

/// Checks every `file: test` in backticks of the page's tables; files are those below `crates`.
pub(crate) fn check(page: &str, sources: &[TextFile]) -> Vec<Finding> {
    let lines = page.lines().enumerate();
    let rows = lines.filter(|(_, line)| line.starts_with('|'));
    let mut findings = Vec::new();
    for (number, row) in rows {
        for (file, test) in named(row) {
            let path = format!("crates/{file}");
            let found = sources.iter().find(|source| source.path == path);
            let what = match found {
                None => format!("there is no {path}"),
                Some(source) if !source.text.contains(&format!("fn {test}(")) => {
                    format!("{path} has no test `{test}`")
                }
                Some(_) => continue,
            };
            findings.push(Finding::line(PAGE, number + 1, RULE, what));
        }
    }
    findings
}

/// The pairs of file and test in one row.
fn named(row: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = row.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_once(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_are_not_there_are_found() {
        let source = TextFile {
            path: "crates/a/src/x.rs".to_owned(),
            text: "#[test]\nfn there() {}\n".to_owned(),
        };
        let page = "# Page\n| ids | shown by |\n| X-1 | `a/src/x.rs: there` |\n\
                    | X-2 | `a/src/x.rs: gone`, `b.rs: y`; by hand, `z` |\n";
        let findings = check(page, &[source]);
        let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "docs/dev/requirements.md:4: requirement: crates/a/src/x.rs has no test `gone`",
                "docs/dev/requirements.md:4: requirement: there is no crates/b.rs"
            ]
        );
    }
}
