//! The six-image stack: `base`, two children, three grandchildren; 24 `RUN` and 6 `COPY`.

use std::path::{Path, PathBuf};

use serde_json::{Map, json};

use super::inputs::{BASE, Random, Recipe, write_file};
use crate::error::ChoreError;

/// Each image and the one it is built on.
const IMAGES: &[(&str, &str)] = &[
    ("bench-base", BASE),
    ("bench-left", "bench-base"),
    ("bench-right", "bench-base"),
    ("bench-left-app", "bench-left"),
    ("bench-left-job", "bench-left"),
    ("bench-right-app", "bench-right"),
];

/// The image whose context the leaf row changes.
const LEAF: &str = "bench-left-app";

const FILES_PER_CONTEXT: usize = 20;

/// The stack as it was written.
#[derive(Debug)]
pub(super) struct Written {
    /// Its images, parents first.
    pub(super) images: Vec<Recipe>,
    /// The file that the leaf row changes.
    pub(super) leaf_file: PathBuf,
}

/// Writes the contexts, `cairn.toml`, and the same stack as a bake file.
pub(super) fn write(folder: &Path) -> Result<Written, ChoreError> {
    let mut random = Random::new(1);
    let mut bytes = Vec::new();
    let mut images = Vec::new();
    for (name, parent) in IMAGES {
        let context = folder.join(name);
        write_file(
            &context.join("Dockerfile"),
            dockerfile(name, parent).as_bytes(),
        )?;
        for file in 0..FILES_PER_CONTEXT {
            random.mixed_bytes(4096, &mut bytes);
            write_file(&context.join(format!("files/{file}")), &bytes)?;
        }
        images.push(Recipe {
            name: (*name).to_owned(),
            context,
        });
    }
    write_file(&folder.join("cairn.toml"), cairn_toml().as_bytes())?;
    write_file(&folder.join("docker-bake.json"), bake_json().as_bytes())?;
    Ok(Written {
        images,
        leaf_file: folder.join(LEAF).join("files/0"),
    })
}

fn dockerfile(name: &str, parent: &str) -> String {
    format!(
        "FROM {parent}\n\
         RUN mkdir -p /opt/{name} && echo {name} > /opt/{name}/name\n\
         RUN cd /opt/{name} && for i in 1 2 3 4 5 6 7 8 9; do echo $i > number-$i; done\n\
         RUN cat /opt/{name}/number-* > /opt/{name}/all && rm /opt/{name}/number-9\n\
         COPY files /opt/{name}/files\n\
         RUN sha256sum /opt/{name}/files/* > /opt/{name}/sums\n"
    )
}

fn cairn_toml() -> String {
    let mut text = "[stack]\nname = \"bench\"\n".to_owned();
    for (name, _) in IMAGES {
        text.push_str(&format!("\n[image.{name}]\ncontext = \"{name}\"\n"));
    }
    text
}

/// The same for `docker buildx bake`: a parent in the stack is a named context of its child.
fn bake_json() -> String {
    let mut targets = Map::new();
    for (name, parent) in IMAGES {
        let mut target = json!({
            "context": name,
            "tags": [name],
            "network": "host",
        });
        if *parent != BASE {
            target["contexts"] = json!({ *parent: format!("target:{parent}") });
        }
        targets.insert((*name).to_owned(), target);
    }
    let names: Vec<&str> = IMAGES.iter().map(|(name, _)| *name).collect();
    json!({ "group": { "default": { "targets": names } }, "target": targets }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_is_the_one_of_the_design() {
        let folder = tempfile::tempdir().expect("a folder");
        let written = write(folder.path()).expect("a stack");
        let texts: Vec<String> = written
            .images
            .iter()
            .map(|image| {
                std::fs::read_to_string(image.context.join("Dockerfile")).expect("a Dockerfile")
            })
            .collect();
        let count = |word: &str| -> usize {
            let lines = texts.iter().flat_map(|text| text.lines());
            lines.filter(|line| line.starts_with(word)).count()
        };
        assert_eq!((count("FROM"), count("RUN"), count("COPY")), (6, 24, 6));
        assert!(written.leaf_file.is_file());
    }

    #[test]
    fn parents_come_first() {
        for (index, (_, parent)) in IMAGES.iter().enumerate() {
            let earlier = IMAGES[..index].iter().any(|(name, _)| name == parent);
            assert!(earlier || *parent == BASE);
        }
    }
}
