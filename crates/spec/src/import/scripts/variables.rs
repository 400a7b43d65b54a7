//! Variables of shells, of Make, just and Task, as far as a script itself says what they are.

use std::collections::BTreeMap;

use crate::import::paths::{file_name, folder};
use crate::import::shell::is_name;

/// Stands for the root of the tree at the start of a path.
pub(super) const ROOT: char = '\0';
/// So deep may one variable name another one.
const NESTED_MAX: usize = 8;
/// What a rule of Make is called for: `$@`, `$*`, `$(@F)`.
pub(super) const AUTOMATIC: &str = "@";

/// What the variables of one script are.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    file: String,
    values: BTreeMap<String, String>,
}

impl Variables {
    pub(super) fn of(file: &str) -> Self {
        let mut values = BTreeMap::new();
        for name in [
            "CURDIR",
            "PWD",
            "pwd",
            "CI_PROJECT_DIR",
            "TRAVIS_BUILD_DIR",
            "WORKSPACE",
        ] {
            values.insert(name.to_owned(), ROOT.to_string());
        }
        Self {
            file: file.to_owned(),
            values,
        }
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        // `PATHS = $(PATHS) x` would name itself.
        let value = match self.values.get(name) {
            Some(before) => {
                let own = [format!("$({name})"), format!("${{{name}}}")];
                own.iter()
                    .fold(value.to_owned(), |value, own| value.replace(own, before))
            }
            None => value.to_owned(),
        };
        self.values.insert(name.to_owned(), value);
    }

    /// Sets what an environment may have set before: `NAME ?= value`.
    pub(super) fn set_default(&mut self, name: &str, value: &str) {
        self.values
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }

    /// A text with the values that are known; what is not known stays.
    pub(super) fn fill(&self, text: &str) -> String {
        self.filled(text, 0)
    }

