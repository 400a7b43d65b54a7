//! What is published where and under which tags, and what only reads.

use std::process::Command;

use cairn_testkit::{DockerRegistry, Guard, needs};

use crate::workshop::Workshop;

pub(crate) fn git(workshop: &Workshop, arguments: &[&str]) {
    git_at(workshop, None, arguments);
}

/// As [`git`], with a time for commits.
pub(crate) fn git_at(workshop: &Workshop, date: Option<&str>, arguments: &[&str]) {
    let ran = Command::new("git")
        .args(["-c", "user.name=n", "-c", "user.email=e@e"])
        .args(arguments)
        .envs(date.map(|date| ("GIT_COMMITTER_DATE", date)))
        .current_dir(workshop.path())
        .output()
        .expect("git runs");
    assert!(ran.status.success(), "git {arguments:?}: {ran:?}");
}

/// A stack with variants, names of its own at one registry, an image of one registry only, and an
/// internal one; in a repository.
fn stack() -> Option<(Workshop, DockerRegistry)> {
    if !needs("git", Command::new("git").arg("--version").output().is_ok()) {
        return None;
    }
    let registry = DockerRegistry::start(Guard::Open)?;
    let workshop = Workshop::empty();
    let host = registry.host();
    workshop.write(
        "cairn.toml",
        &format!(
            "[stack]\nname = \"lab\"\nregistries = [\"{host}/lab\", \"{host}/x\"]\n\
             [tags]\nprefix = \"2026.3\"\nmain = [\"latest\", \"sha-{{commit}}\"]\n\
             pull-request = [\"pr-{{number}}\"]\nschedule = []\n\
             [image.under]\ncontext = \"a\"\ninternal = true\n\
             [image.ml]\ncontext = \"a\"\nnames = {{ \"{host}/x\" = \"group/ml_platform\" }}\n\
             variant.cpu = {{ suffix = \"\" }}\nvariant.gpu.args.KIND = \"gpu\"\n\
             [image.own]\ncontext = \"a\"\nregistries = [\"{host}/y\"]\n"
        ),
    );
    workshop.write("a/Dockerfile", "FROM scratch\nARG KIND=cpu\nCOPY word /\n");
    workshop.write("a/word", "one");
    git(&workshop, &["init", "-q", "-b", "main"]);
    git(&workshop, &["add", "cairn.toml", "a"]);
    git(&workshop, &["commit", "-q", "-m", "first"]);
    Some((workshop, registry))
}

/// The head of a spec that publishes to one place.
fn stack_at(name: &str, registry: &DockerRegistry) -> String {
    let host = registry.host();
    format!("[stack]\nname = \"{name}\"\nregistries = [\"{host}/{name}\"]\n")
}

