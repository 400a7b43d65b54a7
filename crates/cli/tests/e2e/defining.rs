//! A stack defined by several files, environments, matrices and policies; what events publish.

use std::process::Command;

use crate::workshop::Workshop;

fn git(workshop: &Workshop, arguments: &[&str]) {
    let status = Command::new("git")
        .arg("-C")
        .arg(workshop.path())
        .args(["-c", "user.name=ann", "-c", "user.email=ann@example.org"])
        .args(["-c", "init.defaultBranch=main", "-c", "tag.gpgSign=false"])
        .args(arguments)
        .env("GIT_COMMITTER_DATE", "1700000000 +0000")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .output()
        .expect("git runs");
    assert!(status.status.success(), "{arguments:?}: {status:?}");
}

/// A matrix whose images differ, an included file, an environment, a variable, a secret.
#[test]
fn a_stack_is_put_together_from_its_parts() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "cairn.toml",
        "include = [\"common/defaults.toml\"]\n[stack]\nname = \"lab\"\nepoch = 1700000000\n\
         [variables]\nwho = { env = \"WHO\", default = \"nobody\" }\n\
         [build]\nsecrets = \"secrets.toml\"\n\
         [image.r]\ncontext = \"r\"\nargs = { WHO = \"${who}\" }\n\
         [image.r.matrix]\nR = [\"4.3\", \"4.4\"]\nsystem.jammy = {}\nsystem.noble = { args = { CODE = 24 } }\n\
         exclude = [{ R = \"4.3\", system = \"noble\" }]\n\
         [image.arm]\ncontext = \"r\"\nplatforms = [\"linux/riscv64\"]\n\
         [env.class.image.r.args]\nWHO = \"class\"\n",
    );
    workshop.write(
        "common/defaults.toml",
        "[defaults]\nargs = { CODE = 22 }\n[image.common]\ncontext = \"image\"\n",
    );
    workshop.write(
        "common/image/Dockerfile",
        "FROM base\nRUN echo in-common > /common\n",
    );
    workshop.write(
        "r/Dockerfile",
        "FROM common\nARG R\nARG CODE\nARG WHO\nRUN echo $R on $CODE for $WHO > /what\n\
         RUN --mount=type=secret,id=PAT,required=true echo token $(cat /run/secrets/PAT)\n",
    );
    workshop.write("secrets.toml", "PAT = \"very-secret-value\"\n");
    let said = workshop.cairn(&["build", "--progress", "plain"]).success();
    said.err_has("left out for linux/riscv64: arm")
        .err_lacks("very-secret-value");
    let what = |image: &str| {
        workshop
            .cairn(&["run", image, "cat", "/what"])
            .success()
            .out
    };
    assert_eq!(what("r:4.4-noble"), "4.4 on 24 for nobody\n");
    assert_eq!(what("r:4.3-jammy"), "4.3 on 22 for nobody\n");
    workshop.cairn(&["run", "r:4.3-noble", "true"]).code(125);
    let set = ["build", "--set", "who=ann", "r:4.3-jammy"];
    workshop.cairn(&set).success();
    assert_eq!(what("r:4.3-jammy"), "4.3 on 22 for ann\n");
    workshop.cairn(&["build", "--env", "class", "r"]).success();
    assert_eq!(what("r:4.4-jammy"), "4.4 on 22 for class\n");
    workshop
        .cairn(&["build", "arm"])
        .code(2)
        .err_has("`arm` is for platforms that this machine cannot build it for");
    let here = cairn_oci::Platform::of_this_program().to_string();
    workshop
        .cairn(&["build", "arm", "--platform", &here])
        .code(2)
        .err_has("not for linux/");
    workshop
        .cairn(&["plan", "--env", "clas"])
        .code(2)
        .err_has("did you mean `class`?");
}

