//! The base image, made here: busybox in an OCI layout and in a tar, the same bytes each time.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::inputs::write_file;
use crate::command;
use crate::error::ChoreError;

/// The commands that the benchmark's `RUN` lines use; busybox decides by the name it is called by.
const APPLETS: &[&str] = &[
    "cat",
    "dd",
    "echo",
    "ls",
    "mkdir",
    "rm",
    "sh",
    "sha256sum",
    "test",
    "true",
];

/// Folders every image has, with their modes.
const FOLDERS: &[(&str, u32)] = &[
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("opt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("sys", 0o755),
    ("tmp", 0o1777),
];

/// Where the base image was written.
#[derive(Debug)]
pub(super) struct Base {
    /// The OCI layout.
    pub(super) layout: PathBuf,
    /// Its files alone.
    pub(super) tar: PathBuf,
}

/// Writes the base image below `folder`.
pub(super) fn write(folder: &Path) -> Result<Base, ChoreError> {
    let busybox = command::find("busybox").ok_or_else(|| {
        ChoreError::Unmet(
            "the benchmark's base image is the host's static busybox; install `busybox-static`"
                .to_owned(),
        )
    })?;
    let busybox = fs::read(&busybox).map_err(ChoreError::file(&busybox))?;
    if is_dynamic(&busybox) {
        let message = "the host's busybox needs shared libraries; install `busybox-static`";
        return Err(ChoreError::Unmet(message.to_owned()));
    }
    let layer = layer_tar(&busybox).map_err(ChoreError::file(folder))?;
    let base = Base {
        layout: folder.join("layout"),
        tar: folder.join("base.tar"),
    };
    write_file(&base.tar, &layer)?;
    write_layout(&base.layout, &layer)?;
    Ok(base)
}

/// A program that names the dynamic loader cannot run in an image that holds nothing else.
fn is_dynamic(program: &[u8]) -> bool {
    let loader = b"/ld-linux";
    program.windows(loader.len()).any(|window| window == loader)
}

fn layer_tar(busybox: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, mode) in FOLDERS {
        tar.append_data(
            &mut header(tar::EntryType::Directory, *mode, 0),
            format!("{name}/"),
            std::io::empty(),
        )?;
    }
    let passwd = b"root:x:0:0:root:/root:/bin/sh\n";
    tar.append_data(
        &mut header(tar::EntryType::Regular, 0o644, passwd.len()),
        "etc/passwd",
        &passwd[..],
    )?;
    tar.append_data(
        &mut header(tar::EntryType::Regular, 0o755, busybox.len()),
        "bin/busybox",
        busybox,
    )?;
    for applet in APPLETS {
        let mut link = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    tar.into_inner()
}

fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn write_layout(folder: &Path, layer: &[u8]) -> Result<(), ChoreError> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let layer_descriptor = blob(folder, "application/vnd.oci.image.layer.v1.tar", layer)?;
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": [layer_descriptor["digest"]] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "busybox" }],
    });
    let config_type = "application/vnd.oci.image.config.v1+json";
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": blob(folder, config_type, config.to_string().as_bytes())?,
        "layers": [layer_descriptor],
    });
    let mut descriptor = blob(folder, manifest_type, manifest.to_string().as_bytes())?;
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor],
    });
    write_file(&folder.join("index.json"), index.to_string().as_bytes())?;
    write_file(
        &folder.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )
}

/// Writes a blob and gives its descriptor.
fn blob(folder: &Path, media_type: &str, bytes: &[u8]) -> Result<Value, ChoreError> {
    let hex = hex::encode(Sha256::digest(bytes));
    write_file(&folder.join("blobs/sha256").join(&hex), bytes)?;
    Ok(json!({
        "mediaType": media_type,
        "digest": format!("sha256:{hex}"),
        "size": bytes.len(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_whole_and_the_same_each_time() {
        let index = || {
            let folder = tempfile::tempdir().expect("a folder");
            let layer = layer_tar(b"busybox").expect("a tar");
            write_layout(folder.path(), &layer).expect("a layout");
            let blobs = fs::read_dir(folder.path().join("blobs/sha256")).expect("blobs");
            assert_eq!(blobs.count(), 3);
            fs::read_to_string(folder.path().join("index.json")).expect("an index")
        };
        assert_eq!(index(), index());
    }
}
