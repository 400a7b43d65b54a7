//! The layouts as they lie in the seeds' repositories today, where they differ from what their
//! documents say.

use super::*;

const CLOUD_BUILD: &str = "steps:\n- name: docker\n  args: [build, '-f=docker/${_TAG}.Dockerfile', \
     '--tag=gcr.io/${PROJECT_ID}/panoptes-utils:${_TAG}', '.']\n\
     - name: docker\n  args: [push, 'gcr.io/${PROJECT_ID}/panoptes-utils:${_TAG}']\n";

/// PAN-03, PAN-04, PAN-10: a Dockerfile for each tag, and no default for the tag.
#[test]
fn a_tag_that_chooses_the_dockerfile_makes_variants() {
    let (stack, made) = imported(&[
        ("docker/cloudbuild.yaml", CLOUD_BUILD),
        (
            "docker/latest.Dockerfile",
            "ARG IMAGE_URL=python:3.8\nFROM ${IMAGE_URL}\nCOPY docker/zshrc /tmp\n",
        ),
        (
            "docker/develop.Dockerfile",
            "ARG IMAGE_URL=gcr.io/panoptes-exp/panoptes-utils:latest\nFROM ${IMAGE_URL}\nCOPY . /x\n",
        ),
        ("docker/zshrc", ""),
    ]);
    assert_eq!(
        names(&stack),
        ["panoptes-utils:develop", "panoptes-utils:latest"]
    );
    assert_eq!(
        source(&stack, "panoptes-utils:develop"),
        ". docker/develop.Dockerfile - IMAGE_URL=panoptes-utils:latest",
        "{:#?}",
        made.notes
    );
    assert_eq!(
        source(&stack, "panoptes-utils:latest"),
        ". docker/latest.Dockerfile - "
    );
    assert_eq!(
        published(&stack, Trigger::Push, branch("main")),
        [
            "gcr.io/panoptes-exp/panoptes-utils:develop",
            "gcr.io/panoptes-exp/panoptes-utils:latest"
        ],
        "the project is the one that a FROM names"
    );
}

/// PAN-11 to PAN-13, PAN-25: what a pipeline fills in may change; the sibling just built stays.
#[test]
fn a_third_level_that_no_pipeline_builds_belongs_to_the_stack() {
    let (stack, made) = imported(&[
        (
            "docker/cloudbuild.yaml",
            "substitutions: {_BASE: panoptes-base, _TAG: latest}\nsteps:\n\
             - name: docker\n  args: [buildx, build, '-f=docker/base/Dockerfile', '--tag=gcr.io/${PROJECT_ID}/${_BASE}:${_TAG}', '.']\n\
             - name: docker\n  args: [buildx, build, '-f=docker/Dockerfile', '--tag=gcr.io/${PROJECT_ID}/panoptes-utils:${_TAG}', \
             '--build-arg=image_url=gcr.io/${PROJECT_ID}/${_BASE}:${_TAG}', '.']\n",
        ),
        (
            "docker/base/Dockerfile",
            "FROM ubuntu\nCOPY resources/zshrc /tmp\n",
        ),
        (
            "docker/Dockerfile",
            "ARG image_url=gcr.io/panoptes-exp/panoptes-base:latest\nFROM ${image_url}\nCOPY . /x\n",
        ),
        (
            "docker/developer/Dockerfile",
            "ARG image_url=gcr.io/panoptes-exp/panoptes-utils:develop\nFROM ${image_url}\nCOPY . .\n",
        ),
        ("tools/lint/Dockerfile", "FROM busybox\n"),
        (".devcontainer/Dockerfile", "FROM busybox\n"),
        ("resources/zshrc", ""),
    ]);
    assert_eq!(
        names(&stack),
        ["panoptes-base", "panoptes-utils", "developer"]
    );
    assert_eq!(
        source(&stack, "panoptes-utils"),
        ". docker/Dockerfile - image_url=panoptes-base"
    );
    assert_eq!(
        source(&stack, "developer"),
        ". docker/developer/Dockerfile - image_url=panoptes-utils"
    );
    let developer = stack.exact("developer").expect("an image");
    assert!(stack[developer].internal, "nothing publishes it");
    assert!(
        !made.spec.contains("_BASE"),
        "no variable without a use: {}",
        made.spec
    );
    let left: Vec<&str> = made
        .notes
        .iter()
        .filter(|note| note.why.contains("nothing here builds it"))
        .map(|note| note.file.as_str())
        .collect();
    assert_eq!(left, ["tools/lint/Dockerfile"]);
}

