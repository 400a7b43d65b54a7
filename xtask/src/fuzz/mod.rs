//! `cargo xtask fuzz`: builds the fuzz targets and lets them search, one after the other.
//!
//! The targets are libFuzzer programs in `fuzz/`, a package of its own. What cargo-fuzz would do
//! is done here with the toolchain that builds the product: the compiler is told to count the
//! branches that an input takes; address checks are left out, because there is no `unsafe` in what
//! is searched. `docs/dev/fuzzing.md` tells what each target holds.

mod options;
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ChoreError;
use crate::{command, workspace};
use options::{Options, Parsed};

/// What the compiler does beyond a usual build. Set as a variable, the flags take the place of
/// those in `.cargo/config.toml`: a static program cannot be searched.
const RUSTFLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Larger inputs are slower to search and find little more.
const INPUT_SIZE_MAX: usize = 4096;

/// `cargo xtask fuzz [OPTION...] TARGET...`.
pub(crate) fn main(arguments: &[String]) -> Result<(), ChoreError> {
    let root = workspace::root();
    let known = targets(&root)?;
    let options = match options::parse(arguments, &known)? {
        Parsed::Help(text) => {
            println!("{text}");
            return Ok(());
        }
        Parsed::Run(options) => options,
    };
    let place = build(&root, &options)?;
    for target in &options.targets {
        search(&root, &place, target, &options)?;
    }
    Ok(())
}

/// The names of the targets: one file each.
fn targets(root: &Path) -> Result<Vec<String>, ChoreError> {
    let folder = root.join("fuzz/targets");
    let entries = fs::read_dir(&folder).map_err(ChoreError::file(&folder))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Where the programs are, and where inputs and findings are kept.
struct Place {
    programs: PathBuf,
    work: PathBuf,
}

fn build(root: &Path, options: &Options) -> Result<Place, ChoreError> {
    let target_dir = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join("fuzz");
    // Not `--locked`: a crate of the product that has a new dependency changes this lock, too.
    // The triple is named, so that build scripts and macros are compiled without the flags.
    let triple = "x86_64-unknown-linux-gnu";
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root.join("fuzz"))
        .env("RUSTFLAGS", RUSTFLAGS.join(" "))
        .args(["build", "--release", "--target", triple])
        .arg("--target-dir")
        .arg(&target_dir);
    for target in &options.targets {
        cargo.args(["--bin", target]);
    }
    command::run(&mut cargo)?;
    Ok(Place {
        programs: target_dir.join(triple).join("release"),
        work: target_dir,
    })
}

/// Runs one target: over its seeds and what earlier runs kept, then on from there.
fn search(root: &Path, place: &Place, target: &str, options: &Options) -> Result<(), ChoreError> {
    let folder = |kind: &str| {
        let folder = place.work.join(kind).join(target);
        fs::create_dir_all(&folder).map_err(ChoreError::file(&folder))?;
        Ok::<PathBuf, ChoreError>(folder)
    };
    let (kept, seeds, findings) = (folder("corpus")?, folder("seeds")?, folder("findings")?);
    let count = seeds::write(root, target, &seeds)?;
    println!(
        "==> {target}: {count} seeds, {} s, findings go to {}",
        options.seconds,
        findings.display()
    );
    let mut program = Command::new(place.programs.join(target));
    program
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg(format!("-max_len={INPUT_SIZE_MAX}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    match options.seconds {
        0 => program.arg("-runs=0"),
        seconds => program.arg(format!("-max_total_time={seconds}")),
    };
    let words = root.join("fuzz/words").join(words_of(target));
    if words.is_file() {
        program.arg(format!("-dict={}", words.display()));
    }
    command::run(program.args([&kept, &seeds]))
}

/// The dictionary that helps a target along.
fn words_of(target: &str) -> &'static str {
    match target {
        "spec" => "spec.dict",
        "oci" => "oci.dict",
        "shell" => "shell.dict",
        "debian" => "debian.dict",
        "deb" | "layer" => "layer.dict",
        _ => "dockerfile.dict",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_program_and_on_the_page() {
        let root = workspace::root();
        let manifest = workspace::read_text(&root.join("fuzz/Cargo.toml")).unwrap();
        let page = workspace::read_text(&root.join("docs/dev/fuzzing.md")).unwrap();
        let targets = targets(&root).unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            assert!(
                manifest.contains(&format!("targets/{target}.rs")),
                "{target}"
            );
            assert!(page.contains(&format!("| `{target}` |")), "{target}");
            let words = root.join("fuzz/words").join(words_of(&target));
            assert!(words.is_file(), "{}", words.display());
        }
    }
}
