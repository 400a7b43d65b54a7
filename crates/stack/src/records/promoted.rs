//! What is kept of a promotion: each image's page under its new name, and the table of what is
//! stable (DH-73, DH-74, DH-83).

use std::fs;
use std::path::Path;

use super::index::{file_name, stable};
use super::{RecordsError, put};

/// A reference that gets a meaning, and the one that has it already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// What is given.
    pub to: String,
    /// Where it comes from.
    pub from: String,
}

/// The first image without a page: nothing is promoted then (DH-81).
pub fn without_page<'p>(folder: &Path, promoted: &'p [Promoted]) -> Option<&'p str> {
    let has_page = |it: &&Promoted| page(folder, &it.from).is_file();
    let mut without = promoted.iter().filter(|it| !has_page(it));
    without.next().map(|it| it.from.as_str())
}

/// Writes the pages under their new names, and the lists of what became what.
pub fn write_promoted(folder: &Path, promoted: &[Promoted]) -> Result<(), RecordsError> {
    for it in promoted {
        let path = page(folder, &it.from);
        let text = fs::read_to_string(&path).map_err(|source| RecordsError { path, source })?;
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
        let text = format!("# {}\n{rest}", it.to);
        put(folder, &format!("manifests/{}", file_name(&it.to)), &text)?;
    }
    let rows: Vec<(String, String)> = promoted
        .iter()
        .map(|it| (it.to.clone(), it.from.clone()))
        .collect();
    put(folder, "manifests/Stable.md", &stable(&rows))?;
    let list = |of: fn(&Promoted) -> &String| -> String {
        promoted.iter().map(|it| format!("{}\n", of(it))).collect()
    };
    put(folder, "artifacts/IMAGES_TAGGED", &list(|it| &it.to))?;
    put(folder, "artifacts/IMAGES_ORIGINAL", &list(|it| &it.from))
}

fn page(folder: &Path, reference: &str) -> std::path::PathBuf {
    folder.join("manifests").join(file_name(reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoted_image_has_a_page_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let promoted = [Promoted {
            to: "r/a:stable".to_owned(),
            from: "r/a:2026.3-main".to_owned(),
        }];
        assert_eq!(
            without_page(folder.path(), &promoted),
            Some("r/a:2026.3-main")
        );
        put(
            folder.path(),
            "manifests/r-a-2026.3-main.md",
            "# r/a:2026.3-main\n\n- id\n",
        )
        .expect("a page");
        assert_eq!(without_page(folder.path(), &promoted), None);
        write_promoted(folder.path(), &promoted).expect("written");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
        assert_eq!(read("manifests/r-a-stable.md"), "# r/a:stable\n\n- id\n");
        assert!(read("manifests/Stable.md").contains("| r/a:stable | r/a:2026.3-main |"));
        assert_eq!(read("artifacts/IMAGES_TAGGED"), "r/a:stable\n");
        assert_eq!(read("artifacts/IMAGES_ORIGINAL"), "r/a:2026.3-main\n");
    }
}
