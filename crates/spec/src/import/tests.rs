//! The layouts of the five seed documents, and the corners of each format.

use cairn_diagnostic::Source;

use super::*;
use crate::tags::{Facts, GitRef, ImageTags, Instead, Trigger, publication};
use crate::{ImageSource, Stack, Surroundings};

mod actions;
mod bake;
mod lines;
mod scripts;
mod seeds;

fn tree(files: &[(&str, &str)]) -> Tree {
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned())));
    Tree {
        files: files.collect(),
    }
}

/// Imports, and reads what was written.
fn imported(files: &[(&str, &str)]) -> (Stack, Imported) {
    let made = import(&tree(files), "lab").expect("something to import");
    let source = Source::new("cairn.toml", made.spec.as_str());
    let stack = crate::read(&source, &Surroundings::none()).unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
        panic!("{}\n{}", made.spec, all.join("\n"))
    });
    (stack, made)
}

fn names(stack: &Stack) -> Vec<String> {
    stack
        .images
        .iter()
        .map(|image| image.name.to_string())
        .collect()
}

/// `context dockerfile target args` of an image.
fn source(stack: &Stack, name: &str) -> String {
    let id = stack
        .exact(name)
        .unwrap_or_else(|| panic!("no {name} in {:?}", names(stack)));
    let ImageSource::Dockerfile(source) = &stack[id].source else {
        panic!("made by a Dockerfile");
    };
    let args: Vec<String> = source
        .args
        .iter()
        .map(|(k, v)| format!("{k}={}", v.value))
        .collect();
    let target = source.target.as_ref().map_or("-", |it| it.as_str());
    format!(
        "{} {} {target} {}",
        source.context.value,
        source.dockerfile.value,
        args.join(",")
    )
}

fn published(stack: &Stack, trigger: Trigger, reference: GitRef) -> Vec<String> {
    let facts = Facts {
        trigger,
        reference,
        commit: Some("abc1234def".to_owned()),
        time: Some(0),
        default_branch: Some("main".to_owned()),
        git_tags: Vec::new(),
    };
    let publication = publication(stack, &facts, &Instead::default(), &|_| None);
    assert_eq!(publication.clashes, []);
    publication
        .images
        .iter()
        .flat_map(ImageTags::names)
        .collect()
}

fn branch(name: &str) -> GitRef {
    GitRef::Branch(name.to_owned())
}

fn why<'i>(made: &'i Imported, what: &str) -> (Verdict, &'i str) {
    let note = made.notes.iter().find(|note| note.what.contains(what));
    let note = note.unwrap_or_else(|| panic!("{what}: {:#?}", made.notes));
    (note.verdict, &note.why)
}

const DATAHUB: &[(&str, &str)] = &[
    (
        "images/spec.yml",
        "root: base-notebook\nimages:\n\
         \x20 base-notebook:\n    image_name: ghcr.io/ets/base-notebook\n    build_args:\n      PY: 3.11.8\n    info_cmds: [PY_VER]\n\
         \x20 ml-notebook:\n    image_name: ghcr.io/ets/scipy-ml\n    depend_on: base-notebook\n    prune: true\n    integration_tests: true\n\
         \x20 node-notebook:\n    image_name: ghcr.io/ets/node-notebook\n    depend_on: ml-notebook\n    dockerfile: Node.dockerfile\n\
         \x20 gone:\n    image_name: ghcr.io/ets/gone\n\
         tag:\n  prefix: '2023.4'\nall_info_cmds:\n  PY_VER: {description: Python, command: python --version}\n",
    ),
    (
        "images/change_ignore.json",
        "{\"ChangeIgnore\": [\"README.md\"], \"BuildAll\": [\"tests_common\", \"spec.yml\"]}",
    ),
    (
        "images/base-notebook/Dockerfile",
        "ARG PY=3\nFROM python:${PY}\n",
    ),
    ("images/base-notebook/test/test_a.py", ""),
    ("images/base-notebook/workflow_tests/test_gpu.py", ""),
    ("images/base-notebook/manual_tests/plot.ipynb", ""),
    ("images/ml-notebook/integration_tests/test_ui.py", ""),
    ("images/node-notebook/integration_tests/test_off.py", ""),
    ("images/tests_common/test_packages.py", ""),
    (
        "images/ml-notebook/Dockerfile",
        "ARG BASE_TAG\nFROM ghcr.io/ets/base-notebook:${BASE_TAG}\n",
    ),
    (
        "images/node-notebook/Node.dockerfile",
        "ARG BASE_TAG=2021.1-stable\nFROM ghcr.io/ets/scipy-ml:$BASE_TAG\n",
    ),
];

