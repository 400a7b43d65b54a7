//! Makefiles, scripts and files of CI services that call `docker build`.

use super::*;

/// The arguments and targets of Make, a secret that the shell has, and what nobody builds.
#[test]
fn a_makefile_tells_folders_names_and_arguments() {
    let makefile = "REGISTRY ?= ghcr.io/lab\nVERSION := $(shell git describe)\nIMAGE = $(REGISTRY)/base\n\
         base:\n\tdocker build -t $(IMAGE):$(VERSION) -f docker/base.Dockerfile --build-arg PY=3.11 docker\n\
         app: base\n\t@docker build --pull \\\n\t  --tag $(REGISTRY)/app:$(VERSION) --build-arg BASE=$(IMAGE):$(VERSION) \\\n\
         \t  --build-arg GITHUB_TOKEN=$$GITHUB_TOKEN app/\n";
    let (stack, made) = imported(&[
        ("Makefile", makefile),
        ("docker/base.Dockerfile", "FROM debian:12\n"),
        ("docker/gpu.Dockerfile", "FROM ghcr.io/lab/base\n"),
        ("app/Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY . /app\n"),
        ("app/a.py", ""),
    ]);
    assert_eq!(names(&stack), ["base", "app", "lab-gpu"]);
    assert_eq!(source(&stack, "base"), "docker base.Dockerfile - PY=3.11");
    assert_eq!(source(&stack, "app"), "app Dockerfile - BASE=base");
    assert_eq!(stack.registries, ["ghcr.io/lab"]);
    assert_eq!(why(&made, "--build-arg GITHUB_TOKEN").0, Verdict::Differs);
    let gpu = stack.exact("lab-gpu").expect("an image");
    assert!(stack[gpu].internal, "nothing publishes it");
}

/// A rule of Make for any folder, and a shell's loops over names and folders.
#[test]
fn rules_and_loops_are_taken_once_for_each_folder() {
    let dockerfiles = [
        ("images/base/Dockerfile", "FROM debian:12\n"),
        ("images/r/Dockerfile", "FROM lab/base\n"),
        ("tools/x/Dockerfile", "FROM lab/r:latest\n"),
    ];
    let make = "OWNER?=lab\nbuild/%: DARGS?=\nbuild/%: ## build one\n\
         \tdocker build $(DARGS) --rm -t $(OWNER)/$(notdir $@):latest ./images/$(notdir $@)\n";
    let shell = "ORG=${ORG:-lab}\nfor img in base r; do\n  docker build -t \"${ORG}/${img}\" \"images/${img}\"\ndone\n\
         for dir in tools/*/; do\n  name=$(basename \"$dir\")\n  docker build -t \"$ORG/$name\" \"$dir\"\ndone\n";
    let all = |script: (&'static str, &'static str)| {
        let mut files = dockerfiles.to_vec();
        files.push(script);
        let (stack, _) = imported(&files);
        assert_eq!(stack.registries, ["docker.io/lab"]);
        let mut names = names(&stack);
        names.sort();
        assert_eq!(names, ["base", "r", "x"], "{}", script.0);
        stack
    };
    let stack = all(("Makefile", make));
    let x = stack.exact("x").expect("an image");
    assert!(stack[x].internal, "the rule is for another folder");
    let stack = all(("build.sh", shell));
    let x = stack.exact("x").expect("an image");
    assert_eq!(stack[x].published_name, "x");
    assert!(!stack[x].internal);
}

