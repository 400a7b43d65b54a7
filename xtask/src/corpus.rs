//! `cargo xtask corpus`: real Dockerfiles, read and checked.
//!
//! They come from Debian source packages, which anybody can fetch again; none is part of the
//! tree. Whether a refusal is right needs a person: it is shown with its place and its cause, and
//! `docs/dev/fuzzing.md` says which were looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::error::ChoreError;
use crate::{command, workspace};

const USAGE: &str = "\
usage: cargo xtask corpus [DIR]

Fetches Debian source packages into DIR (default: /var/tmp/cairn-corpus), takes their Dockerfiles
out and runs `cairn lint` over each. What DIR has is not fetched again.";

/// Source packages that ship Dockerfiles.
const PACKAGES: &[&str] = &[
    "containerd",
    "docker-compose",
    "docker.io",
    "etcd",
    "golang-github-containers-buildah",
    "kubernetes",
    "libpod",
    "prometheus",
    "rails",
    "runc",
    "skopeo",
    "umoci",
];

const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Files that are named like Dockerfiles and are something else.
const OTHERS: &[&str] = &[
    "dockerignore",
    "go",
    "html",
    "json",
    "md",
    "nanorc",
    "py",
    "sh",
    "tmLanguage",
    "tmPreferences",
    "ts",
    "txt",
    "vim",
    "yaml",
    "yml",
];

/// `cargo xtask corpus [DIR]`.
pub(crate) fn main(arguments: &[String]) -> Result<(), ChoreError> {
    let place = match arguments {
        [] => PathBuf::from("/var/tmp/cairn-corpus"),
        [word] if word == "--help" || word == "-h" => {
            println!("{USAGE}");
            return Ok(());
        }
        [place] if !place.starts_with('-') => PathBuf::from(place),
        _ => return Err(ChoreError::Usage(USAGE.to_owned())),
    };
    let archives = make(&place.join("archives"))?;
    fetch(&place, &archives)?;
    let trees = make(&place.join("trees"))?;
    unpack(&archives, &trees)?;
    let files = distinct(&trees)?;
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(workspace::root());
    build.args([
        "build",
        "--locked",
        "-p",
        "cairn-cli",
        "--message-format",
        "json",
    ]);
    report(&command::built_program(&mut build)?, &trees, &files)
}

fn make(folder: &Path) -> Result<PathBuf, ChoreError> {
    fs::create_dir_all(folder).map_err(ChoreError::file(folder))?;
    Ok(folder.to_path_buf())
}

/// Fetches what is not there yet, with lists of packages of our own: the system's are left alone.
fn fetch(place: &Path, archives: &Path) -> Result<(), ChoreError> {
    make(&place.join("lists/partial"))?;
    let sources = place.join("sources.list");
    let line = format!("deb-src [signed-by={KEYRING}] {MIRROR} {SUITE} main\n");
    fs::write(&sources, line).map_err(ChoreError::file(&sources))?;
    let settings = format!(
        "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/nonexistent\";\n\
         Dir::State::lists \"{}\";\nDir::Cache \"{}\";\nAPT::Sandbox::User \"\";\n",
        sources.display(),
        place.join("lists").display(),
        place.display(),
    );
    let settings_file = place.join("apt.conf");
    fs::write(&settings_file, settings).map_err(ChoreError::file(&settings_file))?;
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("APT_CONFIG", &settings_file).current_dir(archives);
        apt.arg("-qq").args(arguments);
        apt
    };
    command::run(&mut apt(&["update"]))?;
    for package in PACKAGES {
        let has = list(archives)?.iter().any(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&format!("{package}_")) && name.contains(".orig")
        });
        if has {
            continue;
        }
        // A mirror that is being updated lacks files; the other packages are looked at all the same.
        if let Err(error) = command::run(&mut apt(&["source", "--download-only", package])) {
            eprintln!("{package}: not all of it can be had: {error}");
        }
    }
    Ok(())
}

/// Takes what is named like a Dockerfile out of the archives, a folder for each.
fn unpack(archives: &Path, trees: &Path) -> Result<(), ChoreError> {
    for archive in list(archives)? {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        let tree = trees.join(&*name);
        if !name.contains(".tar.") || name.ends_with(".asc") || tree.is_dir() {
            continue;
        }
        make(&tree)?;
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(&archive);
        tar.arg("--directory").arg(&tree).arg("--wildcards");
        // It also fails where nothing has such a name; then there is nothing to look at.
        command::output(tar.args(["*Dockerfile*", "*Containerfile*", "*.dockerfile"]))?;
    }
    Ok(())
}

/// The Dockerfiles, each content once.
fn distinct(trees: &Path) -> Result<Vec<PathBuf>, ChoreError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![trees.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for path in list(&folder)? {
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path);
            } else if path.is_file() && is_dockerfile(&path) {
                let bytes = fs::read(&path).map_err(ChoreError::file(&path))?;
                if seen.insert(Sha256::digest(&bytes)) {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_dockerfile(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = name.rsplit('.').next().unwrap_or_default();
    let is_named = ["Dockerfile", "Containerfile"].iter().any(|stem| {
        let rest = name.strip_prefix(stem);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
            || name.ends_with(&format!(".{stem}"))
    });
    !OTHERS.contains(&ending) && (is_named || ending == "dockerfile")
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, ChoreError> {
    let entries = fs::read_dir(folder).map_err(ChoreError::file(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths
        .collect::<Result<_, _>>()
        .map_err(ChoreError::file(folder))
}

/// Checks every file; prints what is refused, and how often each rule has something to say.
fn report(cairn: &Path, trees: &Path, files: &[PathBuf]) -> Result<(), ChoreError> {
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    let mut refused = 0;
    for file in files {
        let mut lint = Command::new(cairn);
        lint.args(["lint", "--format", "json"]).arg(file);
        let output = command::output(&mut lint)?;
        let name = file.strip_prefix(trees).unwrap_or(file).display();
        match output.status.code() {
            Some(0 | 1) => count(&output.stdout, &mut rules),
            Some(2) => {
                let text = String::from_utf8_lossy(&output.stderr);
                println!("{name}: {}", text.lines().next().unwrap_or_default());
                refused += 1;
            }
            _ => return Err(command::failure(&lint, &output)),
        }
    }
    for (rule, times) in &rules {
        println!("{times:>5} {rule}");
    }
    println!("{} Dockerfiles, {refused} refused", files.len());
    Ok(())
}

fn count(stdout: &[u8], rules: &mut BTreeMap<String, usize>) {
    let findings: serde_json::Value = serde_json::from_slice(stdout).unwrap_or_default();
    for finding in findings.as_array().into_iter().flatten() {
        let rule = finding["rule"].as_str().unwrap_or_default().to_owned();
        *rules.entry(rule).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_are_known_by_their_names() {
        for name in [
            "Dockerfile",
            "Containerfile.in",
            "Dockerfile-release",
            "x.dockerfile",
        ] {
            assert!(is_dockerfile(Path::new(name)), "{name}");
        }
        for name in [
            "Dockerfile.md",
            "Dockerfiles",
            "Dockerfile.dockerignore",
            "Makefile",
        ] {
            assert!(!is_dockerfile(Path::new(name)), "{name}");
        }
    }
}
