//! What the benchmark builds: the same bytes on every machine, from one seed.
//!
//! The base image is the host's static busybox. The stack has six images with four `RUN` and one
//! `COPY` each; the rest are single Dockerfiles for one large layer, one layer of many files, and
//! one large context.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout;
use super::options::Options;
use super::stack;
use crate::error::ChoreError;

/// The base image's name, the same for every engine.
pub(crate) const BASE: &str = "localhost/cairn-bench-busybox:1";

/// One MiB.
const MIB: u64 = 1 << 20;

/// Files and bytes of the large context at scale 1.
const CONTEXT_FILES: u64 = 50_000;
const CONTEXT_FILE_SIZE: u64 = 10_000;
const CONTEXT_FOLDER_FILES: u64 = 100;

/// A Dockerfile with its context.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// The image's name.
    pub(super) name: String,
    /// The folder that holds `Dockerfile` and is the context.
    pub(super) context: PathBuf,
}

/// Everything that was generated.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Where all of it lies, and what else a row needs.
    pub(super) folder: PathBuf,
    /// The base image as an OCI layout.
    pub(super) base_layout: PathBuf,
    /// The base image's files as a tar.
    pub(super) base_tar: PathBuf,
    /// The folder of the six-image stack, which holds `cairn.toml` and `docker-bake.json`.
    pub(super) stack: PathBuf,
    /// The stack's images, parents first.
    pub(super) stack_images: Vec<Recipe>,
    /// The file that the leaf row changes.
    pub(super) leaf_file: PathBuf,
    /// `RUN` that writes 1 GiB.
    pub(super) big_layer: Recipe,
    /// `RUN` that writes 50,000 files.
    pub(super) many_files: Recipe,
    /// `COPY .` of 50,000 files and 500 MB.
    pub(super) large_context: Recipe,
    /// A stack of 200 images with 100 context files each.
    pub(super) wide_stack: PathBuf,
    /// A stack of one image with 200 command tests.
    pub(super) tested_stack: PathBuf,
}

impl Inputs {
    /// Writes everything below `folder`.
    pub(super) fn generate(folder: &Path, options: &Options) -> Result<Self, ChoreError> {
        let wants = |prefix: &str| options.rows.iter().any(|row| row.starts_with(prefix));
        let base = layout::write(&folder.join("base"))?;
        let stack = stack::write(&folder.join("stack"))?;
        let context = folder.join("large-context");
        if wants("copy-") {
            write_large_context(&context, scaled(CONTEXT_FILES, options.scale))?;
        }
        if wants("plan-") {
            write_wide_stack(&folder.join("wide"), options.scale)?;
        }
        if wants("tests-") {
            write_tested_stack(&folder.join("tested"), options.scale)?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            wide_stack: folder.join("wide"),
            tested_stack: folder.join("tested"),
            base_layout: base.layout,
            base_tar: base.tar,
            stack: folder.join("stack"),
            leaf_file: stack.leaf_file,
            stack_images: stack.images,
            big_layer: recipe(folder, "bench-big-layer", &big_layer(options.scale))?,
            many_files: recipe(folder, "bench-many-files", &many_files(options.scale))?,
            large_context: Recipe {
                name: "bench-large-context".to_owned(),
                context,
            },
        })
    }
}

/// Random bytes do not compress: the worst case for whoever compresses.
fn big_layer(scale: f64) -> String {
    let mebibytes = scaled(1024, scale);
    format!("FROM {BASE}\nRUN dd if=/dev/urandom of=/big bs=1048576 count={mebibytes}\n")
}

fn many_files(scale: f64) -> String {
    let folders = scaled(500, scale);
    format!(
        "FROM {BASE}\n\
         RUN d=0; while [ $d -lt {folders} ]; do mkdir -p /files/$d; f=0; \
         while [ $f -lt 100 ]; do echo $d.$f > /files/$d/$f; f=$((f+1)); done; d=$((d+1)); done\n"
    )
}

fn recipe(folder: &Path, name: &str, dockerfile: &str) -> Result<Recipe, ChoreError> {
    let context = folder.join(name);
    write_file(&context.join("Dockerfile"), dockerfile.as_bytes())?;
    Ok(Recipe {
        name: name.to_owned(),
        context,
    })
}