/// PAN-10 to PAN-13: the scripts that a developer builds with, in a checkout that lies anywhere.
#[test]
fn panoptes_scripts_make_three_levels() {
    let script = "#!/bin/bash -e\nPANOPTES_UTILS=${PANOPTES_UTILS:-/var/panoptes/panoptes-utils}\ncd \"${PANOPTES_UTILS}\"\n\
         docker build \\\n    --quiet \\\n    -t \"panoptes-utils:latest\" \\\n    -f \"${PANOPTES_UTILS}/docker/latest.Dockerfile\" \\\n    \"${PANOPTES_UTILS}\"\n\
         sed -i s'/^\\.git$/\\!\\.git/' .dockerignore\n\
         docker build --build-arg IMAGE_URL=\"panoptes-utils:latest\" -t \"panoptes-utils:develop\" \\\n\
         -f \"${PANOPTES_UTILS}/docker/develop.Dockerfile\" \"${PANOPTES_UTILS}\"\ncat <<EOF\nDone\nEOF\n";
    let files = [
        ("docker/setup-local-environment.sh", script),
        (
            "docker/latest.Dockerfile",
            "ARG IMAGE_URL=python:3.8\nFROM ${IMAGE_URL}\nCOPY docker/zshrc /\n",
        ),
        (
            "docker/develop.Dockerfile",
            "ARG IMAGE_URL=gcr.io/panoptes-exp/panoptes-utils:latest\nFROM ${IMAGE_URL}\nCOPY . /x\n",
        ),
        (
            "docker/developer/Dockerfile",
            "ARG image_url=gcr.io/panoptes-exp/panoptes-utils:develop\nFROM ${image_url}\nRUN true\n",
        ),
        ("docker/zshrc", ""),
    ];
    let (stack, _) = imported(&files);
    assert_eq!(
        names(&stack),
        [
            "panoptes-utils:latest",
            "panoptes-utils:develop",
            "developer"
        ]
    );
    assert_eq!(
        source(&stack, "panoptes-utils:develop"),
        ". docker/develop.Dockerfile - IMAGE_URL=panoptes-utils:latest"
    );
    assert_eq!(
        source(&stack, "developer"),
        "docker/developer Dockerfile - image_url=panoptes-utils:develop"
    );
    // A pipeline that publishes one of them: the others stay with the team.
    let cloud = "steps:\n- name: gcr.io/cloud-builders/docker\n  args: [build, -f=docker/latest.Dockerfile, '-t=gcr.io/$PROJECT_ID/panoptes-utils', .]\n";
    let mut files = files.to_vec();
    files.push(("cloudbuild.yaml", cloud));
    let (stack, made) = imported(&files);
    assert_eq!(
        names(&stack),
        ["panoptes-utils", "panoptes-utils-develop", "developer"]
    );
    assert_eq!(
        source(&stack, "panoptes-utils-develop"),
        ". docker/develop.Dockerfile - IMAGE_URL=panoptes-utils"
    );
    assert_eq!(
        source(&stack, "developer"),
        "docker/developer Dockerfile - image_url=panoptes-utils-develop"
    );
    assert_eq!(
        why(&made, "docker build of panoptes-utils").0,
        Verdict::Differs
    );
}

