//! `cairn test --for TAG`: what passed is written down beside what is published.

use std::collections::BTreeMap;

use cairn_registry::Watch;
use cairn_stack::publish::{Passed, Testified, registries, testify};

use super::generations::means;
use super::up::Done;
use crate::error::CommandError;
use crate::session::Session;
use crate::stack_run::StackRun;

/// Writes down what the images of a run passed, of those that the tag means.
pub fn keep(
    tag: &str,
    stack: &StackRun,
    done: &Done,
    session: &Session,
) -> Result<(), CommandError> {
    let loaded = &stack.loaded;
    let places = registries(&loaded.stack);
    if places.is_empty() {
        let text = format!("the stack `{}` has no registry", loaded.stack.name);
        return Err(CommandError::usage(text).hint(
            "what passed is written down beside what is published: \
             `registries = [\"HOST/PATH\"]` below `[stack]` in cairn.toml says where that is",
        ));
    }
    let passed: BTreeMap<String, Passed> = done
        .tested()
        .into_iter()
        .filter_map(|(name, tested)| {
            let content = done.run.record(&name)?.content().to_string();
            Some((name, Passed { content, tested }))
        })
        .collect();
    let watch = Watch {
        is_stopped: &|| stack.means.cancel.is_cancelled(),
        moved: &|_| {},
    };
    let means = means(&stack.means.store, &stack.means.registry, watch);
    let (name, platform) = (&loaded.stack.name, &loaded.platform);
    let Testified {
        generation,
        kept,
        others,
    } = testify(means, &places, name, tag, platform, &passed)?;
    let Some(generation) = generation else {
        return Err(CommandError::usage(format!(
            "no generation was published as `{tag}`"
        )));
    };
    if kept.is_empty() {
        return Err(CommandError::usage(format!(
            "nothing is written down: what was tested is not what `{tag}` means (generation \
             {generation})"
        ))
        .hint("`cairn why IMAGE --against TAG` names what is different"));
    }
    session.printer.note(&format!(
        "written down for generation {generation}: {}",
        kept.join(", ")
    ));
    if !others.is_empty() {
        session.printer.warning(&format!(
            "not what `{tag}` means, so nothing is written down: {}",
            others.join(", ")
        ));
    }
    Ok(())
}