fn write_large_context(folder: &Path, files: u64) -> Result<(), ChoreError> {
    let dockerfile = format!("FROM {BASE}\nCOPY . /data\n");
    write_file(&folder.join("Dockerfile"), dockerfile.as_bytes())?;
    let mut random = Random::new(2);
    let mut bytes = Vec::new();
    for file in 0..files {
        random.mixed_bytes(CONTEXT_FILE_SIZE, &mut bytes);
        let place = format!("{}/{file}", file / CONTEXT_FOLDER_FILES);
        write_file(&folder.join(place), &bytes)?;
    }
    Ok(())
}

/// Twenty chains of ten images, each with a hundred small files of its own.
fn write_wide_stack(folder: &Path, scale: f64) -> Result<(), ChoreError> {
    const CHAIN: u64 = 10;
    let mut spec = "[stack]\nname = \"wide\"\n".to_owned();
    let mut random = Random::new(3);
    let mut bytes = Vec::new();
    for image in 0..scaled(200, scale) {
        let name = format!("wide-{image}");
        let parent = match image % CHAIN {
            0 => BASE.to_owned(),
            _ => format!("wide-{}", image - 1),
        };
        spec.push_str(&format!("[image.{name}]\ncontext = \"{name}\"\n"));
        let dockerfile = format!(
            "FROM {parent}\nCOPY files /opt/{name}/files\nRUN echo {name} > /opt/{name}/name\n"
        );
        write_file(
            &folder.join(&name).join("Dockerfile"),
            dockerfile.as_bytes(),
        )?;
        for file in 0..100 {
            random.mixed_bytes(256, &mut bytes);
            write_file(
                &folder.join(format!("{name}/files/{}/{file}", file / 25)),
                &bytes,
            )?;
        }
    }
    write_file(&folder.join("cairn.toml"), spec.as_bytes())
}

fn write_tested_stack(folder: &Path, scale: f64) -> Result<(), ChoreError> {
    let spec = "[stack]\nname = \"tested\"\n[image.tested]\ncontext = \".\"\n\
                tests = { structure = \"structure.yaml\" }\n";
    write_file(&folder.join("cairn.toml"), spec.as_bytes())?;
    write_file(
        &folder.join("Dockerfile"),
        format!("FROM {BASE}\n").as_bytes(),
    )?;
    let mut tests = "schemaVersion: 2.0.0\ncommandTests:\n".to_owned();
    for number in 0..scaled(200, scale) {
        tests.push_str(&format!(
            "- name: says {number}\n  command: echo\n  args: ['{number}']\n  expectedOutput: ['{number}']\n"
        ));
    }
    write_file(&folder.join("structure.yaml"), tests.as_bytes())
}

/// Writes a file and the folders above it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ChoreError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(ChoreError::file(folder))?;
    }
    fs::write(path, bytes).map_err(ChoreError::file(path))
}

/// A count at a scale, never nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of inputs are small and the scale is positive"
)]
fn scaled(count: u64, scale: f64) -> u64 {
    ((count as f64 * scale) as u64).max(1)
}

/// SplitMix64: eight lines, and the same numbers everywhere.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = limit as u64;
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// A word that no other call gives.
    pub(crate) fn word(&mut self) -> String {
        format!("w{:016x}", self.next())
    }

    /// Fills `bytes` with half noise and half words: about as compressible as source and data are.
    pub(super) fn mixed_bytes(&mut self, size: u64, bytes: &mut Vec<u8>) {
        bytes.clear();
        while (bytes.len() as u64) < size.min(MIB) {
            let number = self.next();
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(b" stone, ");
        }
        bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |seed| {
            let mut bytes = Vec::new();
            Random::new(seed).mixed_bytes(20, &mut bytes);
            bytes
        };
        assert_eq!(bytes(2), bytes(2));
        assert_ne!(bytes(2), bytes(3));
        assert_eq!(bytes(2).len(), 20);
        // The published first output of SplitMix64 for seed 1234567.
        assert_eq!(Random::new(1_234_567).next(), 6_457_827_717_110_365_317);
    }

    #[test]
    fn scale_shrinks_and_never_to_nothing() {
        assert_eq!(scaled(1024, 1.0), 1024);
        assert_eq!(scaled(1024, 0.5), 512);
        assert_eq!(scaled(10, 0.001), 1);
    }

    #[test]
    fn the_large_context_has_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        write_large_context(folder.path(), 101).expect("files");
        let second = folder.path().join("1/100");
        assert_eq!(second.metadata().expect("a file").len(), CONTEXT_FILE_SIZE);
        assert!(folder.path().join("Dockerfile").is_file());
    }
}
