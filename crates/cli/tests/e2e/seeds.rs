//! The layouts of five teams, as they lie in their repositories, from import to tags: without an
//! edit by hand. Their bases are a busybox under those bases' names.

use std::process::Command;

use cairn_testkit::needs;

use crate::testing::MINI_PYTEST;
use crate::workshop::{Said, Workshop};

/// A workshop whose base has these names, too, with these files.
fn seed(bases: &[&str], files: &[(&str, &str)]) -> Option<Workshop> {
    let workshop = Workshop::with_base()?;
    for base in bases {
        workshop.cairn(&["tag", "base", base]).success();
    }
    for (name, text) in files {
        workshop.write(name, text);
    }
    Some(workshop)
}

fn tags(workshop: &Workshop, reference: &str) -> Vec<String> {
    let said = workshop.cairn(&["tags", "--json", "--ref", reference]);
    let report: serde_json::Value = serde_json::from_str(&said.success().out).expect("JSON");
    let images = report["images"].as_array().expect("images").iter();
    let names = images.flat_map(|image| image["names"].as_array().expect("names"));
    names
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

fn decisions(said: &Said) -> Vec<&str> {
    let lines = said.out.lines().filter(|line| !line.starts_with(' '));
    lines.filter(|line| !line.contains(" step")).collect()
}

/// DH-01 to DH-09, DH-17, DH-18, DH-24 to DH-29, DH-54 to DH-58, DH-64, DH-66 to DH-70, DH-76.
#[test]
fn datahubs_stack_goes_from_import_to_records() {
    if !needs(
        "python3",
        Command::new("python3").arg("-V").output().is_ok(),
    ) {
        return;
    }
    let child = |name: &str| {
        format!(
            "ARG BASE_TAG=latest\nFROM ghcr.io/ucsd-ets/datascience-notebook:${{BASE_TAG}}\nUSER root\nCOPY {name}.sh /\n"
        )
    };
    let files = [
        (
            "images/spec.yml",
            "root: datascience-notebook\nimages:\n  datascience-notebook:\n    image_name: ghcr.io/ucsd-ets/datascience-notebook\n    \
             build_args:\n      PYTHON_VERSION: python-3.11.8\n    info_cmds: [PY_VER, ODD]\n  rstudio-notebook:\n    \
             image_name: ghcr.io/ucsd-ets/rstudio-notebook\n    depend_on: datascience-notebook\n    integration_tests: true\n    prune: true\n  \
             scipy-ml-notebook:\n    image_name: ghcr.io/ucsd-ets/scipy-ml-notebook\n    depend_on: datascience-notebook\n    integration_tests: false\n\
             tag:\n  prefix: \"2023.4\"\nall_info_cmds:\n  PY_VER:\n    description: Python Version\n    command: cat /version\n",
        ),
        (
            "images/change_ignore.json",
            "{\"ChangeIgnore\":[\"rstudio-notebook/notes.txt\"], \"BuildAll\":[\"tests_common\",\"spec.yml\",\"change_ignore.json\", \"conftest.py\"]}",
        ),
        ("images/conftest.py", "import os\n"),
        (
            "images/tests_common/test_units.py",
            "def test_common(): pass\n",
        ),
        (
            "images/datascience-notebook/Dockerfile",
            "ARG PYTHON_VERSION=python-3.9.5\nFROM jupyter/datascience-notebook:$PYTHON_VERSION\nUSER root\nARG PYTHON_VERSION\n\
             COPY /scripts /usr/share/datahub/scripts/\nRUN echo $PYTHON_VERSION > /version\nUSER ann\n",
        ),
        ("images/datascience-notebook/scripts/install.sh", "true\n"),
        (
            "images/datascience-notebook/test/test_image.py",
            "import os\ndef test_image(): assert os.environ['TEST_IMAGE']\n",
        ),
        ("images/rstudio-notebook/rstudio.sh", "true\n"),
        (
            "images/rstudio-notebook/integration_tests/test_ui.py",
            "def test_ui(): pass\n",
        ),
        ("images/scipy-ml-notebook/ml.sh", "true\n"),
        (
            "images/scipy-ml-notebook/workflow_tests/test_gpu.py",
            "def test_gpu(): assert False\n",
        ),
        ("images/scipy-ml-notebook/manual_tests/torch.ipynb", "{}\n"),
        ("host/pytest/__init__.py", MINI_PYTEST),
    ];
    let Some(workshop) = seed(&["jupyter/datascience-notebook:python-3.11.8"], &files) else {
        return;
    };
    workshop.write("images/rstudio-notebook/Dockerfile", &child("rstudio"));
    workshop.write("images/scipy-ml-notebook/Dockerfile", &child("ml"));
    workshop.cairn(&["import", "."]).success();
    assert_eq!(
        tags(&workshop, "refs/heads/update_pytorch"),
        ["datascience", "rstudio", "scipy-ml"]
            .map(|name| format!("ghcr.io/ucsd-ets/{name}-notebook:2023.4-update_pytorch"))
    );
    let up = |arguments: &[&str]| {
        let host = workshop.path().join("host");
        let mut command = workshop.command(arguments);
        crate::workshop::said(command.env("PYTHONPATH", host).output().expect("it runs"))
    };
    up(&["up", "--offline", "--records", "out"])
        .success()
        .err_has("`info` names `ODD`");
    let page = workshop.read("out/manifests/datascience-notebook.md");
    assert!(
        page.contains("## Python Version\n\n```\npython-3.11.8"),
        "{page}"
    );
    let log = workshop.read("out/logs/rstudio-notebook.integration-tests.log");
    assert!(log.contains("passed test_ui.py::test_ui"), "{log}");
    workshop.write("images/rstudio-notebook/notes.txt", "nothing takes it\n");
    let plan = workshop.cairn(&["plan", "--offline"]).success();
    assert!(
        decisions(&plan)
            .iter()
            .all(|line| line.starts_with("reuse")),
        "{plan:?}"
    );
    workshop.write("images/scipy-ml-notebook/ml.sh", "echo new\n");
    let plan = workshop.cairn(&["plan", "--offline"]).success();
    assert_eq!(
        decisions(&plan)[..3],
        [
            "reuse  datascience-notebook",
            "reuse  rstudio-notebook",
            "build  scipy-ml-notebook"
        ]
    );
    workshop.write("images/datascience-notebook/scripts/install.sh", "echo\n");
    let plan = workshop.cairn(&["plan", "--offline"]).success();
    assert!(
        decisions(&plan)
            .iter()
            .all(|line| line.starts_with("build")),
        "{plan:?}"
    );
    workshop
        .cairn(&["test", "--list"])
        .success()
        .out_has("manual_tests")
        .out_has("workflow_tests");
}

/// EPI-01, EPI-02, EPI-05 to EPI-07, EPI-11 to EPI-14, EPI-18, EPI-32: both images of the suite
/// with its own dispatcher, and the structure tests as they are.
#[test]
fn the_epidemic_suite_dispatches_in_both_variants() {
    let dispatcher = "#!/bin/sh\nset -eu\nSTAGE=\"${STAGE:-}\"\n\
        if [ -z \"$STAGE\" ]; then echo \"ERROR: STAGE environment variable must be set\"; echo \"Valid values: builder, runner, output\"; exit 1; fi\n\
        case \"$STAGE\" in\n  builder|A) exec /scripts/run_builder.sh \"$@\" ;;\n  runner|B) exec /scripts/run_runner.sh \"$@\" ;;\n  \
        output|C) exec /scripts/run_output.sh \"$@\" ;;\n  *) echo \"ERROR: Invalid STAGE='$STAGE'\"; exit 1 ;;\nesac\n";
    let files = [
        (
            "cloudbuild.yaml",
            "steps:\n  - name: 'gcr.io/cloud-builders/docker'\n    entrypoint: 'bash'\n    args:\n      - '-c'\n      - |\n        \
             docker build -t ${_REGION}-docker.pkg.dev/${PROJECT_ID}/suite/epymodelingsuite:${_IMAGE_TAG} \\\n          \
             --build-arg GITHUB_MODELING_SUITE_REF=${_REF} \\\n          --build-arg GITHUB_PAT=$$GITHUB_PAT \\\n          -f docker/Dockerfile .\n    \
             secretEnv: ['GITHUB_PAT']\nsubstitutions:\n  _REGION: 'us-central1'\n  _IMAGE_TAG: 'latest'\n  _REF: 'main'\n",
        ),
        (
            "docker-compose.yml",
            "services:\n  builder:\n    image: epymodelingsuite:local\n    build:\n      context: .\n      dockerfile: docker/Dockerfile\n      target: local\n",
        ),
        (
            "docker/Dockerfile",
            "FROM python:3.11-slim AS base\nCOPY --from=ghcr.io/astral-sh/uv:latest /bin/busybox /usr/local/bin/uv\nWORKDIR /app\n\
             ARG GITHUB_MODELING_SUITE_REF=main\nARG GITHUB_PAT\n\
             RUN mkdir -p /opt/epymodelingsuite/.venv/bin && echo $GITHUB_MODELING_SUITE_REF > /opt/epymodelingsuite/ref && \
             if [ -f uv.lock ]; then true; else echo \"WARNING: uv.lock not found; running uv sync without --frozen\"; fi\n\
             ENV VIRTUAL_ENV=\"/opt/epymodelingsuite/.venv\"\nENV PATH=\"${VIRTUAL_ENV}/bin:${PATH}\"\n\
             COPY docker/pyproject.toml docker/uv.lock /app/\nCOPY docker/scripts/ /scripts/\nRUN chmod +x /scripts/*.sh 2>/dev/null || true\n\
             FROM base AS local\nENTRYPOINT [\"/bin/sh\", \"/scripts/run_dispatcher.sh\"]\n\
             FROM gcr.io/google.com/cloudsdktool/cloud-sdk:slim AS gcloud\n\
             FROM base AS cloud\nCOPY --from=gcloud /etc/group /usr/lib/google-cloud-sdk/group\nENTRYPOINT [\"/bin/sh\", \"/scripts/run_dispatcher.sh\"]\n",
        ),
        (
            "docker/container-structure-test.yaml",
            "schemaVersion: \"2.0.0\"\ncommandTests:\n  - name: \"in-venv\"\n    command: \"test\"\n    args: [\"-d\", \"/opt/epymodelingsuite/.venv/bin\"]\n  \
             - name: \"dispatcher-script-executable\"\n    command: \"test\"\n    args: [\"-x\", \"/scripts/run_dispatcher.sh\"]\n\
             fileExistenceTests:\n  - name: \"dispatcher-script-present\"\n    path: \"/scripts/run_dispatcher.sh\"\n    shouldExist: true\n",
        ),
        ("docker/pyproject.toml", "[project]\n"),
        ("docker/uv.lock", "version = 1\n"),
        ("docker/scripts/run_dispatcher.sh", dispatcher),
        (
            "docker/scripts/run_builder.sh",
            "#!/bin/sh\necho built $EXP_ID in $PWD with \"$@\"\n",
        ),
        (
            "docker/scripts/run_runner.sh",
            "#!/bin/sh\necho task ${TASK_INDEX:-${BATCH_TASK_INDEX:-0}}\n",
        ),
        ("docker/scripts/run_output.sh", "#!/bin/sh\nexit 7\n"),
    ];
    let bases = [
        "python:3.11-slim",
        "ghcr.io/astral-sh/uv:latest",
        "gcr.io/google.com/cloudsdktool/cloud-sdk:slim",
    ];
    let Some(workshop) = seed(&bases, &files) else {
        return;
    };
    workshop
        .cairn(&["import", "."])
        .success()
        .err_has("--build-arg GITHUB_PAT");
    workshop.write(
        "unlocked/Dockerfile",
        "FROM python:3.11-slim\nRUN if [ -f uv.lock ]; then uv sync --frozen; else uv sync; fi\n",
    );
    let lint = workshop.cairn(&["lint", "unlocked/Dockerfile"]);
    lint.out_has("`uv sync` without `--locked` or `--frozen`");
    assert_eq!(
        tags(&workshop, "refs/heads/main")[0],
        "us-central1-docker.pkg.dev/project-id/suite/epymodelingsuite:latest"
    );
    let up = workshop
        .cairn(&["up", "--offline", "--progress", "plain"])
        .success();
    up.err_has("WARNING: uv.lock not found")
        .err_has("tests: 6 passed")
        .err_has("Built        epymodelingsuite:local");
    for variant in ["local", "cloud"] {
        let image = format!("epymodelingsuite:{variant}");
        let run = |words: &[&str]| workshop.cairn(&[&["run"], words].concat());
        run(&[&image])
            .code(1)
            .out_has("Valid values: builder, runner, output");
        run(&["-e", "STAGE=X", &image])
            .code(1)
            .out_has("Invalid STAGE='X'");
        run(&["-e", "STAGE=A", "-e", "EXP_ID=flu", &image, "--dry", "run"])
            .success()
            .out_has("built flu in /app with --dry run");
        run(&[
            "-e",
            "STAGE=B",
            "-e",
            "TASK_INDEX=5",
            "-e",
            "BATCH_TASK_INDEX=2",
            &image,
        ])
        .success()
        .out_has("task 5");
        run(&["-e", "STAGE=runner", &image])
            .success()
            .out_has("task 0");
        run(&["-e", "STAGE=C", &image]).code(7);
    }
    let json = workshop
        .cairn(&["inspect", "epymodelingsuite:cloud"])
        .success();
    assert!(
        json.out.contains("GITHUB_PAT= /bin/sh"),
        "the token is in no history: {}",
        json.out
    );
    let moved = workshop
        .cairn(&["plan", "--offline", "--set", "ref=v2"])
        .success();
    moved.out_has("variable GITHUB_MODELING_SUITE_REF changed from `main` to `v2`");
}

/// PAN-01 to PAN-14, PAN-18, PAN-22, PAN-25, PAN-30, PAN-31: base, utils and the developer's image,
/// each on the one just built.
#[test]
fn panoptes_builds_three_levels_on_what_was_just_built() {
    let files = [
        (
            "docker/cloudbuild.yaml",
            "substitutions:\n  _PLATFORMS: linux/amd64,linux/arm64\n  _TAG: latest\nsteps:\n\
             - name: \"gcr.io/cloud-builders/docker\"\n  args: [run, --privileged, --rm, docker/binfmt]\n\
             - name: \"gcr.io/cloud-build/docker\"\n  id: base\n  args: [buildx, build, --push, '--platform=${_PLATFORMS}', -f=docker/base/Dockerfile, \
             '--tag=gcr.io/${PROJECT_ID}/panoptes-base:${_TAG}', '--cache-from=gcr.io/${PROJECT_ID}/panoptes-base:${_TAG}', '.']\n\
             - name: \"gcr.io/cloud-build/docker\"\n  args: [buildx, build, --push, '--platform=${_PLATFORMS}', -f=docker/Dockerfile, \
             '--build-arg=image_url=gcr.io/${PROJECT_ID}/panoptes-base:${_TAG}', '--tag=gcr.io/${PROJECT_ID}/panoptes-utils:${_TAG}', '.']\n  waitFor: [base]\n",
        ),
        (
            "docker/base/Dockerfile",
            "ARG image_url=ubuntu:latest\nFROM ${image_url} AS base-image\nLABEL description=\"Tools\" maintainers=\"developers@projectpanoptes.org\"\n\
             ARG userid=1000\nARG pan_dir=/var/panoptes\nENV USERID $userid\nENV PANDIR $pan_dir\nCOPY resources/zshrc /tmp/\nRUN mkdir -p $PANDIR && echo $(id -u) > $PANDIR/built\n\
             WORKDIR \"${PANDIR}\"\n",
        ),
        (
            "docker/Dockerfile",
            "ARG image_url=gcr.io/panoptes-exp/panoptes-base:latest\nFROM ${image_url}\nARG pip_extras=\"[testing,social]\"\nCOPY . \"${PANDIR}/panoptes-utils/\"\n\
             RUN echo \".${pip_extras}\" > extras\nCMD [\"cat\", \"extras\"]\n",
        ),
        (
            "docker/developer/Dockerfile",
            "ARG image_url=gcr.io/panoptes-exp/panoptes-utils:develop\nFROM ${image_url}\nCOPY README.md .\nCMD [\"ls\"]\n",
        ),
        ("resources/zshrc", "prompt\n"),
        ("README.md", "read\n"),
        (
            ".dockerignore",
            "store\nbase.tar\n.git\n*.md\n!README*.md\n",
        ),
    ];
    let Some(workshop) = seed(&["ubuntu:latest"], &files) else {
        return;
    };
    workshop.cairn(&["import", "."]).success();
    let main = tags(&workshop, "refs/heads/main");
    assert_eq!(main[0], "gcr.io/panoptes-exp/panoptes-base:latest");
    assert!(main.contains(&"gcr.io/panoptes-exp/panoptes-utils:latest".to_owned()));
    assert!(
        !main.iter().any(|name| name.contains("developer")),
        "{main:?}"
    );
    workshop.cairn(&["build", "--offline"]).success();
    workshop
        .cairn(&["run", "panoptes-utils"])
        .success()
        .out_has(".[testing,social]");
    workshop
        .cairn(&["run", "developer"])
        .success()
        .out_has("README.md")
        .out_has("panoptes-utils")
        .out_has("extras");
    workshop.write("resources/zshrc", "another prompt\n");
    let plan = workshop.cairn(&["plan", "--offline"]).success();
    plan.out_has("build  panoptes-base")
        .out_has("because `resources/zshrc` changed")
        .out_has("build  developer");
}

/// MAN-01, MAN-03, MAN-07 to MAN-13, MAN-15 to MAN-22, MAN-30: the matrix of one image for three
/// registries, two stages, and the entry point that activates its environment.
#[test]
fn maniacs_platform_is_built_and_tagged_for_three_registries() {
    let files = [
        (
            ".github/workflows/build-images.yaml",
            "on:\n  push:\n    branches: [main]\n    tags: ['v*']\n  pull_request:\n    branches: [main]\n  workflow_dispatch:\njobs:\n  build:\n    strategy:\n      matrix:\n        \
             include:\n          - name: ml_platform\n            context: ./ml_platform\n            dockerfile: ./ml_platform/Dockerfile\n            registries: |-\n              \
             ghcr.io/maniaclab/ml-platform\n              docker.io/ivukotic/ml_platform\n              hub.opensciencegrid.org/usatlas/ml-platform\n            \
             platforms: linux/amd64\n            build_args: CUDA_VERSION=12.6\n    steps:\n      - uses: docker/metadata-action@v5\n        id: meta\n        with:\n          \
             images: ${{ matrix.registries }}\n          tags: |\n            type=raw,value=latest,enable={{is_default_branch}}\n            type=semver,pattern={{version}}\n            \
             type=semver,pattern={{major}}.{{minor}}\n            type=sha\n      - uses: docker/build-push-action@v6\n        with:\n          context: ${{ matrix.context }}\n          \
             file: ${{ matrix.dockerfile }}\n          build-args: ${{ matrix.build_args }}\n          push: ${{ github.event_name != 'pull_request' }}\n          tags: ${{ steps.meta.outputs.tags }}\n",
        ),
        (
            "ml_platform/Dockerfile",
            "ARG CUDA_VERSION=\"12.8\"\nARG ENVIRONMENT=\"default\"\nFROM ghcr.io/prefix-dev/pixi:noble-cuda-13.0.0 AS build\nARG CUDA_VERSION\nARG ENVIRONMENT\nWORKDIR /app\n\
             COPY pixi.toml pixi.lock ./\nENV CONDA_OVERRIDE_CUDA=$CUDA_VERSION\nRUN mkdir -p .pixi/envs/$ENVIRONMENT/bin && echo cuda $CUDA_VERSION > .pixi/envs/$ENVIRONMENT/bin/version\n\
             RUN echo '#!/bin/sh' > entrypoint.sh && echo 'export ACTIVE=yes' >> entrypoint.sh && echo 'exec \"$@\"' >> entrypoint.sh\n\
             FROM ghcr.io/prefix-dev/pixi:noble-cuda-13.0.0 AS final\nARG ENVIRONMENT\nWORKDIR /app\nCOPY --from=build /app/.pixi/envs/$ENVIRONMENT /app/.pixi/envs/$ENVIRONMENT\n\
             COPY --from=build --chmod=0755 /app/entrypoint.sh /app/entrypoint.sh\nCOPY config/jupyter_notebook_config.py /usr/local/etc/jupyter_notebook_config.py\n\
             RUN mkdir -p /host-libs && echo /host-libs/ > /etc/000-host-libs.conf\nENTRYPOINT [\"/app/entrypoint.sh\"]\n",
        ),
        ("ml_platform/pixi.toml", "[workspace]\n"),
        ("ml_platform/pixi.lock", "version: 6\n"),
        ("ml_platform/.dockerignore", ".pixi/\n.git\n*.md\n"),
        ("ml_platform/config/jupyter_notebook_config.py", "c = 1\n"),
    ];
    let Some(workshop) = seed(&["ghcr.io/prefix-dev/pixi:noble-cuda-13.0.0"], &files) else {
        return;
    };
    workshop.cairn(&["import", "."]).success();
    assert_eq!(tags(&workshop, "refs/pull/7/merge"), [""; 0]);
    let release = tags(&workshop, "refs/tags/v2026.2.0");
    for name in [
        "ghcr.io/maniaclab/ml-platform:2026.2.0",
        "docker.io/ivukotic/ml_platform:2026.2",
        "hub.opensciencegrid.org/usatlas/ml-platform:latest",
    ] {
        assert!(release.contains(&name.to_owned()), "{name}: {release:?}");
    }
    workshop.cairn(&["build", "--offline"]).success();
    workshop
        .cairn(&[
            "run",
            "ml_platform",
            "sh",
            "-c",
            "echo $ACTIVE; cat .pixi/envs/default/bin/version; ls",
        ])
        .success()
        .out_has("yes\ncuda 12.6\n");
    workshop
        .cairn(&["run", "ml_platform", "test", "!", "-e", "pixi.lock"])
        .success();
    workshop.write("ml_platform/notes.md", "ignored\n");
    let plan = workshop.cairn(&["plan", "--offline"]).success();
    plan.out_has("reuse  ml_platform");
    workshop.cairn(&["lint"]).code(0).out_has("CudaMismatch");
}

/// MAN-03, MAN-04, MAN-05: the manifest was changed without the lock, and a platform is not in it.
#[test]
fn a_lock_of_another_manifest_ends_a_build_before_it_begins() {
    let workshop = Workshop::empty();
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\n[image.ml]\ncontext = \".\"\n",
    );
    workshop.write(
        "Dockerfile",
        "ARG ENVIRONMENT=default\nFROM scratch AS build\nARG ENVIRONMENT\nCOPY pixi.toml pixi.lock ./\n\
         RUN pixi install --locked --environment $ENVIRONMENT\nFROM scratch\nCOPY --from=build /pixi.lock /\n",
    );
    let manifest = "[workspace]\nplatforms = [\"linux-64\", \"linux-aarch64\"]\n[dependencies]\npython = \"3.12.*\"\n";
    let packages = |platform: &str| {
        format!(
            "      {platform}:\n      - conda: https://conda.example/{platform}/python-3.12.1-h0_0.conda\n"
        )
    };
    let lock = format!(
        "version: 6\nenvironments:\n  default:\n    packages:\n{}{}packages: []\n",
        packages("linux-64"),
        packages("linux-aarch64")
    );
    workshop.write("pixi.toml", manifest);
    workshop.write("pixi.lock", &lock);
    workshop.cairn(&["plan"]).success();
    workshop.write("pixi.toml", &format!("# a remark\n{manifest}"));
    workshop.cairn(&["plan"]).success();
    workshop.write("pixi.toml", &format!("{manifest}numpy = \"*\"\n"));
    for command in ["plan", "build", "lint"] {
        workshop
            .cairn(&[command])
            .code(2)
            .err_has("pixi.lock has no `numpy` (environment `default`, linux-64)")
            .err_has("commit both files")
            .err_has("pixi.toml:5");
    }
    // A lone Dockerfile is held to its lock as well.
    workshop
        .cairn(&["build", "."])
        .code(2)
        .err_has("pixi.lock has no `numpy` (environment `default`, linux-64)")
        .err_has("pixi.toml:5");
    workshop
        .cairn(&["build", "--build-arg", "ENVIRONMENT=gpu", "."])
        .code(2)
        .err_has("has no environment `gpu`");
    workshop.write("pixi.toml", &manifest.replace(", \"linux-aarch64\"", ""));
    workshop.write("pixi.lock", &lock.replace(&packages("linux-aarch64"), ""));
    workshop
        .cairn(&["plan", "--platform", "linux/amd64"])
        .success();
    workshop
        .cairn(&["plan", "--platform", "linux/arm64"])
        .code(2)
        .err_has("pixi.lock has nothing for linux-aarch64, and environment `default` is built for linux/arm64");
}

