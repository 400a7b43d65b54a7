//! The edges between the images of a stack: whose Dockerfile builds on which sibling.
//!
//! A name in `FROM`, `COPY --from` or `RUN --mount=from=` means a sibling when it is
//!
//! | the Dockerfile says | and the stack has | it means |
//! | --- | --- | --- |
//! | `model:cloud`, `model-cloud` | that variant | the variant |
//! | `base`, `base:latest` | an image without variants | the image |
//! | `model` | variants, one with the asking image's own values on the axes both have | that one |
//! | `model` | a single variant, or one whose tags have neither prefix nor suffix | that one |
//! | `model` | variants, none of which is meant | an error that lists them |
//! | `model:clod` | a variant of nearly that name | an error that suggests it |
//! | `python:3.11` | an image `python`, but no such variant | the image of that name elsewhere |
//! | `ghcr.io/lab/base`, or its `:latest` | an image that is published there | as if its name stood there |
//! | `ghcr.io/lab/base:2024.1` | an image that is published there | the one that was published, elsewhere |
//! | anything else | | an image elsewhere |
//!
//! so a stack whose image `python` says `FROM python:3.11` works as its author expects. Stages of
//! the Dockerfile itself and named contexts win over siblings: the caller leaves them out.

use std::collections::{BTreeMap, BTreeSet};

use cairn_diagnostic::{Diagnostic, Source, Span};
use cairn_oci::Reference;

use crate::stack::{Image, ImageId, Repository, Stack};
use crate::suggest::{nearest, quoted};

/// One use of a name that is neither a stage nor a named context of its Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    /// The name after expansion.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

/// All such names of the Dockerfile of one image.
#[derive(Debug, Clone)]
pub struct ImageNames {
    /// The image that the Dockerfile makes.
    pub image: ImageId,
    /// The Dockerfile's text.
    pub source: Source,
    /// The names, in the order of the text.
    pub uses: Vec<NameUse>,
}

/// One image builds on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The image that is built on.
    pub parent: ImageId,
    /// The name it was called by.
    pub name: String,
    /// Where it was first called so, in the child's Dockerfile.
    pub span: Span,
}

/// The images of a stack and what each builds on; without cycles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackGraph {
    /// By the child's number; each parent once per name.
    edges: Vec<Vec<Edge>>,
    /// Every image after those it builds on; the file's order where that leaves a choice.
    order: Vec<ImageId>,
}

impl StackGraph {
    /// Finds the siblings among the names; images that have no entry build on nothing.
    pub fn new(stack: &Stack, names: &[ImageNames]) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let mut edges = vec![Vec::new(); stack.images.len()];
        let mut sources = BTreeMap::new();
        for file in names {
            sources.insert(file.image, &file.source);
            for name_use in &file.uses {
                match sibling(stack, file.image, &name_use.name) {
                    Ok(Some(parent)) => add(&mut edges[file.image.0], parent, name_use),
                    Ok(None) => {}
                    Err(finding) => findings.push((*finding).at(&file.source, name_use.span)),
                }
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        match sorted(stack, &edges) {
            Ok(order) => Ok(Self { edges, order }),
            Err(cycle) => Err(vec![circular(stack, &edges, &sources, &cycle)]),
        }
    }

    /// Every image after those it builds on.
    pub fn order(&self) -> &[ImageId] {
        &self.order
    }

    /// What an image builds on, once per name it uses.
    pub fn edges(&self, child: ImageId) -> &[Edge] {
        &self.edges[child.0]
    }

    /// The images that an image builds on directly, each once.
    pub fn parents(&self, child: ImageId) -> BTreeSet<ImageId> {
        self.edges(child).iter().map(|edge| edge.parent).collect()
    }

    /// The images that build on an image directly.
    pub fn children(&self, parent: ImageId) -> BTreeSet<ImageId> {
        let ids = (0..self.edges.len()).map(ImageId);
        ids.filter(|&id| self.edges(id).iter().any(|edge| edge.parent == parent))
            .collect()
    }

    /// The images that build on nothing in the stack (DH-07: there may be several).
    pub fn roots(&self) -> impl Iterator<Item = ImageId> {
        self.order
            .iter()
            .copied()
            .filter(|&id| self.edges(id).is_empty())
    }

    /// The images with all that they build on, in the order to build them.
    pub fn with_ancestors(&self, images: &[ImageId]) -> Vec<ImageId> {
        self.closure(images, |id| self.parents(id))
    }

    /// The images with all that builds on them, in the order to build them.
    pub fn with_descendants(&self, images: &[ImageId]) -> Vec<ImageId> {
        self.closure(images, |id| self.children(id))
    }

    fn closure(
        &self,
        images: &[ImageId],
        neighbours: impl Fn(ImageId) -> BTreeSet<ImageId>,
    ) -> Vec<ImageId> {
        let mut found = BTreeSet::new();
        let mut open = images.to_vec();
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(neighbours(id));
            }
        }
        self.order
            .iter()
            .copied()
            .filter(|id| found.contains(id))
            .collect()
    }
}

