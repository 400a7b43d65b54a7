//! Merging and checking, from the text of a spec to the stack.

use cairn_diagnostic::Source;
use cairn_dockerfile::lint::Level;

use crate::stack::{Image, ImageSource, Stack};
use crate::{CaPolicy, ImageId, LockPolicy, NetworkPolicy, PackageSet, Surroundings, read};

fn good(text: &str) -> Stack {
    read(&Source::new("cairn.toml", text), &Surroundings::none()).unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
        panic!("{}", all.join("\n"))
    })
}

/// One line per finding, without hints.
fn wrong(text: &str) -> Vec<String> {
    let findings =
        read(&Source::new("f", text), &Surroundings::none()).expect_err("the spec is wrong");
    findings.iter().map(ToString::to_string).collect()
}

fn hint(text: &str) -> String {
    let findings =
        read(&Source::new("f", text), &Surroundings::none()).expect_err("the spec is wrong");
    findings[0].hints.join("; ")
}

fn image<'s>(stack: &'s Stack, name: &str) -> &'s Image {
    &stack[stack.exact(name).unwrap_or_else(|| panic!("no {name}"))]
}

const SMALL: &str = "[stack]\nname = \"lab\"\n[image.a]\ncontext = \"a\"\n";

#[test]
fn absent_settings_have_their_defaults() {
    let stack = good(SMALL);
    assert_eq!(stack.build.ca.value, CaPolicy::Host);
    assert_eq!(stack.build.network, NetworkPolicy::Host);
    assert_eq!(stack.lock_policy, LockPolicy::Strict);
    assert_eq!((stack.epoch, stack.build.jobs), (None, None));
    let ImageSource::Dockerfile(source) = &image(&stack, "a").source else {
        panic!("made by a Dockerfile");
    };
    assert_eq!(source.dockerfile.value, "Dockerfile");
    assert_eq!(source.target, None);
}

#[test]
fn rules_of_the_checker_have_levels() {
    let stack = good(&format!(
        "{SMALL}[lint]\nUndefinedVar = \"error\"\nDL3008 = \"off\"\n"
    ));
    assert_eq!(stack.lint["UndefinedVar"], Some(Level::Error));
    assert_eq!(stack.lint["UnpinnedPackages"], None);
    assert_eq!(
        wrong(&format!(
            "{SMALL}[lint]\nUndefindVar = \"off\"\nPipCacheLeft = \"of\"\n"
        )),
        [
            "f:6:15: there is no rule `UndefindVar`",
            "f:7:16: `PipCacheLeft` cannot be `of`"
        ]
    );
    assert_eq!(
        hint(&format!("{SMALL}[lint]\nUndefindVar = \"off\"\n")),
        "did you mean `UndefinedVar`?"
    );
}

/// DH-10, DH-11, DH-14, DH-55, EPI-01, EPI-15, MAN-17.
#[test]
fn variants_extend_and_override_the_image_and_the_defaults() {
    let stack = good(
        r#"
        [stack]
        name = "lab"
        [defaults]
        args = { A = "default", D = "default" }
        labels = { team = "lab" }
        tests = { structure = "common.yaml" }
        [image.model]
        context = "model"
        target = "local"
        args = { A = "image", B = "image" }
        labels = { part = "model" }
        tests = { structure = ["model.yaml", "common.yaml"] }
        [image.model.variant.local]
        [image.model.variant.cloud]
        target = "cloud"
        dockerfile = "Cloud.dockerfile"
        internal = true
        args = { B = "cloud", C = "cloud" }
        labels = { part = "cloud" }
        tests = { structure = "cloud.yaml" }
        "#,
    );
    let names: Vec<String> = stack.images.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(
        names,
        ["model:local", "model:cloud"],
        "in the order of the file"
    );
    let shown = |name: &str| {
        let image = image(&stack, name);
        let ImageSource::Dockerfile(source) = &image.source else {
            panic!("made by a Dockerfile");
        };
        let args: Vec<String> = source
            .args
            .iter()
            .map(|(key, value)| format!("{key}={}", value.value))
            .collect();
        let tests: Vec<&str> = image.tests.structure.iter().map(|it| it.as_str()).collect();
        format!(
            "{} {} {} {} {:?} {}",
            source.dockerfile.value,
            source.target.as_ref().map_or("-", |it| it.as_str()),
            args.join(","),
            tests.join(","),
            image.labels,
            image.internal
        )
    };
    assert_eq!(
        shown("model:local"),
        "Dockerfile local A=image,B=image,D=default common.yaml,model.yaml \
         {\"part\": \"model\", \"team\": \"lab\"} false"
    );
    assert_eq!(
        shown("model-cloud"),
        "Cloud.dockerfile cloud A=image,B=cloud,C=cloud,D=default \
         common.yaml,model.yaml,cloud.yaml {\"part\": \"cloud\", \"team\": \"lab\"} true"
    );
}