/// MAN-19: `rebuild = "always"` runs every step of its image, and of no other.
#[test]
fn an_image_can_be_built_again_in_every_run() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\nepoch = 1700000000\n[image.a]\ncontext = \"a\"\nrebuild = \"always\"\n\
         [image.b]\ncontext = \"b\"\n",
    );
    workshop.write("a/Dockerfile", "FROM base\nRUN echo ran-a\n");
    workshop.write("b/Dockerfile", "FROM base\nRUN echo ran-b\n");
    workshop.cairn(&["build"]).success();
    let plan = workshop.cairn(&["plan", "--json"]).success();
    let plan: serde_json::Value = serde_json::from_str(&plan.out).expect("JSON");
    assert_eq!(
        (&plan["run"], &plan["reuse"]),
        (&1.into(), &1.into()),
        "{plan}"
    );
    let again = workshop.cairn(&["build", "--progress", "plain"]).success();
    assert!(
        again.err.contains("ran-a") && !again.err.contains("\nran-b"),
        "{}",
        again.err
    );
}

fn tagged() -> Workshop {
    let workshop = Workshop::empty();
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\nregistries = [\"ghcr.io/lab\", \"docker.io/x\"]\n\
         [tags]\nmain = [\"latest\", \"sha-{commit}\"]\nbranch = [\"{prefix}-{branch}\"]\nprefix = \"2026.3\"\n\
         [image.ml]\ncontext = \"ml\"\nnames = { \"docker.io/x\" = \"ml_platform\" }\n",
    );
    workshop.write("ml/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    git(&workshop, &["init", "-q"]);
    git(&workshop, &["add", "."]);
    git(&workshop, &["commit", "-q", "-m", "first"]);
    workshop
}

fn names(workshop: &Workshop, arguments: &[&str]) -> Vec<String> {
    let said = workshop
        .cairn(&[&["tags", "--json"], arguments].concat())
        .success();
    let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let names = report["images"][0]["names"]
        .as_array()
        .expect("names")
        .iter();
    names
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// MAN-20, MAN-22, DH-18: facts from git, from flags and from the CI's variables.
#[test]
fn an_event_is_found_out_and_its_tags_are_told() {
    let workshop = tagged();
    let main = names(&workshop, &[]);
    assert_eq!(main[0], "ghcr.io/lab/ml:latest");
    assert!(
        main[1].starts_with("ghcr.io/lab/ml:sha-") && main.len() == 4,
        "{main:?}"
    );
    assert_eq!(main[2], "docker.io/x/ml_platform:latest");
    git(&workshop, &["checkout", "-q", "-b", "fix/x"]);
    assert_eq!(names(&workshop, &[])[0], "ghcr.io/lab/ml:2026.3-fix-x");
    assert_eq!(names(&workshop, &["--event", "pull-request"]), [""; 0]);
    git(&workshop, &["tag", "v1.3.0"]);
    let old = names(&workshop, &["--ref", "v1.2.0"]);
    assert_eq!(
        old[..2],
        ["ghcr.io/lab/ml:1.2.0", "ghcr.io/lab/ml:1.2"],
        "no latest"
    );
    git(&workshop, &["checkout", "-q", "--detach"]);
    assert!(names(&workshop, &[]).contains(&"ghcr.io/lab/ml:latest".to_owned()));
    let told = workshop
        .command(&["tags"])
        .envs([
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", "push"),
            ("GITHUB_REF", "refs/heads/stable"),
        ])
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("by GitHub's variables"), "{told}");
    assert!(
        told.contains("2026.3-stable` is given by promotion only"),
        "{told}"
    );
}

#[test]
fn two_images_under_one_tag_are_refused() {
    let workshop = tagged();
    let text = workshop.read("cairn.toml")
        + "[image.ml.variant.a]\nsuffix = \"\"\n[image.ml.variant.b]\nsuffix = \"\"\n";
    workshop.write("cairn.toml", &text);
    workshop
        .cairn(&["tags"])
        .code(2)
        .err_has("`ghcr.io/lab/ml:latest` would be both ml:a and ml:b");
}

/// MAN-29: a stack, and one image more, by one command each; both build.
#[test]
fn what_init_writes_builds_and_passes_its_tests() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop
        .cairn(&["init", "--from", "base", "My Lab"])
        .success()
        .err_has("cairn up");
    let stack = ["--stack", "My Lab"];
    let image = ["init", "image", "tool", "--parent", "app"];
    workshop.cairn(&[&image[..], &stack[..]].concat()).success();
    let spec = workshop.read("My Lab/cairn.toml");
    assert!(
        spec.contains("name = \"my-lab\"") && spec.contains("[image.tool]"),
        "{spec}"
    );
    workshop
        .cairn(&[&["up"][..], &stack[..]].concat())
        .success();
    let said = workshop.cairn(&["run", "tool"]).success();
    assert_eq!(said.out, "hello from Linux\n");
    workshop
        .cairn(&["init", "My Lab"])
        .code(2)
        .err_has("is there already");
    workshop
        .cairn(&[&image[..], &stack[..]].concat())
        .code(2)
        .err_has("tool");
    let parent = ["init", "image", "x", "--parent", "ap", "--stack", "My Lab"];
    workshop
        .cairn(&parent)
        .code(2)
        .err_has("did you mean `app`?");
    assert_eq!(
        workshop.read("My Lab/cairn.toml"),
        spec,
        "nothing was written"
    );
}