/// BOR-01, BOR-05, BOR-10 to BOR-12, BOR-14, BOR-19: two scripts for the runtime, one for the
/// application, and the file of Cloud Build under a name of its own.
#[test]
fn borealis_runtime_and_application_are_told_by_scripts() {
    let runtime = "ARG from=python:3.8.6\nFROM ${from}\nCOPY requirements.txt /\n";
    let local = "WCM_RUNTIME=${USER}-wcm-runtime\nWCM_CODE=${USER}-wcm-code\nGIT_HASH=$(git rev-parse HEAD)\n\
         docker build -f cloud/docker/runtime/Dockerfile -t \"${WCM_RUNTIME}\" .\n\
         docker build -f cloud/docker/wholecell/Dockerfile -t \"${WCM_CODE}\" \\\n  --build-arg from=\"${WCM_RUNTIME}\" \\\n\
         --build-arg git_hash=\"${GIT_HASH}\" .\n";
    let cloud = "PROJECT=\"$(gcloud config get-value core/project)\"\nID=\"${1:-$USER}\"\nTAG=\"gcr.io/${PROJECT}/${ID}-wcm-runtime\"\n\
         cp requirements.txt cloud/docker/runtime/\ngcloud builds submit --timeout=2h --tag \"${TAG}\" cloud/docker/runtime/\n";
    let config = r#"{"substitutions": {"_WCM_RUNTIME": "wcm-runtime", "_WCM_CODE": "wcm-code"}, "steps": [{"name": "gcr.io/cloud-builders/docker",
        "args": ["build", "-f", "cloud/docker/wholecell/Dockerfile", "--build-arg", "from=gcr.io/${PROJECT_ID}/${_WCM_RUNTIME}", "-t", "gcr.io/${PROJECT_ID}/${_WCM_CODE}", "."]}]}"#;
    let files = [
        ("cloud/docker/runtime/Dockerfile", runtime),
        (
            "cloud/docker/wholecell/Dockerfile",
            "ARG from=wcm-runtime:latest\nFROM ${from}\nCOPY . /wcEcoli\n",
        ),
        ("requirements.txt", "numpy\n"),
        ("cloud/locally-build.sh", local),
        ("cloud/build-runtime.sh", cloud),
    ];
    let (stack, made) = imported(&files);
    assert_eq!(names(&stack), ["wcm-runtime", "wcm-code"]);
    assert_eq!(
        source(&stack, "wcm-code"),
        ". cloud/docker/wholecell/Dockerfile - from=wcm-runtime"
    );
    assert_eq!(
        source(&stack, "wcm-runtime"),
        ". cloud/docker/runtime/Dockerfile - "
    );
    let id = stack.exact("wcm-runtime").expect("an image");
    assert_eq!(
        stack[id].repositories[0].to_string(),
        "gcr.io/project-id/user-wcm-runtime",
        "whoever builds has an image of their own"
    );
    assert_eq!(why(&made, "--build-arg git_hash").0, Verdict::Missing);
    let mut files = files.to_vec();
    files.push(("config-build-2-wcm-code.json", config));
    let (stack, _) = imported(&files);
    assert_eq!(names(&stack), ["wcm-code", "wcm-runtime"]);
    assert_eq!(
        source(&stack, "wcm-code"),
        ". cloud/docker/wholecell/Dockerfile - from=wcm-runtime"
    );
}

/// GitLab: its variables, a matrix of jobs, kaniko; what other services have in their files.
#[test]
fn files_of_ci_services_are_read() {
    let gitlab = "variables: {BASE: $CI_REGISTRY_IMAGE/base}\nbase:\n  script:\n    - docker build -t $BASE:$CI_COMMIT_SHA -f docker/base/Dockerfile .\n\
         app:\n  image: {name: 'gcr.io/kaniko-project/executor:debug'}\n  script:\n    - /kaniko/executor\n      --context \"${CI_PROJECT_DIR}/app\"\n      \
         --build-arg FROM=$BASE:$CI_COMMIT_SHA\n      --destination \"${CI_REGISTRY_IMAGE}/app:$CI_COMMIT_TAG\"\n\
         py:\n  parallel: {matrix: [{PY: ['3.10', '3.11']}]}\n  script:\n    - docker build --build-arg PY=$PY -t $CI_REGISTRY_IMAGE/py:$PY py\n";
    let (stack, _) = imported(&[
        (".gitlab-ci.yml", gitlab),
        ("docker/base/Dockerfile", "FROM debian:12\nCOPY req.txt /\n"),
        ("req.txt", ""),
        ("app/Dockerfile", "ARG FROM\nFROM $FROM\n"),
        ("py/Dockerfile", "FROM debian:12\n"),
    ]);
    assert_eq!(names(&stack), ["base", "app", "py:3.10", "py:3.11"]);
    assert_eq!(source(&stack, "base"), ". docker/base/Dockerfile - ");
    assert_eq!(source(&stack, "app"), "app Dockerfile - FROM=base");
    assert_eq!(source(&stack, "py:3.11"), "py Dockerfile - PY=3.11");
    let circle = "jobs:\n  build:\n    steps:\n      - run: docker build -t lab/x:$CIRCLE_SHA1 x\n      - run: {command: \"docker build -t lab/y --build-arg BASE=lab/x:$CIRCLE_SHA1 y\"}\n";
    let (stack, _) = imported(&[
        (".circleci/config.yml", circle),
        ("x/Dockerfile", "FROM debian:12\n"),
        ("y/Dockerfile", "ARG BASE\nFROM $BASE\n"),
    ]);
    assert_eq!(names(&stack), ["x", "y"]);
    assert_eq!(source(&stack, "y"), "y Dockerfile - BASE=x");
}