/// The names that `cairn tags` tells for all images.
fn told(workshop: &Workshop, event: &[&str]) -> Vec<String> {
    let said = workshop.cairn(&[&["tags", "--json"], event].concat());
    let report: serde_json::Value = serde_json::from_str(&said.success().out).expect("JSON");
    let images = report["images"].as_array().expect("images").iter();
    let names = images.flat_map(|image| image["names"].as_array().expect("names"));
    let mut names: Vec<String> = names
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

/// The names of a report of `cairn publish`.
fn published(json: &str) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let images = report["images"].as_array().expect("images").iter();
    let mut names: Vec<String> = images
        .map(|image| image["reference"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_published_is_what_tags_tells() {
    let Some((workshop, registry)) = stack() else {
        return;
    };
    git(&workshop, &["tag", "v1.3.0"]);
    let rows: &[(&[&str], usize)] = &[
        (&[], 10),
        (&["--ref", "topic/x"], 5),
        (&["--ref", "v1.2.0"], 15),
        (&["--ref", "refs/tags/odd"], 0),
        (&["--ref", "stable"], 0),
        (&["--event", "schedule"], 0),
        (&["--event", "manual"], 10),
        (&["--event", "pull-request", "--number", "7"], 0),
    ];
    for (event, number) in rows {
        let names = told(&workshop, event);
        assert_eq!(names.len(), *number, "{event:?}: {names:?}");
        let plan = workshop.cairn(&[&["publish", "--dry-run", "--json"], *event].concat());
        assert_eq!(published(&plan.success().out), names, "{event:?}");
    }
    let really = workshop.cairn(&["publish", "--json"]).success();
    assert_eq!(published(&really.out), told(&workshop, &[]));
    let host = registry.host();
    let names = published(&really.out);
    for name in [
        "lab/ml:latest",
        "lab/ml:latest-gpu",
        "x/group/ml_platform:latest-gpu",
        "y/own:latest",
    ] {
        assert!(
            names.contains(&format!("{host}/{name}")),
            "{name}: {names:?}"
        );
    }
    let report: serde_json::Value = serde_json::from_str(&really.out).expect("JSON");
    let keys = |value: &serde_json::Value| {
        let keys = value.as_object().expect("an object").keys();
        keys.cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&report), ["generation", "images"]);
    for image in report["images"].as_array().expect("images") {
        assert_eq!(
            keys(image),
            ["image", "variant", "platform", "reference", "digest"]
        );
    }

    // Another tag for the same images, with the suffixes of variants; one image lives elsewhere.
    let promoted = workshop.cairn(&["promote", "latest", "2026.3-stable", "--json"]);
    let promoted = published(&promoted.success().out);
    assert_eq!(promoted.len(), 5, "{promoted:?}");
    assert!(promoted.contains(&format!("{host}/lab/ml:2026.3-stable-gpu")));
}

#[test]
fn a_flag_makes_no_push_of_a_pull_request() {
    let Some((workshop, registry)) = stack() else {
        return;
    };
    let ask = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = workshop.command(&[&["publish"], arguments].concat());
        command.envs(variables.iter().copied());
        crate::workshop::said(command.output().expect("the program runs"))
    };
    let github = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request"),
    ];
    let gitlab = [("GITLAB_CI", "true"), ("CI_MERGE_REQUEST_IID", "7")];
    let disguised = ["--event", "push", "--ref", "main"];
    for (variables, without) in [
        (&github, "env -u GITHUB_ACTIONS -u GITHUB_EVENT_NAME"),
        (&gitlab, "env -u GITLAB_CI -u CI_MERGE_REQUEST_IID"),
    ] {
        ask(&disguised, variables)
            .code(2)
            .err_has("a pull request publishes nothing")
            .err_has(without);
        let dry = [&disguised[..], &["--dry-run"]].concat();
        ask(&dry, variables).success().err_has("would be moved");
        ask(&[], variables)
            .success()
            .err_has("a pull request publishes nothing");
    }
    let latest = format!("{}/lab/ml:latest", registry.host());
    workshop.cairn(&["pull", &latest]).code(2);
    ask(&disguised, &[]).success();
}

#[test]
fn what_cannot_be_published_says_why() {
    let Some((workshop, _registry)) = stack() else {
        return;
    };
    let request = workshop
        .command(&["publish", "--tag", "latest"])
        .env("GITHUB_EVENT_NAME", "pull_request")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&request.stderr);
    assert!(
        request.status.success()
            && said.contains("nothing is published: a pull request publishes nothing"),
        "{said}"
    );
    assert_eq!(request.stdout, b"");
    workshop
        .cairn(&["publish", "--ref", "refs/tags/odd"])
        .success()
        .err_has("nothing is published: the git tag `odd` is no version");
    workshop
        .cairn(&["publish", "--event", "schedule"])
        .success()
        .err_has("the rules for `schedule` give no tag");
    workshop
        .cairn(&["publish", "under"])
        .code(2)
        .err_has("all images are internal");
    workshop
        .cairn(&["publish", "--registry", "lab"])
        .code(2)
        .err_has("`lab` names no registry");
    workshop.write("a/Dockerfile", "FROM scratch\nCOPY nothing /\n");
    let failed = workshop.cairn(&["publish", "--json"]).code(1);
    let report: serde_json::Value = serde_json::from_str(&failed.out).expect("JSON");
    assert_eq!(report["images"][0]["state"], "failed", "{report}");
    assert!(report["failed"].is_string(), "{report}");
    let lone = workshop.cairn(&["build", "--json", "./a"]).code(1);
    let report: serde_json::Value = serde_json::from_str(&lone.out).expect("JSON");
    assert!(report["images"][0]["reason"].is_string(), "{report}");
    git(&workshop, &["checkout", "-q", "a"]);
    workshop.write("a/word", "changed");
    workshop
        .cairn(&["publish"])
        .success()
        .err_has("1 file is not as the commit has it (a/word)");
    let log = workshop.cairn(&["log", "latest"]).success();
    assert!(log.out.contains("-dirty"), "{}", log.out);
    git(&workshop, &["checkout", "-q", "--detach"]);
    git(&workshop, &["branch", "-q", "-D", "main"]);
    workshop
        .cairn(&["publish"])
        .code(2)
        .err_has("name the tag with `--tag TAG`");
}

