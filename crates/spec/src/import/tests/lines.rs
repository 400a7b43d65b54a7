//! What is not taken over has a line in the report, and no secret becomes an argument.

use super::*;

const IMG: (&str, &str) = ("Dockerfile", "ARG B=plain\nFROM scratch\n");

fn action(job: &str, with: &str) -> String {
    format!(
        "on: push\njobs:\n  b:\n{job}    steps:\n      - uses: docker/build-push-action@v6\n        with:\n          tags: ghcr.io/lab/img:1\n{with}"
    )
}

fn of_action(job: &str, with: &str) -> (Stack, Imported) {
    let text = action(job, with);
    imported(&[(".github/workflows/x.yml", &text), IMG])
}

#[test]
fn a_secret_of_a_workflow_is_no_argument() {
    let (stack, made) = of_action(
        "    env: {INDIRECT: '${{ secrets.PAT }}', LOOP: '${{ env.LOOP }}'}\n",
        "          build-args: |\n            TOKEN=${{ secrets.TOKEN }}\n            INDEX=${{ env.INDIRECT }}\n            L=${{ env.LOOP }}\n            \
         GH=${{ github.token }}\n            OUT=${{ steps.app.outputs.x }}\n          secrets: |\n            pat=${{ secrets.PAT }}\n          secret-files: \"key=./key\"\n",
    );
    for name in ["TOKEN", "INDEX", "GH"] {
        let (verdict, reason) = why(&made, &format!("build-args: {name}"));
        let instead = format!("RUN --mount=type=secret,id={name},env={name}");
        assert!(
            verdict == Verdict::Differs && reason.contains(&instead),
            "{reason}"
        );
        assert!(!reason.contains("variable"), "{reason}");
    }
    let (_, reason) = why(&made, "build-args: OUT");
    assert!(reason.contains("If it is a secret, put it into the file"));
    assert_eq!(why(&made, "secrets: pat, key").0, Verdict::Differs);
    assert_eq!(source(&stack, "img"), ". Dockerfile - ");
}

#[test]
fn what_an_action_is_told_besides_has_a_line() {
    let (stack, made) = of_action(
        "",
        "          ssh: default\n          provenance: false\n          build-contexts: a=docker-image://b\n          labels: |\n            org.lab=x\n            ${{ steps.meta.outputs.labels }}\n",
    );
    assert_eq!(why(&made, "ssh: default").0, Verdict::Missing);
    assert_eq!(why(&made, "build-contexts: a=").0, Verdict::Missing);
    assert_eq!(why(&made, "labels: ${{").0, Verdict::Differs);
    assert!(!made.notes.iter().any(|it| it.what.contains("provenance")));
    let labels = &stack.images[0].labels;
    assert_eq!(labels.get("org.lab").map(String::as_str), Some("x"));
}

/// Combinations of one matrix are called by the values they differ in, and push tags of their own.
#[test]
fn variants_of_a_matrix_are_named_by_its_values() {
    let text = "on: push\njobs:\n  b:\n    strategy:\n      matrix:\n        py: ['3.10', '3.11']\n        os: [trixie]\n        include: [{py: '3.12', os: trixie}]\n    steps:\n      \
         - uses: docker/metadata-action@v5\n        with:\n          images: ghcr.io/lab/img\n          tags: |\n            type=ref,event=branch\n            type=sha,suffix=-${{ matrix.py }}\n            type=raw,value=x,prefix=${{ github.actor }}\n      \
         - uses: docker/build-push-action@v6\n        with:\n          build-args: PY=${{ matrix.py }}\n          cache-from: type=registry,ref=ghcr.io/lab/img:cache\n";
    let (stack, made) = imported(&[(".github/workflows/x.yml", text), IMG]);
    assert_eq!(names(&stack), ["img:3.10", "img:3.11", "img:3.12"]);
    assert_eq!(
        published(&stack, Trigger::Push, branch("main"))[..2],
        [
            "ghcr.io/lab/img:main-3.10",
            "ghcr.io/lab/img:sha-abc1234-3.10"
        ]
    );
    let (verdict, reason) = why(&made, "event=branch");
    assert!(
        verdict == Verdict::Differs && reason.contains("end in `-` and its name"),
        "{reason}"
    );
    assert_eq!(why(&made, "type=sha").0, Verdict::Differs);
    assert_eq!(why(&made, "github.actor").0, Verdict::Missing);
    let cache = "cache-from = [\"ghcr.io/lab/img:cache\"]";
    assert!(made.spec.contains(cache), "{}", made.spec);
}

