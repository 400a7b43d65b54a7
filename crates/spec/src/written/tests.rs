//! Several files, environments and variables: what they make of a spec, and what is wrong.

use std::collections::BTreeMap;

use cairn_diagnostic::Source;

use super::Surroundings;
use crate::stack::{ImageSource, Stack};

/// Files by path, a chosen environment, `--set` and the process's environment.
#[derive(Default)]
struct Place<'a> {
    files: &'a [(&'a str, &'a str)],
    overlay: Option<&'a str>,
    set: &'a [(&'a str, &'a str)],
    environment: &'a [(&'a str, &'a str)],
}

impl Place<'_> {
    fn read(&self, text: &str) -> Result<Stack, Vec<String>> {
        let own = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let read = |path: &str| match self.files.iter().find(|(name, _)| *name == path) {
            Some((name, text)) => Ok(Source::new(*name, *text)),
            None => Err("there is no such file".to_owned()),
        };
        let surroundings = Surroundings {
            read: &read,
            overlay: self.overlay,
            variables: &own(self.set),
            environment: &own(self.environment),
        };
        crate::read(&Source::new("cairn.toml", text), &surroundings).map_err(|findings| {
            let told = findings.iter().map(|finding| {
                let hints = finding.hints.iter().map(|hint| format!(" ({hint})"));
                format!("{finding}{}", hints.collect::<String>())
            });
            told.collect()
        })
    }

    fn good(&self, text: &str) -> Stack {
        self.read(text)
            .unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")))
    }

    fn wrong(&self, text: &str) -> Vec<String> {
        self.read(text).expect_err("the spec is wrong")
    }
}

fn args(stack: &Stack, image: &str) -> String {
    let image = &stack[stack.exact(image).expect("the image")];
    let ImageSource::Dockerfile(source) = &image.source else {
        panic!("made by a Dockerfile");
    };
    let args = source.args.iter();
    let args: Vec<String> = args.map(|(k, v)| format!("{k}={}", v.value)).collect();
    args.join(",")
}

fn context(stack: &Stack, image: &str) -> String {
    let image = &stack[stack.exact(image).expect("the image")];
    match &image.source {
        ImageSource::Dockerfile(source) => source.context.value.clone(),
        ImageSource::Debian(_) => panic!("made by a Dockerfile"),
    }
}

const SMALL: &str = "[stack]\nname = \"lab\"\n[image.a]\ncontext = \"a\"\n";

#[test]
fn what_is_included_lies_below_the_file_and_its_paths_start_where_it_is() {
    let place = Place {
        files: &[
            (
                "common/base.toml",
                "include = [\"more/deep.toml\"]\n[defaults]\nargs = { A = \"common\", B = \"common\" }\n\
                 [image.base]\ncontext = \"base\"\ntests.structure = \"../all.yaml\"\n",
            ),
            (
                "common/more/deep.toml",
                "[defaults]\nargs = { B = \"deep\", C = \"deep\" }\n[image.deep]\ncontext = \".\"\n",
            ),
        ],
        ..Place::default()
    };
    let text =
        format!("include = [\"common/base.toml\"]\n{SMALL}[defaults]\nargs = {{ A = \"own\" }}\n");
    let stack = place.good(&text);
    assert_eq!(args(&stack, "a"), "A=own,B=common,C=deep");
    assert_eq!(context(&stack, "base"), "common/base");
    assert_eq!(context(&stack, "deep"), "common/more");
    let base = &stack[stack.exact("base").unwrap()];
    assert_eq!(base.tests.structure[0].value, "all.yaml");
    assert_eq!(stack.sources.line(base.span), ("common/base.toml", 4));
}

#[test]
fn includes_that_cannot_be_followed_are_said_where_they_stand() {
    let place = Place {
        files: &[
            ("one.toml", "include = [\"sub/two.toml\"]\n"),
            ("sub/two.toml", "[build]\nnetwrk = \"none\"\n"),
            ("ring.toml", "\ninclude = [\"ring2.toml\"]\n"),
            ("ring2.toml", "include = [\"./ring.toml\"]\n"),
            ("again.toml", "[image.a]\ncontext = \"b\"\n"),
            ("broken.toml", "[image\n"),
        ],
        ..Place::default()
    };
    let wrong = |include: &str| place.wrong(&format!("include = {include}\n{SMALL}"));
    assert_eq!(
        wrong("[\"one.toml\"]"),
        ["sub/two.toml:2:1: unknown key `netwrk` in `build` (did you mean `network`?)"]
    );
    assert_eq!(
        wrong("[\"ring.toml\"]"),
        [
            "ring2.toml:1:12: files include each other in a circle: ring.toml -> ring2.toml -> ring.toml"
        ]
    );
    assert_eq!(
        wrong("[\"cairn.toml\"]"),
        ["cairn.toml:1:12: files include each other in a circle: cairn.toml -> cairn.toml"]
    );
    assert_eq!(
        wrong("[\"again.toml\"]"),
        ["again.toml:1:8: image `a` is in two files (the other one is in cairn.toml, line 4)"]
    );
    assert_eq!(
        wrong("[\"nothing.toml\", 3]"),
        [
            "cairn.toml:1:12: cannot include `nothing.toml`: there is no such file",
            "cairn.toml:1:28: `include` must be a list of strings, not a whole number",
        ]
    );
    assert!(wrong("[\"broken.toml\"]")[0].starts_with("broken.toml:1:"));
    assert!(wrong("[\"/etc/x.toml\"]")[0].contains("by its path from this file"));
    assert!(wrong("\"one.toml\"")[0].contains("must be a list of strings, not a string"));
}