fn add(edges: &mut Vec<Edge>, parent: ImageId, name_use: &NameUse) {
    if edges.iter().any(|edge| edge.name == name_use.name) {
        return;
    }
    edges.push(Edge {
        parent,
        name: name_use.name.clone(),
        span: name_use.span,
    });
}

/// The sibling a name means, by the table at the top; `None` for an image elsewhere.
fn sibling(stack: &Stack, child: ImageId, name: &str) -> Result<Option<ImageId>, Box<Diagnostic>> {
    let plain = name.strip_suffix(":latest").unwrap_or(name);
    if let Some(id) = stack.exact(name).or_else(|| stack.exact(plain)) {
        return match id == child {
            true => Err(own_name(name)),
            false => Ok(Some(id)),
        };
    }
    let variants: Vec<ImageId> = stack
        .ids()
        .filter(|&id| stack[id].name.image == plain)
        .collect();
    match variants.as_slice() {
        [] => match published_as(stack, child, name) {
            Some(image) => sibling(stack, child, &image),
            None => misspelt_variant(stack, child, name),
        },
        [only] if *only != child => Ok(Some(*only)),
        _ => same_variant(stack, child, plain, &variants),
    }
}

/// The image that is published under this name, if it is not the asking image itself: an image
/// may well be made of the last one of its name. A tag other than the newest one's means a variant
/// where variants are published as such.
fn published_as(stack: &Stack, child: ImageId, name: &str) -> Option<String> {
    let wanted: Reference = name.parse().ok()?;
    if wanted.digest().is_some() || !name.contains('/') {
        return None;
    }
    let variant = wanted.tag().filter(|tag| *tag != "latest");
    let wanted = wanted.name();
    let is_it = |repository: &Repository| {
        let reference = repository.to_string().parse::<Reference>();
        reference.is_ok_and(|reference| reference.name() == wanted)
    };
    let mut images = stack.images.iter();
    let image = images.find(|image| {
        let is_meant = match variant {
            None => true,
            Some(variant) => is_published_as_variant(image, variant),
        };
        is_meant && image.repositories.iter().any(is_it)
    })?;
    let meant = match variant {
        None => image.name.image.clone(),
        Some(_) => image.name.to_string(),
    };
    (image.name.image != stack[child].name.image).then_some(meant)
}

/// Whether the tag of an image is its variant's name, by a rule that says so.
fn is_published_as_variant(image: &Image, variant: &str) -> bool {
    let rules = image.tags.lists.values().flatten();
    let says_so = rules
        .map(|rule| rule.value.to_string())
        .any(|rule| rule == "{variant}");
    says_so && image.name.variant.as_deref() == Some(variant)
}

fn same_variant(
    stack: &Stack,
    child: ImageId,
    name: &str,
    variants: &[ImageId],
) -> Result<Option<ImageId>, Box<Diagnostic>> {
    if stack[child].name.image == name {
        return Err(own_name(name));
    }
    let same = variants.iter().copied();
    let same: Vec<ImageId> = same.filter(|&id| agrees(stack, child, id)).collect();
    if let [id] = same.as_slice() {
        return Ok(Some(*id));
    }
    // What is published under the plain name.
    let mut plain = variants.iter().filter(|&&id| stack[id].affixes.is_empty());
    if let (Some(id), None) = (plain.next(), plain.next()) {
        return Ok(Some(*id));
    }
    let names: Vec<String> = variants
        .iter()
        .map(|&id| stack[id].name.to_string())
        .collect();
    let names = quoted(names.iter().map(String::as_str));
    Err(refusal(
        format!("image `{name}` has several variants"),
        format!("say which one is meant: {names}"),
    ))
}