/// EPI-01, EPI-15: the pipeline names no stage and means the last; Compose's image stays home.
#[test]
fn a_pipeline_without_a_target_builds_the_last_stage() {
    let (stack, _) = imported(&[
        (
            "cloudbuild.yaml",
            "substitutions: {_TAG: latest}\nsteps:\n- name: docker\n  args: [build, -t, 'us-docker.pkg.dev/lab/suite/epymodelingsuite:${_TAG}', -f, docker/Dockerfile, .]\n",
        ),
        (
            "docker-compose.yml",
            "services:\n  builder:\n    image: epymodelingsuite:local\n    build: {context: ., dockerfile: docker/Dockerfile, target: local}\n",
        ),
        (
            "docker/Dockerfile",
            "FROM python:3.11 AS base\nFROM base AS local\nFROM base AS cloud\n",
        ),
    ]);
    assert_eq!(
        names(&stack),
        ["epymodelingsuite:cloud", "epymodelingsuite:local"]
    );
    assert_eq!(
        source(&stack, "epymodelingsuite:cloud"),
        ". docker/Dockerfile cloud "
    );
    assert_eq!(
        published(&stack, Trigger::Push, branch("main")),
        [
            "us-docker.pkg.dev/lab/suite/epymodelingsuite:latest",
            "us-docker.pkg.dev/lab/suite/epymodelingsuite:sha-abc1234"
        ]
    );
}

/// A Compose file of an example does not hide the tree that it is an example of.
#[test]
fn compose_does_not_stand_for_a_whole_tree() {
    let child = "ARG OWNER=jupyter\nARG BASE_IMAGE=quay.io/$OWNER/foundation\nFROM $BASE_IMAGE\n";
    let (stack, _) = imported(&[
        ("images/foundation/Dockerfile", "FROM ubuntu:24.04\n"),
        ("images/base-notebook/Dockerfile", child),
        ("images/base-notebook/cuda/Dockerfile", child),
        (
            "examples/notebook/docker-compose.yml",
            "services: {notebook: {build: ., image: my-notebook}}\n",
        ),
        (
            "examples/notebook/Dockerfile",
            "FROM quay.io/jupyter/base-notebook\n",
        ),
    ]);
    assert_eq!(
        names(&stack),
        [
            "notebook",
            "base-notebook:default",
            "base-notebook:cuda",
            "foundation"
        ]
    );
    assert_eq!(
        published(&stack, Trigger::Push, GitRef::Tag("v1.0.0".into()))[0],
        "quay.io/jupyter/base-notebook:1.0.0",
        "an example is not published"
    );
}

/// BOR-05, BOR-19: a Dockerfile far from its files is built where they are.
#[test]
fn the_context_is_where_the_copied_files_are() {
    let (stack, _) = imported(&[
        (
            "cloud/docker/runtime/Dockerfile",
            "FROM python:3.8\nCOPY requirements.txt /\n",
        ),
        (
            "cloud/docker/wholecell/Dockerfile",
            "ARG from=wcm-runtime:latest\nFROM ${from}\nCOPY . /code\n",
        ),
        (
            "near/Dockerfile",
            "FROM scratch\nCOPY --from=x a b\nCOPY conf*/ /etc/\n",
        ),
        ("near/config/a", ""),
        ("far/Dockerfile", "FROM scratch\nCOPY . /\n"),
        ("far/main.py", ""),
        ("requirements.txt", ""),
    ]);
    assert_eq!(
        source(&stack, "runtime"),
        ". cloud/docker/runtime/Dockerfile - "
    );
    assert_eq!(
        source(&stack, "wholecell"),
        ". cloud/docker/wholecell/Dockerfile - from=runtime"
    );
    assert_eq!(source(&stack, "near"), "near Dockerfile - ");
    assert_eq!(source(&stack, "far"), "far Dockerfile - ");
}

/// MAN-22, MAN-42: no list for pull requests, and what becomes of GitHub's cache.
#[test]
fn pull_requests_and_caches_of_github_are_told() {
    let text = "jobs:\n  b:\n    steps:\n      - uses: docker/metadata-action@v5\n        with: {images: ghcr.io/x/a, tags: \"type=ref,event=pr\\ntype=sha\"}\n\
        \x20     - uses: docker/build-push-action@v6\n        with: {context: ./a, cache-from: 'type=gha,scope=a', cache-to: 'type=gha,mode=max'}\n";
    let (stack, made) = imported(&[
        (".github/workflows/x.yml", text),
        ("a/Dockerfile", "FROM scratch\n"),
    ]);
    assert!(!made.spec.contains("pull-request"), "{}", made.spec);
    assert_eq!(why(&made, "type=ref,event=pr").0, Verdict::Differs);
    let (verdict, reason) = why(&made, "cache-from");
    assert!(
        verdict == Verdict::Differs
            && reason.contains("--cache-from ghcr.io/x/a:cache")
            && reason.contains("`mode=max`"),
        "{reason}"
    );
    assert_eq!(
        published(
            &stack,
            Trigger::PullRequest { number: Some(1) },
            branch("x")
        ),
        [""; 0]
    );
    let registry = text.replace("type=gha,scope=a", "type=registry,ref=ghcr.io/x/a:c");
    let (stack, _) = imported(&[
        (".github/workflows/x.yml", &registry),
        ("a/Dockerfile", "FROM scratch\n"),
    ]);
    assert_eq!(stack.build.cache_from[0].to_string(), "ghcr.io/x/a:c");
}

