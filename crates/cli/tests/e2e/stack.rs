//! A stack: several images of one spec, built, explained, tested.

use crate::publishing::{git, git_at};
use crate::workshop::Workshop;

fn stack() -> Option<Workshop> {
    let workshop = Workshop::with_base()?;
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\nepoch = 1700000000\n\
         [image.runtime]\ncontext = \"runtime\"\n\
         [image.model]\ncontext = \"model\"\ntests = { structure = \"model/structure.yaml\" }\n\
         [image.model.variant.local]\n[image.model.variant.cloud]\nargs = { WHERE = \"cloud\" }\n\
         [image.other]\ncontext = \"other\"\n",
    );
    workshop.write(
        "runtime/Dockerfile",
        "FROM base\nRUN echo making-runtime > /runtime\n",
    );
    workshop.write(
        "model/Dockerfile",
        "FROM runtime\nCOPY model.txt /model.txt\nRUN echo common-step\nARG WHERE=local\nRUN echo at-$WHERE > /where\n",
    );
    workshop.write("model/model.txt", "R0 = 2\n");
    workshop.write(
        "model/structure.yaml",
        "schemaVersion: 2.0.0\ncommandTests:\n  - name: reads the model\n    command: cat\n    args: [/model.txt]\n    expectedOutput: [\"R0\"]\nfileExistenceTests:\n  - name: runtime\n    path: /runtime\n    shouldExist: true\n",
    );
    workshop.write("other/Dockerfile", "FROM base\nRUN echo other-step\n");
    Some(workshop)
}

#[test]
fn children_build_on_the_parent_just_built_and_variants_share_steps() {
    let Some(workshop) = stack() else { return };
    let said = workshop.cairn(&["build", "--progress", "plain"]).success();
    let told = said.err.matches("RUN echo common-step").count();
    assert_eq!(told, 1, "{}", said.err);
    let local = workshop
        .cairn(&["run", "model:local", "cat", "/where"])
        .success();
    let cloud = workshop
        .cairn(&["run", "model:cloud", "cat", "/where"])
        .success();
    assert_eq!(
        (local.out.as_str(), cloud.out.as_str()),
        ("at-local\n", "at-cloud\n")
    );
}

/// DH-24, DH-26: a child's change builds the child alone; content decides.
#[test]
fn a_leaf_change_reaches_only_the_leaf_and_why_names_the_file() {
    let Some(workshop) = stack() else { return };
    workshop.cairn(&["build"]).success();
    let plan = workshop.cairn(&["plan", "--json"]).success();
    let plan: serde_json::Value = serde_json::from_str(&plan.out).expect("JSON");
    assert_eq!(plan["run"], 0);
    workshop.write("model/model.txt", "R0 = 3\n");
    let plan = workshop.cairn(&["plan"]).success();
    assert!(plan.out.contains("model.txt"), "{}", plan.out);
    let said = workshop.cairn(&["build", "--progress", "plain"]).success();
    said.err_lacks("making-runtime").err_lacks("other-step\n");
    let why = workshop.cairn(&["why", "model:cloud"]).success();
    assert!(why.out.contains("model.txt"), "{}", why.out);
}

