//! Workflows and Compose files as people write them: calls, choices, scripts, tags without the
//! action, services that extend others.

use super::*;

const DOCKERFILE: &str =
    "ARG BASE=busybox\nFROM $BASE AS dev\nRUN true\nFROM dev AS prod\nRUN true\n";
const CI: &str = ".github/workflows/ci.yml";

fn read_all(files: &[(&str, &str)]) -> Vec<String> {
    let (stack, _) = imported(files);
    let names = names(&stack);
    names
        .iter()
        .map(|it| format!("{it}: {}", source(&stack, it)))
        .collect()
}

fn told(made: &Imported, what: &str) -> String {
    let note = made.notes.iter().find(|note| note.what.contains(what));
    note.map_or_else(
        || panic!("nothing of {what}: {:#?}", made.notes),
        |note| format!("{}: {}", note.verdict.as_str(), note.why),
    )
}

/// Axes with `exclude` and `include`, choices between values, and a suffix out of the matrix.
#[test]
fn a_matrix_with_choices_is_multiplied_out() {
    let ci = r#"
on: [push]
jobs:
  build:
    strategy:
      matrix:
        python: ["3.10", "3.11"]
        variant: [slim, gpu]
        exclude:
          - {python: "3.10", variant: gpu}
        include:
          - {python: "3.12", variant: slim, base: rc}
    steps:
      - uses: docker/metadata-action@v5
        with:
          images: |
            lab/py
            ghcr.io/lab/py
          flavor: |
            suffix=-${{ matrix.variant }}
          tags: |
            type=ref,event=branch
      - uses: docker/build-push-action@v6
        with:
          file: docker/${{ matrix.variant }}.Dockerfile
          build-args: |
            PYTHON=${{ matrix.python }}
            BASE=${{ matrix.base || 'stable' }}
            FAST=${{ matrix.variant == 'gpu' && 'no' || 'yes' }}
"#;
    let files = [
        (CI, ci),
        ("docker/slim.Dockerfile", DOCKERFILE),
        ("docker/gpu.Dockerfile", DOCKERFILE),
    ];
    let all = read_all(&files);
    assert_eq!(all.len(), 4, "{all:#?}");
    for part in [
        "docker/slim.Dockerfile - BASE=stable,FAST=yes,PYTHON=3.10",
        "docker/slim.Dockerfile - BASE=stable,FAST=yes,PYTHON=3.11",
        "docker/gpu.Dockerfile - BASE=stable,FAST=no,PYTHON=3.11",
        "docker/slim.Dockerfile - BASE=rc,FAST=yes,PYTHON=3.12",
    ] {
        assert!(all.iter().any(|it| it.ends_with(part)), "{part}: {all:#?}");
    }
}

/// What a matrix puts before or behind the tags tells the variants, in its own words.
#[test]
fn prefixes_and_suffixes_of_a_matrix_are_those_of_the_variants() {
    let ci = |affix: &str, matrix: &str| {
        format!(
            "on: [push]\njobs:\n  b:\n    strategy: {{matrix: {matrix}}}\n    steps:\n      - uses: docker/metadata-action@v5\n        with:\n          \
             images: ghcr.io/lab/ml\n          flavor: |\n            {affix}\n          tags: |\n            type=raw,value=latest\n      \
             - uses: docker/build-push-action@v6\n        with: {{context: ml, build-args: \"CUDA=${{{{ matrix.cuda }}}}\"}}\n"
        )
    };
    let tags = |affix: &str, matrix: &str| {
        let ci = ci(affix, matrix);
        let (stack, _) = imported(&[(CI, ci.as_str()), ("ml/Dockerfile", DOCKERFILE)]);
        let tags = published(&stack, Trigger::Push, branch("main"));
        let tags = tags
            .iter()
            .filter_map(|it| it.strip_prefix("ghcr.io/lab/ml:"));
        tags.map(str::to_owned).collect::<Vec<_>>()
    };
    let two = "{cuda: [\"11.8\", \"12.4\"]}";
    assert_eq!(
        tags("prefix=cuda${{ matrix.cuda }}-,onlatest=true", two),
        ["cuda11.8-latest", "cuda12.4-latest"]
    );
    assert_eq!(
        tags("suffix=-cu${{ matrix.cuda }}", two),
        ["latest-cu11.8", "latest-cu12.4"]
    );
    assert_eq!(
        tags(
            "suffix=${{ matrix.end }}",
            "{include: [{cuda: a, end: \"\"}, {cuda: b, end: \"-b\"}]}"
        ),
        ["latest", "latest-b"]
    );
    assert_eq!(
        tags("prefix=cuda${{ matrix.cuda }}-", "{cuda: [\"12.4\"]}"),
        ["cuda12.4-latest"],
        "one combination has it as well"
    );
    assert_eq!(
        tags("suffix=-${{ matrix.os }}", "{cuda: [a, b], os: [x]}"),
        ["latest-a", "latest-b"],
        "what all have tells none"
    );
}