/// PAN-05, PAN-22, PAN-27: panoptes' older pipeline builds for each machine under a tag and puts an
/// index together by hand.
#[test]
fn tags_of_machines_are_platforms() {
    let cloud = "steps:\n- name: docker\n  args: [run, --privileged, 'multiarch/qemu-user-static:register', --reset]\n\
         - name: docker\n  args:\n  - build\n  - '-f=docker/Dockerfile'\n  - '--build-arg=base=conda'\n  - '--build-arg=arch=amd64'\n  \
         - '--tag=gcr.io/${PROJECT_ID}/pocs:amd64'\n  - '.'\n- name: docker\n  args:\n  - build\n  - '-f=docker/Dockerfile.rpi'\n  \
         - '--build-arg=base=conda'\n  - '--build-arg=arch=arm32v7'\n  - '--build-arg=pip=/opt/pip'\n  \
         - '--tag=gcr.io/${PROJECT_ID}/pocs:arm32v7'\n  - '.'\n- name: docker\n  \
         args: [manifest, create, 'gcr.io/${PROJECT_ID}/pocs:latest', 'gcr.io/${PROJECT_ID}/pocs:arm32v7', 'gcr.io/${PROJECT_ID}/pocs:amd64']\n";
    let (stack, made) = imported(&[
        ("docker/cloudbuild.yaml", cloud),
        ("docker/Dockerfile", "ARG base\nFROM $base\n"),
        ("docker/Dockerfile.rpi", "ARG base\nFROM $base\n"),
    ]);
    assert_eq!(names(&stack), ["pocs"]);
    let pocs = &stack[stack.exact("pocs").expect("an image")];
    let on = |platform: &str| {
        let platform = platform.parse().expect("a platform");
        let ImageSource::Dockerfile(source) = pocs.source_on(&platform) else {
            panic!("made by a Dockerfile");
        };
        let args = source.args.iter();
        let args: Vec<String> = args.map(|(k, v)| format!("{k}={}", v.value)).collect();
        format!("{} {}", source.dockerfile.value, args.join(","))
    };
    assert_eq!(on("linux/amd64"), "docker/Dockerfile arch=amd64,base=conda");
    assert_eq!(
        on("linux/arm/v7"),
        "docker/Dockerfile.rpi arch=arm32v7,base=conda,pip=/opt/pip"
    );
    assert_eq!(why(&made, "tags amd64, arm32v7").0, Verdict::Equal);
}

