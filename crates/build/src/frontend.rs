//! `# syntax=`: the frontend that a file asks for. There is one here, for Dockerfiles; others are
//! programs in images, which are not fetched and run.

use std::collections::BTreeSet;

use crate::engine::Engine;
use crate::event::Event;
use crate::request::{ImageRequest, Recipe};

/// Says which files name a frontend of another language.
pub(crate) fn tell_foreign(requests: &[ImageRequest], engine: &Engine<'_>) {
    let named = requests.iter().filter_map(|request| match &request.recipe {
        Recipe::Dockerfile(recipe) => recipe.dockerfile.directives.syntax.as_ref(),
        Recipe::Debian(_) => None,
    });
    let named = named.map(|name| name.value.as_str());
    let foreign: BTreeSet<&str> = named.filter(|name| !is_dockerfile_frontend(name)).collect();
    for name in foreign {
        engine.events.emit(Event::Notice {
            warning: true,
            text: format!(
                "`# syntax={name}` names another frontend, which is not run here: the file is \
                 read as a Dockerfile"
            ),
        });
    }
}

/// Whether a frontend reads Dockerfiles: `docker/dockerfile` and `docker/dockerfile-upstream` of any
/// version, from any registry that mirrors them.
fn is_dockerfile_frontend(name: &str) -> bool {
    let (path, _) = name.split_once('@').unwrap_or((name, ""));
    let last = path.rsplit('/').next().unwrap_or_default();
    let (last, _) = last.split_once(':').unwrap_or((last, ""));
    ["dockerfile", "dockerfile-upstream"].contains(&last)
}

#[cfg(test)]
mod tests {
    use super::is_dockerfile_frontend;

    #[test]
    fn frontends_of_dockerfiles_are_known_whatever_their_version_and_registry() {
        for name in [
            "docker/dockerfile:1",
            "docker.io/docker/dockerfile:1.4-labs",
            "docker/dockerfile-upstream:master",
            "mirror.lab:5000/docker/dockerfile:1@sha256:00",
        ] {
            assert!(is_dockerfile_frontend(name), "{name}");
        }
        for name in [
            "evil/frontend",
            "tonistiigi/dockerfile-x:1",
            "docker/buildpacks:dockerfile",
        ] {
            assert!(!is_dockerfile_frontend(name), "{name}");
        }
    }
}
