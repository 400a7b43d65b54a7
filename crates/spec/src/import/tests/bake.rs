//! Bake files as people write them: functions, theirs and bake's, matrices, files over files.

use super::*;

const DOCKERFILE: &str = "FROM busybox AS dev\nRUN true\nFROM dev AS prod\nRUN true\n";

/// Every image with its context, Dockerfile, target and arguments, and where it is published.
fn read_all(files: &[(&str, &str)]) -> Vec<String> {
    let (stack, _) = imported(files);
    let names = names(&stack);
    names
        .iter()
        .map(|it| format!("{it}: {}", source(&stack, it)))
        .collect()
}

#[test]
fn functions_of_bake_and_of_the_file_are_called_anywhere() {
    let bake = r#"
variable "VERSIONS" { default = "3.11,3.12" }
variable "REGISTRY" { default = "ghcr.io/lab" }
variable "CACHE" { default = "" }
variable "UNKNOWN" {}
function "slug" {
  params = [text]
  result = replace(lower(text), ".", "-")
}
function "image_tags" {
  params = [name]
  variadic_params = more
  result = concat(["${REGISTRY}/${slug(name)}:base"], [for tag in more : "${REGISTRY}/${slug(name)}:${tag}"])
}
target "_common" {
  args = { COMMON = "yes", KEPT = "1" }
}
target "py" {
  inherits = ["_common"]
  name = "py-${slug(v)}-${item.kind}"
  matrix = {
    v = split(",", VERSIONS)
    item = [{ kind = "cpu", base = "debian" }, { kind = "gpu", base = "nvidia" }]
  }
  args = {
    PY = v
    BASE = upper(item.base)
    MAJOR = split(".", v)[0]
    COMMON = equal(v, "3.12") ? "new" : "old"
    LOOK = lookup({ cpu = "a", gpu = "b" }, item.kind, "none")
  }
  tags = image_tags("PY-${item.kind}", "py${v}")
}
target "other" {
  dockerfile = "other.Dockerfile"
  tags = notequal("", REGISTRY) ? formatlist("${REGISTRY}/other:%s", compact(["latest", CACHE])) : []
  args = { SUM = 1 + 2, TRIMMED = trimprefix("v1", "v"), JOINED = join("+", ["a", "b"]) }
}
"#;
    let files = [
        ("docker-bake.hcl", bake),
        ("Dockerfile", DOCKERFILE),
        ("other.Dockerfile", DOCKERFILE),
    ];
    let all = read_all(&files);
    let wanted = |text: &str| {
        let found = all.iter().any(|it| it == text);
        assert!(found, "{text}\n{all:#?}");
    };
    wanted("other: . other.Dockerfile - JOINED=a+b,SUM=3,TRIMMED=1");
    let of_gpu = all.iter().filter(|it| it.contains("BASE=NVIDIA")).count();
    assert_eq!(of_gpu, 2, "{all:#?}");
    assert!(
        all.iter()
            .any(|it| it.contains("BASE=NVIDIA,COMMON=new,KEPT=1,LOOK=b,MAJOR=3,PY=3.12")),
        "{all:#?}"
    );
    let (stack, made) = imported(&files);
    let published = published(&stack, Trigger::Push, branch("main"));
    assert!(
        published
            .iter()
            .any(|it| it.starts_with("ghcr.io/lab/py-gpu:")),
        "{published:?}"
    );
    let about = |what: &str| made.notes.iter().any(|note| note.what.contains(what));
    assert!(about("variable `UNKNOWN`"), "{:#?}", made.notes);
    assert!(
        made.notes.iter().all(|it| it.verdict != Verdict::Missing),
        "{:#?}",
        made.notes
    );
}

#[test]
fn files_that_bake_lays_over_each_other_are_one() {
    let files = [
        (
            "docker-bake.json",
            r#"{"variable": {"T": {"default": "1"}}, "target": {"a": {"context": "a", "tags": ["lab/a:${T}"], "args": {"ONE": "1", "TWO": "2"}}}}"#,
        ),
        (
            "docker-bake.override.hcl",
            "target \"a\" {\n  args = { TWO = \"over\" }\n  target = \"dev\"\n}\n",
        ),
        ("a/Dockerfile", DOCKERFILE),
    ];
    assert_eq!(read_all(&files), ["a: a Dockerfile dev ONE=1,TWO=over"]);
}

