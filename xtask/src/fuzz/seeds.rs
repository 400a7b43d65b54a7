//! The inputs that a search begins with.
//!
//! They are taken from what lies around: the examples, the public conformance data where it lies
//! beside the project, and lines made here. None of them is part of the tree.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ChoreError;
use crate::workspace::read_text;

/// Writes the seeds of a target into a folder; tells how many there are.
pub(super) fn write(root: &Path, target: &str, folder: &Path) -> Result<usize, ChoreError> {
    let seeds = match target {
        "ignore" => plain(IGNORES),
        "oci" => plain(OCI),
        "layer" => plain(LAYERS),
        "deb" => plain(PACKAGES),
        "debian" => plain(DEBIAN),
        "spec" => files(&root.join("examples"), "cairn.toml")?,
        "shell" => commands(&dockerfiles(root)?),
        "dockerfile_flags" => plain(FLAGS),
        "dockerfile_expand" => words(root)?,
        _ => dockerfiles(root)?,
    };
    for (index, seed) in seeds.iter().enumerate() {
        let path = folder.join(format!("{index:04}"));
        fs::write(&path, seed).map_err(ChoreError::file(&path))?;
    }
    Ok(seeds.len())
}

type Seeds = Vec<Vec<u8>>;

const IGNORES: &[&str] = &[
    "*\n!src\n# comment\n**/*.o\n\0src/a.o",
    "a/*/b\n!a/x/b/[c-e]\n\0a/x/b/d",
    "**/x\n!**/y/\n\\*\n\0y/x",
];

const FLAGS: &[&str] = &[
    "type=cache,target=/c,sharing=locked,mode=0755,uid=1,from=x",
    "type=secret,id=a,env=A,required=true",
    "8000-8010:80-90/udp",
    "u=rwX,go-w,a+s",
    "user:1000",
    "1h2m3.5s",
    "12.5GiB",
    "SIGTERM",
    "skip=JSONArgsRecommended;error=true",
    "a/[b-c]?*\\d\0a/bxyd",
    "vendor.com/class=name",
];

const OCI: &[&str] = &[
    "registry.lab:5000/a/b_c:1.2@sha256:\
     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "busybox",
    "linux/arm/v7",
    "2024-01-02T03:04:05.5+01:00",
    r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","size":2},"layers":[],"annotations":{"a":"b"}}"#,
    r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","size":2,"platform":{"architecture":"arm","os":"linux","variant":"v7"}}]}"#,
    r#"{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z","config":{"Env":["A=b"],"Cmd":["x"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["NONE"],"Interval":1}},"rootfs":{"type":"layers","diff_ids":["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]},"history":[{"created_by":"x","empty_layer":true}]}"#,
];

/// Rows of entries: `fuzz/src/archive.rs` says how they are written.
const LAYERS: &[&str] = &[
    "d@a\0\0f@a/b\0bytes\0sxa/l\0b\0hxa/h\0a/b\0",
    "d@a\0\0f@a/.wh.b\0\0f@a/.wh..wh..opq\0\0",
    "sxout\0../../..\0f@out/x\0escaped\0hxy\0../../store\0",
    "d@a\0\0pxa/p\0\0cxa/c\0\0bxa/b\0\0",
    "x@pax\x0030 path=a/from/the/extension\n\0f@x\0bytes\0",
];

const PACKAGES: &[&str] = &[
    "debian-binary\x002.0\n\0control.tar\0f@./control|Package: a\nVersion: 1\nArchitecture: all\n|\
     f@./conffiles|/etc/a\n|f@./triggers|interest /usr/lib # x\n|\0data.tar\0d@./usr||f@./usr/a|bytes|\0",
    "debian-binary\x002.0\n\0_ignored\0x\0control.tar.gz\0\0data.tar.xz\0\0",
];

const DEBIAN: &[&str] = &[
    "1:2.0~rc1-3+b1\x002.0-3\x001:2.0-3",
    "libc6 (>= 2.36), a:any | b [amd64 !i386] <!nocheck>, c (= 1)\0\0",
    "Package: a\nVersion: 1\nDepends: b (>= 1),\n c\n\nPackage: b\n\0\0",
    "Suite: stable\nCodename: bookworm\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nArchitectures: amd64 all\nSHA256:\n \
     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef 12 main/binary-amd64/Packages.xz\n\0stable\0\
     main/binary-amd64/Packages.xz",
];

fn plain(texts: &[&str]) -> Seeds {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Every Dockerfile of the examples and of the conformance data.
fn dockerfiles(root: &Path) -> Result<Seeds, ChoreError> {
    let mut seeds = files(&root.join("examples"), "Dockerfile")?;
    let data = conformance(root).join("parser");
    if data.is_dir() {
        seeds.extend(files(&data, "Dockerfile")?);
    }
    Ok(seeds)
}

/// What `RUN` lines hold, roughly: a search needs only a start.
fn commands(dockerfiles: &Seeds) -> Seeds {
    let texts = dockerfiles
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes));
    let lines: Vec<String> = texts
        .flat_map(|text| {
            let joined = text.replace("\\\n", " ");
            let runs = joined.lines().filter_map(|line| line.strip_prefix("RUN "));
            runs.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    lines.into_iter().map(String::into_bytes).collect()
}

/// The words of the conformance tables: the second column.
fn words(root: &Path) -> Result<Seeds, ChoreError> {
    let mut seeds = plain(&["a ${a:-b} \"$B_1\" '$a' \\$a ${a##*x}\0value\0b c"]);
    let folder = conformance(root).join("words");
    for name in ["envVarTest", "wordsTest"] {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let text = read_text(&path)?;
        let inputs = text.lines().filter_map(|line| line.split('|').nth(1));
        seeds.extend(inputs.map(|input| input.trim().as_bytes().to_vec()));
    }
    Ok(seeds)
}

fn conformance(root: &Path) -> PathBuf {
    std::env::var_os("CAIRN_CONFORMANCE")
        .map_or_else(|| root.join("../shared/conformance"), PathBuf::from)
}

/// All files of a name below a folder.
fn files(folder: &Path, name: &str) -> Result<Seeds, ChoreError> {
    let mut found = Seeds::new();
    for entry in fs::read_dir(folder).map_err(ChoreError::file(folder))? {
        let path = entry.map_err(ChoreError::file(folder))?.path();
        if path.is_dir() {
            found.extend(files(&path, name)?);
        } else if path.ends_with(name) {
            found.push(fs::read(&path).map_err(ChoreError::file(&path))?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds() {
        let root = crate::workspace::root();
        for target in [
            "ignore",
            "oci",
            "spec",
            "dockerfile_expand",
            "layer",
            "deb",
            "debian",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let count = write(&root, target, folder.path()).unwrap();
            assert!(count > 0, "{target}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), count);
        }
    }

    #[test]
    fn commands_are_joined_over_lines() {
        let text = b"FROM a\nRUN one && \\\n two\nCMD x\n".to_vec();
        assert_eq!(commands(&vec![text]), [b"one &&   two".to_vec()]);
    }
}
