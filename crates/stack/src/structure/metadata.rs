//! The test of the image's settings.

use cairn_oci::RunConfig;

use super::file::{Expectation, MetadataTest};
use super::pattern::Pattern;
use super::result::Failure;
use super::subject::lookup;

/// Compares the settings with what they should be; `env` holds the image's variables and the
/// test file's global ones.
pub(crate) fn check(
    test: &MetadataTest,
    config: &RunConfig,
    env: &[(String, String)],
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for wanted in &test.env {
        let subject = format!("variable `{}`", wanted.key);
        failures.extend(compare(subject, wanted, lookup(env, &wanted.key)));
    }
    for name in &test.unbound_env {
        if let Some(value) = lookup(env, name) {
            failures.push(Failure::new(
                format!("variable `{name}`"),
                "not set",
                quoted(&value),
            ));
        }
    }
    for wanted in &test.labels {
        let subject = format!("label `{}`", wanted.key);
        let found = config.labels.get(&wanted.key).cloned();
        failures.extend(compare(subject, wanted, found));
    }
    failures.extend(ports(test, config));
    failures.extend(volumes(test, config));
    failures.extend(list("entry point", &test.entrypoint, &config.entrypoint));
    failures.extend(list("command", &test.cmd, &config.cmd));
    failures.extend(text(
        "working directory",
        &test.workdir,
        &config.working_dir,
    ));
    failures.extend(text("user", &test.user, &config.user));
    failures
}

fn compare(subject: String, wanted: &Expectation, found: Option<String>) -> Option<Failure> {
    let expected = match wanted.is_regex {
        true => format!("a match of `{}`", wanted.value),
        false => quoted(&wanted.value),
    };
    let Some(found) = found else {
        return Some(Failure::new(subject, expected, "nothing: it is not set"));
    };
    let equal = match wanted.is_regex {
        false => found == wanted.value,
        true => match Pattern::new(&wanted.value) {
            Ok(pattern) => pattern.is_match(&found),
            Err(error) => return Some(Failure::new(subject, "a pattern", error.to_string())),
        },
    };
    (!equal).then(|| Failure::new(subject, expected, quoted(&found)))
}

/// A port is named by its number, or by number and protocol.
fn ports(test: &MetadataTest, config: &RunConfig) -> Vec<Failure> {
    let exposed = |wanted: &str| {
        config.exposed_ports.keys().any(|port| {
            let number = port
                .split_once('/')
                .map_or(port.as_str(), |(number, _)| number);
            wanted == port || wanted == number
        })
    };
    let shown = || shown(config.exposed_ports.keys());
    let missing = test.exposed_ports.iter().filter(|port| !exposed(port));
    let missing = missing.map(|port| Failure::new("exposed ports", quoted(port), shown()));
    let excess = test.unexposed_ports.iter().filter(|port| exposed(port));
    let excess = excess.map(|port| Failure::new("exposed ports", format!("no {port}"), shown()));
    missing.chain(excess).collect()
}

fn volumes(test: &MetadataTest, config: &RunConfig) -> Vec<Failure> {
    let shown = || shown(config.volumes.keys());
    let is_volume = |path: &String| config.volumes.contains_key(path);
    let missing = test.volumes.iter().filter(|path| !is_volume(path));
    let missing = missing.map(|path| Failure::new("volumes", quoted(path), shown()));
    let excess = test.unmounted_volumes.iter().filter(|path| is_volume(path));
    let excess = excess.map(|path| Failure::new("volumes", format!("no {path}"), shown()));
    missing.chain(excess).collect()
}

/// An image without a command has an empty one.
fn list(
    subject: &str,
    wanted: &Option<Vec<String>>,
    found: &Option<Vec<String>>,
) -> Option<Failure> {
    let wanted = wanted.as_ref()?;
    let found = found.as_deref().unwrap_or_default();
    (wanted != found).then(|| Failure::new(subject, format!("{wanted:?}"), format!("{found:?}")))
}

fn text(subject: &str, wanted: &Option<String>, found: &str) -> Option<Failure> {
    let wanted = wanted.as_ref()?;
    (wanted != found).then(|| Failure::new(subject, quoted(wanted), quoted(found)))
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

fn shown<'a>(items: impl Iterator<Item = &'a String>) -> String {
    let items: Vec<&str> = items.map(String::as_str).collect();
    match items.is_empty() {
        true => "none".to_owned(),
        false => items.join(", "),
    }
}
