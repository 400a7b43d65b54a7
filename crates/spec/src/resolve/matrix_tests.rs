//! Axes, exclusions, platforms, names and registries, from the text of a spec to its images.

use cairn_diagnostic::Source;
use cairn_oci::Platform;

use crate::stack::{Image, ImageSource, Stack};
use crate::{EventKind, Surroundings, read};

fn good(text: &str) -> Stack {
    let text =
        format!("[stack]\nname = \"lab\"\nregistries = [\"ghcr.io/lab\", \"docker.io/x\"]\n{text}");
    read(&Source::new("f", text), &Surroundings::none()).unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
        panic!("{}", all.join("\n"))
    })
}

/// One line per finding with its hints; the text begins in line 2.
fn wrong(text: &str) -> Vec<String> {
    let text = format!("stack = {{ name = \"lab\", registries = [\"ghcr.io/lab\"] }}\n{text}");
    let findings = read(&Source::new("f", text), &Surroundings::none()).expect_err("it is wrong");
    let told = findings.iter().map(|finding| {
        let hints = finding.hints.iter().map(|hint| format!(" ({hint})"));
        format!("{finding}{}", hints.collect::<String>())
    });
    told.collect()
}

fn names(stack: &Stack) -> Vec<String> {
    stack.images.iter().map(|it| it.name.to_string()).collect()
}

fn image<'s>(stack: &'s Stack, name: &str) -> &'s Image {
    &stack[stack.exact(name).unwrap_or_else(|| panic!("no {name}"))]
}

fn args(source: &ImageSource) -> String {
    let ImageSource::Dockerfile(source) = source else {
        panic!("made by a Dockerfile");
    };
    let args = source.args.iter();
    let args: Vec<String> = args.map(|(k, v)| format!("{k}={}", v.value)).collect();
    args.join(",")
}

fn platform(text: &str) -> Platform {
    text.parse().expect("a platform")
}

/// A list of versions, each on two systems, as rocker has it: one pair does not exist.
#[test]
fn axes_are_combined_and_pairs_left_out() {
    let stack = good(
        r#"
        [image.r-ver]
        context = "r"
        args = { R = "0", LANG = "C" }
        [image.r-ver.matrix]
        R = ["4.3.3", "4.4.1"]
        system.jammy = { args = { UBUNTU = "22.04" }, suffix = "" }
        system.noble = { args = { UBUNTU = "24.04" }, labels = { s = "noble" } }
        exclude = [{ R = "4.3.3", system = ["noble"] }]
        "#,
    );
    assert_eq!(
        names(&stack),
        [
            "r-ver:4.3.3-jammy",
            "r-ver:4.4.1-jammy",
            "r-ver:4.4.1-noble"
        ]
    );
    let noble = image(&stack, "r-ver:4.4.1-noble");
    assert_eq!(args(&noble.source), "LANG=C,R=4.4.1,UBUNTU=24.04");
    assert_eq!(noble.affixes.suffix, "-4.4.1-noble");
    assert_eq!(noble.axes[0], ("R".to_owned(), "4.4.1".to_owned()));
    assert_eq!(image(&stack, "r-ver-4.3.3-jammy").affixes.suffix, "-4.3.3");
    assert_eq!(stack.select("r-ver").len(), 3);
}

/// A child with more axes builds on the parent with the same values on those both have.
#[test]
fn a_child_meets_its_parent_on_the_axes_both_have() {
    use crate::graph::{ImageNames, NameUse, StackGraph};
    let stack = good(
        "[image.r]\ncontext = \"r\"\n[image.r.matrix]\nr = [\"4.3\", \"4.4\"]\n\
         [image.app]\ncontext = \"app\"\n[image.app.matrix]\nr = [\"4.3\", \"4.4\"]\ngpu = [\"no\", \"yes\"]\n",
    );
    let children = stack.ids().filter(|&id| stack[id].name.image == "app");
    let uses = children.map(|image| ImageNames {
        image,
        source: Source::new("Dockerfile", "FROM r"),
        uses: vec![NameUse {
            name: "r".to_owned(),
            span: cairn_diagnostic::Span::new(5, 6),
        }],
    });
    let graph = StackGraph::new(&stack, &uses.collect::<Vec<_>>()).expect("no cycle");
    let child = stack.exact("app:4.4-no").unwrap();
    let parents: Vec<String> = graph
        .parents(child)
        .iter()
        .map(|&id| stack[id].name.to_string())
        .collect();
    assert_eq!(parents, ["r:4.4"]);
}

