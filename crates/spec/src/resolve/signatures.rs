//! Signatures: those that images from outside must have, and those that are made on what is published.

use cairn_diagnostic::Span;

use super::Resolver;
use crate::settings::SignForm;
use crate::signing::SignRule;
use crate::stack::VerifyRule;
use crate::written::{Spanned, SpecFile, StringOrList};

impl Resolver<'_> {
    /// Who must have signed what.
    pub(super) fn verify(&mut self, file: &SpecFile) -> Vec<VerifyRule> {
        let mut sections: Vec<_> = file.verify.iter().flatten().collect();
        sections.sort_by_key(|(_, section)| section.span.start);
        let mut rules = Vec::new();
        for (images, section) in sections {
            let keys: Vec<_> = section.keys.iter().flat_map(|it| it.0.clone()).collect();
            if keys.is_empty() {
                self.error(section.span, "nobody could have signed by this rule")
                    .hint("`keys` names files with public keys, as in `keys = \"lab.pub\"`");
            }
            self.names_a_registry(images, section.span);
            rules.push(VerifyRule {
                images: Spanned::new(images.trim_end_matches('/').to_owned(), section.span),
                keys,
            });
        }
        rules
    }

    /// By which key what is published is signed.
    pub(super) fn sign(&mut self, file: &SpecFile) -> Option<SignRule> {
        let section = file.sign.as_ref()?;
        let key = section.key.as_ref().filter(|key| !key.trim().is_empty());
        if key.is_none() {
            self.error(section.span, "this does not say whose signature is made")
                .hint("`key` names a file with a private key, as in `key = \"lab.key\"`");
        }
        let form = section.form.as_ref();
        let form =
            form.and_then(|form| self.word(form, "form", SignForm::from_word, SignForm::WORDS));
        let registries = |written: &StringOrList| {
            let named = written.0.iter();
            named
                .map(|it| it.trim_end_matches('/').to_owned())
                .collect()
        };
        for named in section.registries.iter().flat_map(|it| &it.0) {
            self.names_a_registry(named, named.span);
        }
        let when = section.when.as_ref().map(|when| self.events(when));
        Some(SignRule {
            key: key?.clone(),
            form: form.unwrap_or(SignForm::Tag),
            when,
            registries: section.registries.as_ref().map(registries),
        })
    }

    fn names_a_registry(&mut self, written: &str, span: Span) {
        if self.has_login(written, span) {
            return;
        }
        let host = written.split('/').next().unwrap_or_default();
        if !host.contains(['.', ':', '*']) && host != "localhost" {
            self.error(span, format!("`{written}` names no registry"))
                .hint("with its host, as in `ghcr.io/lab` or `docker.io/library`");
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Source;

    use crate::{EventKind, SignForm, Stack, Surroundings, read};

    fn spec(text: &str) -> Result<Stack, Vec<String>> {
        let text = format!("[stack]\nname = \"lab\"\n[image.x]\ncontext = \"x\"\n{text}");
        let read = read(&Source::new("cairn.toml", text), &Surroundings::none());
        read.map_err(|findings| findings.into_iter().map(|it| it.message).collect())
    }

    #[test]
    fn what_is_signed_is_said_by_event_and_registry() {
        let sign = |text: &str| {
            spec(&format!("[sign]\nkey = \"a.key\"\n{text}"))
                .unwrap()
                .sign
        };
        let all = sign("").unwrap();
        assert_eq!((all.key.value.as_str(), all.form), ("a.key", SignForm::Tag));
        assert!(all.is_for(EventKind::Branch) && all.concerns("ghcr.io/lab"));
        let some = sign(
            "form = \"bundle\"\nwhen = \"release\"\nregistries = [\"ghcr.io/lab/\", \"*/ci\"]",
        );
        let some = some.unwrap();
        assert_eq!(some.form, SignForm::Bundle);
        assert!(some.is_for(EventKind::Release) && !some.is_for(EventKind::Main));
        assert!(some.concerns("ghcr.io/lab") && some.concerns("quay.io/ci"));
        assert!(!some.concerns("ghcr.io/other") && !some.concerns("docker.io/lab"));
        assert_eq!(spec("").unwrap().sign, None);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let told = spec("[sign]\nform = \"x\"\nwhen = \"y\"\nregistries = \"z\"\n").unwrap_err();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(spec("[sign]\nkey = \" \"\n").is_err());
    }
}
