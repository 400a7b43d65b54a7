//! Certificates of single registries, where docker and podman keep them:
//!
//! ```text
//! <directory>/<host>[:<port>]/*.crt     authorities to trust for this registry
//! <directory>/<host>[:<port>]/x.cert    our own certificate, and
//! <directory>/<host>[:<port>]/x.key     its key
//! ```

use std::path::{Path, PathBuf};

use crate::http::client::Identity;

/// What is there for one registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    pub(crate) authorities: Vec<PathBuf>,
    pub(crate) identity: Option<Identity>,
}

/// Looks through the directories; in each kind the first with something decides.
pub(crate) fn find(directories: &[PathBuf], host: &str) -> Certificates {
    let mut found = Certificates::default();
    for directory in directories {
        let files = files(&directory.join(host));
        found.authorities.extend(
            files
                .iter()
                .filter(|path| has_extension(path, "crt"))
                .cloned(),
        );
        if found.identity.is_none() {
            found.identity = files
                .iter()
                .find(|path| has_extension(path, "cert") && path.with_extension("key").is_file())
                .map(|path| Identity {
                    certificate: path.clone(),
                    key: path.with_extension("key"),
                });
        }
    }
    found
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_gathered_and_identities_need_their_key() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        for name in ["one/h:5000/b.cert", "one/h:5000/ca.crt", "two/h:5000/x.crt"] {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let directories = [one.clone(), two.clone(), "/nowhere".into()];
        let found = find(&directories, "h:5000");
        let authorities = [one.join("h:5000/ca.crt"), two.join("h:5000/x.crt")];
        assert_eq!(found.authorities, authorities);
        assert_eq!(found.identity, None);
        std::fs::write(one.join("h:5000/b.key"), "").unwrap();
        let identity = find(&directories, "h:5000").identity.unwrap();
        assert_eq!(identity.key, one.join("h:5000/b.key"));
        assert_eq!(find(&directories, "other"), Certificates::default());
    }
}