#[test]
fn debian_bases_are_merged_and_checked() {
    let stack = good(
        r#"
        [stack]
        name = "lab"
        [defaults]
        args = { NOT = "for bases" }
        [image.base.debian]
        suite = "bookworm"
        packages = ["python3", "git"]
        mirror = "https://mirror.example/debian"
        [image.base.variant.stable]
        [image.base.variant.next]
        debian = { suite = "trixie", packages = ["git", "g++"], variant = "important" }
        "#,
    );
    let base = |name: &str| match &image(&stack, name).source {
        ImageSource::Debian(base) => base.clone(),
        ImageSource::Dockerfile(_) => panic!("made of packages"),
    };
    let (stable, next) = (base("base:stable"), base("base:next"));
    assert_eq!(stable.package_set, PackageSet::Minbase);
    assert_eq!(stable.components, ["main"]);
    assert_eq!(next.suite.value, "trixie");
    assert_eq!(next.package_set, PackageSet::Important);
    assert_eq!(next.mirrors, stable.mirrors);
    let packages: Vec<&str> = next.packages.iter().map(|it| it.as_str()).collect();
    assert_eq!(packages, ["python3", "git", "g++"]);
}

#[test]
fn a_login_is_refused_where_it_stands() {
    let text = "[stack]\nname = \"lab\"\nregistries = [\"me:geheim@localhost:7104/sm\"]\n\
                [build]\ncache-from = [\"me:geheim@localhost:7104/cache\"]\n\
                [image.x]\ncontext = \"x\"\nnames = { \"me:geheim@x.org/u\" = \"w\" }\n";
    let told = wrong(text);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(!told.join(" ").contains("geheim"), "{told:?}");
    assert_eq!(told[0], "f:3:15: a login does not belong into the spec");
    assert!(told[1].starts_with("f:5:15: `cache-from`: `xxxxx@localhost:7104/cache`"));
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let text = r#"
[stack]
name = "My Lab"
registries = ["https://ghcr.io/lab"]
platforms = ["linux/amd64", "linux/amd64", "lunix"]
epoch = -1
[build]
ca = "hots"
network = "hots"
jobs = 0
cache-from = ["ghcr.io/lab/cache:main", "Lab cache"]
[lock]
policy = "lax"
[image.Base]
context = ""
[image.none]
[image.both]
context = "x"
debian = { suite = "bookworm" }
[image.deb]
target = "x"
args = { A = "1" }
debian = { suite = "bookworm", packages = ["git=1"], mirror = "mirror.example", variant = "mini" }
[image.old]
debian = { packages = [] }
"#;
    assert_eq!(
        wrong(text),
        [
            "f:3:8: `My Lab` cannot name a stack",
            "f:4:15: not a registry and namespace",
            "f:5:29: `linux/amd64` is there twice",
            "f:5:44: `lunix` names no architecture: expected os/architecture, such as linux/amd64",
            "f:6:9: `epoch` must not be negative",
            "f:8:6: `ca` must be `host`, `none` or the path of a PEM file",
            "f:9:11: `network` cannot be `hots`",
            "f:10:8: `jobs` must be at least 1",
            "f:11:41: `cache-from`: `Lab cache` is no image reference: bad repository name",
            "f:13:10: `lock` cannot be `lax`",
            "f:14:8: `Base` cannot name an image",
            "f:15:11: `context` must not be empty",
            "f:16:8: image `none` does not say how it is made",
            "f:18:11: image `both` has both a `context` and `debian`",
            "f:21:10: `target` has no effect here",
            "f:22:14: `args` has no effect here",
            "f:23:44: `git=1` is not the name of a package",
            "f:23:63: a mirror is an address",
            "f:23:91: `variant` cannot be `mini`",
            "f:25:1: image `old` does not say which Debian",
        ]
    );
}