#[test]
fn what_is_wrong_with_a_matrix_is_said() {
    assert_eq!(
        wrong(
            "[image.a]\ncontext = \"a\"\n[image.a.matrix]\nr = [\"1\"]\nu = []\nbranch = [\"x\"]\n"
        ),
        [
            "f:6:1: the axis `u` has no values",
            "f:7:1: `branch` cannot name an axis (axes are named by letters, digits, `_` and `-`, and not as a fact of `[tags]`)",
        ]
    );
    assert_eq!(
        wrong(
            "[image.a]\ncontext = \"a\"\n[image.a.matrix]\nr = [\"1\", \"2\"]\n\
             exclude = [{ q = \"1\" }, { r = [\"1\", \"3\"] }, { platform = \"linux/arm64\" }]\n"
        ),
        [
            "f:6:12: there is no axis `q` (did you mean `r`?)",
            "f:6:37: `3` is no value of `r` (its values are `1`, `2`)",
            "f:6:45: this excludes no value of an axis (to leave a platform out altogether, do not list it in `platforms`)",
        ]
    );
    let odd = "[image.a]\ncontext = \"a\"\nmatrix.r = [\"2 3\"]\n";
    assert!(
        wrong(odd)[0].starts_with("f:4:13: `2 3` cannot name a variant"),
        "{:?}",
        wrong(odd)
    );
    let all =
        "[image.a]\ncontext = \"a\"\n[image.a.matrix]\nr = [\"1\"]\nexclude = [{ r = \"1\" }]\n";
    assert_eq!(
        wrong(all),
        ["f:4:10: nothing of `a` is left: all is excluded"]
    );
    let both = "[image.a]\ncontext = \"a\"\nvariant.x = {}\nmatrix.r = [\"1\"]\n";
    assert!(wrong(both)[0].starts_with("f:5:1: `a` has variants and a matrix"));
    let many: Vec<String> = (0..17).map(|n| format!("\"{n}\"")).collect();
    let many = many.join(",");
    let large =
        format!("[image.a]\ncontext = \"a\"\n[image.a.matrix]\nx = [{many}]\ny = [{many}]\n");
    assert_eq!(
        wrong(&large),
        ["f:4:10: the matrix of `a` has 289 combinations, at most 256"]
    );
    let axes: String = (0..70)
        .map(|axis| format!("a{axis} = [\"1\", \"2\"]\n"))
        .collect();
    let endless = format!("[image.a]\ncontext = \"a\"\n[image.a.matrix]\n{axes}");
    assert!(wrong(&endless)[0].contains("at most 256"));
    assert!(wrong("[image.a]\ncontext = \"a\"\nmatrix = {}\n")[0].contains("has no axes"));
}

/// PAN-05, PAN-27, MAN-18: platforms per image, what differs on one, what is left out there.
#[test]
fn platforms_are_listed_conditional_and_different() {
    let stack = good(
        r#"
        [image.base]
        debian = { suite = "bookworm", packages = ["git", "pyarrow"] }
        [image.base.on."linux/arm64"]
        debian = { without = ["pyarrow"], packages = ["gcc"] }
        [image.utils]
        context = "utils"
        args = { EXTRAS = "all" }
        platforms = ["linux/amd64", { platform = "linux/arm64", when = ["main", "release"] }]
        on."linux/arm64" = { args = { EXTRAS = "testing" }, target = "small" }
        [image.gpu]
        context = "gpu"
        [image.gpu.matrix]
        cuda = ["12", "13"]
        exclude = [{ cuda = "12", platform = "linux/arm64" }]
        "#,
    );
    let (amd, arm) = (platform("linux/amd64"), platform("linux/arm64"));
    let utils = image(&stack, "utils");
    assert_eq!(args(utils.source_on(&amd)), "EXTRAS=all");
    assert_eq!(args(utils.source_on(&arm)), "EXTRAS=testing");
    assert!(utils.is_for(&arm, EventKind::Main) && !utils.is_for(&arm, EventKind::Branch));
    assert!(!utils.is_for(&platform("linux/riscv64"), EventKind::Main));
    assert_eq!(utils.published_for(EventKind::PullRequest), [&amd]);
    let ImageSource::Debian(base) = image(&stack, "base").source_on(&arm) else {
        panic!("made of packages");
    };
    let packages: Vec<&str> = base.packages.iter().map(|it| it.as_str()).collect();
    assert_eq!(packages, ["git", "gcc"]);
    assert!(!image(&stack, "gpu:12").is_for(&arm, EventKind::Main));
    assert!(image(&stack, "gpu:13").is_for(&arm, EventKind::Main));
}