/// What only reads ends nothing that was begun, and makes no store.
#[test]
fn reading_moves_nothing() {
    let Some((mut workshop, mut registry)) = stack() else {
        return;
    };
    workshop.cairn(&["publish"]).success();
    workshop.cairn(&["promote", "latest", "good"]).success();
    // A registry that goes away between two tags: the journal stays. Tags that meant nothing
    // before cannot go back.
    let journal = |workshop: &Workshop| {
        let refs = workshop.path().join("store/refs");
        let files = std::fs::read_dir(refs).unwrap().map(Result::unwrap);
        let texts = files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default());
        texts.filter(|text| text.contains("cairn:journal/")).count()
    };
    workshop.write("a/word", "two");
    let mut round = 0;
    while journal(&workshop) == 0 {
        round += 1;
        assert!(round < 40, "no publish was caught in its switch");
        let tag = format!("try-{round}");
        let mut publish = workshop
            .command(&["publish", "--tag", &tag])
            .spawn()
            .unwrap();
        let began = std::time::Instant::now();
        while journal(&workshop) == 0 && publish.try_wait().unwrap().is_none() {
            assert!(began.elapsed().as_secs() < 60);
        }
        publish.kill().unwrap();
        publish.wait().unwrap();
    }
    let read: [&[&str]; 3] = [
        &["log", "good"],
        &["promote", "latest", "good", "--dry-run"],
        &["publish", "--dry-run"],
    ];
    for command in read {
        workshop.cairn(command).success().err_has("ends that first");
        assert_eq!(journal(&workshop), 1, "{command:?}");
    }
    workshop
        .cairn(&["rollback", "good", "--dry-run"])
        .code(2)
        .err_has("`good` never meant an earlier generation");
    assert_eq!(journal(&workshop), 1);
    workshop
        .cairn(&["publish"])
        .success()
        .err_has("was being published when Cairn was stopped");
    assert_eq!(journal(&workshop), 0);
    workshop.move_to_store("none");
    workshop.cairn(&["log", "good"]).success();
    assert!(!workshop.path().join("none").exists());
    // What one registry knows is told while another is away, and nothing is changed then.
    let here = format!("{}/lab", registry.host());
    let both = ["--registry", &here, "--registry", "127.0.0.1:1/lab"];
    let log = workshop.cairn(&[&["log", "good"][..], &both].concat());
    log.success()
        .out_has("promoted from latest")
        .err_has("warning: cannot read the ledger at 127.0.0.1:1/lab");
    workshop
        .cairn(&[&["promote", "latest", "good"][..], &both].concat())
        .code(3)
        .err_has("nothing was changed");
    registry.stop();
    workshop
        .cairn(&["log", "good"])
        .code(3)
        .err_has("cannot read the ledger");
}

