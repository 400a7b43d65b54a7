//! Compose files: the services that are built.

use serde_json::Value;

use super::draft::{Build, Draft};
use super::paths::{file_name, folder, join, name_and_tag};
use super::yaml::{entries, pairs, parse, text, text_at, texts};
use super::{ImportError, TAGS_OF_EVENTS, Tree, Verdict, caches, secrets};

pub(super) fn read(tree: &Tree, draft: &mut Draft) -> Result<(), ImportError> {
    for (file, text) in tree.texts() {
        let name = file_name(file);
        let is_compose = ["compose.", "docker-compose"]
            .iter()
            .any(|start| name.starts_with(start));
        if !is_compose || !name.ends_with("ml") {
            continue;
        }
        if name.contains(".override.") {
            draft.note(
                Verdict::Missing,
                file,
                "this file",
                "left out: Compose lays it over the other one on somebody's own machine; `[env.NAME]` does so here, for those who ask",
            );
            continue;
        }
        let document = parse(file, text)?;
        for (service, settings) in entries(document.get("services")) {
            let base = extended(tree, file, &document, settings, draft);
            let of_base = base
                .as_ref()
                .and_then(|it| Some((it.file.as_str(), it.settings.get("build")?)));
            let own = settings.get("build").map(|build| (file, build));
            if let Some((home, build)) = own.or(of_base) {
                draft.from.push(file.to_owned());
                let named = match (settings.get("image"), &base) {
                    (None, Some(base)) => &base.settings,
                    _ => settings,
                };
                service_build(tree, (file, home), service, (settings, named), build, draft);
            }
        }
    }
    Ok(())
}

/// A service that another one extends, and the file that it is written in.
struct Extended {
    file: String,
    settings: Value,
}

/// So long may a chain of services be that extend each other.
const CHAIN_MAX: usize = 8;

/// The service that another one extends, in this file or in one beside it, with what that one takes
/// from its own.
fn extended(
    tree: &Tree,
    file: &str,
    document: &Value,
    settings: &Value,
    draft: &mut Draft,
) -> Option<Extended> {
    let (mut file, mut document) = (file.to_owned(), document.clone());
    let mut extends = settings.get("extends")?.clone();
    for _ in 0..CHAIN_MAX {
        let name = text(&extends).or_else(|| text_at(&extends, "service"))?;
        if let Some(other) = text_at(&extends, "file") {
            let other = join(folder(&file), &plain(&other));
            let Some(read) = tree.text(&other).and_then(|text| parse(&other, text).ok()) else {
                let why = format!("left out: there is no {other} to read it from");
                draft.note(Verdict::Missing, &file, format!("extends: {name}"), why);
                return None;
            };
            draft.from.push(other.clone());
            (file, document) = (other, read);
        }
        let settings = document.get("services")?.get(&name)?.clone();
        match settings.get("extends") {
            Some(next) if settings.get("build").is_none() => extends = next.clone(),
            _ => return Some(Extended { file, settings }),
        }
    }
    None
}

/// What a `build` says that is no part of a spec, or another one.
const ELSEWHERE: [(&str, Verdict, &str); 12] = [
    (
        "ssh",
        Verdict::Missing,
        "no key of the host is handed to the steps of a stack",
    ),
    ("network", Verdict::Missing, SURROUNDINGS),
    ("extra_hosts", Verdict::Missing, SURROUNDINGS),
    ("shm_size", Verdict::Missing, SURROUNDINGS),
    ("ulimits", Verdict::Missing, SURROUNDINGS),
    ("privileged", Verdict::Missing, SURROUNDINGS),
    ("isolation", Verdict::Missing, SURROUNDINGS),
    ("entitlements", Verdict::Missing, SURROUNDINGS),
    (
        "no_cache",
        Verdict::Differs,
        "content decides what runs again; `rebuild = \"always\"` of an image runs it each time",
    ),
    (
        "pull",
        Verdict::Differs,
        "bases are locked by digest: `cairn lock --update` or `--pull` asks for newer ones",
    ),
    ("provenance", Verdict::Missing, ATTESTED),
    ("sbom", Verdict::Missing, ATTESTED),
];
const ATTESTED: &str = "no setting of a spec says so; `cairn publish --provenance` and `--sbom` attest what is published";
const SURROUNDINGS: &str = "steps run in one and the same surrounding; there is no key for it";