/// What cannot be told is said, and the Dockerfiles are images all the same.
#[test]
fn what_a_script_does_not_tell_is_said() {
    let (stack, made) = imported(&[
        (
            "build.sh",
            "docker build -t lab/a:$(git rev-parse HEAD) \"$1\"/b\ndocker build --ssh default -t a a\ndocker build - < x\n",
        ),
        (".gitlab-ci.yml", "a: {script: [docker build\n"),
        ("a/Dockerfile", "FROM debian:12\n"),
        ("c/Dockerfile", "FROM debian:12\n"),
    ]);
    assert_eq!(names(&stack), ["a", "c"]);
    for what in [
        "docker build of lab/a",
        "--ssh default",
        "this file",
        "docker build of -",
    ] {
        assert_eq!(why(&made, what).0, Verdict::Missing, "{what}");
    }
}

/// Operators of the shell without blanks around them, and a folder that is only a subshell's.
#[test]
fn subshells_jobs_and_redirections_are_no_part_of_a_build() {
    let script = "(cd x && docker build -t lab/one .) >/dev/null\ndocker build -t lab/two . &>log &\n\
         (\n  cd x/y; docker build -t lab/three .>>log 2>&1)&\nwait\ncase $1 in\n  z) docker build -t lab/four z;;\nesac\n";
    let (stack, _) = imported(&[
        ("build.sh", script),
        ("Dockerfile", "FROM debian:12\n"),
        ("x/Dockerfile", "FROM debian:12\n"),
        ("x/y/Dockerfile", "FROM debian:12\n"),
        ("z/Dockerfile", "FROM debian:12\n"),
    ]);
    assert_eq!(names(&stack), ["one", "two", "three", "four"]);
    assert_eq!(source(&stack, "one"), "x Dockerfile - ");
    assert_eq!(source(&stack, "two"), ". Dockerfile - ");
    assert_eq!(source(&stack, "three"), "x/y Dockerfile - ");
    assert_eq!(source(&stack, "four"), "z Dockerfile - ");
}

/// A variable of Make that is made of itself, and one that grows, each in one line at a time.
#[test]
fn variables_of_make_are_set_once_and_grow() {
    let makefile = "V := one\nV := $(V)-x\nW = a\nW += b\nW += c\nrule: W += d\n\
         app:\n\tdocker build -t lab/app --build-arg V=$(V) --build-arg W='$(W)' .\n";
    let (stack, _) = imported(&[("Makefile", makefile), ("Dockerfile", "FROM debian:12\n")]);
    assert_eq!(source(&stack, "app"), ". Dockerfile - V=one-x,W=a b c d");
}

/// Whatever a script holds, reading it ends.
#[test]
fn hostile_scripts_end() {
    let build = "\ndocker build -t lab/app .\n";
    let dockerfile = ("Dockerfile", "FROM debian:12\n");
    for text in [
        "do ".repeat(100_000),
        "(".repeat(100_000),
        "for a in 1 2; do\n".repeat(5_000),
        "cd a\n".repeat(20_000) + &"popd\n".repeat(20_000),
        "A=${A}${A}x\n".repeat(100),
        "bash -c 'build ".repeat(10_000),
    ] {
        let text = text + build;
        let made = import(&tree(&[("build.sh", text.as_str()), dockerfile]), "lab");
        assert!(made.is_ok(), "{}", &text[..20]);
    }
}
