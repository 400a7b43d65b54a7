//! `-v` and `--tmpfs`: parts of the host in a container.

use std::path::{Component, Path, PathBuf};

use cairn_sandbox::Mount;

use crate::error::CommandError;

/// Options that docker knows and that need nothing here.
const WITHOUT_EFFECT: [&str; 12] = [
    "rw",
    "z",
    "Z",
    "consistent",
    "cached",
    "delegated",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "nocopy",
    "bind",
];

/// One `-v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The path on the host; none for a fresh directory.
    source: Option<PathBuf>,
    target: PathBuf,
    read_only: bool,
}

impl Volume {
    /// Reads `SOURCE:TARGET[:OPTIONS]`, or `TARGET` alone.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] => (None, *target, ""),
            [source, target] => (Some(*source), *target, ""),
            [source, target, options] => (Some(*source), *target, *options),
            _ => return Err(format!("`{text}` is not SOURCE:TARGET[:ro]")),
        };
        let target = self::target(target)?;
        let source = source.map(host_path).transpose()?;
        let mut read_only = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "readonly" => read_only = true,
                option if WITHOUT_EFFECT.contains(&option) => {}
                option => return Err(format!("`{option}` is not `ro` or `rw`")),
            }
        }
        Ok(Self {
            source,
            target,
            read_only,
        })
    }
}

/// Where something is mounted: not over what makes a container one.
fn target(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(format!("the target `{text}` is not an absolute path"));
    }
    let mut target = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => target.push(name),
            Component::ParentDir => drop(target.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let reason = if target == Path::new("/") {
        "it would hide the whole image"
    } else if target.starts_with("/proc") {
        "it holds the container's own processes"
    } else if target == Path::new("/dev") {
        "it holds the container's own devices; what is below it can be mounted"
    } else {
        return Ok(target);
    };
    Err(format!("nothing can be mounted on `{text}`: {reason}"))
}

/// A path of the host. Docker takes a bare word for the name of a volume that it keeps.
fn host_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let first = path.components().next();
    let is_path = path.is_absolute()
        || text.contains('/')
        || matches!(first, Some(Component::CurDir | Component::ParentDir));
    if !is_path {
        return Err(format!(
            "`{text}` would be a named volume, and there are none here: for a directory write \
             `./{text}`"
        ));
    }
    Ok(path.to_owned())
}

/// The mounts that the flags ask for, outer ones before inner ones.
pub fn mounts(volumes: &[Volume], tmpfs: &[PathBuf]) -> Result<Vec<Mount>, CommandError> {
    let mut mounts: Vec<(PathBuf, Mount)> = Vec::new();
    for volume in volumes {
        mounts.push((volume.target.clone(), mount(volume)?));
    }
    for target in tmpfs {
        // `--tmpfs TARGET:OPTIONS` as docker has it: the size and mode stay the default.
        let text = target.to_string_lossy();
        let target = self::target(text.split(':').next().unwrap_or(&text));
        let target = target.map_err(CommandError::usage)?;
        mounts.push((target.clone(), empty_directory(target, 0o1777)));
    }
    mounts.sort_by_key(|(target, _)| target.components().count());
    Ok(mounts.into_iter().map(|(_, mount)| mount).collect())
}

fn mount(volume: &Volume) -> Result<Mount, CommandError> {
    let target = volume.target.clone();
    let Some(source) = &volume.source else {
        return Ok(empty_directory(target, 0o755));
    };
    let source = source.canonicalize().map_err(|_| {
        CommandError::usage(format!("there is no `{}` to mount", source.display()))
            .hint("make it first: a directory made by a container would not be yours")
    })?;
    Ok(Mount::Bind {
        source,
        target,
        read_only: volume.read_only,
    })
}

fn empty_directory(target: PathBuf, mode: u32) -> Mount {
    Mount::Tmpfs {
        target,
        size_bytes: None,
        mode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        let volume = |source: Option<&str>, target: &str, read_only| {
            Ok(Volume {
                source: source.map(PathBuf::from),
                target: target.into(),
                read_only,
            })
        };
        assert_eq!(Volume::parse("/a:/b"), volume(Some("/a"), "/b", false));
        assert_eq!(Volume::parse("./a:/b:ro"), volume(Some("./a"), "/b", true));
        assert_eq!(
            Volume::parse("a/b:/b:ro,Z"),
            volume(Some("a/b"), "/b", true)
        );
        assert_eq!(Volume::parse(".:/b:rw"), volume(Some("."), "/b", false));
        assert_eq!(Volume::parse("/cache"), volume(None, "/cache", false));
        assert_eq!(
            Volume::parse("/a:/dev/shm"),
            volume(Some("/a"), "/dev/shm", false)
        );
        for (text, part) in [
            ("data:/b", "./data"),
            ("/a:b", "absolute"),
            ("a", "absolute"),
            ("/a:/b:rx", "rx"),
            ("/a:/b:ro:x", "SOURCE:TARGET"),
            ("/a:/", "the whole image"),
            ("/a:/x/..", "the whole image"),
            ("/a:/proc", "processes"),
            ("/a:/proc/sys:ro", "processes"),
            ("/a:/dev/", "devices"),
        ] {
            let error = Volume::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn outer_mounts_come_first() {
        let volumes = [
            Volume::parse("/tmp:/a/b/c").unwrap(),
            Volume::parse("/tmp:/a").unwrap(),
        ];
        let mounts = mounts(&volumes, &["/a/b:size=1m".into()]).unwrap();
        let targets: Vec<&Path> = mounts
            .iter()
            .map(|mount| match mount {
                Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } => target.as_path(),
                other => panic!("unexpected {other:?}"),
            })
            .collect();
        assert_eq!(
            targets,
            [Path::new("/a"), Path::new("/a/b"), Path::new("/a/b/c")]
        );
    }

    #[test]
    fn a_missing_source_is_told_before_anything_starts() {
        let volume = Volume::parse("/nonexistent/dir:/a").unwrap();
        let error = mounts(&[volume], &[]).unwrap_err();
        assert!(error.messages[0].contains("/nonexistent/dir"));
    }
}