fn service_build(
    tree: &Tree,
    (file, home): (&str, &str),
    service: &str,
    (settings, named): (&Value, &Value),
    build: &Value,
    draft: &mut Draft,
) {
    let context = text(build).or_else(|| text_at(build, "context"));
    let context = context.map_or_else(|| ".".to_owned(), |it| plain(&it));
    let left_out = match build.get("dockerfile_inline") {
        Some(_) => Some(
            "left out: its Dockerfile is written in the Compose file; put it into a file of its own"
                .to_owned(),
        ),
        None if context.contains("://") || context.starts_with("git@") => {
            Some("left out: its context is an address, not a folder".to_owned())
        }
        None => None,
    };
    if let Some(why) = left_out {
        draft.note(Verdict::Missing, file, format!("services.{service}"), why);
        return;
    }
    let context = join(folder(home), &context);
    let dockerfile = text_at(build, "dockerfile").unwrap_or_else(|| "Dockerfile".to_owned());
    let dockerfile = join(&context, &plain(&dockerfile));
    if !tree.files.contains_key(&dockerfile) {
        let why = format!("left out: there is no {dockerfile}");
        draft.note(Verdict::Missing, file, format!("services.{service}"), why);
        return;
    }
    let mut made = Build {
        key: service.to_owned(),
        context,
        dockerfile,
        target: text_at(build, "target").map(|it| plain(&it)),
        labels: pairs(build.get("labels"))
            .into_iter()
            .map(|(name, value)| (name, plain(&value)))
            .collect(),
        platforms: texts(build.get("platforms")),
        is_of_compose: true,
        file: file.to_owned(),
        ..Build::default()
    };
    for name in without_value(build.get("args")) {
        let what = format!("services.{service}: argument {name}");
        if secrets::is_secret_from_outside(&name, "") {
            secrets::leave_out(file, what, &name, draft);
            continue;
        }
        draft.note(
            Verdict::Missing,
            file,
            what,
            "its value is that of the environment; give it as a variable of the spec",
        );
    }
    for (name, value) in pairs(build.get("args")) {
        if value.contains('$') && secrets::is_secret_from_outside(&name, &plain(&value)) {
            let what = format!("services.{service}: argument {name}");
            secrets::leave_out(file, what, &name, draft);
        } else if !is_null(build.get("args"), &name) {
            let value = with_variables(&value, draft);
            made.args.insert(name, value);
        }
    }
    for (name, source) in pairs(build.get("additional_contexts")) {
        match source.strip_prefix("service:") {
            Some(parent) => made.parent = Some(parent.to_owned()),
            None => draft.note(
                Verdict::Missing,
                file,
                format!("services.{service}: context {name}"),
                "named contexts are not part of a spec yet",
            ),
        }
    }
    for (key, verdict, why) in ELSEWHERE {
        let given = build.get(key).and_then(text);
        if build.get(key).is_some() && given.as_deref() != Some("false") {
            draft.note(verdict, file, format!("services.{service}: {key}"), why);
        }
    }
    let names = texts(build.get("tags"));
    for reference in text_at(named, "image").into_iter().chain(names) {
        let reference = plain(&reference);
        let (repository, tag) = name_and_tag(&reference);
        made.names.push(repository.to_owned());
        made.fixed_tags.extend(tag.map(str::to_owned));
    }
    if !made.fixed_tags.is_empty() {
        let what = format!("tags of {service}: {}", made.fixed_tags.join(", "));
        draft.note(Verdict::Differs, file, what, TAGS_OF_EVENTS);
    }
    if build.get("secrets").is_some() {
        secrets::by_id(file, format!("services.{service}: secrets"), draft);
    }
    let caches = |key: &str| caches::lines(build.get(key));
    let (from, to) = (caches("cache_from"), caches("cache_to"));
    let what = format!("services.{service}: cache_from, cache_to");
    caches::read(file, what, (&from, &to), made.names.first(), draft);
    let runs = [
        "command",
        "environment",
        "volumes",
        "ports",
        "depends_on",
        "devices",
        "privileged",
    ];
    if !texts(settings.get("profiles")).is_empty() {
        let what = format!("services.{service}: profiles");
        let why = "a stack has all its images; `cairn build IMAGE` builds one";
        draft.note(Verdict::Differs, file, what, why);
    }
    if runs.iter().any(|key| settings.get(key).is_some()) {
        draft.note(
            Verdict::Missing,
            file,
            format!("services.{service}"),
            "how a service runs (volumes, ports, environment) is no part of a stack of images",
        );
    }
    draft.builds.push(made);
}

/// Arguments that are only named.
fn without_value(args: Option<&Value>) -> Vec<String> {
    let named = entries(args).filter(|(_, value)| value.is_null());
    let listed = args.and_then(Value::as_array).into_iter().flatten();
    let listed = listed.filter_map(text).filter(|line| !line.contains('='));
    named
        .map(|(name, _)| name.to_owned())
        .chain(listed)
        .collect()
}

fn is_null(args: Option<&Value>, name: &str) -> bool {
    args.and_then(|args| args.get(name))
        .is_some_and(Value::is_null)
}

/// A value with the defaults of its variables: for names and paths.
fn plain(value: &str) -> String {
    each_variable(value, |_, default| default.to_owned())
}

/// A value with variables of the spec in place of those of the environment.
fn with_variables(value: &str, draft: &mut Draft) -> String {
    each_variable(value, |name, default| draft.variable(name, default))
}

/// Compose's `${NAME}`, `${NAME:-default}`, `$NAME` and `$$`.
fn each_variable(value: &str, mut put: impl FnMut(&str, &str) -> String) -> String {
    let mut made = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        made.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(after) = behind.strip_prefix('$') {
            made.push('$');
            rest = after;
        } else if let Some((inside, after)) =
            behind.strip_prefix('{').and_then(|it| it.split_once('}'))
        {
            let end = inside.find([':', '-', '?', '+']).unwrap_or(inside.len());
            let (name, rule) = inside.split_at(end);
            let default = rule.trim_start_matches(':').strip_prefix('-').unwrap_or("");
            made.push_str(&put(name, default));
            rest = after;
        } else {
            let end = behind
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(behind.len());
            match end {
                0 => made.push('$'),
                _ => made.push_str(&put(&behind[..end], "")),
            }
            rest = &behind[end..];
        }
    }
    made + rest
}