/// Each target of a matrix is an image; what has no Dockerfile of its own is told.
#[test]
fn a_matrix_without_tags_and_an_inline_dockerfile() {
    let (stack, made) = imported(&[
        (
            "bake.hcl",
            "target \"app\" {\n  name = \"app-${tgt}\"\n  matrix = { tgt = [\"dev\", \"prod\"] }\n  target = tgt\n}\n\
             target \"inline\" {\n  dockerfile-inline = \"FROM scratch\"\n}\n",
        ),
        ("Dockerfile", DOCKERFILE),
    ]);
    assert_eq!(names(&stack), ["app-dev", "app-prod"]);
    assert_eq!(source(&stack, "app-prod"), ". Dockerfile prod ");
    let inline = made.notes.iter().find(|note| note.what == "target.inline");
    assert!(inline.is_some_and(|note| note.why.contains("in the bake file")));
}

/// Rocker's layout: a bake file for each version, called from the root, a Dockerfile for each tag,
/// and children that name their parent by its tag.
#[test]
fn a_tag_that_names_the_dockerfile_is_a_variant() {
    let of = |version: &str, more: &str| {
        format!(
            "{{\"group\": [{{\"default\": [{{\"targets\": [\"r-ver\", \"rstudio\"]}}]}}], \"target\": {{\
             \"r-ver\": {{\"dockerfile\": \"dockerfiles/r-ver_{version}.Dockerfile\", \"platforms\": [\"linux/amd64\"], \
             \"tags\": [\"docker.io/rocker/r-ver:{version}\", \"ghcr.io/rocker-org/r-ver:{version}\"{more}]}}, \
             \"rstudio\": {{\"dockerfile\": \"dockerfiles/rstudio_{version}.Dockerfile\", \"platforms\": [\"linux/amd64\"], \
             \"tags\": [\"docker.io/rocker/rstudio:{version}\", \"ghcr.io/rocker-org/rstudio:{version}\"]}}}}}}"
        )
    };
    let (old, new) = (
        of("4.3.3", ""),
        of("4.4.1", ", \"docker.io/rocker/r-ver:latest\""),
    );
    let (stack, made) = imported(&[
        ("bakefiles/4.3.3.docker-bake.json", &old),
        ("bakefiles/4.4.1.docker-bake.json", &new),
        ("dockerfiles/r-ver_4.3.3.Dockerfile", "FROM ubuntu:jammy\n"),
        ("dockerfiles/r-ver_4.4.1.Dockerfile", "FROM ubuntu:jammy\n"),
        (
            "dockerfiles/rstudio_4.3.3.Dockerfile",
            "FROM rocker/r-ver:4.3.3\n",
        ),
        (
            "dockerfiles/rstudio_4.4.1.Dockerfile",
            "FROM rocker/r-ver:4.4.1\n",
        ),
    ]);
    assert_eq!(
        names(&stack),
        [
            "r-ver:4.3.3",
            "r-ver:4.4.1",
            "rstudio:4.3.3",
            "rstudio:4.4.1"
        ],
        "{}",
        made.spec
    );
    let main = published(&stack, Trigger::Push, branch("main"));
    for name in [
        "docker.io/rocker/r-ver:4.3.3",
        "ghcr.io/rocker-org/r-ver:4.4.1",
        "ghcr.io/rocker-org/rstudio:4.4.1",
    ] {
        assert!(main.contains(&name.to_owned()), "{name}: {main:?}");
    }
    let note = made.notes.iter().find(|it| it.what.contains("tags latest"));
    assert!(note.is_some(), "{:#?}", made.notes);
    let parents: Vec<&str> = made
        .notes
        .iter()
        .filter(|it| it.what.starts_with("FROM rocker/r-ver"))
        .map(|it| it.why.as_str())
        .collect();
    assert_eq!(
        parents,
        [
            "means `r-ver:4.3.3` of this stack",
            "means `r-ver:4.4.1` of this stack"
        ]
    );
}