/// A workflow that another one calls, once for each image.
#[test]
fn a_called_workflow_gets_what_it_is_given() {
    let files = [
        (
            CI,
            "on: [push]\njobs:\n  call:\n    uses: ./.github/workflows/build.yml\n    strategy:\n      matrix:\n        image: [a, b]\n    \
             with:\n      image: ${{ matrix.image }}\n      context: images/${{ matrix.image }}\n",
        ),
        (
            ".github/workflows/build.yml",
            "on:\n  workflow_call:\n    inputs:\n      image: {type: string}\n      context: {type: string}\n      stage: {type: string, default: prod}\n\
             jobs:\n  build:\n    steps:\n      - uses: docker/build-push-action@v5\n        with:\n          context: ${{ inputs.context }}\n          \
             target: ${{ inputs.stage }}\n          tags: ghcr.io/lab/${{ inputs.image }}:latest\n",
        ),
        ("images/a/Dockerfile", DOCKERFILE),
        ("images/b/Dockerfile", DOCKERFILE),
    ];
    assert_eq!(
        read_all(&files),
        [
            "a: images/a Dockerfile prod ",
            "b: images/b Dockerfile prod "
        ]
    );
    let (stack, _) = imported(&files);
    assert_eq!(
        published(&stack, Trigger::Push, branch("main")),
        ["latest", "sha-abc1234"]
            .map(|tag| format!("ghcr.io/lab/a:{tag}"))
            .into_iter()
            .chain(["latest", "sha-abc1234"].map(|tag| format!("ghcr.io/lab/b:{tag}")))
            .collect::<Vec<_>>()
    );
}

/// Tags with expressions of the event in them, and a script.
#[test]
fn tags_without_the_action_are_rules_and_scripts_are_read() {
    let files = [
        (
            CI,
            "on: [push]\njobs:\n  build:\n    steps:\n      - uses: docker/build-push-action@v5\n        with:\n          context: app\n          \
             tags: |\n            lab/app:latest\n            lab/app:${{ github.sha }}\n            lab/app:${{ github.event.release.tag_name }}\n            \
             lab/app:${{ github.run_number }}\n      - run: docker build -t try:1 app\n      - run: |\n          docker build . \\\n            \
             --file other/Dockerfile \\\n            --build-arg BASE=debian \\\n            --tag quay.io/lab/other:${GITHUB_SHA::7}\n",
        ),
        ("app/Dockerfile", DOCKERFILE),
        ("other/Dockerfile", DOCKERFILE),
    ];
    let (stack, made) = imported(&files);
    assert_eq!(names(&stack), ["other", "app"], "{}", made.spec);
    assert_eq!(source(&stack, "other"), ". other/Dockerfile - BASE=debian");
    let main = published(&stack, Trigger::Push, branch("main"));
    assert!(
        main.contains(&"docker.io/lab/app:latest".to_owned()),
        "{main:?}"
    );
    assert!(
        main.contains(&"docker.io/lab/app:abc1234def".to_owned()),
        "{main:?}"
    );
    let tag = GitRef::Tag("v1.0.0".to_owned());
    let release = published(&stack, Trigger::Push, tag);
    assert!(
        release.contains(&"docker.io/lab/app:v1.0.0".to_owned()),
        "{release:?}"
    );
    assert!(told(&made, "run_number").starts_with("missing: no rule"));
}