/// DataHub's layout: imported, planned and built without an edit of any Dockerfile.
#[test]
fn what_import_writes_is_planned_and_built() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "images/spec.yml",
        "images:\n  runtime:\n    image_name: ghcr.io/ets/runtime\n    build_args: {WHO: ann}\n  \
         app:\n    image_name: ghcr.io/ets/app\n    depend_on: runtime\ntag:\n  prefix: '2026.3'\n",
    );
    workshop.write(
        "images/runtime/Dockerfile",
        "FROM base\nARG WHO\nRUN echo $WHO > /who\n",
    );
    workshop.write(
        "images/app/Dockerfile",
        "ARG BASE_TAG\nFROM ghcr.io/ets/runtime:${BASE_TAG}\nRUN cat /who > /app\n",
    );
    let said = workshop.cairn(&["import"]).success();
    said.err_has("`BASE_TAG` is set to `latest`");
    let plan = workshop.cairn(&["plan"]).success();
    assert!(
        plan.out.contains("runtime") && plan.out.contains("app"),
        "{}",
        plan.out
    );
    workshop.cairn(&["build"]).success();
    assert_eq!(
        workshop.cairn(&["run", "app", "cat", "/app"]).success().out,
        "ann\n"
    );
    workshop
        .cairn(&["import"])
        .code(2)
        .err_has("is there already");
    workshop.cairn(&["import", "--force", "--json"]).success();
}