#[test]
fn functions_and_variables_that_multiply_each_other_come_to_an_end() {
    let mut file = "variable \"a0\" { default = \"aaaaaaaa\" }\n".to_owned();
    for at in 1..30 {
        let before = at - 1;
        file += &format!(
            "variable \"a{at}\" {{ default = replace(a{before}, \"a\", a{before}) }}\n\
             function \"f{at}\" {{\n params = [x]\n result = f{before}(x, f{before}(x, x))\n}}\n\
             variable \"t{at}\" {{ default = \"${{t{before}}}${{t{before}}}\" }}\n"
        );
    }
    file += "function \"f0\" {\n params = [x, y]\n result = \"${x}${y}${x}\"\n}\n\
             variable \"t0\" { default = \"tttttttt\" }\n\
             variable \"i\" { default = indent(9000000000000000000, \"a\\nb\") }\n\
             variable \"r\" { default = range(18446744073709551615) }\n\
             target \"app\" {\n tags = [\"lab/app:${f20(a20)}${t29}${i}\"]\n}\n";
    let files = [
        ("docker-bake.hcl", file.as_str()),
        ("Dockerfile", DOCKERFILE),
    ];
    let made = import(&tree(&files), "lab").expect("something to import");
    assert!(made.spec.len() < 1 << 20, "{} bytes", made.spec.len());
}

/// Targets, matrices, values and calls that name each other end, too, and so does a circle.
#[test]
fn hostile_nesting_ends() {
    let dockerfile = ("Dockerfile", DOCKERFILE);
    let read = |file: &str| {
        let made = import(&tree(&[("docker-bake.hcl", file), dockerfile]), "lab");
        made.expect("something to import")
    };
    let app = "target \"app\" { tags = [\"lab/app\"] }\n".to_owned();
    let mut targets = app.clone() + "target \"p0\" { inherits = [\"p0\", \"p20\"] }\n";
    let mut values = app.clone() + "variable \"v0\" { default = [] }\n";
    for at in 1..=20 {
        let before = at - 1;
        targets += &format!(
            "target \"p{at}\" {{\n inherits = [\"p{before}\", \"p{before}\"]\n tags = [\"lab/p{at}\"]\n}}\n"
        );
    }
    assert!(read(&targets).spec.contains("lab"));
    for at in 1..100 {
        values += &format!("variable \"v{at}\" {{ default = [v{}] }}\n", at - 1);
    }
    read(&values);
    let function = "function \"f\" {\n params = [x]\n result = ".to_owned()
        + &"[".repeat(50)
        + "x"
        + &"]".repeat(50)
        + "\n}\n";
    let call = "f(".repeat(40) + "1" + &")".repeat(40);
    read(&format!(
        "{app}{function}variable \"v\" {{ default = {call} }}\n"
    ));
    let axes: String = (0..12)
        .map(|axis| format!("a{axis} = [\"0\", \"1\", \"2\", \"3\"]\n"))
        .collect();
    let made = read(&format!(
        "{app}target \"many\" {{\n matrix = {{\n{axes}}}\n}}\n"
    ));
    assert_eq!(why(&made, "target.many.matrix").0, Verdict::Missing);
}

/// What the environment may override there, it may here, where that is a part of texts; what it
/// would decide besides is told.
#[test]
fn variables_stay_variables_where_they_are_parts_of_texts() {
    let bake = r#"
variable "REGISTRY" { default = "ghcr.io/lab" }
variable "VERSION" { default = "1.2" }
variable "FULL" { default = "${VERSION}.0" }
variable "EMPTY" {}
variable "TAG" { default = "latest" }
variable "STAGE" { default = "prod" }
variable "KINDS" { default = "a,b" }
variable "NAME" { default = "app" }
variable "DEBUG" { default = false }
target "app" {
  name = "${NAME}-${kind}"
  matrix = { kind = split(",", KINDS) }
  target = STAGE
  args = { VERSION = VERSION, FULL = FULL, EXTRA = "x${EMPTY}", KIND = kind, DEBUG = DEBUG }
  labels = { "org.version" = "v${VERSION}" }
  tags = ["${REGISTRY}/app-${kind}:${TAG}"]
}
"#;
    let files = [("docker-bake.hcl", bake), ("Dockerfile", DOCKERFILE)];
    let (stack, made) = imported(&files);
    assert_eq!(
        read_all(&files),
        ["app-a", "app-b"].map(|name| {
            let kind = &name[4..];
            format!(
                "{name}: . Dockerfile prod DEBUG=false,EXTRA=x,FULL=1.2.0,KIND={kind},VERSION=1.2"
            )
        })
    );
    assert_eq!(stack.registries, ["ghcr.io/lab"]);
    let set = [
        ("VERSION", "2.0"),
        ("REGISTRY", "quay.io/other"),
        ("EMPTY", "-y"),
    ];
    let environment = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let environment = environment.into_iter().collect();
    let surroundings = Surroundings {
        environment: &environment,
        ..Surroundings::none()
    };
    let text = Source::new("cairn.toml", made.spec.as_str());
    let other = crate::read(&text, &surroundings).expect("a spec");
    assert_eq!(
        source(&other, "app-a"),
        ". Dockerfile prod DEBUG=false,EXTRA=x-y,FULL=2.0.0,KIND=a,VERSION=2.0"
    );
    assert_eq!(other.registries, ["quay.io/other"]);
    let told = |what: &str, verdict: Verdict, why: &str| {
        let found = made.notes.iter().any(|note| {
            note.what.contains(what) && note.verdict == verdict && note.why.contains(why)
        });
        assert!(found, "{what}: {why}\n{:#?}", made.notes);
    };
    told(
        "`EMPTY`, `REGISTRY`, `VERSION`",
        Verdict::Equal,
        "`[variables]`",
    );
    told(
        "`STAGE` = `prod`",
        Verdict::Differs,
        "this one decides target",
    );
    told(
        "`KINDS` = `a,b`",
        Verdict::Differs,
        "which targets there are",
    );
    told(
        "`NAME` = `app`",
        Verdict::Differs,
        "which targets there are",
    );
    told("`FULL` = `1.2.0`", Verdict::Differs, "follows another");
    told("`DEBUG` = `false`", Verdict::Differs, "this is none");
    told("`TAG` = `latest`", Verdict::Differs, "tags of its event");
}