/// What is copied from an image that is built: known at once where nothing can have touched it, else
/// when the steps that decide have run.
#[test]
fn what_a_maybe_hangs_on_can_be_run() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    for (name, text) in [
        (
            "cairn.toml",
            "[stack]\nname = \"s\"\n[image.tool]\ncontext = \"tool\"\n[image.app]\ncontext = \"app\"\n",
        ),
        (
            "tool/Dockerfile",
            "FROM base\nCOPY source /source\nRUN sort /source > /made\nCOPY notes /notes\n",
        ),
        ("tool/source", "a\nb\n"),
        ("tool/notes", "x\n"),
        (
            "app/Dockerfile",
            "FROM base\nCOPY --from=tool /made /made\nRUN cat /made > /read\n",
        ),
    ] {
        workshop.write(name, text);
    }
    let decided = |arguments: &[&str]| {
        let said = workshop
            .cairn(&[&["plan", "--json"], arguments].concat())
            .success();
        let plan: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        let decisions = plan["images"].as_array().expect("images").iter();
        let decisions: Vec<&str> = decisions.filter_map(|it| it["decision"].as_str()).collect();
        let app = &plan["images"][1]["steps"][0]["because"];
        (decisions.join(" "), app.as_str().unwrap_or("").to_owned())
    };
    workshop.cairn(&["build"]).success();
    // Above what is copied, a copy to another place.
    workshop.write("tool/notes", "y\n");
    assert_eq!(decided(&[]).0, "build reuse");
    let built = workshop.cairn(&["build", "--progress", "plain"]).success();
    built.err_lacks("cat /made");
    // Below it, a program that may write anywhere; it makes the same.
    workshop.write("tool/source", "b\na\n");
    assert_eq!(decided(&[]).0, "build maybe");
    workshop.cairn(&["plan"]).success().out_has("`--settle`");
    assert_eq!(decided(&["--settle"]).0, "build reuse");
    let settled = workshop.cairn(&["build", "--progress", "plain"]).success();
    settled.err_lacks("sort /source");
    // It makes something else.
    workshop.write("tool/source", "c\n");
    let (decisions, because) = decided(&["--settle"]);
    assert_eq!(decisions, "build build");
    assert!(
        because.contains("made") && because.contains("`source` changed"),
        "{because}"
    );
    // What ran is a run like others.
    let shown = workshop.cairn(&["show", "last"]).success();
    shown.out_has("plan --settle").out_has("RUN sort /source");
    workshop
        .cairn(&["why", "tool"])
        .success()
        .out_has("`source` changed");
    // It fails.
    workshop.write("tool/Dockerfile", "FROM base\nRUN false\nRUN touch /made\n");
    workshop
        .cairn(&["plan", "--settle"])
        .code(1)
        .err_has("RUN false");
}