/// The other layouts of the seed documents: each imports, and `plan` accepts what was written.
#[test]
fn every_layout_imports_and_can_be_planned() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let layouts: &[&[(&str, &str)]] = &[
        &[
            (
                "cloudbuild.yaml",
                "steps:\n- name: gcr.io/cloud-builders/docker\n  args: [build, --target, cloud, -t, 'gcr.io/$PROJECT_ID/suite:${_TAG}', -f, docker/Dockerfile, .]\nsubstitutions: {_TAG: latest}\n",
            ),
            (
                "compose.yaml",
                "services:\n  one:\n    image: suite:local\n    build: {context: ., dockerfile: docker/Dockerfile, target: local}\n",
            ),
            (
                "docker/Dockerfile",
                "FROM base AS local\nRUN true\nFROM local AS cloud\nRUN true\n",
            ),
        ],
        &[
            (
                ".github/workflows/build.yaml",
                "jobs:\n  build:\n    strategy:\n      matrix:\n        include:\n        - {name: ml, context: ./ml, registries: ghcr.io/lab/ml}\n    steps:\n    - uses: docker/metadata-action@v5\n      with: {images: '${{ matrix.registries }}', tags: type=sha}\n    - uses: docker/build-push-action@v6\n      with: {context: '${{ matrix.context }}'}\n",
            ),
            ("ml/Dockerfile", "FROM base\nRUN true\n"),
        ],
        &[
            (
                "docker-bake.hcl",
                "target \"a\" {\n  context = \"a\"\n  tags = [\"ghcr.io/lab/a:1\"]\n}\ntarget \"b\" {\n  context = \"b\"\n  contexts = { a = \"target:a\" }\n}\n",
            ),
            ("a/Dockerfile", "FROM base\nRUN true\n"),
            ("b/Dockerfile", "FROM a\nRUN true\n"),
        ],
        &[
            (
                "runtime/Dockerfile",
                "ARG from=base\nFROM ${from}\nRUN true\n",
            ),
            ("app/Dockerfile", "FROM runtime\nCOPY . /app\n"),
        ],
    ];
    for (number, files) in layouts.iter().enumerate() {
        let folder = format!("layout-{number}");
        for (path, text) in *files {
            workshop.write(&format!("{folder}/{path}"), text);
        }
        workshop.cairn(&["import", &folder]).success();
        workshop.cairn(&["plan", "--stack", &folder]).success();
    }
    workshop.write("nothing/README.md", "");
    workshop
        .cairn(&["import", "nothing"])
        .code(2)
        .err_has("nothing here");
}

/// A stack in a repository: a parent with a child, and one that stands alone.
fn committed() -> Option<Workshop> {
    let workshop = Workshop::with_base()?;
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\nepoch = 1700000000\n[changes]\nignore = [\"**/*.md\"]\nbuild-all = [\"common\"]\n\
         [image.a]\ncontext = \"a\"\n[image.b]\ncontext = \"b\"\n[image.c]\ncontext = \"c\"\nargs = { X = 1 }\n",
    );
    workshop.write("a/Dockerfile", "FROM base\nCOPY data /data\n");
    workshop.write("a/data", "1\n");
    workshop.write("b/Dockerfile", "FROM a\nRUN echo b\n");
    workshop.write("c/Dockerfile", "FROM base\nARG X\nRUN echo c $X\n");
    workshop.write(".gitignore", "store\nbase.tar\ncairn.lock\n");
    git(&workshop, &["init", "-q"]);
    commit(&workshop, "first");
    Some(workshop)
}

fn commit(workshop: &Workshop, message: &str) {
    git(workshop, &["add", "."]);
    git(workshop, &["commit", "-q", "--allow-empty", "-m", message]);
}

/// `image decision reason` of every image.
fn decisions(workshop: &Workshop, arguments: &[&str]) -> Vec<String> {
    let said = workshop
        .cairn(&[&["plan", "--json"], arguments].concat())
        .success();
    let plan: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let images = plan["images"].as_array().expect("images").iter();
    let told = images.map(|image| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        let because = text(&image["reasons"][0]["because"]);
        format!(
            "{} {} {because}",
            text(&image["image"]),
            text(&image["decision"])
        )
    });
    told.collect()
}