#[test]
fn a_service_says_all_of_its_build() {
    let text = "services:\n  img:\n    image: lab/img:${TAG:-dev}\n    build:\n      context: .\n      args: {A: '${A:-one}', B: , C: two, TOKEN: '${TOKEN}'}\n      \
         secrets: [tok]\n      shm_size: 1g\n      cache_from: [ghcr.io/lab/img:cache]\n      additional_contexts: {x: ../x}\n";
    let (stack, made) = imported(&[("compose.yaml", text), IMG]);
    assert_eq!(source(&stack, "img"), ". Dockerfile - A=one,C=two");
    assert_eq!(why(&made, "argument B").0, Verdict::Missing);
    assert!(
        why(&made, "argument TOKEN")
            .1
            .contains("--mount=type=secret")
    );
    for (what, verdict) in [
        ("img: secrets", Verdict::Differs),
        ("tags of img: dev", Verdict::Differs),
        ("shm_size", Verdict::Missing),
        ("context x", Verdict::Missing),
        ("cache_from", Verdict::Differs),
    ] {
        assert_eq!(why(&made, what).0, verdict, "{what}");
    }
    assert!(
        made.spec.contains("[build]\ncache-from = "),
        "{}",
        made.spec
    );
}

#[test]
fn a_bake_files_variables_tags_and_caches_are_told() {
    let text = "variable \"TAG\" { default = \"1.0\" }\nvariable \"PAT\" {}\ntarget \"a\" {\n  args = { V = \"v${TAG}\" }\n  \
         tags = [\"ghcr.io/lab/a:${TAG}\", \"ghcr.io/lab/a:latest\"]\n  cache-from = [\"type=registry,ref=ghcr.io/lab/a:cache\"]\n  ssh = [\"default\"]\n}\n";
    let (stack, made) = imported(&[("docker-bake.hcl", text), IMG]);
    assert_eq!(source(&stack, "a"), ". Dockerfile - V=v1.0");
    let cache = "cache-from = [\"ghcr.io/lab/a:cache\"]";
    assert!(made.spec.contains(cache), "{}", made.spec);
    assert_eq!(why(&made, "tags: 1.0, latest").0, Verdict::Differs);
    assert_eq!(why(&made, "variable `TAG`").0, Verdict::Equal);
    assert!(
        made.spec
            .contains("tag = { env = \"TAG\", default = \"1.0\" }")
    );
    assert_eq!(why(&made, "variable `PAT`").0, Verdict::Equal);
    assert_eq!(why(&made, "target.a.ssh").0, Verdict::Missing);
}

#[test]
fn a_secret_of_a_script_is_told() {
    let text = "on: push\njobs:\n  b:\n    steps:\n      - run: docker build --build-arg TOKEN=${{ secrets.T }} --build-arg SHA=$GITHUB_SHA -t ghcr.io/lab/img:1 .\n";
    let (stack, made) = imported(&[(".github/workflows/x.yml", text), IMG]);
    assert_eq!(source(&stack, "img"), ". Dockerfile - ");
    let (verdict, reason) = why(&made, "--build-arg TOKEN");
    assert!(
        verdict == Verdict::Differs && reason.contains("--mount=type=secret,id=TOKEN"),
        "{reason}"
    );
    assert_eq!(why(&made, "--build-arg SHA").0, Verdict::Missing);
}

#[test]
fn of_two_spec_files_one_is_read() {
    let spec = |name: &str| {
        format!("images:\n  {name}:\n    image_name: ghcr.io/lab/{name}\ntag: {{prefix: '1'}}\n")
    };
    let (one, other) = (spec("gone"), spec("a"));
    let (stack, made) = imported(&[
        ("spec.yml", &one),
        ("images/spec.yml", &other),
        ("images/a/Dockerfile", "FROM scratch\n"),
    ]);
    assert_eq!(names(&stack), ["a"]);
    let (verdict, reason) = why(&made, "images");
    assert!(
        verdict == Verdict::Missing && reason.contains("images/spec.yml is read"),
        "{reason}"
    );
}

/// Compose: a service of another file, and what it says that a spec has no key for.
#[test]
fn a_service_may_extend_one_of_another_file() {
    let (stack, made) = imported(&[
        (
            "compose.yaml",
            "services:\n  app:\n    extends: {file: parts/common.yml, service: app}\n    profiles: [dev]\n  lost:\n    extends: {file: none.yml, service: x}\n",
        ),
        (
            "parts/common.yml",
            "services:\n  app:\n    extends: base\n    image: ghcr.io/lab/app\n  base:\n    build: {context: ../app, no_cache: true, pull: false, isolation: x, sbom: true}\n    image: x\n",
        ),
        ("app/Dockerfile", "FROM debian:12\n"),
    ]);
    assert_eq!(names(&stack), ["app"]);
    assert_eq!(source(&stack, "app"), "app Dockerfile - ");
    assert_eq!(why(&made, "services.app: no_cache").0, Verdict::Differs);
    assert_eq!(why(&made, "services.app: isolation").0, Verdict::Missing);
    let (verdict, reason) = why(&made, "services.app: sbom");
    assert!(
        verdict == Verdict::Missing && reason.contains("`cairn publish --provenance` and `--sbom`"),
        "{reason}"
    );
    assert_eq!(why(&made, "services.app: profiles").0, Verdict::Differs);
    assert_eq!(why(&made, "extends: x").0, Verdict::Missing);
    assert!(made.notes.iter().all(|it| !it.what.ends_with(": pull")));
}