/// DH-78 to DH-81: who may come from whom, and what it needs.
#[test]
fn promotion_goes_by_the_rules_of_the_spec() {
    let Some((workshop, registry)) = stack() else {
        return;
    };
    let spec = workshop.read("cairn.toml");
    let rules = "[promote]\n\"{prefix}-stable\" = { from = \"{prefix}-main\" }\n\
                 stable = { from = \"{prefix}-stable\", tests = true }\n";
    workshop.write("cairn.toml", &format!("{spec}{rules}"));
    let publish = |tag: &str| workshop.cairn(&["publish", "ml:cpu", "--tag", tag]);
    publish("2026.2-main").success();
    publish("2026.3-main").success();
    publish("stable")
        .code(2)
        .err_has("`stable` is given by promotion only");
    let promote = |arguments: &[&str]| workshop.cairn(&[&["promote"], arguments].concat());
    promote(&["2026.2-main", "2026.3-stable"])
        .code(2)
        .err_has("`2026.3-stable` does not come from `2026.2-main`")
        .err_has("`{prefix}-main`");
    promote(&["2026.3-main", "stable"])
        .code(2)
        .err_has("allows `{prefix}-stable`");
    promote(&["stable"])
        .code(2)
        .err_has("nothing that was published may become `stable`");
    promote(&["2026.3-stable", "--dry-run"])
        .success()
        .err_has("2 tags would be moved");
    promote(&["2026.3-stable"]).success();
    promote(&["2026.2-stable"]).success();
    // Of several sources that one which has the spec's prefix; and it has no tests.
    promote(&["stable"])
        .code(2)
        .err_has("`ml:cpu` has no tests: add some");
    let test = "schemaVersion: 2.0.0\nfileExistenceTests:\n- name: word\n  path: /word\n  shouldExist: true\n";
    workshop.write("test.yaml", test);
    let tested = spec.replacen(
        "variant.cpu = { suffix = \"\" }",
        "variant.cpu = { suffix = \"\", tests = { structure = \"test.yaml\" } }",
        1,
    );
    workshop.write("cairn.toml", &format!("{tested}{rules}"));
    // The image is the same: only what is known of it is new.
    publish("2026.3-main")
        .success()
        .err_has("all tags mean it already");
    promote(&["stable"])
        .success()
        .err_has("`stable` means generation");
    let log = workshop.cairn(&["log", "stable"]).success().out;
    assert!(log.contains("promoted from 2026.3-stable"), "{log}");
    assert!(log.contains(registry.host()), "{log}");
}

/// Some images of a stack are published: the generation has the others as they were, at all
/// registries, and is the one that publishing all of them gives.
#[test]
fn images_that_are_not_chosen_stay_in_the_generation() {
    let Some((workshop, registry)) = stack() else {
        return;
    };
    let generation = |said: &crate::workshop::Said| {
        let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        report["generation"].as_str().map(str::to_owned)
    };
    let publish = |more: &[&str]| workshop.cairn(&[&["publish", "--json"], more].concat());
    // Nothing is known of the tag: there are no others.
    let alone = publish(&["own", "--tag", "alone"]).success();
    assert_eq!(
        published(&alone.out),
        [format!("{}/y/own:alone", registry.host())]
    );
    publish(&["--tag", "main"]).success();
    workshop.cairn(&["promote", "main", "good"]).success();
    workshop.write("a/word", "two");
    let dry = publish(&["own", "--tag", "main", "--dry-run"]).success();
    let some = publish(&["own", "--tag", "main"])
        .success()
        .err_has("other images as its tags have them now: `ml:cpu`, `ml:gpu`");
    assert_eq!(published(&some.out).len(), 5, "{}", some.out);
    assert_eq!(generation(&some), generation(&dry));
    // All registries agree, those that own does not go to, too.
    workshop
        .cairn(&["promote", "main", "good"])
        .success()
        .err_has("1 tag moved");
    let rest = publish(&["ml", "--tag", "main"]).success();
    let again = publish(&["--tag", "main"])
        .success()
        .err_has("all tags mean it already");
    assert_eq!(generation(&rest), generation(&again));
    // Two tags that do not agree about the others leave nothing to choose.
    publish(&["own", "--tag", "main", "--tag", "good"])
        .code(2)
        .err_has("mean different images `ml:cpu` now");
    // A registry that never heard of them cannot have them.
    let spec = workshop.read("cairn.toml");
    let more = spec.replacen("/x\"]", &format!("/x\", \"{}/new\"]", registry.host()), 1);
    workshop.write("cairn.toml", &more);
    publish(&["own", "--tag", "main"])
        .code(2)
        .err_has("/new has none by these tags");
}

