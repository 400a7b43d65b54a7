//! What the spec's policies mean for this run: which images are for this platform and this
//! event, and which are built again whatever the store holds.

use std::collections::BTreeMap;

use cairn_spec::tags::{GitRef, event_kind, is_main};
use cairn_spec::{EventKind, ImageId, Rebuild};
use cairn_stack::decide::{Reason, ReasonKind};
use cairn_stack::load::LoadedStack;

use crate::commands::options::EventOption;
use crate::error::CommandError;
use crate::session::Session;

/// The policies of a stack in the light of an event.
pub struct Policy<'a> {
    loaded: &'a LoadedStack,
    /// The event; `None` where no policy asks for it: finding it out costs processes.
    event: Option<cairn_stack::event::Event>,
}

impl<'a> Policy<'a> {
    /// Finds out what the run answers, if anything depends on it.
    pub fn of(session: &Session, loaded: &'a LoadedStack, event: &EventOption) -> Self {
        let images = &loaded.stack.images;
        let asks = images.iter().any(|image| {
            image.rebuild.value == Rebuild::OnMain
                || image.platforms.iter().any(|rule| rule.when.is_some())
        });
        Self {
            loaded,
            event: asks.then(|| event.detect(session, loaded)),
        }
    }

    /// The images among these that are built for this platform and this event. To ask for one by
    /// name that is not is a mistake; in a whole stack it is left out, and that is said.
    pub fn buildable(
        &self,
        session: &Session,
        selected: Vec<ImageId>,
        is_named: bool,
    ) -> Result<Vec<ImageId>, CommandError> {
        let (fit, unfit): (Vec<_>, Vec<_>) = selected.into_iter().partition(|&id| self.fits(id));
        if unfit.is_empty() {
            return Ok(fit);
        }
        let names: Vec<String> = unfit
            .iter()
            .map(|&id| self.loaded.stack[id].name.to_string())
            .collect();
        let platform = &self.loaded.platform;
        let text = format!("not for {platform} by the spec: {}", names.join(", "));
        if is_named || fit.is_empty() {
            return Err(CommandError::usage(text).hint(
                "`--platform` builds for another platform, `platforms` in the spec adds one",
            ));
        }
        session.printer.note(&text);
        Ok(fit)
    }

    fn fits(&self, id: ImageId) -> bool {
        // Without a rule that asks for the event, any will do.
        let kind = self.kind(id).unwrap_or(EventKind::Manual);
        self.loaded.stack[id].is_for(&self.loaded.platform, kind)
    }

    fn kind(&self, id: ImageId) -> Option<EventKind> {
        let event = self.event.as_ref()?;
        event_kind(&self.loaded.stack[id].tags, &event.facts).ok()
    }

    /// The images whose steps all run, by `rebuild`, each with the reason.
    pub fn again(&self) -> BTreeMap<ImageId, Reason> {
        let ids = self.loaded.stack.ids();
        ids.filter_map(|id| {
            let image = &self.loaded.stack[id];
            let again = match image.rebuild.value {
                Rebuild::Changed => false,
                Rebuild::Always => true,
                Rebuild::OnMain => self.is_on_main(id),
            };
            let (file, line) = self.loaded.stack.sources.line(image.rebuild.span);
            let reason = Reason {
                kind: ReasonKind::Policy,
                because: format!("the spec says `rebuild = \"{}\"`", image.rebuild.value),
                place: Some((file.to_owned(), line)),
            };
            again.then_some((id, reason))
        })
        .collect()
    }

    fn is_on_main(&self, id: ImageId) -> bool {
        let Some(event) = &self.event else {
            return false;
        };
        let rules = &self.loaded.stack[id].tags;
        matches!(&event.facts.reference, GitRef::Branch(branch) if is_main(rules, &event.facts, branch))
    }
}
