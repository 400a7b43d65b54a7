//! What the checker says of the Dockerfiles of a run.
//!
//! A build asks BuildKit's rules only, for what it builds: its messages are those of
//! `docker build`. `cairn lint` asks all rules.

use std::collections::{BTreeMap, BTreeSet};

use cairn_diagnostic::{Diagnostic, Source};
use cairn_dockerfile::lint::{self, Finding, Group, Input, Reach};
use cairn_dockerfile::predefined::PlatformParts;
use cairn_oci::Platform;

use crate::context::Context;
use crate::lower::names::external_names;
use crate::request::{DockerfileRecipe, ImageRequest, Named, Recipe};
use crate::resolve::{BaseImage, ImageSource};

/// What the checker found in the Dockerfile of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warnings {
    /// The Dockerfile.
    pub source: Source,
    /// The findings, in the order of the text.
    pub findings: Vec<Finding>,
}

/// Checks the Dockerfiles of all requests; files that several images share are told once. It is
/// an error where a file says `# check=error=true` and something was found.
pub(crate) fn check(
    requests: &[ImageRequest],
    images: &dyn ImageSource,
    contexts: &[Context],
) -> Result<Vec<Warnings>, Vec<Diagnostic>> {
    let mut all: Vec<Warnings> = Vec::new();
    let mut errors = Vec::new();
    for request in requests {
        let Recipe::Dockerfile(recipe) = &request.recipe else {
            continue;
        };
        match check_one(request, recipe, images, contexts) {
            Ok(warnings) => merge(&mut all, warnings),
            Err(error) => errors.push(*error),
        }
    }
    match errors.is_empty() {
        true => Ok(all),
        false => Err(errors),
    }
}

fn check_one(
    request: &ImageRequest,
    recipe: &DockerfileRecipe,
    images: &dyn ImageSource,
    contexts: &[Context],
) -> Result<Warnings, Box<Diagnostic>> {
    let file = &recipe.dockerfile;
    let context = contexts.get(recipe.context.0 as usize);
    let input = Input {
        args: &recipe.args,
        reach: Reach::Target(recipe.target.as_deref()),
        ignore: context.and_then(Context::patterns),
        build_platform: platform_parts(&recipe.build_platform),
        target_platform: platform_parts(&request.platform),
        bases: &bases(request, recipe, images),
        pinned: &BTreeSet::new(),
        package_files: &BTreeMap::new(),
        levels: &BTreeMap::new(),
        wants: |rule| rule.group == Group::BuildKit,
    };
    let checked = lint::check(file, &input)?;
    let violations = checked.violations();
    if !violations.is_empty() {
        let rules = violations.join(", ");
        let text = format!("lint violation found for rules: {rules}");
        let mut error = Diagnostic::error(text);
        if let Some(first) = checked.findings.first() {
            error = error.at(&file.source, first.span);
        }
        for finding in &checked.findings {
            let line = file.source.position(finding.span.start).line;
            let (rule, detail) = (finding.rule.name, &finding.detail);
            error = error.hint(format!("{rule}: {detail} (line {line})"));
        }
        return Err(Box::new(error));
    }
    Ok(Warnings {
        source: file.source.clone(),
        findings: checked.findings,
    })
}

/// The settings of the images that stages start from.
fn bases(
    request: &ImageRequest,
    recipe: &DockerfileRecipe,
    images: &dyn ImageSource,
) -> BTreeMap<String, lint::BaseImage> {
    let seen = recipe.seen(&request.platform);
    let names = external_names(&seen, &|name| recipe.given(name));
    let used = names.unwrap_or_default().into_iter();
    used.filter(|used| used.is_base)
        .filter_map(|used| {
            let known = match recipe.names.get(&used.name) {
                Some(Named::Opened(image)) => known(image),
                Some(Named::Image(other)) => known(&*images.open(other, &request.platform).ok()?),
                // A sibling's settings are made by the same run, out of a file that is checked.
                Some(Named::Sibling(_) | Named::Files(_) | Named::Stage(_)) => return None,
                None => known(&*images.open(&used.name, &request.platform).ok()?),
            };
            Some((used.name, known))
        })
        .collect()
}

fn known(image: &BaseImage) -> lint::BaseImage {
    let pairs = image.config.env.iter();
    let platform = &image.platform;
    lint::BaseImage {
        env: pairs
            .map(|entry| {
                let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
                (name.to_owned(), value.to_owned())
            })
            .collect(),
        has_shell: image
            .config
            .shell
            .as_ref()
            .is_some_and(|shell| !shell.is_empty()),
        platform: Some(format!("{}/{}", platform.os, platform.architecture)),
    }
}

fn merge(all: &mut Vec<Warnings>, more: Warnings) {
    match all.iter_mut().find(|known| known.source == more.source) {
        Some(known) => {
            for finding in more.findings {
                if !known.findings.contains(&finding) {
                    known.findings.push(finding);
                }
            }
            known.findings.sort_by_key(|finding| finding.span.start);
        }
        None => all.push(more),
    }
}

/// A platform as the Dockerfile language sees it.
pub fn platform_parts(platform: &Platform) -> PlatformParts<'_> {
    PlatformParts {
        os: &platform.os,
        os_version: platform.os_version.as_deref().unwrap_or(""),
        architecture: &platform.architecture,
        variant: platform.variant.as_deref().unwrap_or(""),
    }
}
