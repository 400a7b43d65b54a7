//! Where steps' results were carried from one runner to the next: caches of buildx in whatever
//! file they are named.

use serde_json::Value;

use super::Verdict;
use super::draft::Draft;
use super::paths::name_and_tag;
use super::yaml::{entries, text, texts};

/// The caches of one build, as buildx writes them: `type=registry,ref=...`, or a reference alone.
pub(super) fn read(
    file: &str,
    what: String,
    (from, to): (&[String], &[String]),
    home: Option<&String>,
    draft: &mut Draft,
) {
    if from.is_empty() && to.is_empty() {
        return;
    }
    let mut named = from.iter().filter_map(|line| in_registry(line)).peekable();
    let is_read = named.peek().is_some();
    for reference in named {
        if !draft.cache_from.contains(&reference) {
            draft.cache_from.push(reference);
        }
    }
    let written = to.iter().find_map(|line| in_registry(line));
    let home = home.map_or("REGISTRY/NAME", String::as_str);
    let place = written.unwrap_or_else(|| format!("{home}:cache"));
    let mut why = match is_read {
        true => {
            "read from there by `build.cache-from`; `--cache-to` writes, on the command line of CI"
                .to_owned()
        }
        false => format!(
            "a store that stays needs none. A runner that starts empty takes results from a registry: `--cache-from {place} --cache-to type=registry,ref={place},mode=min`"
        ),
    };
    if to.iter().any(|line| line.contains("mode=max")) {
        why.push_str(
            "; `mode=max` keeps stages that no image consists of, and often costs more than it saves",
        );
    }
    draft.note(Verdict::Differs, file, what, why);
}

/// The caches of a list, each a text or a table of the same fields.
pub(super) fn lines(value: Option<&Value>) -> Vec<String> {
    let Some(Value::Array(items)) = value else {
        return texts(value);
    };
    let line = |item: &Value| match item {
        Value::Object(_) => {
            let fields = entries(Some(item));
            let fields = fields.filter_map(|(key, it)| Some(format!("{key}={}", text(it)?)));
            Some(fields.collect::<Vec<_>>().join(","))
        }
        other => text(other),
    };
    items.iter().filter_map(line).collect()
}

/// The reference of a cache in a registry, where it is known.
fn in_registry(line: &str) -> Option<String> {
    let fields = || line.split(',').map(str::trim);
    let reference = match line.contains('=') {
        true => {
            fields().find(|it| *it == "type=registry")?;
            fields().find_map(|it| it.strip_prefix("ref="))?
        }
        false => line.trim(),
    };
    let (name, _) = name_and_tag(reference);
    (!name.is_empty() && !reference.contains('$')).then(|| reference.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_in_a_registry_is_read_once_whatever_it_is_written_as() {
        let mut draft = Draft::default();
        let table = serde_json::json!([
            {"type": "registry", "ref": "ghcr.io/lab/a:cache"},
            "ghcr.io/lab/b:cache",
            "type=registry,ref=ghcr.io/lab/a:cache",
            "type=gha",
            "type=registry,ref=${{ x }}"
        ]);
        let from = lines(Some(&table));
        for _ in 0..2 {
            read("f", "cache-from".to_owned(), (&from, &[]), None, &mut draft);
        }
        assert_eq!(
            draft.cache_from,
            ["ghcr.io/lab/a:cache", "ghcr.io/lab/b:cache"]
        );
        assert!(draft.notes[0].why.contains("build.cache-from"));
        let to = ["type=registry,ref=ghcr.io/lab/a:c,mode=max".to_owned()];
        read("f", "cache-to".to_owned(), (&[], &to), None, &mut draft);
        let why = &draft.notes[2].why;
        assert!(
            why.contains("--cache-from ghcr.io/lab/a:c ") && why.contains("`mode=max` keeps"),
            "{why}"
        );
    }
}