/// Two stacks in one store: each sees its own runs, and all of them where it asks for these.
#[test]
fn runs_and_reasons_are_those_of_the_stack() {
    let workshop = Workshop::empty();
    for name in ["one", "two"] {
        workshop.write(
            &format!("{name}/cairn.toml"),
            &format!("[stack]\nname = \"{name}\"\n[image.app]\ncontext = \".\"\n"),
        );
        workshop.write(&format!("{name}/file"), name);
    }
    workshop.write("one/Dockerfile", "FROM scratch\nCOPY file /of-one\n");
    workshop.write("two/Dockerfile", "FROM scratch\nCOPY file /of-two\n");
    let at = |arguments: &[&str], stack: &str| {
        workshop.cairn(&[arguments, &["--stack", stack]].concat())
    };
    if at(&["build"], "one").code != 0 {
        let _ = cairn_testkit::needs("a store", false);
        return;
    }
    at(&["why", "app"], "two")
        .code(2)
        .err_has("another stack of this store has an image of that name: `--all`");
    at(&["why", "app", "--all"], "two")
        .success()
        .out_has("/of-one");
    at(&["build"], "two").success();
    let runs = |arguments: &[&str], stack: &str| -> Vec<String> {
        let said = at(&[&["show", "--json"], arguments].concat(), stack).success();
        let runs: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        let runs = runs.as_array().expect("runs").iter();
        runs.map(|run| run["stack"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(runs(&[], "one"), ["one"]);
    assert_eq!(runs(&[], "two"), ["two"]);
    assert_eq!(runs(&["--all"], "one"), ["two", "one"]);
    at(&["show"], "one").success().err_has("`--all` lists all");
    for (stack, own) in [("one", "/of-one"), ("two", "/of-two")] {
        at(&["why", "app"], stack).success().out_has(own);
        at(&["show", "last"], stack).success().out_has(own);
    }
    // Elsewhere there is no stack to keep to, and a run that is named is told anywhere.
    let all = workshop.cairn(&["show", "--json"]).success();
    let all: serde_json::Value = serde_json::from_str(&all.out).expect("JSON");
    let first = all[1]["run"].as_str().expect("a name");
    at(&["show", first], "two").success().out_has("/of-one");
}

/// What runs for one image that is settled and belongs to another one makes that one built.
#[test]
fn what_ran_to_settle_something_else_counts_as_built() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    for (name, text) in [
        (
            "cairn.toml",
            "[stack]\nname = \"s\"\n[image.x]\ncontext = \"x\"\n[image.y]\ncontext = \"y\"\n[image.z]\ncontext = \"z\"\n",
        ),
        (
            "x/Dockerfile",
            "FROM base AS t\nCOPY source /source\nRUN sort /source > /made\nFROM base\nCOPY --from=t /made /made\n",
        ),
        ("x/source", "a\n"),
        ("y/Dockerfile", "FROM x\nRUN echo y > /y\n"),
        ("z/Dockerfile", "FROM base\nCOPY --from=y /y /y\n"),
    ] {
        workshop.write(name, text);
    }
    workshop.cairn(&["build"]).success();
    workshop.write("x/source", "b\n");
    let decisions = |arguments: &[&str]| {
        let said = workshop
            .cairn(&[&["plan", "--json"], arguments].concat())
            .success();
        let plan: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        let images = plan["images"].as_array().expect("images").iter();
        let words: Vec<&str> = images.filter_map(|it| it["decision"].as_str()).collect();
        words.join(" ")
    };
    assert_eq!(decisions(&[]), "build maybe maybe");
    assert_eq!(decisions(&["--settle"]), "build build reuse");
}

/// DH-65: a changed test runs again without a rebuild; a test that passed does not run again.
#[test]
fn tests_run_once_for_each_content() {
    let Some(workshop) = stack() else { return };
    workshop
        .cairn(&["up", "--progress", "plain"])
        .success()
        .err_has("reads the model");
    let again = workshop.cairn(&["test", "--json"]).success();
    let again: serde_json::Value = serde_json::from_str(&again.out).expect("JSON");
    assert!(again.to_string().contains("\"reused\":true"), "{again}");
    let test = workshop
        .read("model/structure.yaml")
        .replace("\"R0\"", "\"R9\"");
    workshop.write("model/structure.yaml", &test);
    workshop.cairn(&["test"]).code(1).err_has("reads the model");
}

/// DH-47, DH-53: a failure stops its descendants; independent branches go on.
#[test]
fn one_failure_does_not_sink_the_rest() {
    let Some(workshop) = stack() else { return };
    workshop.write("runtime/Dockerfile", "FROM base\nRUN exit 3\n");
    workshop.cairn(&["build"]).code(1).err_has("exit code: 3");
    workshop.cairn(&["run", "other", "true"]).success();
    let images = workshop.cairn(&["images"]).success();
    assert!(!images.out.contains("model"), "{}", images.out);
}

/// Two stores, two paths: equal digests.
#[test]
fn the_same_inputs_give_the_same_digest_elsewhere() {
    let Some(mut workshop) = stack() else { return };
    let digest = |workshop: &Workshop| {
        workshop.cairn(&["build"]).success();
        workshop
            .cairn(&["export", "--format", "oci", "model:cloud", "out/"])
            .success();
        let index = workshop.read("out/index.json");
        std::fs::remove_dir_all(workshop.path().join("out")).expect("gone");
        index
    };
    let first = digest(&workshop);
    workshop.move_to_store("another");
    workshop
        .cairn(&["load", "-t", "base", "tar:base.tar"])
        .success();
    assert_eq!(digest(&workshop), first);
}

/// Another day, another clock: a cached result of an earlier commit, a fresh checkout, and a clock
/// that is behind the commit's time give what a build from nothing gives.
#[test]
fn when_it_was_built_does_not_show() {
    let Some(mut workshop) = stack() else { return };
    let export = |workshop: &Workshop| {
        workshop.cairn(&["build"]).success();
        let export = ["export", "--format", "oci", "model:cloud", "out/"];
        workshop.cairn(&export).success();
        let index = workshop.read("out/index.json");
        std::fs::remove_dir_all(workshop.path().join("out")).expect("gone");
        index
    };
    let earlier = export(&workshop);
    let spec = workshop.read("cairn.toml");
    workshop.write("cairn.toml", &spec.replace("1700000000", "4000000000"));
    let cached = export(&workshop);
    assert_ne!(cached, earlier);

    workshop.move_to_store("another");
    let base = ["load", "-t", "base", "tar:base.tar"];
    workshop.cairn(&base).success();
    // Times are told in seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let model = workshop.read("model/model.txt");
    workshop.write("model/model.txt", &model);
    assert_eq!(export(&workshop), cached);
}

/// What a commit did not touch has the layers that it had, and is not sent again: their times are
/// those of the month.
#[test]
fn commits_of_one_month_share_their_layers() {
    let Some(workshop) = stack() else { return };
    let spec = workshop.read("cairn.toml");
    workshop.write("cairn.toml", &spec.replace("epoch = 1700000000\n", ""));
    git(&workshop, &["init", "-q"]);
    git(&workshop, &["add", "cairn.toml", "runtime", "model"]);
    let layers_at = |date: &str| {
        let commit = ["commit", "-q", "--allow-empty", "-m", date];
        git_at(&workshop, Some(date), &commit);
        workshop.cairn(&["build"]).success();
        let export = ["export", "--format", "oci", "model:cloud", "out/"];
        workshop.cairn(&export).success();
        let read = |path: &str| -> serde_json::Value {
            serde_json::from_str(&workshop.read(&format!("out/{path}"))).expect("JSON")
        };
        let blob = |digest: &serde_json::Value| {
            let digest = digest.as_str().expect("a digest").replace(':', "/");
            read(&format!("blobs/{digest}"))
        };
        let manifest = blob(&read("index.json")["manifests"][0]["digest"]);
        let created = blob(&manifest["config"]["digest"])["created"].to_string();
        std::fs::remove_dir_all(workshop.path().join("out")).expect("gone");
        (manifest["layers"].to_string(), created)
    };
    let (early, first) = layers_at("2026-03-05T10:00:00Z");
    let (late, second) = layers_at("2026-03-31T23:59:59Z");
    assert_eq!(early, late);
    assert_eq!(
        [first, second],
        ["\"2026-03-05T10:00:00Z\"", "\"2026-03-31T23:59:59Z\""]
    );
    assert_ne!(layers_at("2026-04-01T00:00:00Z").0, late);
}

/// A mistake in a file of tests is told before anything is built for it.
#[test]
fn test_files_are_read_before_anything_runs() {
    let Some(workshop) = stack() else { return };
    let tests = workshop.read("model/structure.yaml");
    let slip = tests.replace("commandTests", "comandTests");
    workshop.write("model/structure.yaml", &slip);
    for command in ["up", "test"] {
        workshop
            .cairn(&[command])
            .code(2)
            .err_has("comandTests")
            .err_lacks("RUN");
    }
    workshop.cairn(&["build"]).success();
}

/// An image from outside stays the one that was locked until somebody says otherwise.
#[test]
fn an_external_base_is_locked_by_its_digest() {
    let Some(workshop) = stack() else {
        return;
    };
    workshop
        .cairn(&[
            "build",
            "-t",
            "outer",
            "--output",
            "type=oci,dest=one.tar",
            "./other",
        ])
        .success();
    workshop
        .cairn(&["load", "-t", "outside", "oci:one.tar"])
        .success();
    workshop.write("other/Dockerfile", "FROM outside\nRUN echo on-outside\n");
    workshop.cairn(&["build"]).success();
    let lock = workshop.read("cairn.lock");
    assert!(lock.contains("outside = \"sha256:"), "{lock}");
    workshop
        .cairn(&["build", "--output", "type=oci,dest=two.tar", "./runtime"])
        .success();
    workshop
        .cairn(&["load", "-t", "outside", "oci:two.tar"])
        .success();
    workshop
        .cairn(&["build"])
        .code(2)
        .err_has("outside")
        .err_has("cairn lock --update");
    workshop.cairn(&["lock", "--update"]).success();
    workshop.cairn(&["build"]).success();
}

#[test]
fn nothing_to_test_and_nothing_to_lock_is_said() {
    let workshop = Workshop::empty();
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.a]\ncontext = \"a\"\n",
    );
    workshop.write("a/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    workshop
        .cairn(&["lock"])
        .success()
        .err_has("nothing to lock");
    workshop
        .cairn(&["test"])
        .success()
        .err_has("nothing to test");
}

/// An image from outside the stack is where steps begin, and none itself.
#[test]
fn steps_are_counted_alike_everywhere() {
    let Some(workshop) = stack() else { return };
    workshop.cairn(&["up"]).success().err_has("steps: 6 ran");
    let json = |command: &[&str]| {
        let said = workshop.cairn(command).success();
        serde_json::from_str::<serde_json::Value>(&said.out).expect("JSON")
    };
    assert_eq!(json(&["plan", "--json"])["reuse"], 6);
    workshop.cairn(&["up"]).success().err_has("steps: 6 cached");
    let report = json(&["up", "--json"]);
    let cached = |image: &str| {
        let images = report["images"].as_array().expect("a list");
        let found = images.iter().find(|line| line["image"] == image);
        found.expect("an image")["steps_cached"].clone()
    };
    assert_eq!(cached("runtime"), 1);
    assert_eq!(cached("model:local"), 4);
    assert_eq!(cached("other"), 1);
}
