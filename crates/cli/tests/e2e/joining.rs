//! One generation out of what several machines bring: here stores stand for machines, and images
//! that run nothing for those that each machine can build.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use cairn_testkit::{DockerRegistry, Guard, needs};
use serde_json::Value;

use crate::publishing::git;
use crate::workshop::{Workshop, said};

const STRUCTURE: &str = "schemaVersion: 2.0.0\nfileExistenceTests:\n\
                         - {name: word, path: /word, shouldExist: true}\n";

/// Two images for two platforms, one of them for another one too, at two places of a registry.
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
             platforms = [\"linux/s390x\", \"linux/arm64\"]\n\
             [tags]\nmain = [\"latest\", \"c-{{content}}\"]\n\
             [promote]\nstable = {{ from = \"latest\", tests = true }}\n\
             [image.ml]\ncontext = \"a\"\ntests.structure = \"a/s.yaml\"\n\
             variant.cpu = {{ suffix = \"\" }}\nvariant.gpu.args.KIND = \"gpu\"\n\
             [image.one]\ncontext = \"a\"\nplatforms = [\"linux/s390x\"]\n\
             tests.structure = \"a/s.yaml\"\n"
        ),
    );
    let dockerfile =
        "FROM scratch\nARG KIND=cpu\nARG TARGETARCH\nLABEL is=$KIND-$TARGETARCH\nCOPY word /\n";
    workshop.write("a/Dockerfile", dockerfile);
    workshop.write("a/word", "one");
    workshop.write("a/s.yaml", STRUCTURE);
    git(&workshop, &["init", "-q", "-b", "main"]);
    git(&workshop, &["add", "cairn.toml", "a"]);
    git(&workshop, &["commit", "-q", "-m", "first"]);
    Some((workshop, registry))
}

/// The label of an image as a machine without anything gets it.
fn pulled(workshop: &mut Workshop, name: &str, platform: &str) -> String {
    workshop.move_to_store("reader");
    let platform = format!("--platform={platform}");
    workshop.cairn(&["pull", &platform, name]).success();
    let told = workshop.cairn(&["inspect", name]).success();
    let told: Value = serde_json::from_str(&told.out).expect("JSON");
    told[0]["config"]["Labels"]["is"]
        .as_str()
        .expect("a label")
        .to_owned()
}

#[test]
fn tags_move_when_every_platform_is_there() {
    let Some((mut workshop, registry)) = stack() else {
        return;
    };
    let host = registry.host();
    let latest = format!("{host}/x/ml:latest-gpu");
    workshop.move_to_store("one");
    workshop
        .cairn(&["publish", "--platform=linux/s390x"])
        .success()
        .err_has("no tag is moved before somebody brings linux/arm64 of ml:cpu, ml:gpu");
    workshop.cairn(&["pull", &latest]).code(2);

    workshop.move_to_store("other");
    let said = workshop.cairn(&["publish", "--platform=linux/arm64", "--json"]);
    let report: Value = serde_json::from_str(&said.success().out).expect("JSON");
    assert!(report["generation"].is_string(), "{report}");
    let rows = report["images"].as_array().expect("images").iter();
    let gpu = rows.clone().filter(|it| it["variant"] == "gpu");
    let of = |start: &str, platform: &str| -> Vec<String> {
        let rows = gpu.clone().filter(|it| it["platform"] == platform);
        let rows = rows.filter(|it| it["reference"].as_str().unwrap().contains(start));
        let rows = rows.map(|it| it["digest"].as_str().unwrap().to_owned());
        rows.collect()
    };
    for platform in ["linux/s390x", "linux/arm64"] {
        let digests = of(&format!("{host}/lab/ml:latest"), platform);
        assert_eq!(digests.len(), 1, "{report}");
        assert_eq!(digests, of(&format!("{host}/x/ml:latest"), platform));
    }
    let one: Vec<&Value> = rows.filter(|it| it["image"] == "one").collect();
    assert_eq!(one.len(), 4, "two places, two tags, one platform: {report}");
    assert_eq!(pulled(&mut workshop, &latest, "linux/s390x"), "gpu-s390x");
    assert_eq!(pulled(&mut workshop, &latest, "linux/arm64"), "gpu-arm64");

    // Whoever comes late finds all done; nothing is sent twice.
    workshop.move_to_store("one");
    workshop
        .cairn(&["publish", "--platform=linux/s390x"])
        .success()
        .err_has(" 0 sent, 0 from")
        .err_has("all tags mean it already");
    // The tests of every platform are known, whoever ran them; every platform is promoted.
    workshop.move_to_store("promoting");
    workshop.cairn(&["promote", "stable"]).success();
    let stable = format!("{host}/lab/ml:stable");
    assert_eq!(pulled(&mut workshop, &stable, "linux/s390x"), "cpu-s390x");
    assert_eq!(pulled(&mut workshop, &stable, "linux/arm64"), "cpu-arm64");

    // Another commit: what was brought of the first one is not mixed into it.
    workshop.write("a/word", "two");
    workshop.move_to_store("one");
    workshop
        .cairn(&["publish", "--platform=linux/s390x"])
        .code(2)
        .err_has("`--part-of NAME`");
    git(&workshop, &["commit", "-q", "-a", "-m", "second"]);
    workshop
        .cairn(&["publish", "--platform=linux/s390x"])
        .success()
        .err_has("no tag is moved");
    let log = workshop.cairn(&["log", "latest"]).success();
    assert_eq!(
        log.out.lines().count(),
        3,
        "one generation at two places: {}",
        log.out
    );
    workshop
        .cairn(&["publish", "--platform=linux/s390x", "--incomplete"])
        .success()
        .err_has("the generation is incomplete: it lacks linux/arm64 of ml:cpu, ml:gpu");
    workshop.cairn(&["rollback", "latest"]).success();
    assert_eq!(pulled(&mut workshop, &latest, "linux/arm64"), "gpu-arm64");
    workshop
        .cairn(&["publish", "--platform=linux/ppc64le"])
        .code(2)
        .err_has("nothing is published for linux/ppc64le");
}