/// DH-24 to DH-33, DH-35: what the commits say, and content with the last word.
#[test]
fn commits_say_what_a_run_is_about_and_content_decides() {
    let Some(workshop) = committed() else { return };
    workshop.write("a/README.md", "more\n");
    commit(&workshop, "docs only");
    let none = |image: &str| format!("{image} skip no change since HEAD~1 concerns it");
    assert_eq!(
        decisions(&workshop, &["--since", "HEAD~1"]),
        [none("a"), none("b"), none("c")]
    );
    workshop.write("a/data", "2\n");
    commit(&workshop, "one");
    commit(&workshop, "two, and nothing in it");
    assert_eq!(
        decisions(&workshop, &["--since", "HEAD~2"]),
        [
            "a build `a/data` changed",
            "b build it builds on a",
            "c skip no change since HEAD~2 concerns it"
        ],
        "every commit of a push counts"
    );
    let said = workshop
        .cairn(&["plan", "--since", "HEAD~2", "--github-matrix"])
        .success();
    let matrix: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(matrix["include"].as_array().map(Vec::len), Some(2));
    assert_eq!(matrix["include"][0]["because"], "`a/data` changed");
    workshop.cairn(&["build"]).success();
    workshop.write("a/other", "no step takes it\n");
    commit(&workshop, "a file that no step takes");
    for decision in decisions(&workshop, &["--since", "HEAD~1"]) {
        let cause = "retag the commit in its labels changed from ";
        assert!(decision[2..].starts_with(cause), "{decision}");
    }
    workshop.cairn(&["build"]).success();
    assert_eq!(
        decisions(&workshop, &["--since", "HEAD~1"]),
        [
            "a reuse `a/other` changed",
            "b reuse it builds on a",
            "c reuse -"
        ]
    );
    let spec = workshop.read("cairn.toml");
    workshop.write("cairn.toml", &spec.replace("X = 1", "X = 2"));
    let changed = decisions(&workshop, &["--since", "HEAD"]);
    assert_eq!(
        changed,
        ["a reuse -", "b reuse -", "c build its settings changed"],
        "DH-29: not everything; and what is not committed counts"
    );
    workshop.write("cairn.toml", &spec);
    workshop.write("common/x", "");
    assert!(
        decisions(&workshop, &["--since", "HEAD"])[2].ends_with("`common/x` concerns every image")
    );
    commit(&workshop, "Full Rebuild please");
    assert!(decisions(&workshop, &["--since", "HEAD~1"])[2].starts_with("c build"));
    commit(&workshop, "docs [skip ci]");
    assert!(decisions(&workshop, &["--since", "HEAD~1"])[0].contains("says `skip ci`"));
    assert_eq!(
        decisions(&workshop, &["--rebuild", "c"])[2],
        "c build `--rebuild` names it"
    );
    workshop
        .cairn(&["plan", "--since", "nowhere"])
        .code(2)
        .err_has("git knows no commit `nowhere`");
}

/// DH-24, DH-32, DH-33: builds and tests keep to the same range as the plan.
#[test]
fn builds_keep_to_what_commits_concern() {
    let Some(workshop) = committed() else { return };
    workshop.write("c/data", "2\n");
    commit(&workshop, "one image");
    let since = ["build", "--since", "HEAD~1"];
    let built = workshop.cairn(&since).success();
    assert_eq!(built.out, "c\n");
    built.err_has("no change since HEAD~1 concerns 2 images");
    // What the store knows to be different is built, though no commit of the range says so.
    workshop.cairn(&["build"]).success();
    workshop.write("a/data", "2\n");
    commit(&workshop, "earlier");
    workshop.write("c/data", "3\n");
    commit(&workshop, "later");
    let plan = decisions(&workshop, &["--since", "HEAD~1"]);
    assert!(plan[0].starts_with("a build"), "{plan:?}");
    assert_eq!(workshop.cairn(&since).success().out, "a\nc\n");
    commit(&workshop, "docs [skip ci]");
    let built = workshop.cairn(&since).success();
    assert_eq!(built.out, "");
    built.err_has("nothing is done").err_has("skip ci");
    workshop
        .cairn(&["up", "--since", "nowhere"])
        .code(2)
        .err_has("git knows no commit `nowhere`");
    workshop
        .cairn(&["build", "--since", "HEAD~1", "./a"])
        .code(2)
        .err_has("about the images of a stack");
}

