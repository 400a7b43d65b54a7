//! Makefiles, scripts and the files of CI services that call `docker build` and its relatives:
//! which folder, which Dockerfile, which arguments and which name an image has there.
//!
//! What they say holds where no pipeline that is read as a whole describes the images; they are
//! read without being run, so what a command would answer is not known, and told.

mod lines;
mod places;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::lines::Found;
use self::places::Places;
use self::variables::Variables;
use super::assemble::is_published;
use super::combinations::multiplied;
use super::draft::{Build, Draft};
use super::layout::context_of;
use super::paths::{file_name, folder, name_and_tag};
use super::yaml::{entries, pairs, parse, text};
use super::{TAGS_OF_EVENTS, Tree, Verdict, secrets};

/// Variables of CI services that have a meaning for everybody, and what stands in for them.
const OF_SERVICES: [(&str, &str); 2] = [
    ("CI_REGISTRY_IMAGE", "registry.example.org/group/project"),
    ("CI_REGISTRY", "registry.example.org"),
];

/// Whether a file is a script by its name.
pub(super) fn is_script(path: &str) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    let ends = [".sh", ".bash", ".mk"].iter().any(|it| name.ends_with(it));
    ends || matches!(
        name.as_str(),
        "makefile" | "gnumakefile" | "justfile" | ".justfile" | "jenkinsfile"
    )
}

fn is_makefile(path: &str) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    matches!(name.as_str(), "makefile" | "gnumakefile") || name.ends_with(".mk")
}

/// The files of CI services that hold commands; GitHub's workflows are read by themselves.
fn is_of_service(path: &str) -> bool {
    let name = file_name(path);
    if !name.ends_with(".yml") && !name.ends_with(".yaml") {
        return false;
    }
    let starts = [
        ".gitlab-ci",
        ".travis",
        "azure-pipelines",
        "bitbucket-pipelines",
        ".woodpecker",
        ".drone",
        "buildspec",
    ];
    starts.iter().any(|it| name.starts_with(it))
        || path == ".circleci/config.yml"
        || path.starts_with(".gitlab/")
        || path.starts_with(".woodpecker/")
}

/// Runners of tasks that keep commands in YAML.
fn is_of_tasks(path: &str) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    matches!(name.as_str(), "taskfile.yml" | "taskfile.yaml")
}

/// Takes what the files of CI services build, where no other pipeline says it.
pub(super) fn read_services(tree: &Tree, stack: &str, draft: &mut Draft) {
    let mut builds = Vec::new();
    for (file, text) in tree.texts().filter(|(file, _)| is_of_service(file)) {
        if has_build(text) {
            builds.extend(of_yaml(tree, file, text, draft));
        }
    }
    take(tree, stack, builds, false, draft);
}

/// Takes what Makefiles and scripts build, where no pipeline says it.
pub(super) fn read(tree: &Tree, stack: &str, draft: &mut Draft) {
    let mut builds = Vec::new();
    for (file, text) in tree.texts().filter(|(_, text)| has_build(text)) {
        let mut variables = Variables::of(file);
        let found = if is_makefile(file) {
            lines::of_makefile(tree, text, &mut variables, &Places::of_folder(file))
        } else if is_script(file) {
            lines::builds(tree, text, &mut variables, &mut Places::of_script(file))
        } else if is_of_tasks(file) {
            let found = of_yaml(tree, file, text, draft);
            builds.extend(found);
            continue;
        } else {
            continue;
        };
        builds.extend(found.into_iter().map(|it| (file.to_owned(), it)));
    }
    take(tree, stack, builds, true, draft);
}

/// Whether a text may call a builder at all: most files do not, and are not read any further.
fn has_build(text: &str) -> bool {
    ["build", "kaniko", "buildah"]
        .iter()
        .any(|it| text.contains(it))
}