/// EPI-50: an environment sets tag and source together, over everything else.
#[test]
fn an_environment_is_laid_over_the_spec() {
    let text = format!(
        "{SMALL}args = {{ REF = \"main\", X = 1 }}\n\
         [tags]\nprefix = \"2026.3\"\nbranch = [\"{{prefix}}-{{branch}}\", \"more\"]\n\
         [env.feature1]\nimage.a.args.REF = \"feature1\"\ntags.branch = [\"feature1\"]\n\
         [env.feature1.stack]\nregistries = [\"localhost:5000/x\"]\n\
         [env.other]\nbuild.network = \"none\"\n"
    );
    let with = |overlay| Place {
        overlay,
        ..Place::default()
    };
    assert_eq!(args(&with(None).good(&text), "a"), "REF=main,X=1");
    let stack = with(Some("feature1")).good(&text);
    assert_eq!(args(&stack, "a"), "REF=feature1,X=1");
    assert_eq!(stack.registries, ["localhost:5000/x"]);
    let branch = stack.tags.list(crate::EventKind::Branch).unwrap();
    assert_eq!(branch.len(), 1, "a list replaces");
    assert_eq!(
        with(Some("featur1")).wrong(&text),
        ["the spec has no environment `featur1` (did you mean `feature1`?)"]
    );
    assert_eq!(
        with(Some("x")).wrong(SMALL),
        ["the spec has no environment `x` (add one with `[env.x]`)"]
    );
    assert_eq!(
        with(None).wrong(&format!(
            "{SMALL}[env.f]\nimage.b.target = \"x\"\nimags = 1\n"
        )),
        ["cairn.toml:6:7: `env.f` changes an image `b` that is not there (did you mean `a`?)"],
        "an environment is checked even if another one is chosen"
    );
    assert_eq!(
        with(None).wrong(&format!("{SMALL}[env.f]\nimags = 1\n")),
        ["cairn.toml:6:1: unknown key `imags` in `env.f` (did you mean `image`?)"]
    );
}

#[test]
fn variables_have_one_value_and_no_shell() {
    let text = format!(
        "{SMALL}args = {{ A = \"${{ref}}-${{jobs}}\", B = \"$HOME $${{x}} ${{env.USER}}\" }}\n\
         [variables]\nref = {{ env = \"SUITE_REF\", default = \"main\" }}\njobs = 4\n"
    );
    let user = ("USER", "ann");
    let value = |set: &[(&str, &str)], environment: &[(&str, &str)]| {
        let place = Place {
            files: &[],
            overlay: None,
            set,
            environment,
        };
        args(&place.good(&text), "a")
    };
    assert_eq!(value(&[], &[user]), "A=main-4,B=$HOME ${x} ann");
    assert_eq!(
        value(&[], &[user, ("SUITE_REF", "dev")]),
        "A=dev-4,B=$HOME ${x} ann"
    );
    assert_eq!(
        value(
            &[("ref", "${jobs}"), ("jobs", "1")],
            &[user, ("SUITE_REF", "dev")]
        ),
        "A=${jobs}-1,B=$HOME ${x} ann",
        "the command line wins, and a value is not looked at again"
    );
}

#[test]
fn a_variable_without_a_value_is_an_error_where_it_is_used() {
    let place = Place {
        set: &[("rf", "x")],
        ..Place::default()
    };
    let text = "[stack]\nname = \"lab\"\n[variables]\nref = { env = \"SUITE_REF\" }\nold = {}\n\
                [image.a]\ncontext = \"${ref}\"\ntarget = \"${rfe} ${old}\"\n\
                dockerfile = \"${env.NOPE}\"\nlabels = { a = \"${x\" }\n";
    assert_eq!(
        place.wrong(text),
        [
            "`--set rf=...`: the spec declares no variable `rf` (did you mean `ref`?)",
            "cairn.toml:7:11: variable `ref` has no value (set SUITE_REF in the environment, or give `--set ref=...`)",
            "cairn.toml:8:10: there is no variable `rfe` (did you mean `${ref}`?)",
            "cairn.toml:8:10: variable `old` has no value (give it one with `--set old=...`)",
            "cairn.toml:9:14: the environment has no variable `NOPE` (give it a default: `[variables]` with `name = { env = \"NOPE\", default = \"...\" }`, used as `${name}`)",
            "cairn.toml:10:16: `${` has no end (write `$${` for the characters themselves)",
        ]
    );
}
