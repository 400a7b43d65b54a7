//! What was asked for, in BuildKit's words.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_attest::provenance::{ConfigSource, Pin};
use cairn_build::attest::Origin;
use cairn_oci::redact;

use crate::contexts::is_remote;
use crate::git;
use crate::single::{ContextSource, DockerfileSource, SingleBuild, of_the_host};

const DOCKERFILE: &str = "Dockerfile";

/// The options of a build. Nothing tells where on this machine something lies.
pub(super) fn args(build: &SingleBuild) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    let mut add = |key: String, value: String| args.insert(key, value);
    for (name, value) in &build.args {
        // A proxy's address may have a login in it.
        add(format!("build-arg:{name}"), redact(value));
    }
    for (name, value) in &build.labels {
        add(format!("label:{name}"), value.clone());
    }
    for (name, source) in &build.contexts {
        add(format!("context:{name}"), named_context(name, source));
    }
    if let Some(target) = &build.target {
        add("target".to_owned(), target.clone());
    }
    if build.no_cache {
        add("no-cache".to_owned(), String::new());
    } else if !build.no_cache_stages.is_empty() {
        add("no-cache".to_owned(), build.no_cache_stages.join(","));
    }
    if build.network_none {
        add("force-network-mode".to_owned(), "none".to_owned());
    }
    args
}

fn named_context(name: &str, source: &str) -> String {
    if let Some(layout) = source.strip_prefix("oci-layout://") {
        return match layout.split_once('@') {
            Some((_, digest)) => format!("oci-layout://{name}@{digest}"),
            None => format!("oci-layout://{name}"),
        };
    }
    let is_elsewhere = source.contains("://") || source.starts_with("target:");
    match is_elsewhere || is_remote(source) {
        true => redact(source),
        false => format!("local:{name}"),
    }
}

/// What the Dockerfile is called, without the directories of this machine.
pub(super) fn file_name(build: &SingleBuild) -> String {
    let is_remote = matches!(build.context, ContextSource::Remote(_));
    match &build.dockerfile {
        DockerfileSource::Default | DockerfileSource::File(_) => DOCKERFILE.to_owned(),
        DockerfileSource::Named(path) if is_remote && of_the_host(&build.dockerfile).is_none() => {
            path.display().to_string()
        }
        DockerfileSource::Named(path) => last_part(path),
    }
}

fn last_part(path: &Path) -> String {
    let name = path.file_name();
    name.map_or_else(
        || DOCKERFILE.to_owned(),
        |it| it.to_string_lossy().into_owned(),
    )
}

/// What of a build came from this machine, whether files were taken of it or not.
pub(super) fn locals(build: &SingleBuild) -> Vec<String> {
    let is_remote = matches!(build.context, ContextSource::Remote(_));
    let mut locals = Vec::new();
    if !is_remote {
        locals.push("context".to_owned());
    }
    if !is_remote || of_the_host(&build.dockerfile).is_some() {
        locals.push("dockerfile".to_owned());
    }
    locals
}

/// What a build began with.
pub(super) fn config_source(
    build: &SingleBuild,
    origin: Option<&Origin>,
    file_name: &str,
) -> ConfigSource {
    let uri = match &build.context {
        ContextSource::Remote(text) => Some(redact(text)),
        _ => None,
    };
    let digest = match origin {
        Some(Origin::Git { commit, .. }) => Some(Pin::Commit(commit.clone())),
        Some(Origin::File { digest, .. }) => Some(Pin::Digest(digest.clone())),
        Some(Origin::Local(_)) | None => None,
    };
    ConfigSource {
        uri,
        digest,
        path: file_name.to_owned(),
    }
}

/// What git says of a directory of this machine. Nobody has checked that its files are those.
pub(super) fn vcs(build: &SingleBuild) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    let ContextSource::Directory(directory) = &build.context else {
        return told;
    };
    let Some(commit) = git::commit(directory) else {
        return told;
    };
    told.insert("revision".to_owned(), commit.hash);
    if let Some(remote) = git::remote_with_login(directory) {
        told.insert("source".to_owned(), redact(&remote));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_told_without_logins_and_without_places() {
        for (source, told) in [
            ("https://u:p@h/f.tar", "https://xxxxx:xxxxx@h/f.tar"),
            ("docker-image://alpine", "docker-image://alpine"),
            ("target:base", "target:base"),
            ("oci-layout:///home/me/x:tag", "oci-layout://n"),
            (
                "oci-layout:///home/me/x@sha256:1",
                "oci-layout://n@sha256:1",
            ),
            ("/home/me/files", "local:n"),
            ("git@host:a", "git@host:a"),
        ] {
            assert_eq!(named_context("n", source), told);
        }
    }
}
