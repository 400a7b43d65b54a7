//! The tables about all pages: what was built when (`Home.md`), and what is stable (`Stable.md`).

use std::fmt::Write;

const HOME: &str = "# Images\n\n| commit | images | manifests |\n| --- | --- | --- |\n";
const STABLE: &str =
    "# Stable images\n\n| stable image | based on | manifest |\n| --- | --- | --- |\n";

/// One page of a run.
pub(super) struct Entry {
    /// The image's name in the stack.
    pub(super) image: String,
    /// What the page is about.
    pub(super) title: String,
    /// Its file.
    pub(super) file: String,
}

/// The file name of a page (DH-71): what it is about, fit for a file.
pub(super) fn file_name(title: &str) -> String {
    format!("{}.md", title.replace([':', '/'], "-"))
}

/// The table of runs with one more at its top (DH-72); `old` is what the file holds.
pub(super) fn home(old: Option<&str>, commit: Option<&str>, entries: &[Entry]) -> String {
    let mut images: Vec<&str> = entries.iter().map(|it| it.image.as_str()).collect();
    images.dedup();
    let links: Vec<String> = entries
        .iter()
        .map(|it| format!("[{}]({})", it.title, it.file))
        .collect();
    let mut page = HOME.to_owned();
    if !entries.is_empty() {
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            commit.map_or("-".to_owned(), |it| format!("`{it}`")),
            images.join("<br>"),
            links.join("<br>")
        );
    }
    if let Some(rows) = old.and_then(|old| old.strip_prefix(HOME)) {
        page.push_str(rows);
    }
    page
}

/// The table of what promotion gave (DH-73), made anew each time: the reference that people take,
/// the one it came from, and the page.
pub(super) fn stable(rows: &[(String, String)]) -> String {
    let mut page = STABLE.to_owned();
    for (to, from) in rows {
        let _ = writeln!(page, "| {to} | {from} | [{to}]({}) |", file_name(to));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_run_stands_first() {
        let entry = |image: &str| Entry {
            image: image.to_owned(),
            title: format!("ghcr.io/lab/{image}:1"),
            file: file_name(&format!("ghcr.io/lab/{image}:1")),
        };
        let first = home(None, Some("abc"), &[entry("base")]);
        let second = home(Some(&first), None, &[entry("base"), entry("ml")]);
        let rows: Vec<&str> = second.lines().skip(4).collect();
        assert_eq!(
            rows,
            [
                "| - | base<br>ml | [ghcr.io/lab/base:1](ghcr.io-lab-base-1.md)<br>[ghcr.io/lab/ml:1](ghcr.io-lab-ml-1.md) |",
                "| `abc` | base | [ghcr.io/lab/base:1](ghcr.io-lab-base-1.md) |"
            ]
        );
        assert_eq!(home(Some(&second), None, &[]), second);
        let rows = [("r/a:stable".to_owned(), "r/a:2026.3-stable".to_owned())];
        assert!(
            stable(&rows)
                .ends_with("| r/a:stable | r/a:2026.3-stable | [r/a:stable](r-a-stable.md) |\n")
        );
    }
}