/// Whether two images share an axis, and have the same values on all that they share.
fn agrees(stack: &Stack, child: ImageId, parent: ImageId) -> bool {
    let shared = stack[child].axes.iter().filter_map(|(axis, value)| {
        let mut axes = stack[parent].axes.iter();
        let (_, other) = axes.find(|(other, _)| other == axis)?;
        Some(value == other)
    });
    let shared: Vec<bool> = shared.collect();
    !shared.is_empty() && shared.into_iter().all(|same| same)
}

fn refusal(message: String, hint: String) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(message).hint(hint))
}

fn own_name(name: &str) -> Box<Diagnostic> {
    refusal(
        format!("`{name}` is the image that this Dockerfile makes"),
        format!(
            "if an image of that name elsewhere is meant, write it in full, as in \
             `docker.io/library/{name}`"
        ),
    )
}

/// A tag that is nearly a variant's name is a slip; any other is an image elsewhere.
fn misspelt_variant(
    stack: &Stack,
    child: ImageId,
    name: &str,
) -> Result<Option<ImageId>, Box<Diagnostic>> {
    let Some((image, tag)) = name.rsplit_once(':') else {
        return Ok(None);
    };
    if stack[child].name.image == image {
        return Ok(None);
    }
    let siblings = stack.images.iter().filter(|it| it.name.image == image);
    let variants = siblings.filter_map(|it| it.name.variant.as_deref());
    match nearest(tag, variants) {
        Some(near) => Err(refusal(
            format!("image `{image}` has no variant `{tag}`"),
            format!("did you mean `{image}:{near}`?"),
        )),
        None => Ok(None),
    }
}

/// Orders the images, or finds a cycle: each image of it builds on the next, the last on the
/// first.
fn sorted(stack: &Stack, edges: &[Vec<Edge>]) -> Result<Vec<ImageId>, Vec<ImageId>> {
    let mut order = Vec::with_capacity(edges.len());
    let mut placed = vec![false; edges.len()];
    // Each round takes the first image in the file that is ready, so the order is stable.
    while order.len() < edges.len() {
        let ready = stack
            .ids()
            .find(|&id| !placed[id.0] && edges[id.0].iter().all(|edge| placed[edge.parent.0]));
        let Some(id) = ready else {
            return Err(cycle(edges, &placed));
        };
        placed[id.0] = true;
        order.push(id);
    }
    Ok(order)
}

/// Follows parents that are not placed until one comes twice.
fn cycle(edges: &[Vec<Edge>], placed: &[bool]) -> Vec<ImageId> {
    let mut path: Vec<ImageId> = Vec::new();
    let mut next = placed.iter().position(|&it| !it).map(ImageId);
    while let Some(id) = next {
        if let Some(start) = path.iter().position(|&it| it == id) {
            return path.split_off(start);
        }
        path.push(id);
        next = edges[id.0]
            .iter()
            .map(|edge| edge.parent)
            .find(|parent| !placed[parent.0]);
    }
    path
}

fn circular(
    stack: &Stack,
    edges: &[Vec<Edge>],
    sources: &BTreeMap<ImageId, &Source>,
    cycle: &[ImageId],
) -> Diagnostic {
    let ring: Vec<String> = cycle
        .iter()
        .chain(cycle.first())
        .map(|&id| stack[id].name.to_string())
        .collect();
    let finding = Diagnostic::error(format!(
        "images build on each other in a circle: {}",
        ring.join(" -> ")
    ))
    .hint("one of them must build on something else");
    let (first, second) = (cycle[0], cycle[1 % cycle.len()]);
    let edge = edges[first.0].iter().find(|edge| edge.parent == second);
    match (sources.get(&first), edge) {
        (Some(source), Some(edge)) => finding.at(source, edge.span),
        _ => finding,
    }
}

#[cfg(test)]
mod tests;