/// A rollback that was killed when all was done, but for saying so, is not done twice.
#[test]
fn a_rollback_that_nobody_was_told_of_goes_no_further() {
    let Some((workshop, _registry)) = stack() else {
        return;
    };
    let publish = |word: &str| {
        workshop.write("a/word", word);
        workshop.cairn(&["publish", "--tag", "main"]).success();
    };
    for word in ["one", "two", "three", "four"] {
        publish(word);
    }
    // The answer cannot be written: that is not to have been told.
    let rollback = |is_told: bool| {
        let mut command = workshop.command(&["rollback", "main", "--json"]);
        if !is_told {
            let full = std::fs::File::options().write(true).open("/dev/full");
            command.stdout(full.expect("a device"));
        }
        crate::workshop::said(command.output().expect("cairn runs"))
    };
    let entries = || {
        let log = workshop.cairn(&["log", "main", "--json"]).success().out;
        log.matches("\"rollback\"").count()
    };
    let untold = rollback(false);
    assert_ne!(untold.code, 0);
    let once = entries();
    assert!(once > 0);
    let told = rollback(true).success().err_has("nothing more is done");
    assert_eq!(entries(), once, "{}", told.out);
    rollback(true).success().err_lacks("nothing more is done");
    assert_eq!(entries(), 2 * once);
    // Whoever does something else is no longer waiting for an answer.
    rollback(false);
    publish("five");
    rollback(true).success().err_lacks("nothing more is done");
    assert_eq!(entries(), 4 * once);
}

