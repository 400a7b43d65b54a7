//! The page about `cairn.toml` is true: every example in it is read and resolved.

use std::collections::BTreeMap;

use cairn_diagnostic::{Source, render};

use crate::{Stack, Surroundings, read};

const PAGE: &str = include_str!("../../../docs/spec.md");

fn examples() -> Vec<&'static str> {
    let blocks = PAGE.split("```toml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap_or_default())
        .collect()
}

/// An example with what it leaves out: the stack, and an image where it is about none.
fn whole(example: &str) -> Stack {
    let mut text = String::new();
    if !example.contains("[stack]") {
        text.push_str("[stack]\nname = \"lab\"\n");
    }
    text.push_str(example);
    for name in ["r-ver", "base"] {
        let table = format!("[image.{name}.");
        let made = format!("[image.{name}]");
        if example.contains(&table) && !example.contains(&made) {
            text.push_str(&match name {
                "base" => "[image.base.debian]\nsuite = \"bookworm\"\npackages = [\"pyarrow\"]\n"
                    .to_owned(),
                _ => format!("{made}\ncontext = \"x\"\n"),
            });
        }
    }
    if !example.contains("[image.") {
        text.push_str("[image.x]\ncontext = \"x\"\n");
    }
    let surroundings = Surroundings {
        overlay: example.contains("[env.feature1]").then_some("feature1"),
        environment: &BTreeMap::from([("USER".to_owned(), "ann".to_owned())]),
        ..Surroundings::none()
    };
    read(&Source::new("docs/spec.md", text), &surroundings).unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(render).collect();
        panic!("{}", all.join("\n"))
    })
}

#[test]
fn every_example_of_the_page_is_a_spec() {
    let examples = examples();
    assert!(examples.len() >= 6, "{} examples", examples.len());
    let stacks: Vec<Stack> = examples.into_iter().map(whole).collect();
    let names = stacks.iter().flat_map(|stack| &stack.images);
    let names: Vec<String> = names.map(|image| image.name.to_string()).collect();
    for told in [
        "model:cloud",
        "r-ver:4.3.3-jammy",
        "r-ver:4.4.1-noble",
        "ml_platform",
    ] {
        assert!(names.iter().any(|name| name == told), "{told} in {names:?}");
    }
    assert!(!names.contains(&"r-ver:4.3.3-noble".to_owned()));
}