/// The commands in a document: every text in it may be one.
fn of_yaml(tree: &Tree, file: &str, text: &str, draft: &mut Draft) -> Vec<(String, Found)> {
    let document = match parse(file, text) {
        Ok(document) => document,
        Err(_) => {
            let why = "left out: it is not read as YAML; what it builds is taken from the Dockerfiles alone";
            draft.note(Verdict::Missing, file, "this file", why);
            return Vec::new();
        }
    };
    let mut shared = Variables::of(file);
    set_all(&document, &mut shared);
    let mut found = Vec::new();
    let jobs: Vec<&Value> = match document.as_object() {
        Some(table) => table.values().collect(),
        None => vec![&document],
    };
    for job in jobs {
        for values in rows(job) {
            let mut variables = shared.clone();
            set_all(job, &mut variables);
            for (name, value) in values {
                variables.set(&name, &value);
            }
            let mut home = Places::of_folder(match is_of_tasks(file) {
                true => file,
                false => "",
            });
            let mut texts = Vec::new();
            collect(job, &mut texts);
            for text in texts {
                found.extend(lines::builds(tree, &text, &mut variables, &mut home));
            }
        }
    }
    found.into_iter().map(|it| (file.to_owned(), it)).collect()
}

/// `variables`, `env` and `vars` of a document or a job.
fn set_all(value: &Value, variables: &mut Variables) {
    for key in ["variables", "env", "vars"] {
        for (name, value) in pairs(value.get(key)) {
            variables.set(&name, &value);
        }
    }
}

/// So many combinations of a matrix are read.
const ROWS_MAX: usize = 256;

/// The combinations of GitLab's `parallel: matrix:`; one without values where there is none.
fn rows(job: &Value) -> Vec<BTreeMap<String, String>> {
    let matrix = job.pointer("/parallel/matrix").and_then(Value::as_array);
    let Some(matrix) = matrix else {
        return vec![BTreeMap::new()];
    };
    let mut rows = Vec::new();
    for table in matrix {
        let mut some = vec![BTreeMap::new()];
        for (name, values) in entries(Some(table)) {
            let values = super::yaml::texts(Some(values));
            some = multiplied(&some, name, &values, ROWS_MAX);
        }
        rows.append(&mut some);
        if rows.len() >= ROWS_MAX {
            break;
        }
    }
    rows.truncate(ROWS_MAX);
    rows
}

/// All texts of a value, in their order.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| collect(it, texts)),
        Value::Object(table) => table.values().for_each(|it| collect(it, texts)),
        one => texts.extend(text(one)),
    }
}

/// A build as a script has it, before names are looked at.
struct Read {
    build: Build,
    /// The names with their tags, as they are with all that the script says.
    references: Vec<String>,
    args: Vec<(String, String)>,
}

fn take(tree: &Tree, stack: &str, found: Vec<(String, Found)>, by_hand: bool, draft: &mut Draft) {
    let mut read = Vec::new();
    for (file, found) in found {
        read.extend(one(tree, stack, &file, &found, draft));
    }
    let named: BTreeMap<String, String> = read
        .iter()
        .flat_map(|it| {
            let names = it.references.iter().cloned();
            names.map(|name| (name, it.build.key.clone()))
        })
        .collect();
    let mut builds: Vec<Build> = Vec::new();
    for read in left_by_pipelines(read, draft) {
        let mut build = read.build;
        for (name, value) in &read.args {
            argument(&mut build, name, value, &named, draft);
        }
        draft.from.push(build.file.clone());
        build.is_by_hand = by_hand || !build.names.iter().any(|it| is_published(it));
        if !builds.contains(&build) {
            builds.push(build);
        }
    }
    in_one_folder(tree, &mut builds);
    tell_variants(&mut builds);
    draft.builds.append(&mut builds);
}

/// What no pipeline builds: where there is one, it says of its images what holds.
fn left_by_pipelines(read: Vec<Read>, draft: &mut Draft) -> Vec<Read> {
    let of_pipelines = draft.builds.iter();
    let of_pipelines: Vec<(String, String)> = of_pipelines
        .filter(|it| !it.is_of_compose && !it.is_by_hand)
        .map(|it| (it.dockerfile.clone(), it.key.clone()))
        .collect();
    let mut left = Vec::new();
    for mut read in read {
        let build = &mut read.build;
        if of_pipelines
            .iter()
            .any(|(path, _)| *path == build.dockerfile)
        {
            let what = format!("docker build of {}", build.key);
            let why = "left to the pipeline, which says how it is built; `cairn build IMAGE` builds one image anywhere";
            draft.note(Verdict::Differs, &build.file, what, why);
            continue;
        }
        // One local name for several Dockerfiles, of which a pipeline publishes one.
        if let Some(tag) = build.fixed_tags.first()
            && of_pipelines.iter().any(|(_, key)| *key == build.key)
        {
            build.key = format!("{}-{tag}", build.key);
        }
        left.push(read);
    }
    left
}