fn commit(workshop: &Workshop, word: &str) {
    workshop.write("a/word", word);
    git(workshop, &["commit", "-q", "-a", "-m", word]);
}

/// Reads what a process says until it says a word, or anything at all.
fn wait_for(word: Option<&str>, says: impl Read) {
    let mut lines = BufReader::new(says).lines().map_while(Result::ok);
    let said = lines.find(|line| word.is_none_or(|word| line.contains(word)));
    assert!(said.is_some(), "it ended before it was to be killed");
}

#[test]
fn machines_that_come_at_once_and_are_killed_leave_one_generation() {
    let Some((mut workshop, registry)) = stack() else {
        return;
    };
    let latest = format!("{}/x/ml:latest-gpu", registry.host());
    let parts = [
        ("one", "--platform=linux/s390x"),
        ("other", "--platform=linux/arm64"),
    ];
    let is_all_there = |workshop: &mut Workshop| {
        for (platform, is) in [("linux/s390x", "gpu-s390x"), ("linux/arm64", "gpu-arm64")] {
            assert_eq!(pulled(workshop, &latest, platform), is);
        }
    };
    let log = |workshop: &Workshop| {
        let log = workshop.cairn(&["log", "latest", "--json"]).success().out;
        let log: Vec<Value> = serde_json::from_str(&log).expect("JSON");
        let of = |it: &Value| it["generation"].as_str().expect("a name").to_owned();
        log.iter().map(of).collect::<BTreeSet<String>>()
    };

    // Both at once: at least one of them finds everything, and they agree.
    let running: Vec<_> = parts
        .iter()
        .map(|(store, platform)| {
            workshop.move_to_store(store);
            let publish = ["publish", platform, "--json"];
            workshop.command(&publish).spawn().expect("a process")
        })
        .collect();
    for process in running {
        let said = said(process.wait_with_output().expect("its end")).success();
        assert!(!said.err.contains("another machine"), "{}", said.err);
    }
    is_all_there(&mut workshop);
    let generations = log(&workshop);
    assert_eq!(generations.len(), 1, "{generations:?}");

    // The one that joins is killed, when it begins and when it has sent everything: who comes next ends
    // it, and it is the same.
    for (round, moment) in [None, Some("sent")].into_iter().enumerate() {
        commit(&workshop, &format!("round {round}"));
        workshop.move_to_store("one");
        let noted = workshop.cairn(&["publish", parts[0].1]).success();
        assert!(noted.err.contains("no tag is moved"), "{}", noted.err);
        workshop.move_to_store("other");
        let mut publish = workshop.command(&["publish", parts[1].1]).spawn().unwrap();
        wait_for(moment, publish.stderr.take().unwrap());
        publish.kill().unwrap();
        publish.wait().unwrap();
        for (store, platform) in parts {
            workshop.move_to_store(store);
            workshop.cairn(&["publish", platform]).success();
        }
        is_all_there(&mut workshop);
        let generations = log(&workshop);
        assert_eq!(generations.len(), round + 2, "{generations:?}");
    }
    workshop.move_to_store("one");
    let again = workshop.cairn(&["publish", parts[0].1]).success();
    assert!(again.err.contains("all tags mean it"), "{}", again.err);
}

#[test]
fn what_cannot_be_tested_here_is_not_published_from_here() {
    let workshop = Workshop::empty();
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\nregistries = [\"127.0.0.1:1/lab\"]\n\
         platforms = [\"linux/s390x\"]\n\
         [image.a]\ncontext = \"a\"\ntests.structure = \"a/s.yaml\"\n",
    );
    workshop.write("a/Dockerfile", "FROM scratch\nCOPY word /\n");
    workshop.write("a/word", "one");
    let commands = "commandTests:\n- {name: runs, command: /word}\n";
    workshop.write("a/s.yaml", &format!("{STRUCTURE}{commands}"));
    let said = workshop.cairn(&["publish", "--tag", "t", "--ref", "main"]);
    if said.code == 3 && said.err.contains("sandbox") {
        return;
    }
    said.code(1)
        .err_has("this machine cannot run all tests of a for linux/s390x")
        .err_has("--untested");
}
