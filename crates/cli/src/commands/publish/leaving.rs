//! Which images of a publication only leave this machine: nothing here looks into them, so that the
//! layers of their bases can stay where they are.

use cairn_build::engine::Leaving;
use cairn_oci::Digest;
use cairn_spec::ImageId;
use cairn_spec::tags::{Facts, ImageTags, Instead, publication};

use super::PublishArgs;
use crate::progress::count;
use crate::session::Session;
use crate::stack_run::StackRun;

/// The images that no test, no page of records, no attestation and no tag looks into, where some are published:
/// those, and what they build on.
pub(super) fn only_leaves(
    args: &PublishArgs,
    stack: &StackRun,
    facts: &Facts,
    instead: &Instead,
) -> Leaving {
    // What the images are published as with one content, and with another.
    let with = |content: &str| {
        let some = |_: ImageId| Some(Digest::sha256(content.as_bytes()).to_string());
        publication(&stack.loaded.stack, facts, instead, &some).images
    };
    let (one, other) = (with("one"), with("another"));
    let mut leaving = Leaving {
        compression: args.compression,
        ..Leaving::default()
    };
    let is_any_published = one.iter().any(|it| !it.tags.is_empty());
    if args.records.records.is_some() || args.attests.is_any() || !is_any_published {
        return leaving;
    }
    for run in &stack.platforms {
        for id in run.loaded.graph.with_ancestors(&run.selected) {
            let tests = &run.loaded.stack[id].tests;
            let is_tested = !tests.structure.is_empty() || !tests.suites.is_empty();
            if !is_tested && !serves(stack, id) && has_same_names(&one, &other, id) {
                leaving.images.insert(run.loaded.label(id));
            }
        }
    }
    leaving
}

/// Whether an image runs beside the tests of another.
fn serves(stack: &StackRun, id: ImageId) -> bool {
    let stack = &stack.loaded.stack;
    let suites = stack.images.iter().flat_map(|image| &image.tests.suites);
    let mut services = suites.flat_map(|suite| &suite.services);
    services.any(|service| {
        let name = service.image.as_ref();
        name.is_some_and(|name| stack.select(&name.value).contains(&id))
    })
}

/// Whether the names of an image, if it has any, do not depend on what it contains.
fn has_same_names(one: &[ImageTags], other: &[ImageTags], id: ImageId) -> bool {
    let of = |list: &[ImageTags]| -> Vec<String> {
        let image = list.iter().find(|it| it.image == id);
        image.map_or_else(Vec::new, |it| it.names().collect())
    };
    of(one) == of(other)
}

/// Tells that images are not here as a whole.
pub(super) fn tell_absent(session: &Session, layers: usize) {
    if layers > 0 {
        session.printer.note(&format!(
            "{} of bases stayed in their registries, for no step needed their files; `cairn build` \
             brings them, and gives the images their names here",
            count(layers, "layer")
        ));
    }
}