/// The Jupyter Docker Stacks' pipeline: a workflow that is called once for each image, variant and
/// machine, and builds by a script under a name that the runner fills in.
#[test]
fn jupyters_called_workflow_makes_variants_of_folders() {
    let child = |parent: &str| {
        format!(
            "ARG REGISTRY=quay.io\nARG OWNER=jupyter\nARG BASE_IMAGE=$REGISTRY/$OWNER/{parent}\nFROM $BASE_IMAGE\nRUN true\n"
        )
    };
    let job = |name: &str, image: &str, variant: &str, platform: &str| {
        format!(
            "  {name}:\n    uses: ./.github/workflows/build.yml\n    with:\n      parent-image: \"\"\n      image: {image}\n      \
             variant: {variant}\n      platform: {platform}\n      runs-on: ubuntu-24.04\n"
        )
    };
    let calls = [
        job("aarch64-base", "base-notebook", "default", "aarch64"),
        job("x86_64-base", "base-notebook", "default", "x86_64"),
        job("aarch64-torch", "torch-notebook", "default", "aarch64"),
        job("x86_64-torch", "torch-notebook", "default", "x86_64"),
        job("x86_64-torch-cuda12", "torch-notebook", "cuda12", "x86_64"),
    ];
    let docker = format!(
        "on:\n  push:\n    branches: [main]\njobs:\n{}",
        calls.concat()
    );
    let build = "env:\n  REGISTRY: quay.io\n  OWNER: ${{ github.repository_owner }}\non:\n  workflow_call:\n    inputs:\n      \
         image: {required: true, type: string}\n      variant: {description: Variant tag prefix, required: true, type: string}\njobs:\n  build:\n    \
         runs-on: ${{ inputs.runs-on }}\n    steps:\n      - run: docker pull ubuntu:24.04\n      - run: |\n          \
         docker build --rm --force-rm --tag ${{ env.REGISTRY }}/${{ env.OWNER }}/${{ inputs.image }} \\\n          \
         images/${{ inputs.image }}/${{ inputs.variant != 'default' && inputs.variant || '.' }}/ \\\n          \
         --build-arg REGISTRY=${{ env.REGISTRY }} --build-arg OWNER=${{ env.OWNER }}\n";
    let (stack, made) = imported(&[
        (".github/workflows/docker.yml", &docker),
        (".github/workflows/build.yml", build),
        ("images/base-notebook/Dockerfile", "FROM ubuntu:24.04\n"),
        ("images/torch-notebook/Dockerfile", &child("base-notebook")),
        (
            "images/torch-notebook/cuda12/Dockerfile",
            &child("base-notebook"),
        ),
        ("docs/recipes/child.dockerfile", &child("torch-notebook")),
    ]);
    assert_eq!(
        names(&stack),
        [
            "base-notebook",
            "torch-notebook:default",
            "torch-notebook:cuda12",
            "recipes"
        ]
    );
    let platforms = |name: &str| {
        let id = stack.exact(name).expect("an image");
        let platforms = stack[id].platforms.iter();
        platforms
            .map(|it| it.platform.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        platforms("torch-notebook:default"),
        ["linux/arm64", "linux/amd64"]
    );
    assert_eq!(platforms("torch-notebook:cuda12"), ["linux/amd64"]);
    assert_eq!(
        published(&stack, Trigger::Push, branch("main")),
        [
            "quay.io/jupyter/base-notebook:latest",
            "quay.io/jupyter/base-notebook:sha-abc1234",
            "quay.io/jupyter/torch-notebook:latest",
            "quay.io/jupyter/torch-notebook:sha-abc1234",
            "quay.io/jupyter/torch-notebook:cuda12-latest",
            "quay.io/jupyter/torch-notebook:cuda12-sha-abc1234",
        ]
    );
    assert_eq!(why(&made, "FROM $BASE_IMAGE").0, Verdict::Equal);
}

/// The Jupyter Docker Stacks: tests by image apart from the images, each image with those of all
/// that it builds on, and the options that their conftest asks for.
#[test]
fn tests_by_image_are_inherited() {
    let child = |parent: &str| {
        format!(
            "ARG REGISTRY=quay.io\nARG OWNER=jupyter\nARG BASE_IMAGE=$REGISTRY/$OWNER/{parent}\nFROM $BASE_IMAGE\nRUN true\n"
        )
    };
    let (base, torch) = (child("foundation"), child("base-notebook"));
    let (stack, made) = imported(&[
        ("images/foundation/Dockerfile", "FROM ubuntu:24.04\n"),
        ("images/base-notebook/Dockerfile", &base),
        ("images/torch-notebook/Dockerfile", &torch),
        ("images/torch-notebook/cuda12/Dockerfile", &torch),
        (
            "tests/conftest.py",
            "parser.addoption(\"--registry\")\nparser.addoption(\"--image\")\n",
        ),
        ("tests/by_image/foundation/test_units.py", ""),
        ("tests/by_image/base-notebook/test_health.py", ""),
        ("tests/by_image/torch-notebook/units/unit_torch.py", ""),
        ("tests/utils/tracked_container.py", ""),
    ]);
    let suites = |name: &str| -> Vec<String> {
        let id = stack.exact(name).expect("an image");
        let suites = stack[id].tests.suites.iter();
        suites.map(|it| it.path.value.clone()).collect()
    };
    let [foundation, base, torch] =
        ["foundation", "base-notebook", "torch-notebook"].map(|it| format!("tests/by_image/{it}"));
    assert_eq!(suites("foundation"), std::slice::from_ref(&foundation));
    assert_eq!(suites("base-notebook"), [foundation.clone(), base.clone()]);
    for name in ["torch-notebook:default", "torch-notebook:cuda12"] {
        let all = [foundation.clone(), base.clone(), torch.clone()];
        assert_eq!(suites(name), all, "{name}");
    }
    assert!(
        made.spec.contains(
            "{ path = \"tests/by_image/torch-notebook\", on = \"host\", python-path = [\".\"], \
             args = [\"--registry\", \"quay.io\", \"--image\", \"torch-notebook\"] }"
        ),
        "{}",
        made.spec
    );
}
