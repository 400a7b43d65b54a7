//! What this machine brings, joined with what others brought.

use std::collections::BTreeMap;
use std::slice;

use cairn_spec::ImageId;
use cairn_stack::made_of::MadeOf;
use cairn_stack::publish::{
    Joined, Means, Needed, Part, Place, Target, exchange, join, keep_made_of, known, send,
};

use super::parts::{Brought, nameless, tell_incomplete, tell_waiting};
use super::{PublishArgs, complete, tell_sent, tell_unkept};
use crate::commands::generations::Published;
use crate::error::CommandError;
use crate::session::Session;

/// How parts are brought together.
pub(super) struct Bringing<'a> {
    pub args: &'a PublishArgs,
    pub session: &'a Session,
    pub stack: &'a str,
    pub targets: &'a [Target],
    /// Whether something says which parts belong together.
    pub is_named: bool,
    /// What this machine's images were made of, by what they are called in the run.
    pub made_of: &'a BTreeMap<String, MadeOf>,
}

/// What there is to publish.
pub(super) enum Brings {
    /// Everything that is needed, or all that is to come.
    All(Joined),
    /// A part: others must come before tags are moved.
    Part(Published),
}

impl Bringing<'_> {
    /// Finds all platforms of the images: this machine's, and those that others brought.
    pub(super) fn join(
        &self,
        means: Means<'_>,
        brought: &Brought,
        needed: &[(ImageId, Needed)],
    ) -> Result<Brings, CommandError> {
        let wanted: Vec<Needed> = needed.iter().map(|(_, it)| it.clone()).collect();
        let own = join(slice::from_ref(&brought.part), &wanted)?;
        if own.missing.is_empty() {
            return Ok(Brings::All(own));
        }
        if !self.is_named && !self.args.incomplete {
            return Err(nameless(&own.missing));
        }
        let (mut parts, places) = self.exchange(means, brought)?;
        parts.push(brought.part.clone());
        let joined = join(&parts, &wanted)?;
        if joined.missing.is_empty() {
            return Ok(Brings::All(joined));
        }
        if self.args.incomplete {
            tell_incomplete(self.session, &joined.missing);
            return Ok(Brings::All(joined));
        }
        tell_waiting(self.session, &brought.part, &joined.missing);
        let published = Published::part(&brought.part, &places, &joined.missing);
        Ok(Brings::Part(published))
    }

    /// Sends what this machine has and notes it, and reads what others noted.
    fn exchange(
        &self,
        means: Means<'_>,
        brought: &Brought,
    ) -> Result<(Vec<Part>, Vec<Place>), CommandError> {
        let loose = brought.loose();
        let is_silent = self.args.dry_run || loose.is_empty();
        let mut places = Place::of(self.stack, &loose, self.targets);
        if !is_silent {
            let sending = send(means, &loose, &places)?;
            tell_sent(self.session, &sending.pushed);
            places = complete(sending, self.args.best_effort, self.session)?;
            tell_unkept(self.session, &keep_made_of(means, &places, self.made_of));
        }
        let registries: Vec<String> = places.iter().map(|it| it.registry.clone()).collect();
        let parts = match (self.is_named, is_silent) {
            (false, _) => Vec::new(),
            (true, true) => known(means, &registries, self.stack, &brought.part.of)?,
            (true, false) => exchange(means, &registries, self.stack, &brought.part)?,
        };
        Ok((parts, places))
    }
}