/// DH-05, MAN-15, MAN-16: what an image is called is not what its key is, nor the same everywhere.
#[test]
fn an_image_has_its_name_in_each_registry() {
    let stack = good(
        r#"
        [image.ml]
        context = "ml"
        names = { "ghcr.io/lab" = "ml-platform" }
        [image.other]
        context = "o"
        names = "group/other"
        registries = ["hub.example.org/usatlas"]
        [image.plain]
        context = "p"
        variant.x = {}
        variant.y = { registries = [] }
        "#,
    );
    let repositories = |name| {
        let all = image(&stack, name).repositories.iter();
        all.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        repositories("ml"),
        ["ghcr.io/lab/ml-platform", "docker.io/x/ml"]
    );
    assert_eq!(
        repositories("other"),
        ["hub.example.org/usatlas/group/other"]
    );
    assert_eq!(
        repositories("plain:x"),
        ["ghcr.io/lab/plain", "docker.io/x/plain"]
    );
    assert_eq!(repositories("plain:y"), [""; 0]);
    let at = |name, registry| image(&stack, name).repository_at(registry).to_string();
    assert_eq!(at("ml", "ghcr.io/lab"), "ghcr.io/lab/ml-platform");
    assert_eq!(at("ml", "new.org/x"), "new.org/x/ml");
    assert_eq!(at("other", "new.org/x"), "new.org/x/group/other");
}

#[test]
fn wrong_names_platforms_and_rules_are_said() {
    assert_eq!(
        wrong(
            "[image.a]\ncontext = \"a\"\nnames = { \"ghcr.io/lob\" = \"A:1\" }\n\
             platforms = [\"linux/amd64\", \"linux/amd64\", { platform = \"arm\", when = \"mian\" }, { when = [] }]\n\
             rebuild = \"alway\"\ntags.main = [\"{verson}\", \"a b\"]\ntags.prefix = \"{branch}\"\n\
             on.lunix = {}\n[image.d]\ndebian = { suite = \"x\", packages = [\"git\"], without = [\"gut\"] }\n"
        ),
        [
            "f:4:11: the image does not go to `ghcr.io/lob` (did you mean `ghcr.io/lab`?)",
            "f:4:27: `A:1` cannot be a name in a registry (names are made of small letters, digits, `.`, `_`, `-` and `/`, without a tag)",
            "f:5:29: `linux/amd64` is there twice",
            "f:5:71: `when` cannot be `mian` (did you mean `main`?)",
            "f:5:81: this does not say which platform (add `platform = \"linux/arm64\"`)",
            "f:6:11: `rebuild` cannot be `alway` (did you mean `always`?)",
            "f:7:14: `{verson}` stands for nothing (did you mean `{version}`?)",
            "f:7:26: ` ` cannot be in a tag (tags are made of letters, digits, `.`, `_` and `-`)",
            "f:8:15: `{branch}` stands for nothing (what can be used here: `year`, `quarter`, `month`, `day`)",
            "f:9:4: `lunix` names no architecture: expected os/architecture, such as linux/amd64 (write it as in `linux/amd64` or `linux/arm64`)",
            "f:11:56: `gut` is not among the packages (`without` takes away what the image or the defaults ask for)",
        ]
    );
}

#[test]
fn a_platform_that_nothing_is_made_for_is_a_slip() {
    assert_eq!(
        wrong(
            "[image.a]\ncontext = \"a\"\nplatforms = [\"linux/amd46\", \"linx/arm64\", \"x/y\"]\n"
        ),
        [
            "f:4:14: `linux/amd46` is no platform that images are known to be made for (did you mean `linux/amd64`?)",
            "f:4:29: `linx/arm64` is no platform that images are known to be made for (did you mean `linux/arm64`?)",
            "f:4:43: `x/y` is no platform that images are known to be made for (known are `darwin`, `freebsd`, `linux`, `wasi`, `wasip1`, `windows`)",
        ]
    );
}

/// `[defaults]` gives what images do not say, and makes no image of its own accord.
#[test]
fn defaults_reach_every_image_they_make_sense_for() {
    let stack = good(
        r#"
        [defaults]
        dockerfile = "Containerfile"
        debian = { suite = "bookworm", mirror = "https://mirror.example/debian" }
        platforms = ["linux/arm64"]
        registries = ["quay.io/lab"]
        rebuild = "on-main"
        [image.base]
        debian.packages = ["git"]
        [image.app]
        context = "app"
        rebuild = "changed"
        [image.own]
        context = "own"
        dockerfile = "Dockerfile"
        platforms = ["linux/amd64"]
        "#,
    );
    let ImageSource::Debian(base) = &image(&stack, "base").source else {
        panic!("made of packages");
    };
    assert_eq!((base.suite.as_str(), base.mirrors.len()), ("bookworm", 1));
    assert_eq!(image(&stack, "base").rebuild.value, crate::Rebuild::OnMain);
    let app = image(&stack, "app");
    assert_eq!(app.rebuild.value, crate::Rebuild::Changed);
    assert_eq!(app.repositories[0].to_string(), "quay.io/lab/app");
    let dockerfile = |name| match &image(&stack, name).source {
        ImageSource::Dockerfile(source) => source.dockerfile.value.clone(),
        ImageSource::Debian(_) => panic!("made by a Dockerfile"),
    };
    assert_eq!(
        (dockerfile("app"), dockerfile("own")),
        ("Containerfile".into(), "Dockerfile".into())
    );
    assert!(!image(&stack, "own").is_for(&platform("linux/arm64"), EventKind::Main));
}
