//! The files of a selection by name and digest, for people who ask which one differs elsewhere.

use std::io::{self, Read};

use cairn_store::ContentDigest;

use super::selection::{Role, Selection, below};
use crate::context::{Kind, SourceTree};

/// More files than this are not listed: what takes a whole tree is told as one.
const FILES_MAX: usize = 50_000;
/// More bytes than this are not read for it; mostly the digests are known.
const BYTES_MAX: u64 = 64 << 20;

/// The files and links of a selection, each with what tells it from another of its name; nothing
/// if there are too many.
///
/// The digests depend on nothing but the files, so that they can be compared with those of another
/// machine.
pub fn listed(tree: &dyn SourceTree, selection: &Selection) -> io::Result<Vec<(String, String)>> {
    let items = selection.sources.iter().flat_map(|source| {
        let items = source.items.iter().filter(|it| it.role == Role::Wanted);
        items.map(|item| (below(&source.root, &item.path), &item.entry))
    });
    let items: Vec<_> = items.filter(|(_, entry)| !entry.is_dir()).collect();
    if items.len() > FILES_MAX {
        return Ok(Vec::new());
    }
    let mut list = Vec::new();
    let mut bytes = 0;
    for (path, entry) in items {
        let what = match entry.kind {
            Kind::File => {
                let digest = match tree.known_digest(&path, entry) {
                    Some(known) => known,
                    None => {
                        bytes += entry.size;
                        if bytes > BYTES_MAX {
                            return Ok(Vec::new());
                        }
                        let mut content = Vec::new();
                        tree.open(&path, entry)?.read_to_end(&mut content)?;
                        ContentDigest::of(&content)
                    }
                };
                format!("{:o} {digest}", entry.mode & 0o7777)
            }
            Kind::Symlink => format!("-> {}", tree.read_link(&path, entry)?.display()),
            other => other.name().to_owned(),
        };
        list.push((path.display().to_string(), what));
    }
    Ok(list)
}
