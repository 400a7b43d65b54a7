//! Which sibling a name means, and what order follows.

use std::fmt::Write as _;

use cairn_diagnostic::{Source, Span};

use super::*;
use crate::{Surroundings, read};

/// A stack whose images are given as `name` or `name:variant,variant`.
fn stack(images: &[&str]) -> Stack {
    let mut text = String::from("[stack]\nname = \"lab\"\n");
    for image in images {
        let (name, variants) = image.split_once(':').unwrap_or((image, ""));
        let _ = writeln!(text, "[image.{name}]\ncontext = \"{name}\"");
        for variant in variants.split(',').filter(|it| !it.is_empty()) {
            let _ = writeln!(text, "[image.{name}.variant.{variant}]");
        }
    }
    read(&Source::new("cairn.toml", text), &Surroundings::none()).expect("a good stack")
}

/// Each use is `child: name name ...`; the Dockerfile is one `FROM` per name.
fn graph(stack: &Stack, uses: &[&str]) -> Result<StackGraph, Vec<Diagnostic>> {
    let files: Vec<ImageNames> = uses
        .iter()
        .map(|line| {
            let (child, names) = line.split_once(": ").expect("`child: names`");
            let mut text = String::new();
            let mut uses = Vec::new();
            for name in names.split(' ') {
                let start = text.len() + "FROM ".len();
                uses.push(NameUse {
                    name: name.to_owned(),
                    span: Span::new(start, start + name.len()),
                });
                let _ = writeln!(text, "FROM {name}");
            }
            ImageNames {
                image: stack.exact(child).expect("an image of the stack"),
                source: Source::new(format!("{child}/Dockerfile"), text),
                uses,
            }
        })
        .collect();
    StackGraph::new(stack, &files)
}

/// `child<-parent` for each edge, then the order.
fn shown(stack: &Stack, uses: &[&str]) -> String {
    let graph = match graph(stack, uses) {
        Ok(graph) => graph,
        Err(findings) => {
            let lines: Vec<String> = findings
                .iter()
                .map(|it| format!("{it} ({})", it.hints.join("; ")))
                .collect();
            return lines.join("\n");
        }
    };
    let names = |ids: &[ImageId]| {
        let names: Vec<String> = ids.iter().map(|&id| stack[id].name.to_string()).collect();
        names.join(" ")
    };
    let mut out = String::new();
    for child in stack.ids() {
        for edge in graph.edges(child) {
            let parent = &stack[edge.parent].name;
            let _ = write!(out, "{}<-{parent} ", stack[child].name);
        }
    }
    format!("{out}| {}", names(graph.order()))
}

/// DH-06, DH-07: several roots, several levels, in one order.
#[test]
fn parents_come_before_children() {
    let stack = stack(&["leaf", "mid", "root", "other", "alone"]);
    assert_eq!(
        shown(
            &stack,
            &["leaf: mid other debian:12", "mid: root", "other: python"]
        ),
        "leaf<-mid leaf<-other mid<-root | root mid other leaf alone"
    );
    let graph = graph(&stack, &["leaf: mid other", "mid: root"]).unwrap();
    let roots: Vec<ImageId> = graph.roots().collect();
    let id = |name: &str| stack.exact(name).unwrap();
    assert_eq!(roots, [id("root"), id("other"), id("alone")]);
    assert_eq!(graph.with_ancestors(&[id("mid")]), [id("root"), id("mid")]);
    assert_eq!(
        graph.with_descendants(&[id("root")]),
        [id("root"), id("mid"), id("leaf")]
    );
    assert_eq!(graph.children(id("other")), [id("leaf")].into());
}

#[test]
fn each_spelling_of_a_name_means_what_the_table_says() {
    let stack = stack(&["base", "m:cpu,gpu", "one:only", "c:cpu,gpu", "d"]);
    let cases = [
        ("d: base", "d<-base "),
        ("d: base:latest", "d<-base "),
        ("d: base:12", ""),
        ("d: docker.io/library/base", ""),
        ("d: m:gpu", "d<-m:gpu "),
        ("d: m-gpu", "d<-m:gpu "),
        ("d: m:3.11", ""),
        ("d: one", "d<-one:only "),
        ("c:cpu: m", "c:cpu<-m:cpu "),
        ("c:gpu: m", "c:gpu<-m:gpu "),
        ("c:gpu: m:cpu", "c:gpu<-m:cpu "),
        ("c:gpu: c:cpu", "c:gpu<-c:cpu "),
        ("c:gpu: c:12", ""),
        ("d: base base:latest", "d<-base d<-base "),
        ("d: base base", "d<-base "),
    ];
    for (line, wanted) in cases {
        let found = shown(&stack, &[line]);
        let (edges, _) = found
            .split_once('|')
            .unwrap_or_else(|| panic!("{line}: {found}"));
        assert_eq!(edges, wanted, "{line}");
    }
}