/// Bake's target that the action names.
#[test]
fn what_bake_builds_is_named_by_the_action() {
    let (stack, made) = imported(&[
        (
            CI,
            "on: [push]\njobs:\n  build:\n    steps:\n      - id: meta\n        uses: docker/metadata-action@v5\n        with:\n          images: name/app\n          \
             tags: type=ref,event=branch\n      - uses: docker/bake-action@v5\n        with:\n          targets: build\n",
        ),
        (
            "docker-bake.hcl",
            "target \"docker-metadata-action\" {}\ntarget \"_base\" {\n  inherits = [\"docker-metadata-action\"]\n}\n\
             target \"build\" {\n  inherits = [\"_base\"]\n  context = \"./\"\n}\n",
        ),
        ("Dockerfile", DOCKERFILE),
    ]);
    assert_eq!(
        published(&stack, Trigger::Push, branch("topic")),
        ["docker.io/name/app:topic"],
        "{}",
        made.spec
    );
}

/// Compose: anchors, defaults in every place, arguments without a value, services that extend
/// others, and what has no counterpart.
#[test]
fn compose_files_say_more_than_a_folder() {
    let (stack, made) = imported(&[
        (
            "compose.yaml",
            "x-build: &build\n  context: .\n  args: &args\n    BASE: busybox\n    HTTP_PROXY:\nservices:\n  web:\n    build:\n      <<: *build\n      \
             target: ${STAGE:-dev}\n      args:\n        <<: *args\n        EXTRA: \"1\"\n      labels: [\"a=${LABEL:-b}\"]\n      cache_from: [lab/web]\n      \
             extra_hosts: [\"a:1.2.3.4\"]\n      additional_contexts: {shared: ../shared}\n    image: ghcr.io/lab/web:${TAG:-latest}\n  \
             tests:\n    extends: web\n    image: ghcr.io/lab/tests\n  odd:\n    build:\n      context: https://github.com/lab/odd.git#main\n  \
             inline:\n    build:\n      dockerfile_inline: FROM busybox\n  list:\n    build:\n      context: list\n      args: [TOKEN, ONE=1]\n",
        ),
        (
            "compose.override.yaml",
            "services:\n  web:\n    build:\n      target: other\n",
        ),
        ("Dockerfile", DOCKERFILE),
        ("list/Dockerfile", DOCKERFILE),
    ]);
    assert_eq!(names(&stack), ["web", "tests", "list"], "{}", made.spec);
    for name in ["web", "tests"] {
        assert_eq!(
            source(&stack, name),
            ". Dockerfile dev BASE=busybox,EXTRA=1"
        );
    }
    assert_eq!(source(&stack, "list"), "list Dockerfile - ONE=1");
    for (what, wanted) in [
        ("argument HTTP_PROXY", "missing: its value"),
        ("argument TOKEN", "differs: it is a secret"),
        ("context shared", "missing: named contexts"),
        ("services.web: cache_from", "differs: read from there"),
        ("services.web: extra_hosts", "missing: steps run"),
        (
            "services.odd",
            "missing: left out: its context is an address",
        ),
        (
            "services.inline",
            "missing: left out: its Dockerfile is written",
        ),
        ("this file", "missing: left out: Compose lays"),
    ] {
        let told = told(&made, what);
        assert!(told.starts_with(wanted), "{what}: {told}");
    }
}