/// Builds of one Dockerfile in several folders - a script had copied files beside it - are one, in
/// the folder that has what it copies.
fn in_one_folder(tree: &Tree, builds: &mut Vec<Build>) {
    let mut contexts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for build in builds.iter() {
        let of_file = contexts.entry(build.dockerfile.clone()).or_default();
        of_file.insert(build.context.clone());
    }
    for (dockerfile, contexts) in contexts.into_iter().filter(|(_, it)| it.len() > 1) {
        let context = context_of(tree, &dockerfile);
        if !contexts.contains(&context) {
            continue;
        }
        let of_file = |it: &Build| it.dockerfile == dockerfile;
        let names: Vec<String> = builds
            .iter()
            .filter(|it| of_file(it))
            .flat_map(|it| it.names.clone())
            .collect();
        builds.retain(|it| !of_file(it) || it.context == context);
        if let Some(first) = builds.iter_mut().find(|it| of_file(it)) {
            for name in names.into_iter().filter(|it| is_published(it)) {
                if !first.names.contains(&name) {
                    first.names.push(name);
                }
            }
        }
    }
}

fn one(tree: &Tree, stack: &str, file: &str, found: &Found, draft: &mut Draft) -> Option<Read> {
    let Found {
        command,
        variables,
        home,
    } = found;
    let references: Vec<String> = command.tags.iter().map(|it| variables.fill(it)).collect();
    let called = references
        .first()
        .cloned()
        .unwrap_or_else(|| variables.fill(&command.context));
    let Some(place) = home.dockerfile(tree, command, variables) else {
        let why = "left out: its Dockerfile or its folder cannot be told without running the script, or is not there";
        draft.note(
            Verdict::Missing,
            file,
            format!("docker build of {called}"),
            why,
        );
        return None;
    };
    let mut build = Build {
        context: place.context,
        dockerfile: place.dockerfile,
        target: command
            .target
            .as_deref()
            .map(|it| variables.fill(it))
            .filter(|it| !it.contains('$')),
        file: file.to_owned(),
        ..Build::default()
    };
    let platforms = command.platforms.iter().map(|it| variables.fill(it));
    let platforms = platforms.flat_map(|it| it.split(',').map(str::to_owned).collect::<Vec<_>>());
    build.platforms = platforms
        .filter(|it| it.contains('/') && !it.contains('$'))
        .collect();
    for label in command.labels.iter().map(|it| variables.fill(it)) {
        if let Some((name, value)) = label.split_once('=').filter(|_| !label.contains('$')) {
            build.labels.insert(name.to_owned(), value.to_owned());
        }
    }
    for reference in &references {
        let (name, tag) = name_and_tag(reference);
        let name = published(name, stack, draft);
        if !name.is_empty() && !build.names.contains(&name) {
            build.names.push(name);
        }
        build
            .fixed_tags
            .extend(tag.filter(|it| !it.contains('$')).map(str::to_owned));
    }
    let home = folder(&build.dockerfile).to_owned();
    build.family = Some(home).filter(|it| !it.is_empty() && *it == build.context);
    build.key = key(&build, &references, stack);
    others(file, &called, &command.others, draft);
    let says_tag = |it: &String| name_and_tag(it).1.is_some_and(|tag| tag != "latest");
    if references.iter().any(says_tag) {
        draft.note(
            Verdict::Differs,
            file,
            format!("tags of {}", build.key),
            TAGS_OF_EVENTS,
        );
    }
    let args = command.args.iter().map(|it| variables.fill(it));
    // One without a value has that of the environment.
    let args = args.map(|it| match it.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (it.clone(), format!("${it}")),
    });
    Some(Read {
        build,
        references,
        args: args.collect(),
    })
}