/// DH-01 to DH-10, DH-17, DH-18, DH-20, DH-27, DH-28, DH-54 to DH-58.
#[test]
fn datahubs_layout_is_imported() {
    let (stack, made) = imported(DATAHUB);
    assert_eq!(
        names(&stack),
        ["base-notebook", "ml-notebook", "node-notebook"]
    );
    assert_eq!(
        source(&stack, "base-notebook"),
        "images/base-notebook Dockerfile - PY=3.11.8"
    );
    assert_eq!(
        source(&stack, "ml-notebook"),
        "images/ml-notebook Dockerfile - BASE_TAG=latest"
    );
    assert_eq!(
        source(&stack, "node-notebook"),
        "images/node-notebook Node.dockerfile - BASE_TAG=latest"
    );
    assert_eq!(
        published(&stack, Trigger::Push, branch("fix/x")),
        [
            "ghcr.io/ets/base-notebook:2023.4-fix-x",
            "ghcr.io/ets/scipy-ml:2023.4-fix-x",
            "ghcr.io/ets/node-notebook:2023.4-fix-x"
        ]
    );
    let pull = Trigger::PullRequest { number: Some(71) };
    assert_eq!(published(&stack, pull, branch("topic")), [""; 0]);
    assert_eq!(
        published(&stack, Trigger::Push, branch("main"))[1],
        "ghcr.io/ets/scipy-ml:2023.4-main"
    );
    let globs = |list: &[crate::written::Spanned<String>]| {
        list.iter().map(|it| it.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(globs(&stack.changes.ignore), ["images/README.md"]);
    assert_eq!(globs(&stack.changes.build_all), ["images/tests_common"]);
    assert_eq!(
        why(&made, "images.gone"),
        (
            Verdict::Missing,
            "left out: there is no images/gone/Dockerfile"
        )
    );
    assert_eq!(why(&made, "prune").0, Verdict::Differs);
    assert_eq!(why(&made, "base-notebook: test").0, Verdict::Differs);
    let suites = |image: usize| -> Vec<String> {
        let suites = stack.images[image].tests.suites.iter();
        suites
            .map(|it| format!("{} {} {}", it.kind, *it.path, it.place))
            .collect()
    };
    assert_eq!(
        suites(0),
        [
            "basic images/tests_common host",
            "basic images/base-notebook/test host",
            "workflow images/base-notebook/workflow_tests image",
            "manual images/base-notebook/manual_tests image"
        ]
    );
    assert_eq!(
        suites(1),
        [
            "basic images/tests_common host",
            "integration images/ml-notebook/integration_tests host"
        ]
    );
    assert_eq!(why(&made, "scipy-ml:$BASE_TAG").0, Verdict::Equal);
    // DH-66, DH-67: commands about the contents keep their names.
    let info = &stack.images[0].info[0];
    assert_eq!((&*info.name, &*info.title), ("PY_VER", "Python"));
    assert_eq!(
        info.command.as_deref(),
        Some(&["/bin/sh", "-c", "python --version"].map(str::to_owned)[..])
    );
    assert_eq!(stack.promote.len(), 2);
}

/// DH-12 to DH-15: plans are variants with a prefix of their own.
#[test]
fn datahubs_plans_are_variants() {
    let (stack, _) = imported(&[
        (
            "spec.yml",
            "images:\n  a:\n    image_name: ucsdets/a\n    dbuild_env: {common: {X: '${HOME}/x'}, PYTHON38: {PY: '3.8'}, PYTHON39: {PY: '3.9'}}\n\
             \x20 b:\n    image_name: ucsdets/b\n    depend_on: a\n    skip_plans: [PYTHON38]\n\
             plans:\n  PYTHON39: {tag_prefix: 2021.3, tag_stable_postfix: -stable}\n  PYTHON38: {tag_prefix: '2021.2'}\n\
             tag: {prefix: '2021.3'}\n",
        ),
        ("a/Dockerfile", "FROM python\n"),
        ("b/Dockerfile", "ARG BASE_TAG\nFROM ucsdets/a:$BASE_TAG\n"),
    ]);
    assert_eq!(names(&stack), ["a:PYTHON39", "a:PYTHON38", "b:PYTHON39"]);
    assert_eq!(
        source(&stack, "a:PYTHON38"),
        "a Dockerfile - PY=3.8,X=${HOME}/x"
    );
    assert_eq!(
        published(&stack, Trigger::Push, branch("x")),
        [
            "docker.io/ucsdets/a:2021.3-x",
            "docker.io/ucsdets/a:2021.2-x",
            "docker.io/ucsdets/b:2021.3-x"
        ]
    );
}

/// EPI-01, EPI-02, EPI-07, EPI-09, EPI-15, EPI-29: two images of one Dockerfile, from two files.
#[test]
fn epidemic_modelling_is_imported() {
    let (stack, made) = imported(&[
        (
            "cloudbuild.yaml",
            "steps:\n  - name: gcr.io/cloud-builders/docker\n    entrypoint: bash\n    args:\n      - -c\n      - |\n        \
             docker build --target cloud -t ${_REGION}-docker.pkg.dev/${PROJECT_ID}/suite/epymodelingsuite:${_TAG} \\\n          \
             --build-arg SUITE_REF=${_SUITE_REF} --build-arg GITHUB_PAT=$$GITHUB_PAT \\\n          -f docker/Dockerfile .\n    \
             secretEnv: [GITHUB_PAT]\nsubstitutions:\n  _REGION: us-central1\n  _TAG: latest\n  _SUITE_REF: main\n",
        ),
        (
            "docker-compose.yml",
            "services:\n  builder: &one\n    image: epymodelingsuite:local\n    build:\n      context: .\n      dockerfile: docker/Dockerfile\n      \
             target: local\n      args:\n        SUITE_REF: ${SUITE_REF:-main}\n    volumes: [./local:/data]\n  runner:\n    <<: *one\n",
        ),
        (
            "docker/Dockerfile",
            "FROM python:3.11 AS base\nFROM base AS local\nFROM base AS cloud\n",
        ),
        (
            "docker/container-structure-test.yaml",
            "schemaVersion: '2.0.0'\n",
        ),
    ]);
    assert_eq!(
        names(&stack),
        ["epymodelingsuite:cloud", "epymodelingsuite:local"]
    );
    assert_eq!(
        source(&stack, "epymodelingsuite:cloud"),
        ". docker/Dockerfile cloud SUITE_REF=main"
    );
    assert_eq!(
        source(&stack, "epymodelingsuite:local"),
        ". docker/Dockerfile local SUITE_REF=main"
    );
    let image = &stack.images[0];
    assert_eq!(
        image.tests.structure[0].value,
        "docker/container-structure-test.yaml"
    );
    assert_eq!(
        written(&image.repositories),
        ["us-central1-docker.pkg.dev/project-id/suite/epymodelingsuite"]
    );
    let (verdict, reason) = why(&made, "--build-arg GITHUB_PAT");
    assert!(
        verdict == Verdict::Differs && reason.contains("RUN --mount=type=secret,id=GITHUB_PAT"),
        "{reason}"
    );
    assert_eq!(why(&made, "services.builder").0, Verdict::Missing);
    assert!(
        made.spec
            .contains("suite_ref = { env = \"_SUITE_REF\", default = \"main\" }"),
        "{}",
        made.spec
    );
}

/// PAN-01, PAN-05, PAN-10, PAN-11, PAN-22: a base and its child, by Cloud Build's arguments.
#[test]
fn panoptes_is_imported() {
    let (stack, made) = imported(&[
        (
            "resources/docker/cloudbuild.yaml",
            "steps:\n- name: docker\n  id: base\n  args: ['buildx', 'build', '--push', '--platform=${_PLATFORMS}', \
             '-f=resources/docker/base.Dockerfile', '--tag=gcr.io/${PROJECT_ID}/panoptes-base:${_TAG}', '.']\n\
             - name: docker\n  args: [buildx, build, -f, resources/docker/Dockerfile, '-t', 'gcr.io/${PROJECT_ID}/panoptes-utils:${_TAG}', \
             --build-arg, 'image_url=gcr.io/${PROJECT_ID}/panoptes-base:${_TAG}', '.']\n  waitFor: [base]\n\
             substitutions:\n  _TAG: develop\n  _PLATFORMS: linux/amd64,linux/arm64\n",
        ),
        ("resources/docker/base.Dockerfile", "FROM ubuntu\n"),
        (
            "resources/docker/Dockerfile",
            "ARG image_url=gcr.io/panoptes-exp/panoptes-base:latest\nFROM ${image_url}\n",
        ),
    ]);
    assert_eq!(names(&stack), ["panoptes-base", "panoptes-utils"]);
    assert_eq!(
        source(&stack, "panoptes-utils"),
        ". resources/docker/Dockerfile - image_url=panoptes-base",
        "{:#?}",
        made.notes
    );
    let platforms = stack.images[0].published_for(crate::EventKind::Main);
    assert_eq!(platforms.len(), 2);
}

/// BOR: Dockerfiles and nothing else, a runtime and an application on it.
#[test]
fn a_plain_tree_of_dockerfiles_is_imported() {
    let (stack, made) = imported(&[
        (
            "cloud/docker/runtime/Dockerfile",
            "ARG from=python:3.8.6\nFROM ${from}\n",
        ),
        ("cloud/docker/wholecell/Dockerfile", "FROM runtime\n"),
        ("Dockerfile", "FROM wholecell\n"),
        ("gpu/a.Dockerfile", "FROM a\n"),
        ("gpu/b.Dockerfile", "FROM b\n"),
        ("gpu/b.Dockerfile.dockerignore", "*\n"),
        ("README.md", ""),
    ]);
    assert_eq!(
        names(&stack),
        ["lab", "runtime", "wholecell", "gpu-a", "gpu-b"]
    );
    assert_eq!(source(&stack, "gpu-b"), "gpu b.Dockerfile - ");
    assert_eq!(source(&stack, "lab"), ". Dockerfile - ");
    assert_eq!(why(&made, "registries and tags").0, Verdict::Differs);
    assert_eq!(
        import(&tree(&[("README.md", "")]), "lab"),
        Err(ImportError::Nothing)
    );
}

const WORKFLOW: &str = "on:\n  push:\n    branches: [main]\n    tags: ['v*']\n  pull_request:\njobs:\n  build:\n    strategy:\n      matrix:\n        include:\n\
    \x20         - name: ml_platform\n            context: ./ml_platform\n            dockerfile: ./ml_platform/Dockerfile\n            registries: |-\n\
    \x20             ghcr.io/maniaclab/ml-platform\n              docker.io/ivukotic/ml_platform\n              hub.opensciencegrid.org/usatlas/ml-platform\n\
    \x20           platforms: linux/amd64\n            build_args: CUDA_VERSION=12.6\n    steps:\n      - uses: docker/metadata-action@v5\n        with:\n\
    \x20         images: ${{ matrix.registries }}\n          tags: |\n            type=raw,value=latest,enable={{is_default_branch}}\n            type=semver,pattern={{version}}\n\
    \x20           type=semver,pattern={{major}}.{{minor}}\n            type=sha\n      - uses: docker/build-push-action@v6\n        with:\n\
    \x20         context: ${{ matrix.context }}\n          file: ${{ matrix.dockerfile }}\n          platforms: ${{ matrix.platforms }}\n\
    \x20         build-args: ${{ matrix.build_args }}\n          push: ${{ github.event_name != 'pull_request' }}\n          tags: ${{ steps.meta.outputs.tags }}\n          cache-from: type=gha\n";

/// MAN-14 to MAN-22.
#[test]
fn maniacs_matrix_is_imported() {
    let (stack, made) = imported(&[
        (".github/workflows/build-images.yaml", WORKFLOW),
        (
            "ml_platform/Dockerfile",
            "ARG CUDA_VERSION=12.8\nFROM ghcr.io/prefix-dev/pixi:noble\n",
        ),
    ]);
    assert_eq!(names(&stack), ["ml_platform"]);
    assert_eq!(
        source(&stack, "ml_platform"),
        "ml_platform Dockerfile - CUDA_VERSION=12.6"
    );
    let on = |trigger, reference| -> Vec<String> {
        let names = published(&stack, trigger, reference);
        let first = "ghcr.io/maniaclab/ml-platform:";
        assert_eq!(
            names.len() % 3,
            0,
            "every registry gets the same: {names:?}"
        );
        names
            .iter()
            .filter_map(|name| name.strip_prefix(first))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(on(Trigger::Push, branch("main")), ["latest", "sha-abc1234"]);
    assert_eq!(
        on(Trigger::Push, GitRef::Tag("v2026.2.0".into())),
        ["2026.2.0", "2026.2", "sha-abc1234", "latest"]
    );
    assert_eq!(
        on(Trigger::PullRequest { number: None }, branch("x")),
        [""; 0]
    );
    assert_eq!(
        on(Trigger::Manual, branch("main")),
        ["latest", "sha-abc1234"]
    );
    assert_eq!(
        written(&stack.images[0].repositories),
        [
            "ghcr.io/maniaclab/ml-platform",
            "docker.io/ivukotic/ml_platform",
            "hub.opensciencegrid.org/usatlas/ml-platform"
        ]
    );
    assert_eq!(why(&made, "cache-from").0, Verdict::Differs);
}

/// The shape the repository itself has: a list of objects on one axis, joined by an expression.
#[test]
fn a_matrix_of_objects_is_imported() {
    let text = "jobs:\n  b:\n    env: {WHERE: base}\n    strategy:\n      matrix:\n        image:\n          - {name: a, context: ./a, registries: [ghcr.io/x/a, docker.io/y/a]}\n\
        \x20       py: ['3.11', '3.12']\n        exclude: [{py: '3.11'}]\n        include: [{py: '3.12', extra: E=1}]\n    steps:\n      - uses: docker/metadata-action@v5\n        with: {images: \"${{ join(matrix.image.registries, '\\\\n') }}\"}\n\
        \x20     - uses: docker/build-push-action@v6\n        with:\n          context: ${{ matrix.image.context }}\n          build-args: |\n            PY=${{ matrix.py }}\n            W=${{ env.WHERE }}\n            ${{ matrix.extra }}\n            S=${{ steps.x.outputs.y }}\n";
    let (stack, made) = imported(&[
        (".github/workflows/x.yml", text),
        ("a/Dockerfile", "FROM scratch\n"),
    ]);
    assert_eq!(source(&stack, "a"), "a Dockerfile - E=1,PY=3.12,W=base");
    assert_eq!(
        written(&stack.images[0].repositories),
        ["ghcr.io/x/a", "docker.io/y/a"]
    );
    assert_eq!(why(&made, "steps.x.outputs.y").0, Verdict::Missing);
}

const BAKE: &str = r#"
variable "TAG" { default = "latest" }
variable "REPO" { default = "ghcr.io/lab" }
group "default" { targets = ["base", "app"] }
target "_common" {
  args = { A = "1", B = "1" }
  platforms = ["linux/amd64", "linux/arm64"]
}
target "base" {
  inherits = ["_common"]
  context = "base"
  tags = ["${REPO}/base:${TAG}"]
}
target "app" {
  inherits = ["_common"]
  name = "app-${py}"
  matrix = { py = ["3-11", "3-12"] }
  context = "app"
  contexts = { base = "target:base" }
  args = { B = "2", PY = replace_it(py), V = py }
  tags = ["${REPO}/app:${py}"]
  secret = ["id=pat"]
}
target "remote" { context = "https://example.org/x.git" }
"#;

#[test]
fn bake_files_are_imported() {
    let files = [
        ("base/Dockerfile", "FROM scratch\n"),
        ("app/Dockerfile", "FROM base\n"),
    ];
    let (stack, made) = imported(&[&[("docker-bake.hcl", BAKE)][..], &files].concat());
    assert_eq!(names(&stack), ["base", "app:3-11", "app:3-12"]);
    assert_eq!(
        source(&stack, "app:3-12"),
        "app Dockerfile - A=1,B=2,V=3-12"
    );
    assert_eq!(source(&stack, "base"), "base Dockerfile - A=1,B=1");
    assert_eq!(stack.registries, ["ghcr.io/lab"]);
    assert_eq!(stack.platforms.len(), 2);
    assert_eq!(why(&made, "target.app-3-11.args.PY").0, Verdict::Missing);
    assert_eq!(why(&made, "target.remote").0, Verdict::Missing);
    assert_eq!(why(&made, "secret").0, Verdict::Differs);
    let json = r#"{"variable": {"TAG": {"default": "1"}}, "target": {"base": {"context": "base", "tags": ["docker.io/x/base:${TAG}"], "args": {"N": 3}}}}"#;
    let (stack, _) = imported(&[&[("docker-bake.json", json)][..], &files].concat());
    assert_eq!(source(&stack, "base"), "base Dockerfile - N=3");
    assert_eq!(written(&stack.images[0].repositories), ["docker.io/x/base"]);
}

#[test]
fn a_file_that_is_recognised_and_broken_is_an_error() {
    for (file, text) in [
        ("docker-bake.hcl", "target \"a\" {"),
        ("docker-bake.json", "{"),
        ("compose.yaml", "services: [\n"),
        ("spec.yml", "images: {a: {image_name: x\n"),
    ] {
        let broken = import(&tree(&[(file, text)]), "lab");
        assert!(
            matches!(&broken, Err(ImportError::Broken { file: named, .. }) if named == file),
            "{broken:?}"
        );
    }
}

fn written(repositories: &[crate::Repository]) -> Vec<String> {
    repositories.iter().map(ToString::to_string).collect()
}

/// A tree that names its siblings by where they are published, as Jupyter's does.
#[test]
fn a_tree_tells_its_registry_by_its_parents() {
    let (stack, made) = imported(&[
        (
            "images/docker-stacks-foundation/Dockerfile",
            "ARG ROOT_IMAGE=ubuntu:24.04\nFROM $ROOT_IMAGE\n",
        ),
        (
            "images/base-notebook/Dockerfile",
            "ARG REGISTRY=quay.io\nARG OWNER=jupyter\nARG BASE_IMAGE=$REGISTRY/$OWNER/docker-stacks-foundation\nFROM $BASE_IMAGE\n",
        ),
    ]);
    assert_eq!(stack.registries, ["quay.io/jupyter"]);
    let base = stack.exact("base-notebook").expect("an image");
    let home: Vec<String> = stack[base]
        .repositories
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(home, ["quay.io/jupyter/base-notebook"]);
    assert_eq!(why(&made, "FROM $BASE_IMAGE").0, Verdict::Equal);
}

/// Functions of a bake file, and a list of platforms in a template.
#[test]
fn bake_functions_are_called() {
    let (stack, made) = imported(&[
        (
            "docker-bake.hcl",
            "variable \"REGISTRY\" { default = \"docker.io/\" }\nvariable \"PLATFORMS\" { default = [\"linux/amd64\", \"linux/arm64\"] }\n\
             function \"tags\" {\n  params = [image]\n  result = [\"${REGISTRY}aiidalab/${image}:1\", \"${REGISTRY}aiidalab/${image}:2\"]\n}\n\
             target \"base\" {\n  context = \"stack/base\"\n  platforms = \"${PLATFORMS}\"\n  tags = tags(\"base\")\n}\n\
             target \"lab\" {\n  context = \"stack/lab\"\n  contexts = { base = \"target:base\" }\n  tags = tags(\"lab\")\n}\n",
        ),
        ("stack/base/Dockerfile", "FROM busybox\n"),
        ("stack/lab/Dockerfile", "FROM base\n"),
    ]);
    assert_eq!(stack.registries, ["docker.io/aiidalab"]);
    assert_eq!(why(&made, "FROM base").0, Verdict::Equal);
    assert!(
        !made
            .notes
            .iter()
            .any(|note| note.verdict == Verdict::Missing)
    );
}
