//! A directory as an import sees it: the names of its files, and the texts that may matter.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_spec::import::Tree;

/// Folders that hold no description of images.
const SKIPPED: [&str; 8] = [
    ".git",
    ".hg",
    ".pixi",
    ".tox",
    ".venv",
    "__pycache__",
    "node_modules",
    "target",
];
/// Deeper than people keep their Dockerfiles.
const DEPTH_MAX: usize = 8;
/// Build descriptions are small; what is larger is something else.
const TEXT_MAX: u64 = 1 << 20;

/// Reads the layout of a directory. Links are not followed.
pub fn read(directory: &Path) -> std::io::Result<Tree> {
    let mut files = BTreeMap::new();
    walk(directory, "", 0, &mut files)?;
    Ok(Tree { files })
}

fn walk(
    directory: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, Option<String>>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        let path = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}/{name}"),
        };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if depth < DEPTH_MAX && !SKIPPED.contains(&name.as_str()) {
                walk(&entry.path(), &path, depth + 1, files)?;
            }
        } else if kind.is_file() {
            let is_small = entry.metadata()?.len() <= TEXT_MAX;
            let text = match is_small && Tree::may_matter(&path) {
                // What is not text is no description.
                true => std::fs::read_to_string(entry.path()).ok(),
                false => None,
            };
            files.insert(path, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_where_they_may_matter() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        };
        write("a/Dockerfile", "FROM scratch\n");
        write("a/data.bin", "0");
        write(".github/workflows/x.yml", "on: push\n");
        write(".git/x.yml", "a: 1\n");
        let tree = read(folder.path()).expect("a tree");
        let files: Vec<(&str, bool)> = tree
            .files
            .iter()
            .map(|(path, text)| (path.as_str(), text.is_some()))
            .collect();
        assert_eq!(
            files,
            [
                (".github/workflows/x.yml", true),
                ("a/Dockerfile", true),
                ("a/data.bin", false)
            ]
        );
    }
}