/// PAN-15 to PAN-17: a user's number is an argument like any other, and a version and the commit
/// are known without `.git` in the image.
#[test]
fn a_users_number_and_a_version_reach_an_image_without_git_in_it() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    for (name, text) in [
        (
            "cairn.toml",
            "[stack]\nname = \"s\"\n[variables]\nversion = { env = \"VERSION\", default = \"0.0\" }\n\
             [image.a]\ncontext = \".\"\nargs = { userid = \"${env.NUMBER}\", version = \"${version}\" }\n",
        ),
        (
            "Dockerfile",
            "FROM base\nARG userid\nARG version\nCOPY . /src\nRUN echo $userid $version > /told\n",
        ),
        (
            ".dockerignore",
            ".git\nstore*\nbase.tar\n*.md\n!README*.md\n",
        ),
        ("README.md", "read\n"),
        ("NEWS.md", "news\n"),
        (".gitignore", "store*\nbase.tar\n"),
    ] {
        workshop.write(name, text);
    }
    git(&workshop, &["init", "-q"]);
    git(&workshop, &["add", "."]);
    git(&workshop, &["commit", "-q", "-m", "first"]);
    let mut build = workshop.command(&["build", "--offline"]);
    let built = build.env("NUMBER", "1234").env("VERSION", "1.2.3").output();
    crate::workshop::said(built.expect("it runs")).success();
    let script =
        "cat /told; cd /src; ls -a; test ! -e .git && test ! -e NEWS.md && test -e README.md";
    let told = workshop.cairn(&["run", "a", "sh", "-c", script]).success();
    assert!(told.out.starts_with("1234 1.2.3\n"), "{}", told.out);
    let head = Command::new("git")
        .current_dir(workshop.path())
        .args(["rev-parse", "HEAD"])
        .output()
        .expect("git");
    let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    workshop.cairn(&["inspect", "a"]).success().out_has(&head);
}

/// DH-29: what was taken back is told by the input that is as it was, not by what came of it.
#[test]
fn going_back_to_an_earlier_build_names_the_input() {
    let workshop = Workshop::empty();
    let spec = "[stack]\nname = \"lab\"\n[image.a]\ncontext = \"a\"\nargs = { X = \"one\" }\n[image.b]\ncontext = \"b\"\n";
    workshop.write("cairn.toml", spec);
    workshop.write("a/Dockerfile", "FROM scratch\nARG X\nCOPY data /$X/\n");
    workshop.write("a/data", "1");
    workshop.write("b/Dockerfile", "FROM a\nCOPY own /\n");
    workshop.write("b/own", "1");
    workshop.cairn(&["build"]).success();
    workshop.write("cairn.toml", &spec.replace("one", "two"));
    workshop.cairn(&["build"]).success();
    workshop.write("cairn.toml", spec);
    let cause = "because destination changed from `/two/` to `/one/`, and its files are those of an earlier build";
    workshop
        .cairn(&["plan"])
        .success()
        .out_has(&format!("retag  a  {cause}"))
        .out_has(&format!("retag  b  {cause}"));
    workshop.write("a/data", "2");
    workshop.cairn(&["build"]).success();
    workshop.write("a/data", "1");
    workshop
        .cairn(&["plan"])
        .success()
        .out_has("retag  a  because `data` changed, and its files are those of an earlier build");
}

/// DH-02: an image without its folder is an error that names it, and a folder without an image is
/// told by import.
#[test]
fn images_and_their_folders_belong_together() {
    let workshop = Workshop::empty();
    workshop.write("images/base/Dockerfile", "FROM scratch\n");
    workshop.write("images/extra/Dockerfile", "FROM scratch\n");
    workshop.write(
        "images/spec.yml",
        "images:\n  base:\n    image_name: ghcr.io/x/base\n  gone:\n    image_name: ghcr.io/x/gone\n",
    );
    workshop
        .cairn(&["import", "."])
        .success()
        .err_has("images.gone")
        .err_has("there is no images/gone/Dockerfile")
        .err_has("images/extra/Dockerfile");
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\n[image.gone]\ncontext = \"images/gone\"\n",
    );
    workshop
        .cairn(&["plan"])
        .code(2)
        .err_has("context `images/gone` is no directory")
        .err_has("cairn.toml:4");
}
