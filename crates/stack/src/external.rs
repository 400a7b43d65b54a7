//! Which images from outside a lone Dockerfile needs, as far as its text tells.

use std::collections::BTreeSet;

use cairn_build::lower::names::external_names;
use cairn_build::request::{ImageRequest, Named, Recipe};

use crate::single::SingleRequest;

/// The names of images from outside that stand in a request's Dockerfile, where the target needs
/// them, and the one that lists packages. What is wrong with the Dockerfile is said, with its place, when it is lowered.
pub fn external(request: &SingleRequest) -> Vec<String> {
    let mut names: BTreeSet<String> = request.images.iter().flat_map(of_image).collect();
    names.extend(request.images.iter().filter_map(generator));
    names.into_iter().collect()
}

fn generator(image: &ImageRequest) -> Option<String> {
    match &image.recipe {
        Recipe::Dockerfile(recipe) => Some(recipe.lister.generator()?.image.clone()),
        Recipe::Debian(_) => None,
    }
}

fn of_image(image: &ImageRequest) -> Vec<String> {
    let Recipe::Dockerfile(recipe) = &image.recipe else {
        return Vec::new();
    };
    let seen = recipe.seen(&image.platform);
    let used = external_names(&seen, &|name| recipe.given(name));
    used.unwrap_or_default()
        .into_iter()
        .filter_map(|used| match recipe.names.get(&used.name) {
            None => Some(used.name),
            Some(Named::Image(other)) => Some(other.clone()),
            Some(_) => None,
        })
        .collect()
}
