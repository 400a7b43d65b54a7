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
pub(super) const BASE: &str = "localhost/cairn-bench-busybox:1";

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
        Ok(Self {
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

/// Writes a file and the folders above it.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ChoreError> {
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
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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