#[test]
fn what_an_image_says_wrongly_is_reported_once_for_all_variants() {
    let text = "[stack]\nname = \"lab\"\n[image.a]\ncontext = \"\"\n\
                [image.a.variant.x]\n[image.a.variant.y]\n";
    assert_eq!(wrong(text), ["f:4:11: `context` must not be empty"]);
}

#[test]
fn globs_of_other_programs_are_refused() {
    let text = "[stack]\nname = \"lab\"\n[changes]\nignore = [\"[bad\"]\nbuild-all = [\"*.{a,b}\"]\n[image.a]\ncontext = \"a\"\n";
    assert_eq!(
        wrong(text),
        [
            "f:4:11: `[bad` has `[`, which means nothing in a glob",
            "f:5:14: `*.{a,b}` has `{`, which means nothing in a glob"
        ]
    );
}

#[test]
fn empty_stacks_are_refused() {
    assert_eq!(
        wrong("[stack]\nname = \"lab\"\n"),
        ["f:2:8: the stack has no images"]
    );
    assert_eq!(
        wrong("[image.a]\ncontext = \"a\"\n"),
        ["f:1:1: the stack has no name"]
    );
    assert_eq!(
        wrong(&format!(
            "{SMALL}[image.b]\ncontext = \"b\"\nvariant = {{}}\n"
        )),
        ["f:5:8: `b` has no variant"]
    );
}

#[test]
fn names_that_can_be_mistaken_for_each_other_are_refused() {
    let text = "[stack]\nname = \"lab\"\n[image.m]\ncontext = \"m\"\n[image.m.variant.x]\n\
                [image.m-x]\ncontext = \"x\"\n";
    assert_eq!(wrong(text), ["f:6:8: `m:x` and `m-x` have the same name"]);
    assert_eq!(hint(text), "both can be written `m-x`; rename one of them");
}

#[test]
fn words_are_suggested() {
    let network = format!("{SMALL}[build]\nnetwork = \"hots\"\n");
    assert_eq!(hint(&network), "did you mean `host`?");
    let lock = format!("lock = \"lax\"\n{SMALL}");
    assert_eq!(hint(&lock), "it is one of `strict`, `refresh`");
    let ca = format!("{SMALL}[build]\nca = \"company\"\n");
    assert_eq!(hint(&ca), "a file in this folder is written `./company`");
}

#[test]
fn both_spellings_of_the_lock_policy_mean_the_same() {
    for text in ["lock = \"refresh\"\n", "[lock]\npolicy = \"refresh\"\n"] {
        let stack = good(&format!("{text}{SMALL}"));
        assert_eq!(stack.lock_policy, LockPolicy::Refresh, "{text}");
    }
}

#[test]
fn images_are_selected_by_every_spelling() {
    let stack = good(&format!(
        "{SMALL}[image.m]\ncontext = \"m\"\n[image.m.variant.x]\n[image.m.variant.y]\n"
    ));
    assert_eq!(stack.select("a"), [ImageId(0)]);
    assert_eq!(stack.select("m"), [ImageId(1), ImageId(2)]);
    assert_eq!(stack.select("m:y"), [ImageId(2)]);
    assert_eq!(stack.select("m-y"), [ImageId(2)]);
    assert_eq!(stack.select("z"), []);
    assert_eq!(stack.nearest("m:z").as_deref(), Some("m:x"));
}
