//! The parser against texts: what it reads, and how it says what is wrong.

use cairn_diagnostic::{Source, render};

use super::*;

fn source(text: &str) -> Source {
    Source::new("cairn.toml", text)
}

/// Parses a text that is good.
fn good(text: &str) -> SpecFile {
    let parsed = parse(&source(text), &Surroundings::none());
    let parsed = parsed.unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(render).collect();
        panic!("{}", all.join("\n"))
    });
    parsed.file
}

/// Parses a text that is not good; one line per finding, hints below it.
fn wrong(text: &str) -> String {
    let findings = parse(&source(text), &Surroundings::none()).expect_err("the text is wrong");
    let mut out = String::new();
    for finding in &findings {
        out.push_str(&format!("{finding}\n"));
        for hint in &finding.hints {
            out.push_str(&format!("  {hint}\n"));
        }
    }
    out
}

#[test]
fn keeps_what_is_written() {
    let file = good(
        r#"
        lock = "refresh"
        [stack]
        name = "lab"
        platforms = ["linux/amd64"]
        epoch = 1_700_000_000
        [image.ml]
        context = "images/ml"
        args = { PYTHON = 3.10, JOBS = 8, DEBUG = false, NAME = "x" }
        tests.structure = "a.yaml"
        [image.ml.variant.gpu]
        tests = { structure = ["b.yaml", "c.yaml"] }
        "#,
    );
    assert_eq!(
        file.stack.as_ref().unwrap().epoch.as_ref().unwrap().value,
        1_700_000_000
    );
    assert_eq!(
        file.lock.as_ref().unwrap().policy.as_ref().unwrap().value,
        "refresh"
    );
    let ml = &file.image.as_ref().unwrap()["ml"];
    let args = ml.args.as_ref().unwrap();
    let text = |key: &str| args[key].0.as_str();
    assert_eq!(
        [text("PYTHON"), text("JOBS"), text("DEBUG"), text("NAME")],
        ["3.10", "8", "false", "x"],
        "a number stands for the text it is written as"
    );
    let structure = |tests: &Option<crate::written::TestsSection>| {
        let list = tests.as_ref().unwrap().structure.as_ref().unwrap();
        list.0.iter().map(|it| it.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(structure(&ml.tests), ["a.yaml"]);
    let gpu = &ml.variant.as_ref().unwrap()["gpu"];
    assert_eq!(structure(&gpu.tests), ["b.yaml", "c.yaml"]);
}

#[test]
fn reports_all_unknown_keys_with_suggestions() {
    assert_eq!(
        wrong(
            r#"[stack]
nme = "lab"
network = "host"
[image.base]
contxt = "a"
wibble = 1
[images.x]
"#
        ),
        "cairn.toml:2:1: unknown key `nme` in `stack`\n  did you mean `name`?\n\
         cairn.toml:3:1: unknown key `network` in `stack`\n  `network` is a key of `[build]`\n\
         cairn.toml:5:1: unknown key `contxt` in `image.base`\n  did you mean `context`?\n\
         cairn.toml:6:1: unknown key `wibble` in `image.base`\n  the keys here are `context`, \
         `dockerfile`, `target`, `args`, `debian`, `labels`, `tests`, `internal`, `names`, \
         `registries`, `platforms`, `on`, `rebuild`, `tags`, `info`, `variant`, `matrix`\n\
         cairn.toml:7:2: unknown key `images` in the file\n  did you mean `image`?\n"
    );
}

#[test]
fn wrong_types_name_what_is_expected() {
    assert_eq!(
        wrong(
            r#"build = 1
[stack]
name = ["lab"]
platforms = "linux/amd64"
epoch = "now"
[image]
base = "x"
[image.a]
internal = "yes"
args = { A = [1], B = 0x10 }
tests = { structure = 3 }
debian = { packages = ["git", 1] }
"#
        ),
        "cairn.toml:1:9: `build` must be a table, not a whole number\n\
         cairn.toml:3:8: `name` must be a string, not a list\n\
         cairn.toml:4:13: `platforms` must be a list of strings, not a string\n\
         cairn.toml:5:9: `epoch` must be a whole number, not a string\n\
         cairn.toml:7:8: `base` must be a table, not a string\n\
         cairn.toml:9:12: `internal` must be `true` or `false`, not a string\n\
         cairn.toml:10:14: `A` must be a string, a decimal number or a boolean, not a list\n\
         cairn.toml:10:23: `B` must be a string, a decimal number or a boolean, not a whole number\n\
         cairn.toml:11:23: `structure` must be a string or a list of strings, not a whole number\n\
         cairn.toml:12:31: `packages` must be a list of strings, not a whole number\n"
    );
}

/// The example of the design is read as it stands.
#[test]
fn the_design_example_is_refused_only_for_what_does_not_work_yet() {
    let text = r#"[stack]
name = "lab"
registries = ["ghcr.io/lab", "docker.io/lab"]     # every image goes to each
platforms = ["linux/amd64"]

[tags]                                             # what each event publishes
prefix = "2026.3"
branch = ["{prefix}-{branch}"]
pull-request = []                                  # build and test, never publish

[image.base]                                       # assembled from signed, locked packages
debian = { suite = "bookworm", packages = ["python3", "ca-certificates"] }
internal = true                                    # never published as a product

[image.notebook]
context = "images/notebook"                        # its Dockerfile says FROM base
args = { PYTHON_VERSION = "3.11" }
tests = { structure = "structure.yaml", pytest = "test", integration = "integration_tests" }
info = ["python", "pip", "apt"]

[image.ml]
context = "images/ml"                              # FROM notebook
[image.ml.variant.cpu]
[image.ml.variant.gpu]
args = { CUDA_VERSION = "12.6" }
"#;
    let file = good(text);
    let notebook = &file.image.expect("images")["notebook"].value;
    assert_eq!(notebook.info.as_ref().map(Vec::len), Some(3));
}

#[test]
fn broken_toml_is_reported_with_its_place() {
    let out = wrong("[stack]\nname = \"lab\n[image.a]\ncontext = \"b\"\ncontext = \"c\"\n");
    assert!(out.starts_with("cairn.toml:2:"), "{out}");
    assert!(
        out.contains("cairn.toml:5:1: duplicate key"),
        "several at once: {out}"
    );
}

#[test]
fn a_finding_shows_the_line() {
    let findings = parse(&source("[stack]\nname = 1\n"), &Surroundings::none()).unwrap_err();
    assert_eq!(
        render(&findings[0]),
        "error: `name` must be a string, not a whole number\n\
         cairn.toml:2\n\
         --------------------\n\
         \x20  1 |     [stack]\n\
         \x20  2 | >>> name = 1\n\
         \x20    |            ^\n\
         \x20  3 |\n\
         --------------------\n"
    );
}