    fn filled(&self, text: &str, depth: usize) -> String {
        let mut made = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '{']) {
            made.push_str(&rest[..at]);
            let here = &rest[at..];
            let (written, value) = self.next(here, depth);
            made.push_str(&value.unwrap_or_else(|| written.to_owned()));
            rest = &here[written.len()..];
        }
        made + rest
    }

    /// What stands at the start of a text, and its value.
    fn next<'t>(&self, text: &'t str, depth: usize) -> (&'t str, Option<String>) {
        if let Some(inside) = text.strip_prefix("{{") {
            let Some((inside, _)) = inside.split_once("}}") else {
                return (&text[..2], None);
            };
            let name = inside.trim().trim_start_matches('.');
            let written = &text[..inside.len() + 4];
            let unknown = || is_name(name).then(|| format!("${name}"));
            return (written, self.value(name, depth).or_else(unknown));
        }
        let Some(behind) = text.strip_prefix('$') else {
            return (&text[..1], None);
        };
        if let Some(name) = behind.strip_prefix('$') {
            // Make's way to leave something to the shell.
            let end = name_end(name);
            return (&text[..2 + end], Some(format!("${}", &name[..end])));
        }
        if behind.starts_with(['(', '{']) {
            let end = closing(behind);
            let inside = &behind[1..end.max(1)];
            let written = &text[..(end + 2).min(text.len())];
            return (written, self.inside(inside, depth));
        }
        if behind.starts_with(['@', '*']) {
            return (&text[..2], self.value(AUTOMATIC, depth));
        }
        let end = name_end(behind);
        (&text[..=end], self.value(&behind[..end], depth))
    }

    fn value(&self, name: &str, depth: usize) -> Option<String> {
        let value = self.values.get(name).filter(|_| depth < NESTED_MAX)?;
        Some(self.filled(value, depth + 1))
    }

    /// The value of what stands between braces or parentheses.
    fn inside(&self, inside: &str, depth: usize) -> Option<String> {
        let inside = inside.trim();
        if matches!(inside, "@" | "*" | "@F" | "*F" | "@D") {
            return self.value(AUTOMATIC, depth);
        }
        if is_name(inside) {
            return self.value(inside, depth);
        }
        let end = name_end(inside);
        let (name, rule) = inside.split_at(end);
        if !name.is_empty() && !rule.starts_with(char::is_whitespace) {
            return self.with_rule(name, rule, depth);
        }
        let (command, words) = inside
            .split_once(char::is_whitespace)
            .unwrap_or((inside, ""));
        let filled = || self.filled(words, depth + 1);
        let plain = || filled().trim_matches(['"', '\'', ' ']).to_owned();
        match command {
            "notdir" | "basename" => {
                let path = plain();
                let is_known = !path.contains(['$', ' ']);
                is_known.then(|| file_name(path.trim_end_matches('/')).to_owned())
            }
            "shell" if words.trim() == "pwd" => Some(ROOT.to_string()),
            // The project of whoever is logged in (BOR-11).
            _ if inside.contains("gcloud config") && inside.contains("project") => {
                Some("$PROJECT_ID".to_owned())
            }
            _ if inside.contains("--show-toplevel") => Some(ROOT.to_string()),
            // Wherever a script finds itself.
            _ if inside.contains("dirname")
                && (inside.contains("$0") || inside.contains("BASH_SOURCE")) =>
            {
                let above = inside.matches("..").count();
                let mut own = folder(&self.file);
                for _ in 0..above {
                    own = folder(own);
                }
                Some(format!("{ROOT}{own}"))
            }
            _ => None,
        }
    }

    /// `${NAME:-default}`, `${NAME##*/}`, `${NAME%/}`.
    fn with_rule(&self, name: &str, rule: &str, depth: usize) -> Option<String> {
        let value = self.value(name, depth);
        let known = value.as_ref().filter(|it| !it.is_empty());
        let plain = rule.trim_start_matches(':');
        if let Some(default) = plain.strip_prefix(['-', '=']) {
            let default = default.trim_matches(['"', '\'']);
            return known
                .cloned()
                .or_else(|| Some(self.filled(default, depth + 1)));
        }
        match rule {
            "##*/" => value.map(|it| file_name(it.trim_end_matches('/')).to_owned()),
            "%/" => value.map(|it| it.trim_end_matches('/').to_owned()),
            rule if rule.starts_with(":?") || rule.starts_with('?') => value,
            _ => None,
        }
    }
}

/// Where a name ends that a text starts with.
fn name_end(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// Where the bracket closes that a text starts with; its end, if it does not.
fn closing(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_says_is_known_and_the_rest_stays() {
        let mut variables = Variables::of("docker/build.sh");
        variables.set("ORG", "${ORG:-lab}");
        variables.set("IMG", "$(ORG)/base");
        variables.set("dir", "images/base/");
        variables.set(AUTOMATIC, "build/r");
        variables.set_default("ORG", "other");
        let table = [
            ("$IMG:${TAG}", "lab/base:${TAG}"),
            ("${ORG}-$$USER", "lab-$USER"),
            (
                "$(notdir $@)/$(basename \"$dir\")/${dir##*/}",
                "r/base/base",
            ),
            ("${dir%/}", "images/base"),
            ("$(git rev-parse HEAD)", "$(git rev-parse HEAD)"),
            ("${A:-$ORG}x${B-}", "labx"),
            ("{{.ORG}} {{ IMG }} {{NOT}}", "lab lab/base $NOT"),
            ("$(pwd)/x", "\0/x"),
            ("$(cd \"$(dirname \"$0\")/..\" && pwd)", "\0"),
            ("$( dirname ${BASH_SOURCE[0]} )", "\0docker"),
            ("${", "${"),
            ("$", "$"),
            ("{x}", "{x}"),
        ];
        for (text, value) in table {
            assert_eq!(variables.fill(text), value, "{text}");
        }
        variables.set("LOOP", "$LOOP");
        assert_eq!(variables.fill("$LOOP"), "$LOOP");
    }
}