#[test]
fn names_that_mean_nothing_are_refused_at_their_place() {
    let stack = stack(&["base", "m:cpu,gpu", "d"]);
    let cases = [
        (
            "d: debian m",
            "d/Dockerfile:2:6: image `m` has several variants \
             (say which one is meant: `m:cpu`, `m:gpu`)",
        ),
        (
            "d: m:gpuu",
            "d/Dockerfile:1:6: image `m` has no variant `gpuu` (did you mean `m:gpu`?)",
        ),
        (
            "d: d",
            "d/Dockerfile:1:6: `d` is the image that this Dockerfile makes (if an image of that \
             name elsewhere is meant, write it in full, as in `docker.io/library/d`)",
        ),
        (
            "m:cpu: m",
            "m:cpu/Dockerfile:1:6: `m` is the image that this Dockerfile makes (if an image of \
             that name elsewhere is meant, write it in full, as in `docker.io/library/m`)",
        ),
    ];
    for (line, wanted) in cases {
        assert_eq!(shown(&stack, &[line]), wanted, "{line}");
    }
}

#[test]
fn circles_are_shown_whole() {
    let stack = stack(&["a", "b", "c", "d"]);
    assert_eq!(
        shown(&stack, &["a: debian b", "b: c", "c: b d"]),
        "b/Dockerfile:1:6: images build on each other in a circle: b -> c -> b \
         (one of them must build on something else)"
    );
}

/// DH-08, PAN-11: a Dockerfile that names its parent by where it is published needs no edit.
#[test]
fn the_name_an_image_is_published_under_means_the_image() {
    let text = "[stack]\nname = \"lab\"\nregistries = [\"ghcr.io/lab\", \"docker.io/x\"]\n\
                [image.base]\ncontext = \"b\"\nnames = \"lab-base\"\n[image.child]\ncontext = \"c\"\n";
    let stack = read(&Source::new("cairn.toml", text), &Surroundings::none()).unwrap();
    let (base, child) = (stack.exact("base").unwrap(), stack.exact("child").unwrap());
    for (name, meant) in [
        ("ghcr.io/lab/lab-base", Some(base)),
        ("ghcr.io/lab/lab-base:latest", Some(base)),
        ("x/lab-base", Some(base)),
        ("index.docker.io/x/lab-base:latest", Some(base)),
        ("ghcr.io/lab/lab-base:2024.1", None),
        ("ghcr.io/lab/base", None),
        ("ghcr.io/lab/child", None),
    ] {
        assert_eq!(sibling(&stack, child, name).unwrap(), meant, "{name}");
    }
}

/// The variant whose tags have no suffix is the one that the plain name is published as.
#[test]
fn the_plain_name_means_the_variant_without_a_suffix() {
    let of = |suffix: &str| {
        let text = format!(
            "[stack]\nname = \"lab\"\nregistries = [\"ghcr.io/lab\"]\n[image.m]\ncontext = \"m\"\n\
             [image.m.variant.cpu]\n{suffix}\n[image.m.variant.gpu]\n[image.child]\ncontext = \"c\"\n"
        );
        read(&Source::new("cairn.toml", text), &Surroundings::none()).unwrap()
    };
    let stack = of("suffix = \"\"");
    let child = stack.exact("child").unwrap();
    for name in ["m", "m:latest", "ghcr.io/lab/m", "ghcr.io/lab/m:latest"] {
        let found = super::sibling(&stack, child, name).unwrap();
        assert_eq!(found, stack.exact("m:cpu"), "{name}");
    }
    let stack = of("");
    let child = stack.exact("child").unwrap();
    assert!(super::sibling(&stack, child, "m").is_err());
}

/// A tag means the variant that is published under it; where tags are made otherwise, it means the
/// published image.
#[test]
fn the_tag_a_variant_is_published_under_means_the_variant() {
    let of = |tags: &str| {
        let text = format!(
            "[stack]\nname = \"lab\"\nregistries = [\"docker.io/rocker\"]\n[image.r]\ncontext = \"r\"\n{tags}\n\
             [image.r.variant.\"4.3.3\"]\n[image.r.variant.\"4.4.1\"]\n[image.child]\ncontext = \"c\"\n"
        );
        read(&Source::new("cairn.toml", text), &Surroundings::none()).unwrap()
    };
    let stack = of("tags = { main = [\"{variant}\"] }");
    let child = stack.exact("child").unwrap();
    let meant = |name: &str| sibling(&stack, child, name).unwrap();
    assert_eq!(meant("rocker/r:4.4.1"), stack.exact("r:4.4.1"));
    assert_eq!(meant("docker.io/rocker/r:4.3.3"), stack.exact("r:4.3.3"));
    assert_eq!(meant("rocker/r:4.2.0"), None);
    let stack = of("");
    assert_eq!(sibling(&stack, child, "rocker/r:4.4.1").unwrap(), None);
}