/// BOR-01, BOR-05, BOR-14, BOR-17 to BOR-20: a runtime and an application on it, and metadata that
/// rebuilds nothing before it.
#[test]
fn borealis_splits_runtime_and_application() {
    let files = [
        (
            "cloud/docker/runtime/Dockerfile",
            "ARG from=python:3.8.6\nFROM ${from}\nCOPY requirements.txt /\nRUN (umask 000 && mkdir -p /.theano)\n",
        ),
        (
            "cloud/docker/wholecell/Dockerfile",
            "ARG from=wcm-runtime:latest\nFROM ${from}\nCOPY . /app\nWORKDIR /app\nRUN echo compiled > done\nARG git_hash=\"\"\nENV IMAGE_GIT_HASH=\"$git_hash\"\n\
             LABEL application=\"cell\"\nCMD [\"env\"]\n",
        ),
        ("requirements.txt", "numpy\n"),
        ("main.py", "print()\n"),
        (".dockerignore", "store\nbase.tar\n.git*\n*.pyc\ncairn.*\n"),
    ];
    let Some(workshop) = seed(&["python:3.8.6"], &files) else {
        return;
    };
    workshop.cairn(&["import", "."]).success();
    workshop.cairn(&["build", "--offline"]).success();
    workshop.write("main.py", "print(1)\n");
    let plan = workshop.cairn(&["plan", "--offline"]).success();
    assert_eq!(
        decisions(&plan)[..2],
        ["reuse  runtime", "build  wholecell"]
    );
    let spec = workshop.read("cairn.toml");
    let hash = spec.replace(
        "from = \"runtime\"",
        "from = \"runtime\", git_hash = \"abc123\"",
    );
    assert_ne!(spec, hash);
    workshop.cairn(&["build", "--offline"]).success();
    workshop.write("cairn.toml", &hash);
    let build = workshop
        .cairn(&["build", "--offline", "--progress", "plain"])
        .success();
    build.err_has("images: 2 cached");
    workshop
        .cairn(&["run", "wholecell"])
        .success()
        .out_has("IMAGE_GIT_HASH=abc123");
}
