//! Which key signs what is published: the one of the command line, else that of `[sign]`.

use cairn_registry::signature::{Form, SigningKey};
use cairn_spec::signing::SignRule;
use cairn_spec::tags::{Facts, event_kind};
use cairn_spec::{EventKind, SignForm};
use cairn_stack::publish::{Means, Place, sign};

use super::PublishArgs;
use crate::commands::signatures::signing_key;
use crate::error::CommandError;
use crate::progress::count;
use crate::session::Session;
use crate::stack_run::StackRun;

/// A key, and where it signs.
pub(super) struct Signing<'a> {
    key: SigningKey,
    form: Form,
    /// Without, everywhere.
    rule: Option<&'a SignRule>,
}

impl<'a> Signing<'a> {
    /// Reads the key before anything is built: one that is missing is no surprise at the end.
    pub(super) fn of(
        args: &PublishArgs,
        stack: &'a StackRun,
        facts: &Facts,
    ) -> Result<Option<Self>, CommandError> {
        if let Some(path) = &args.sign_key {
            return Ok(Some(Self {
                key: signing_key(path)?,
                form: args.sign_form.into(),
                rule: None,
            }));
        }
        let spec = &stack.loaded.stack;
        let event = event_kind(&spec.tags, facts).unwrap_or(EventKind::Manual);
        let signs = !args.no_sign && !args.dry_run;
        let rule = spec
            .sign
            .as_ref()
            .filter(|rule| signs && rule.is_for(event));
        let Some(rule) = rule else {
            return Ok(None);
        };
        let key = signing_key(&stack.loaded.directory.join(&rule.key.value)).map_err(|error| {
            error.hint(
                "`[sign]` of the spec asks for it; `--sign-key FILE` names another key, `--no-sign` \
                 signs nothing",
            )
        })?;
        Ok(Some(Self {
            key,
            form: match rule.form {
                SignForm::Tag => Form::Tag,
                SignForm::Bundle => Form::Bundle,
            },
            rule: Some(rule),
        }))
    }

    /// Signs what was sent.
    pub(super) fn sign(
        &self,
        means: Means<'_>,
        places: &[Place],
        session: &Session,
    ) -> Result<(), CommandError> {
        let is_concerned =
            |place: &&Place| self.rule.is_none_or(|rule| rule.concerns(&place.registry));
        let places: Vec<Place> = places.iter().filter(is_concerned).cloned().collect();
        if places.is_empty() {
            return Ok(());
        }
        let new = sign(means, &places, (&self.key, self.form))?;
        let name = self.key.public().name();
        session.printer.note(&format!(
            "{} by the key {name}",
            count(new, "new signature")
        ));
        Ok(())
    }
}
