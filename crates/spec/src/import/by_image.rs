//! Tests that lie in a folder for each image, apart from the images, as the Jupyter Docker Stacks
//! have them: `tests/by_image/NAME`. An image has those of all images that it builds on, too.

use super::draft::{Draft, DraftImage};
use super::emit::quoted;
use super::paths::{file_name, folder};
use super::{Tree, Verdict};

/// Options that such suites ask for: the parts of the image's name.
const OPTIONS: [&str; 3] = ["--registry", "--owner", "--image"];

/// Adds the suites of each image and of what it builds on.
pub(super) fn attach(tree: &Tree, images: &mut [DraftImage], draft: &mut Draft) {
    let Some(home) = home_of(tree, images) else {
        return;
    };
    let options = options_of(tree, &home);
    let keys: Vec<String> = images.iter().map(|it| it.key.clone()).collect();
    let plain = |it: &String| it.split(':').next().unwrap_or_default().to_owned();
    let parents: Vec<Option<String>> = images
        .iter()
        .map(|it| it.builds_on.as_ref().map(plain))
        .collect();
    let goes_out = images.iter().any(|it| !it.names.is_empty());
    for (at, image) in images.iter_mut().enumerate() {
        // An example that builds on a published image is not held to that one's tests.
        if goes_out && image.names.is_empty() && !has_tests(tree, &home, &keys[at]) {
            continue;
        }
        let mut line = vec![own_name(tree, &home, &keys[at], &keys)];
        let mut next = parents[at].clone();
        while let Some(parent) = next
            .take()
            .filter(|it| line.len() <= keys.len() && !line.contains(it))
        {
            let of_parent = keys.iter().position(|key| *key == parent);
            next = of_parent.and_then(|at| parents[at].clone());
            line.push(parent);
        }
        let there = line
            .iter()
            .rev()
            .filter(|name| has_tests(tree, &home, name));
        let suites: Vec<String> = there
            .map(|name| suite(&home, name, &options, image))
            .collect();
        if suites.is_empty() {
            continue;
        }
        let build = &mut image.members[0].1;
        build.suites.entry("pytest").or_default().extend(suites);
        draft.note(
            Verdict::Differs,
            &home,
            format!("tests of {}", image.key),
            "its own and those of the images that it builds on run on the host with `TEST_IMAGE` set; a Docker client of theirs needs the image in Docker (`cairn export --format docker`)",
        );
    }
}

fn suite(home: &str, name: &str, options: &[String], image: &DraftImage) -> String {
    let path = quoted(&format!("{home}/{name}"));
    // `from tests.utils import ...`: the folder above is where their packages are.
    let above = match folder(top(home)) {
        "" => ".",
        above => above,
    };
    let mut made = format!(
        "{{ path = {path}, on = \"host\", python-path = [{}]",
        quoted(above)
    );
    let published = image.names.first().map(String::as_str).unwrap_or_default();
    let (place, own) = published
        .rsplit_once('/')
        .unwrap_or(("", image.key.as_str()));
    let (registry, owner) = place.split_once('/').unwrap_or((place, ""));
    let values = [registry, owner, own];
    let pairs = OPTIONS.iter().zip(values);
    let args: Vec<String> = pairs
        .filter(|(option, _)| options.iter().any(|it| it == *option))
        .flat_map(|(option, value)| [quoted(option), quoted(value)])
        .collect();
    if !args.is_empty() {
        made.push_str(&format!(", args = [{}]", args.join(", ")));
    }
    made + " }"
}

/// The folder of tests with most folders that are called like images, two at least.
fn home_of(tree: &Tree, images: &[DraftImage]) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    let homes = tree.files.keys().filter(|path| is_test(path));
    for path in homes {
        let mut home = folder(path);
        while !home.is_empty() {
            let called = images
                .iter()
                .filter(|image| has_tests(tree, home, &image.key))
                .count();
            let is_of_tests = top(home).starts_with("test");
            if is_of_tests && called >= 2 && best.is_none_or(|(count, _)| called > count) {
                best = Some((called, home));
            }
            home = folder(home);
        }
    }
    best.map(|(_, home)| home.to_owned())
}

/// The first folder of a path.
fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

fn has_tests(tree: &Tree, home: &str, name: &str) -> bool {
    let below = format!("{home}/{name}/");
    let mut files = tree.files.keys();
    files.any(|path| path.starts_with(&below) && is_test(path))
}

/// `test_x.py`, and what the stacks' `test_units.py` runs: `units/unit_x.py`.
fn is_test(path: &str) -> bool {
    let name = file_name(path);
    let is_python = name.ends_with(".py");
    is_python && (name.starts_with("test_") || name.starts_with("unit_"))
}

/// The image whose tests these are: `pytorch` for `pytorch-cuda12`, which has none of its own.
fn own_name(tree: &Tree, home: &str, key: &str, keys: &[String]) -> String {
    if has_tests(tree, home, key) {
        return key.to_owned();
    }
    let longer = |other: &&String| {
        key.strip_prefix(other.as_str())
            .is_some_and(|it| it.starts_with('-'))
    };
    let family = keys.iter().filter(longer).max_by_key(|it| it.len());
    family.map_or_else(|| key.to_owned(), Clone::clone)
}

/// The options that their `conftest.py` adds.
fn options_of(tree: &Tree, home: &str) -> Vec<String> {
    let mut folder_of = home;
    loop {
        let text = tree.text(&super::paths::join(folder_of, "conftest.py"));
        if let Some(text) = text {
            let is_there = |option: &&&str| text.contains(&format!("\"{option}\""));
            let options = OPTIONS.iter().filter(is_there);
            return options.map(|it| (*it).to_owned()).collect();
        }
        if folder_of.is_empty() {
            return Vec::new();
        }
        folder_of = folder(folder_of);
    }
}
