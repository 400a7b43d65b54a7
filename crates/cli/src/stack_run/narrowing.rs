//! Which images of a run the commits since a revision concern.

use std::collections::BTreeSet;

use cairn_build::event::NoEvents;
use cairn_spec::ImageId;
use cairn_stack::decide::{Range, decide, since};
use cairn_stack::load::LoadedStack;
use cairn_stack::plan::{self, ImageDecision, ImagePlan};

use super::{Keep, StackRun};
use crate::commands::options::StackOption;
use crate::commands::up::SinceOption;
use crate::error::{CommandError, Kind};
use crate::session::Session;

impl StackRun {
    /// Leaves the images that changes since a commit concern; `false` if there is nothing to do.
    /// What its commits say in words holds here too: everything again, or nothing at all.
    pub fn narrow(
        &mut self,
        session: &Session,
        stack: &StackOption,
        option: &SinceOption,
    ) -> Result<bool, CommandError> {
        let Some(revision) = &option.since else {
            return Ok(true);
        };
        let range = self.range(session, stack, revision)?;
        if let Some(skip) = &range.skip {
            session
                .printer
                .note(&format!("nothing is done: {}", skip.because));
            return Ok(false);
        }
        if let Some(reason) = &range.again {
            let again = self.selected.iter().map(|id| (*id, reason.clone()));
            self.again.extend(again);
            self.options.again = self.again.keys().copied().collect();
            return Ok(true);
        }
        let different = self.known_to_differ(session, &range)?;
        let (concerned, others): (Vec<_>, Vec<_>) = self
            .selected
            .iter()
            .partition(|id| range.concerned.contains_key(id) || different.contains(id));
        for run in &mut self.platforms {
            run.selected.retain(|id| concerned.contains(id));
        }
        self.selected = concerned;
        if !others.is_empty() {
            let left = crate::progress::count(others.len(), "image");
            let text = format!("no change since {revision} concerns {left}");
            session.printer.note(&text);
        }
        Ok(!self.selected.is_empty())
    }

    /// The images that no change concerns and that are not as the store has them: content has the
    /// last word, as in a plan.
    fn known_to_differ(
        &self,
        session: &Session,
        range: &Range,
    ) -> Result<BTreeSet<ImageId>, CommandError> {
        if self
            .selected
            .iter()
            .all(|id| range.concerned.contains_key(id))
        {
            return Ok(BTreeSet::new());
        }
        let locks = self.locked(Keep::Forget, &session.printer)?;
        let requests = self.requests(&locks)?;
        let engine = self.engine(&requests, &NoEvents);
        let prepared = self.prepare(&requests, &engine)?;
        let mut plan = plan::report(&prepared, &engine);
        decide(&mut plan, &self.loaded, Some(range), &self.again);
        let is_built = |image: &&ImagePlan| {
            matches!(image.decision, ImageDecision::Build | ImageDecision::Maybe)
        };
        let images = plan.images.iter().filter(is_built);
        let ids = images.filter_map(|image| self.loaded.stack.exact(&image.image));
        Ok(ids.collect())
    }

    /// What commits since a revision say.
    pub fn range(
        &self,
        session: &Session,
        stack: &StackOption,
        revision: &str,
    ) -> Result<Range, CommandError> {
        let platforms: Vec<&LoadedStack> = self.platforms.iter().map(|it| &it.loaded).collect();
        let range = stack.choosing(session, &self.loaded.platform, |choices| {
            since(&platforms, choices, revision)
        });
        range.map_err(|error| {
            CommandError::from_error(Kind::Usage, &error)
                .hint("a CI job that clones a single commit has no other: `fetch-depth: 0` in GitHub's checkout")
        })
    }
}
