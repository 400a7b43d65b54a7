//! Where the Dockerfile of a lone build is, and how it is read.
//!
//! A link is followed as if its directory were the root, as in BuildKit, which sees no more than
//! that directory: what lies outside cannot be read by a build of somebody else's files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_build::context::{Context, read_inside};
use cairn_diagnostic::Source;
use cairn_dockerfile::ast::Dockerfile;

use crate::load::dockerfile_text;
use crate::single::{DockerfileSource, SingleError};

/// The name that a Dockerfile has by itself.
const DOCKERFILE: &str = "Dockerfile";
/// What docker takes instead, and what podman and buildah do.
const OTHER_NAMES: [&str; 2] = ["dockerfile", "Containerfile"];

/// Finds the Dockerfile of a directory: the one named, or `Dockerfile` in any case.
pub(crate) fn dockerfile_beside(
    directory: &Path,
    source: &DockerfileSource,
) -> Result<PathBuf, SingleError> {
    if !directory.is_dir() {
        return Err(SingleError::NoContext(directory.to_owned()));
    }
    let path = match source {
        DockerfileSource::File(path) => return Ok(path.clone()),
        DockerfileSource::Named(path) => path.clone(),
        DockerfileSource::Default => directory.join(DOCKERFILE),
    };
    if is_there(&path) {
        return Ok(path);
    }
    if path.file_name().is_some_and(|name| name == DOCKERFILE) {
        for name in OTHER_NAMES {
            let other = path.with_file_name(name);
            let counts = name == "dockerfile" || *source == DockerfileSource::Default;
            if counts && is_there(&other) {
                return Ok(other);
            }
        }
    }
    // Docker takes `-f` from the working directory; people expect the context to be tried too.
    let inside = directory.join(&path);
    if *source != DockerfileSource::Default && is_there(&inside) {
        return Ok(inside);
    }
    match path.is_dir() {
        true => Err(SingleError::DockerfileIsDirectory(path)),
        false => Err(SingleError::NoDockerfile(path)),
    }
}

/// Whether something is there that can be read as a file, or a link whose end is yet to be found.
fn is_there(path: &Path) -> bool {
    let found = path.symlink_metadata();
    found.is_ok_and(|found| found.is_file() || found.is_symlink() && !path.is_dir())
}

/// Reads a Dockerfile of the host, which messages call by a name.
pub(crate) fn dockerfile_at(path: &Path, name: &str) -> Result<Arc<Dockerfile>, SingleError> {
    let failed = |source| SingleError::Read {
        path: path.to_owned(),
        source,
    };
    let text = match (path.read_link(), path.parent(), path.file_name()) {
        (Ok(target), Some(directory), Some(link)) => {
            let found = read_inside(directory, Path::new(link)).map_err(failed)?;
            let bytes = found.ok_or_else(|| SingleError::DockerfileOutside {
                path: path.to_owned(),
                target,
            })?;
            dockerfile_text(&*bytes)
        }
        _ => File::open(path).and_then(dockerfile_text),
    };
    parse(name, text.map_err(failed)?)
}

/// Reads a Dockerfile out of a context that is no directory of the host.
pub(crate) fn dockerfile_within(
    context: &Context,
    name: &str,
) -> Result<Arc<Dockerfile>, SingleError> {
    let others = OTHER_NAMES.into_iter().filter(|_| name == DOCKERFILE);
    for name in std::iter::once(name).chain(others) {
        let failed = |source| SingleError::Read {
            path: name.into(),
            source,
        };
        if let Some(bytes) = context.read(name).map_err(failed)? {
            return parse(name, dockerfile_text(&*bytes).map_err(failed)?);
        }
    }
    Err(SingleError::NoDockerfile(name.into()))
}

fn parse(name: &str, text: String) -> Result<Arc<Dockerfile>, SingleError> {
    if name.ends_with(".in") && text.lines().any(is_for_the_preprocessor) {
        return Err(SingleError::Template(name.to_owned()));
    }
    let parsed = cairn_dockerfile::parse(&Source::new(name, text));
    parsed.map(Arc::new).map_err(SingleError::Findings)
}

/// Whether a line, a comment for a Dockerfile, is one of those by which Buildah's templates ask
/// for the preprocessor.
fn is_for_the_preprocessor(line: &str) -> bool {
    let word = line.trim_start().strip_prefix('#').unwrap_or_default();
    let word = word.split_whitespace().next().unwrap_or_default();
    ["include", "define", "if", "ifdef", "ifndef"].contains(&word)
        && line.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn stages(read: Result<Arc<Dockerfile>, SingleError>) -> Result<usize, String> {
        read.map(|file| file.stages.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn links_are_followed_inside_their_directory() {
        let place = tempfile::tempdir().unwrap();
        let context = place.path().join("context");
        std::fs::create_dir_all(context.join("sub")).unwrap();
        std::fs::write(place.path().join("secret"), "FROM scratch\n").unwrap();
        std::fs::write(context.join("sub/real"), "FROM scratch\nFROM scratch\n").unwrap();
        for (target, expected) in [
            ("sub/real", Ok(2)),
            ("/sub/real", Ok(2)),
            ("../sub/real", Ok(2)),
            ("../secret", Err("not in its directory")),
            ("../context/sub/real", Err("not in its directory")),
            ("nothing", Err("not in its directory")),
        ] {
            let link = context.join("Dockerfile");
            let _ = std::fs::remove_file(&link);
            symlink(target, &link).unwrap();
            let found = dockerfile_beside(&context, &DockerfileSource::Default).unwrap();
            match (stages(dockerfile_at(&found, "Dockerfile")), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{target}"),
                (Err(said), Err(part)) => assert!(said.contains(part), "{target}: {said}"),
                (read, _) => panic!("{target}: {read:?}"),
            }
        }
    }

    #[test]
    fn a_directory_is_told_from_nothing() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("Dockerfile")).unwrap();
        let found = |source| dockerfile_beside(place.path(), &source).map_err(|e| e.to_string());
        let default = found(DockerfileSource::Default).unwrap_err();
        assert!(default.contains("is a directory"), "{default}");
        let named = found(DockerfileSource::Named("other".into())).unwrap_err();
        assert!(named.contains("no Dockerfile at other"), "{named}");
        // Podman's name counts where none was asked for.
        std::fs::write(place.path().join("Containerfile"), "FROM scratch\n").unwrap();
        assert!(found(DockerfileSource::Default).is_ok());
    }

    #[test]
    fn templates_are_not_taken_for_dockerfiles() {
        let text = "FROM scratch\n#include \"common\"\n";
        let said = stages(parse("Containerfile.in", text.into())).unwrap_err();
        assert!(said.contains("C preprocessor"), "{said}");
        assert_eq!(stages(parse("Containerfile", text.into())), Ok(1));
        let comments = "# if you read this\n#define\nFROM scratch\n";
        assert_eq!(
            stages(parse("Containerfile.in", "FROM scratch\n".into())),
            Ok(1)
        );
        assert_eq!(stages(parse("Containerfile", comments.into())), Ok(1));
    }
}