/// What is written of a name: variables that nobody but the machine knows are those of the spec.
fn published(name: &str, stack: &str, draft: &mut Draft) -> String {
    let bare = name.trim_start_matches('$').trim_matches(['{', '}']);
    // GitLab's own name of a project is a whole repository.
    if name.starts_with('$') && bare == "CI_REGISTRY_IMAGE" {
        let home = draft.unknown_variable("CI_REGISTRY_IMAGE", OF_SERVICES[0].1);
        return format!("{home}/{stack}");
    }
    let mut made = String::new();
    let mut rest = name;
    while let Some(at) = rest.find('$') {
        made.push_str(&rest[..at]);
        let behind = rest[at + 1..].trim_start_matches('{');
        let end = behind
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(behind.len());
        let (variable, after) = behind.split_at(end);
        if variable.is_empty() {
            // What a command would answer.
            return String::new();
        }
        let known = OF_SERVICES.iter().find(|(name, _)| *name == variable);
        let stand_in = variable.to_ascii_lowercase().replace('_', "-");
        let stand_in = known.map_or(stand_in.as_str(), |(_, value)| value);
        made.push_str(&draft.unknown_variable(variable, stand_in));
        rest = after.strip_prefix('}').unwrap_or(after);
    }
    made + rest
}

/// What it is called: by its name without what only the machine knows, else by its folder.
fn key(build: &Build, references: &[String], stack: &str) -> String {
    let of_name = references.iter().find_map(|reference| {
        let (name, _) = name_and_tag(reference);
        let last = file_name(name);
        let known = last.rsplit(['$', '}']).next().unwrap_or_default();
        let known = match last.contains('$') && !last.contains('}') {
            true => known.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'),
            false => known,
        };
        let known = known.trim_matches(['-', '_', '.', ')']);
        (!known.is_empty() && !known.contains([' ', '('])).then(|| known.to_owned())
    });
    let of_folder = Some(file_name(&build.context).to_owned()).filter(|it| !it.is_empty());
    of_name.or(of_folder).unwrap_or_else(|| stack.to_owned())
}

/// An argument: the name of another image that a script builds is that image.
fn argument(
    build: &mut Build,
    name: &str,
    value: &str,
    named: &BTreeMap<String, String>,
    draft: &mut Draft,
) {
    if let Some(other) = named.get(value).filter(|it| **it != build.key) {
        build.args.insert(name.to_owned(), other.clone());
    } else if value.contains('$') {
        let file = build.file.clone();
        secrets::unknown(&file, format!("--build-arg {name}"), name, draft);
    } else {
        build.args.insert(name.to_owned(), value.to_owned());
    }
}

/// What a command says besides, each with its line.
fn others(file: &str, called: &str, others: &[String], draft: &mut Draft) {
    for other in others {
        let what = format!("docker build of {called}: {other}");
        match other.starts_with("--secret") {
            true => secrets::by_id(file, what, draft),
            false => {
                let why =
                    "no setting of a spec says so; `cairn build --help` lists the flags there are";
                draft.note(Verdict::Missing, file, what, why);
            }
        }
    }
}

/// One local name with a Dockerfile for each of its tags is one image, and the tags are its variants.
fn tell_variants(builds: &mut [Build]) {
    let tag = |build: &Build| match build.fixed_tags.as_slice() {
        [tag] => Some(tag.clone()),
        _ => None,
    };
    let keys: BTreeSet<String> = builds.iter().map(|it| it.key.clone()).collect();
    for key in keys {
        let of_key = || builds.iter().filter(|it| it.key == key);
        let tags: BTreeSet<Option<String>> = of_key().map(tag).collect();
        let files: BTreeSet<&String> = of_key().map(|it| &it.dockerfile).collect();
        let contexts: BTreeSet<&String> = of_key().map(|it| &it.context).collect();
        let count = of_key().count();
        let is_told =
            count > 1 && tags.len() == count && files.len() == count && contexts.len() == 1;
        if is_told && !tags.contains(&None) {
            for build in builds.iter_mut().filter(|it| it.key == key) {
                build.choice = tag(build);
            }
        }
    }
}
