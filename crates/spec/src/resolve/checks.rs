//! What is checked where it is met: words, names, paths, packages.

use cairn_diagnostic::{Diagnostic, Span};

use super::Resolver;
use super::merge::Merged;
use crate::glob;
use crate::stack::Image;
use crate::suggest::{nearest, quoted};
use crate::written::Spanned;

/// Checks.
impl Resolver<'_> {
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> Finding<'_> {
        let finding = self.sources.point(Diagnostic::error(message), span);
        self.findings.push(finding);
        Finding(&mut self.findings)
    }

    pub(super) fn word<T>(
        &mut self,
        written: &Spanned<String>,
        key: &str,
        read: fn(&str) -> Option<T>,
        words: &'static [&'static str],
    ) -> Option<T> {
        let value = read(written);
        if value.is_none() {
            let near = nearest(written, words.iter().copied());
            let finding = self.error(
                written.span,
                format!("`{key}` cannot be `{}`", written.value),
            );
            match near {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("it is one of {}", quoted(words.iter().copied()))),
            }
        }
        value
    }

    pub(super) fn not_empty(&mut self, written: &Spanned<String>, key: &str) {
        if written.trim().is_empty() {
            self.error(written.span, format!("`{key}` must not be empty"));
        }
    }

    pub(super) fn no_dockerfile_keys(&mut self, merged: &Merged<'_>) {
        let single = [("dockerfile", merged.dockerfile), ("target", merged.target)];
        for (key, written) in single {
            if let Some(written) = written {
                self.error(written.span, format!("`{key}` has no effect here"))
                    .hint("an image made of Debian packages has no Dockerfile");
            }
        }
        if let Some((_, value)) = merged.args.iter().copied().flatten().next() {
            self.error(value.span, "`args` has no effect here")
                .hint("an image made of Debian packages has no Dockerfile");
        }
    }

    pub(super) fn image_name_is_valid(&mut self, name: &str, span: Span, what: &str) {
        let separators = ['.', '_', '-'];
        let good = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || separators.contains(&c))
            && !name.is_empty()
            && !name.starts_with(separators)
            && !name.ends_with(separators);
        if !good {
            self.error(span, format!("`{name}` cannot name {what}"))
                .hint(
                    "names are made of small letters and digits, with `.`, `_` or `-` between them",
                );
        }
    }

    /// What another program's globs mean would be a name here, which no file has.
    pub(super) fn glob_is_known(&mut self, glob: &Spanned<String>) {
        if let Some(unknown) = glob::unknown(&glob.value) {
            let text = format!(
                "`{}` has `{unknown}`, which means nothing in a glob",
                glob.value
            );
            self.error(glob.span, text).hint(
                "globs know `*`, `?` and `**`; a file that has such a letter in its name is meant by `?`",
            );
        }
    }

    pub(super) fn variant_name_is_valid(&mut self, name: &str, span: Span) {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let good = name.len() <= 128
            && name.starts_with(letter)
            && name.chars().all(|c| letter(c) || c == '.' || c == '-');
        if !good {
            self.error(span, format!("`{name}` cannot name a variant"))
                .hint("variants are named like tags: letters, digits, `.`, `_` and `-`");
        }
    }

    /// `model-cloud` must not be both an image and the variant `cloud` of `model`.
    pub(super) fn names_are_distinct(&mut self, images: &[Image]) {
        for (index, image) in images.iter().enumerate() {
            let dashed = image.name.dashed();
            let same = images[..index].iter().find(|it| it.name.dashed() == dashed);
            if let Some(same) = same {
                self.error(
                    image.span,
                    format!("`{}` and `{}` have the same name", same.name, image.name),
                )
                .hint(format!(
                    "both can be written `{dashed}`; rename one of them"
                ));
            }
        }
    }

    pub(super) fn mirror_is_valid(&mut self, mirror: &Spanned<String>) {
        let schemes = ["http://", "https://", "file://"];
        if !schemes.iter().any(|scheme| mirror.starts_with(scheme)) {
            self.error(mirror.span, "a mirror is an address")
                .hint("write it with `https://` or `http://` in front");
        }
    }

    pub(super) fn package_is_valid(&mut self, package: &Spanned<String>) {
        let name = package.as_str();
        let good = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
        if good {
            return;
        }
        let hint = match name.contains('=') {
            true => "versions are fixed by the lock, not by the spec",
            false => "names of packages are made of small letters, digits, `+`, `-` and `.`",
        };
        self.error(
            package.span,
            format!("`{name}` is not the name of a package"),
        )
        .hint(hint);
    }
}

/// The finding that was just reported, to add advice to.
pub(super) struct Finding<'f>(&'f mut Vec<Diagnostic>);

impl Finding<'_> {
    pub(super) fn hint(self, hint: impl Into<String>) {
        if let Some(finding) = self.0.last_mut() {
            finding.hints.push(hint.into());
        }
    }
}

/// Keeps the first of equal values.
pub(super) fn distinct<'f>(
    values: impl Iterator<Item = &'f Spanned<String>>,
) -> Vec<Spanned<String>> {
    let mut distinct: Vec<Spanned<String>> = Vec::new();
    for value in values {
        if !distinct.contains(value) {
            distinct.push(value.clone());
        }
    }
    distinct
}