/// Rocker's version lists: a tag chooses the Dockerfile, and its image has further tags on main.
#[test]
fn further_tags_of_a_version_are_the_variants() {
    let file = |version: &str, tags: &str| {
        format!(
            r#"{{"target": {{"r-ver": {{"dockerfile": "dockerfiles/r-ver_{version}.Dockerfile", "tags": [{tags}], "args": {{"N": "${{add(1, 2)}}-${{basename(\"a/b\")}}"}}, "dockerfile-inline": null}}}}}}"#
        )
    };
    let old = file(
        "4.3.3",
        r#""docker.io/rocker/r-ver:4.3.3", "docker.io/rocker/r-ver:4.3""#,
    );
    let new = file(
        "4.4.1",
        r#""docker.io/rocker/r-ver:4.4.1", "docker.io/rocker/r-ver:4.4", "docker.io/rocker/r-ver:4", "docker.io/rocker/r-ver:latest""#,
    );
    let (stack, _) = imported(&[
        ("bakefiles/4.3.3.docker-bake.json", old.as_str()),
        ("bakefiles/4.4.1.docker-bake.json", new.as_str()),
        ("dockerfiles/r-ver_4.3.3.Dockerfile", "FROM debian:12\n"),
        ("dockerfiles/r-ver_4.4.1.Dockerfile", "FROM debian:12\n"),
    ]);
    assert_eq!(
        published(&stack, Trigger::Push, branch("main")),
        ["4.3.3", "4.3", "4.4.1", "4", "4.4", "latest"]
            .map(|it| format!("docker.io/rocker/r-ver:{it}"))
    );
    assert!(source(&stack, "r-ver:4.4.1").ends_with("N=3-b"));
}

/// Tags that tell the combinations of a matrix apart are what they are published as.
#[test]
fn a_matrix_told_by_its_tags_is_published_under_them() {
    let (stack, _) = imported(&[
        (
            "docker-bake.hcl",
            "target \"py\" {\n  name = \"py-${replace(v, \".\", \"-\")}\"\n  matrix = { v = [\"3.10\", \"3.11\"] }\n  context = \"py\"\n  \
             args = { PY = v }\n  tags = [\"ghcr.io/lab/py:${v}\", equal(v, \"3.11\") ? \"ghcr.io/lab/py:latest\" : \"\"]\n}\n",
        ),
        ("py/Dockerfile", "FROM debian:12\n"),
        ("app/Dockerfile", "FROM ghcr.io/lab/py:3.10\n"),
    ]);
    let tags = published(&stack, Trigger::Push, branch("main"));
    let of_py = tags.iter().filter(|it| it.starts_with("ghcr.io/lab/py:"));
    assert_eq!(
        of_py.collect::<Vec<_>>(),
        [
            "ghcr.io/lab/py:3.10",
            "ghcr.io/lab/py:3.11",
            "ghcr.io/lab/py:latest"
        ]
    );
}
