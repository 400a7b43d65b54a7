//! What the spec's policies mean for this run: which images are for this platform and this
//! event, and which are built again whatever the store holds.

use std::collections::BTreeMap;

use cairn_oci::Platform;
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

    /// Tells of images that are built for none of these platforms by this event. To ask for one by
    /// name is a mistake; in a whole stack it is left out, and that is said.
    pub fn tell_unfit(
        &self,
        session: &Session,
        unfit: &[ImageId],
        platforms: &[Platform],
        is_mistake: bool,
    ) -> Result<(), CommandError> {
        if unfit.is_empty() {
            return Ok(());
        }
        let names = unfit
            .iter()
            .map(|&id| self.loaded.stack[id].name.to_string());
        let names: Vec<String> = names.collect();
        let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        let (platforms, names) = (platforms.join(" or "), names.join(", "));
        let text = format!("not for {platforms} by the spec: {names}");
        if is_mistake {
            return Err(CommandError::usage(text).hint(
                "`--platform` builds for another platform, `platforms` in the spec adds one",
            ));
        }
        session.printer.note(&text);
        Ok(())
    }

    /// Whether an image is built for a platform and this event.
    pub fn fits(&self, id: ImageId, platform: &Platform) -> bool {
        // Without a rule that asks for the event, any will do.
        let kind = self.kind(id).unwrap_or(EventKind::Manual);
        self.loaded.stack[id].is_for(platform, kind)
    }

    /// The platforms that this event publishes an image for; none where the spec lists none.
    pub fn listed(&self, id: ImageId) -> Vec<Platform> {
        let kind = self.kind(id).unwrap_or(EventKind::Manual);
        let listed = self.loaded.stack[id].published_for(kind);
        listed.into_iter().cloned().collect()
    }

    /// Whether an image has a list of platforms of its own.
    pub fn has_own_list(&self, id: ImageId) -> bool {
        self.loaded.stack[id].only_listed
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
