//! `cairn promote`: another tag for a generation that is published.

use std::cell::RefCell;
use std::path::Path;

use cairn_stack::publish::{LogEntry, PublishError, Switch, plan_promotion};
use cairn_stack::records::{Promoted, without_page, write_promoted};
use clap::Args;

use super::generations::{RegistryOption, Workplace};
use super::options::{JsonOption, StackOption};
use super::up::RecordsOption;
use crate::error::{CommandError, Kind};
use crate::session::Session;

/// Make a tag mean what another tag means, for all images of the stack at once
///
/// Only manifests move, inside each registry: digests and platforms stay. `[promote]` of the spec
/// says what may become what; with one tag it also says where that comes from.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn promote 2026.3-main 2026.3-stable
  cairn promote 2026.3-stable stable --dry-run
  cairn promote stable                      from the tag that the spec says")]
#[command(override_usage = "cairn promote [OPTIONS] [FROM] <TO>")]
pub struct PromoteArgs {
    /// The tag that means the generation, and the tag that shall mean it, too
    #[arg(value_name = "TAG", num_args = 1..=2, required = true)]
    tags: Vec<String>,
    /// Go on although these workflow tests, which `[promote]` asks for, are not known to have
    /// passed (can be repeated)
    #[arg(long, value_name = "NAME")]
    skip_workflow: Vec<String>,
    /// Say which tags would move
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    registry: RegistryOption,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    records: RecordsOption,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &PromoteArgs, session: &Session) -> Result<(), CommandError> {
    let (from, to) = match args.tags.as_slice() {
        [from, to] => (Some(from.as_str()), to.as_str()),
        // There is one: clap asks for it.
        tags => (None, tags.first().map_or("", String::as_str)),
    };
    let place = Workplace::open_unless(args.dry_run, session, &args.stack, &args.registry)?;
    // Promoting again what was promoted changes nothing: there is no need to know.
    let is_it = |_: &LogEntry| false;
    let folder = args.records.records.as_deref();
    let pages = RefCell::new(Vec::new());
    place.carry_out(session, args.dry_run, args.json.json, is_it, |means| {
        let (stack, registries) = (&place.stack, &place.registries);
        let promotion = plan_promotion(means, stack, registries, from, to, &args.skip_workflow)?;
        if let Some(folder) = folder {
            *pages.borrow_mut() = with_pages(folder, &promotion.switch)?;
        }
        Ok(promotion)
    })?;
    match folder.filter(|_| !args.dry_run) {
        Some(folder) => write_promoted(folder, &pages.into_inner())
            .map_err(|error| CommandError::from_error(Kind::Environment, &error)),
        None => Ok(()),
    }
}

/// What is promoted, each with its page.
fn with_pages(folder: &Path, switch: &Switch) -> Result<Vec<Promoted>, CommandError> {
    let mut promoted = Vec::new();
    for tagged in switch.tagged()? {
        let entry = switch.entries.iter().find(|it| it.tag == tagged.stem);
        let name = tagged.image.name();
        let from = entry.and_then(|entry| {
            Some(format!(
                "{}{}",
                entry.from.as_ref()?,
                entry.images.get(&name)?
            ))
        });
        let Some(from) = from else { continue };
        let source = tagged
            .reference
            .with_tag(&from)
            .map_err(PublishError::from)?;
        promoted.push(Promoted {
            to: tagged.reference.to_string(),
            from: source.to_string(),
        });
    }
    match without_page(folder, &promoted) {
        Some(image) => Err(CommandError::usage(format!(
            "{} has no page about `{image}`",
            folder.display()
        ))
        .hint("`cairn publish --records DIR` writes the pages of what it publishes")),
        None => Ok(promoted),
    }
}
