//! Variables of shells, of Make, just and Task, as far as a script itself says what they are.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::import::paths::{file_name, folder};
use crate::import::shell::is_name;

/// Stands for the root of the tree at the start of a path.
pub(super) const ROOT: char = '\0';
/// So deep may one variable name another one.
const NESTED_MAX: usize = 8;
/// So deep may functions and defaults stand in each other, with the variables around them counted.
const DEPTH_MAX: usize = 16;
/// A value is not longer, and neither is what is put into one text: variables of variables multiply.
const TEXT_MAX: usize = 1 << 16;
/// All values of a script together are not longer; what does not fit is not known.
const VALUES_MAX: usize = 1 << 20;
/// What a rule of Make is called for: `$@`, `$*`, `$(@F)`.
pub(super) const AUTOMATIC: &str = "@";

/// What the variables of one script are.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    file: String,
    /// Shared, since each build of a script keeps those of its line.
    values: Rc<BTreeMap<String, String>>,
    /// The length of all names and values.
    length: usize,
}

impl Variables {
    pub(super) fn of(file: &str) -> Self {
        let mut variables = Self {
            file: file.to_owned(),
            ..Self::default()
        };
        for name in [
            "CURDIR",
            "PWD",
            "pwd",
            "CI_PROJECT_DIR",
            "TRAVIS_BUILD_DIR",
            "WORKSPACE",
        ] {
            variables.keep(name, ROOT.to_string());
        }
        variables
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        // `PATHS = $(PATHS) x` would name itself.
        let value = match self.values.get(name) {
            Some(before) => {
                let own = [format!("$({name})"), format!("${{{name}}}")];
                let start = Some(value.to_owned());
                own.iter()
                    .fold(start, |value, own| replaced(&value?, own, before))
            }
            None => Some(value.to_owned()),
        };
        match value {
            Some(value) => self.keep(name, value),
            None => self.forget(name),
        }
    }

    /// Sets one more word behind those that it has: `NAME += value`.
    pub(super) fn append(&mut self, name: &str, value: &str) {
        match self.values.get(name).filter(|it| !it.is_empty()) {
            Some(_) => self.set(name, &format!("$({name}) {value}")),
            None => self.set(name, value),
        }
    }

    fn keep(&mut self, name: &str, value: String) {
        self.forget(name);
        let length = name.len() + value.len();
        if value.len() <= TEXT_MAX && self.length + length <= VALUES_MAX {
            self.length += length;
            Rc::make_mut(&mut self.values).insert(name.to_owned(), value);
        }
    }

    fn forget(&mut self, name: &str) {
        if self.values.contains_key(name) {
            let before = Rc::make_mut(&mut self.values).remove(name);
            self.length -= name.len() + before.map_or(0, |it| it.len());
        }
    }

    /// Sets what an environment may have set before: `NAME ?= value`.
    pub(super) fn set_default(&mut self, name: &str, value: &str) {
        if !self.values.contains_key(name) {
            self.keep(name, value.to_owned());
        }
    }

    /// A text with the values that are known; what is not known stays.
    pub(super) fn fill(&self, text: &str) -> String {
        let filling = Filling {
            variables: self,
            room: Cell::new(TEXT_MAX),
        };
        filling.put_in(text, 0)
    }
}

/// A text while values are put into it.
struct Filling<'v> {
    variables: &'v Variables,
    /// So much may still be put in.
    room: Cell<usize>,
}

impl Filling<'_> {
    /// What is put in itself, with the values in it; nothing if that is too deep or too long. Each
    /// one costs room, also where nothing comes of it.
    fn filled(&self, text: &str, depth: usize) -> Option<String> {
        let left = self.room.get().checked_sub(text.len() + 1)?;
        self.room.set(left);
        (depth <= DEPTH_MAX).then(|| self.put_in(text, depth))
    }

    fn put_in(&self, text: &str, depth: usize) -> String {
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
            let end = inside.find(['{', '}']);
            let inside = match end {
                Some(end) if inside[end..].starts_with("}}") => &inside[..end],
                _ => return (&text[..2], None),
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
        let value = self.variables.values.get(name);
        self.filled(value.filter(|_| depth < NESTED_MAX)?, depth + 1)
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
        let plain = || Some(filled()?.trim_matches(['"', '\'', ' ']).to_owned());
        match command {
            "notdir" | "basename" => {
                let path = plain()?;
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
                let mut own = folder(&self.variables.file);
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
            return known.cloned().or_else(|| self.filled(default, depth + 1));
        }
        match rule {
            "##*/" => value.map(|it| file_name(it.trim_end_matches('/')).to_owned()),
            "%/" => value.map(|it| it.trim_end_matches('/').to_owned()),
            rule if rule.starts_with(":?") || rule.starts_with('?') => value,
            _ => None,
        }
    }
}

/// A text with another one in the place of each `old`, if that is no longer than a value may be.
fn replaced(text: &str, old: &str, new: &str) -> Option<String> {
    let more = text.matches(old).count().saturating_mul(new.len());
    (text.len().saturating_add(more) <= TEXT_MAX).then(|| text.replace(old, new))
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

    #[test]
    fn words_are_set_behind_those_that_are_there() {
        let mut variables = Variables::of("Makefile");
        variables.append("A", "one");
        variables.append("A", "two $(B)");
        variables.set("B", "b");
        assert_eq!(variables.fill("$(A)"), "one two b");
    }

    #[test]
    fn what_grows_without_measure_is_not_known() {
        let mut variables = Variables::of("x.sh");
        variables.set("A", "aaaaaaaa");
        for _ in 0..40 {
            variables.set("A", "${A}${A}");
        }
        assert!(variables.length <= VALUES_MAX);
        // Each level names the next one often, and in the end there is nothing.
        variables.set("E8", "");
        for at in 0..8 {
            variables.set(&format!("E{at}"), &format!("$E{}", at + 1).repeat(1000));
        }
        assert!(variables.fill("$E0").len() <= 4 * TEXT_MAX);
        let long = "x".repeat(TEXT_MAX);
        for at in 0..40 {
            variables.set(&format!("L{at}"), &long);
        }
        assert!(variables.length <= VALUES_MAX);
        assert_eq!(variables.fill("$L39"), "$L39");
        variables.set("L0", "short");
        variables.set("L39", "known");
        assert_eq!(variables.fill("$L0 $L39"), "short known");
    }

    #[test]
    fn what_is_nested_without_measure_stays() {
        let mut variables = Variables::of("x.sh");
        variables.set("D", "x/y");
        let nested = |times: usize| "$(notdir ".repeat(times) + "$D" + &")".repeat(times);
        assert_eq!(variables.fill(&nested(3)), "y");
        for text in [
            nested(50_000),
            "$(notdir ".repeat(50_000),
            "${A:-".repeat(50_000),
            "{{".repeat(500_000),
        ] {
            assert_eq!(variables.fill(&text), text);
        }
    }
}