/// DH-29, DH-36, DH-37, D9: another machine, whose store knows nothing, can say what is different
/// about its images than what is published; and a plan says whether a tag would move.
#[test]
fn what_is_published_can_be_asked_what_is_different() {
    let Some((mut workshop, _registry)) = stack() else {
        return;
    };
    let fresh = workshop.cairn(&["plan"]).success();
    fresh.out_has("build  ml:cpu");
    workshop.cairn(&["publish"]).success();
    git(
        &workshop,
        &["commit", "-q", "--allow-empty", "-m", "nothing"],
    );
    workshop
        .cairn(&["plan"])
        .success()
        .out_has("retag  ml:cpu  because the commit in its labels changed from");
    git(&workshop, &["reset", "-q", "--hard", "HEAD~1"]);
    let known = workshop.cairn(&["plan"]).success();
    known
        .out_has("reuse  ml:cpu")
        .out_has("latest is this image, in generation");
    let offline = workshop.cairn(&["plan", "--offline"]).success();
    offline.err_has("compared with this store only: registries are not asked");
    workshop.move_to_store("another");
    let same = workshop.cairn(&["why", "ml", "--against", "latest"]);
    same.success()
        .out_has("ml:gpu  is as in `latest` (generation ");

    workshop.write("a/word", "two");
    let why = workshop
        .cairn(&["why", "own", "--against", "latest"])
        .success();
    why.out_has("own  differs from `latest` (generation ")
        .out_has("because `COPY word /`: `word` changed (./a/Dockerfile:3)");
    let json = workshop.cairn(&["why", "own", "--against", "latest", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.success().out).expect("JSON");
    assert_eq!(json[0]["same"], false);
    assert_eq!(json[0]["step"], "COPY word /");
    let generation = json[0]["generation"].as_str().expect("a name").to_owned();
    workshop.write("a/word", "one");
    let by_name = workshop.cairn(&["why", "own", "--against", &generation]);
    by_name.success().out_has("own  is as in generation ");
    let spec = workshop.read("cairn.toml");
    workshop.write(
        "cairn.toml",
        &spec.replace("KIND = \"gpu\"", "KIND = \"cuda\""),
    );
    workshop
        .cairn(&["why", "ml:gpu", "--against", "latest"])
        .success()
        .out_has("is as in `latest`");
    workshop.write(
        "cairn.toml",
        &spec.replace("[image.own]", "[image.own]\nlabels = { a = \"b\" }"),
    );
    workshop.cairn(&["build"]).success();
    workshop.cairn(&["plan"]).success().out_has(
        "retag  own  because `latest` is published with another image: its label `a` changed",
    );
    workshop
        .cairn(&["why", "own", "--against", "nothing"])
        .code(2)
        .err_has("there is no generation `nothing`");
}

/// A `COPY` of very many files: the document beside the image is one that a registry takes, and
/// each file has its name in it, whatever that is.
#[test]
fn a_copy_of_many_files_is_published_and_compared() {
    let Some((workshop, registry)) = stack() else {
        return;
    };
    let own = stack_at("many", &registry) + "[image.own]\ncontext = \"a\"\n";
    workshop.write("cairn.toml", &own);
    workshop.write("a/Dockerfile", "FROM scratch\nCOPY tree /tree\n");
    for at in 0..600 {
        workshop.write(&format!("a/tree/{}/file-{at}", at / 100), &at.to_string());
    }
    let odd = "a/tree/odd\tname\nof \\two lines";
    workshop.write(odd, "one");
    workshop.cairn(&["publish"]).success();
    workshop.write("a/tree/3/file-333", "changed");
    let told = || workshop.cairn(&["why", "own", "--against", "latest", "--json"]);
    told().success().out_has("`tree/3/file-333` changed");
    workshop.write("a/tree/3/file-333", "333");
    workshop.write(odd, "two");
    let json: serde_json::Value = serde_json::from_str(&told().success().out).expect("JSON");
    let because = json[0]["because"].as_str().expect("a reason");
    assert!(because.contains("odd\tname\nof \\two lines"), "{because}");
}

/// Two images that came out the same were made of different things, and each is compared with its own.
#[test]
fn images_with_equal_content_are_asked_apart() {
    let Some((workshop, registry)) = stack() else {
        return;
    };
    let mut text = stack_at("pair", &registry);
    for name in ["one", "two"] {
        text.push_str(&format!("[image.{name}]\ncontext = \"{name}\"\n"));
        let dockerfile = format!(
            "FROM scratch AS made\nCOPY {name}-* /from/\nCOPY same /\nFROM scratch\nCOPY --from=made /same /\n"
        );
        workshop.write(&format!("{name}/Dockerfile"), &dockerfile);
        workshop.write(&format!("{name}/{name}-source"), name);
        workshop.write(&format!("{name}/same"), "same");
    }
    workshop.write("cairn.toml", &text);
    workshop.cairn(&["publish"]).success();
    for name in ["one", "two"] {
        workshop.write(&format!("{name}/{name}-source"), "changed");
        workshop.write(&format!("{name}/same"), name);
        workshop.cairn(&["build"]).success();
        workshop
            .cairn(&["why", name, "--against", "latest"])
            .success()
            .out_has(&format!(
                "because `COPY {name}-* /from/`: `{name}-source` changed"
            ));
    }
}

/// DH-71 to DH-75: pages under the names that are published, and those of promoted images.
#[test]
fn pages_follow_what_is_published_and_promoted() {
    let Some((workshop, registry)) = stack() else {
        return;
    };
    workshop.cairn(&["publish", "--records", "out"]).success();
    let host = registry.host();
    let file = |name: &str| {
        format!(
            "out/manifests/{}.md",
            format!("{host}/{name}").replace([':', '/'], "-")
        )
    };
    let page = workshop.read(&file("lab/ml:latest"));
    assert!(
        page.starts_with(&format!("# {host}/lab/ml:latest\n")),
        "{page}"
    );
    assert!(page.contains("- image: `ml:cpu`"), "{page}");
    assert!(page.contains("COPY word /"), "{page}");
    let home = workshop.read("out/manifests/Home.md");
    assert!(home.contains(&format!("[{host}/y/own:latest]")), "{home}");
    let promoted = workshop.cairn(&["promote", "latest", "stable", "--records", "out"]);
    promoted.success();
    let page = workshop.read(&file("lab/ml:stable-gpu"));
    assert!(
        page.starts_with(&format!("# {host}/lab/ml:stable-gpu\n")),
        "{page}"
    );
    let stable = workshop.read("out/manifests/Stable.md");
    assert!(
        stable.contains(&format!("| {host}/y/own:stable | {host}/y/own:latest |")),
        "{stable}"
    );
    workshop
        .cairn(&["promote", "latest", "other", "--records", "elsewhere"])
        .code(2)
        .err_has("has no page about");
}

/// DH-57, DH-81, DH-82: what needs a special machine is tested there, after it was published, and
/// promotion demands it; only who says so goes on without.
#[test]
fn workflow_tests_of_what_is_published_open_the_way_to_stable() {
    let Some((workshop, _registry)) = stack() else {
        return;
    };
    let spec = workshop.read("cairn.toml");
    let suites = "tests.workflow = [{ path = \"suite\", name = \"gpu\", on = \"host\", command = \"sh run.sh\" }, \
                  { path = \"suite/none\", gpu = true }]\n";
    let rule = "[promote]\nstable = { from = \"latest\", workflow = \"gpu\" }\n";
    let spec = spec.replace("[image.own]\n", &format!("{rule}[image.own]\n{suites}"));
    workshop.write(
        "cairn.toml",
        &spec.replace("workflow = \"gpu\" }", "workflow = \"gpus\" }"),
    );
    workshop
        .cairn(&["plan", "--offline"])
        .code(2)
        .err_has("no image has workflow tests called `gpus`")
        .err_has("did you mean `gpu`?");
    workshop.write("cairn.toml", &spec);
    workshop.write("suite/run.sh", "exit 0\n");
    workshop.write("suite/none/test_x.py", "");
    workshop.cairn(&["publish"]).success();
    workshop
        .cairn(&["promote", "stable"])
        .code(2)
        .err_has("passed the workflow tests `gpu`: that is not known of `own`");
    let skipped = ["promote", "stable", "--skip-workflow", "gpu", "--dry-run"];
    workshop.cairn(&skipped).success();
    let test = |name: &str| workshop.cairn(&["test", "own", "--workflow", name, "--for", "latest"]);
    if !std::path::Path::new("/dev/nvidiactl").exists()
        && !std::path::Path::new("/dev/kfd").exists()
    {
        test("none").success().err_has("it needs a GPU");
        workshop.cairn(&["promote", "stable"]).code(2);
    }
    workshop.write("a/word", "two");
    test("gpu")
        .code(2)
        .err_has("what was tested is not what `latest` means");
    workshop.write("a/word", "one");
    test("gpu").success().err_has("written down for generation");
    workshop.cairn(&["promote", "stable"]).success();
}

/// A registry that joined a stack later cannot go back to what it never had, and the others do not
/// leave it behind unsaid.
#[test]
fn a_registry_that_cannot_go_back_is_named() {
    let Some((workshop, registry)) = stack() else {
        return;
    };
    let image = "[image.a]\ncontext = \"a\"\n";
    let spec = format!("{}{image}", stack_at("lab", &registry));
    workshop.write("cairn.toml", &spec);
    let at = |path: &str| format!("{}/{path}", registry.host());
    let (old, new) = (at("old"), at("new"));
    let publish = |word: &str, registries: &[&String]| {
        workshop.write("a/word", word);
        let named = registries.iter().flat_map(|it| ["--registry", it.as_str()]);
        let publish = ["publish", "--tag", "t"].into_iter().chain(named);
        workshop.cairn(&publish.collect::<Vec<_>>()).success();
    };
    publish("one", &[&old]);
    publish("two", &[&old, &new]);
    let both = ["--registry", &old, "--registry", &new];
    let rollback = |registries: &[&str]| workshop.cairn(&[&["rollback", "t"], registries].concat());
    let means = || {
        let log = |at: &str| {
            let log = workshop.cairn(&["log", "t", "--json", "--registry", at]);
            let log: serde_json::Value = serde_json::from_str(&log.success().out).expect("JSON");
            log[0]["generation"].as_str().expect("a name").to_owned()
        };
        (log(&old), log(&new))
    };
    let before = means();
    assert_eq!(before.0, before.1);
    rollback(&both)
        .code(2)
        .err_has(&format!(
            "`t` never meant an earlier generation, says {new}"
        ))
        .err_has("nothing is moved; `--registry` names the registries");
    assert_eq!(means(), before);
    rollback(&["--registry", &old]).success();
    let after = means();
    assert_eq!(after.1, before.1);
    assert_ne!(after.0, before.0);
    // There and back again, by the beginning of a name; an empty one is the beginning of all.
    rollback(&["--to", &before.0[..6], "--registry", &old]).success();
    assert_eq!(means(), before);
    rollback(&["--to", "", "--registry", &old]).code(2);
    workshop
        .cairn(&["yank", &after.0[..6], "--registry", &old])
        .success();
    rollback(&["--registry", &old]).code(2);
    assert_eq!(means(), before);
}
