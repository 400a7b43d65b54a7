//! `cairn registry gc`: what goes from registries, what stays, and what comes back.

use std::process::Command;

use cairn_testkit::{DockerRegistry, Guard, needs};

use crate::publishing::git;
use crate::registries::skopeo;
use crate::serving::Serving;
use crate::workshop::Workshop;

/// What nothing needs is announced, removed and put back; on a registry that removes
/// no tags alone, and on one that does.
#[test]
fn what_nothing_needs_is_announced_removed_and_put_back() {
    let has_git = Command::new("git").arg("--version").output().is_ok();
    let Some(registry) = DockerRegistry::start(Guard::Open).filter(|_| needs("git", has_git))
    else {
        return;
    };
    let own = Workshop::empty();
    let serving = Serving::start(&own, &["--allow-push"]);
    for (host, is_announced) in [(registry.host(), true), (serving.host(), false)] {
        let workshop = Workshop::empty();
        workshop.write(
            "a/Dockerfile",
            "FROM scratch\nARG KIND=cpu\nLABEL kind=$KIND\nCOPY word /\n",
        );
        git(&workshop, &["init", "-q", "-b", "main"]);
        git(&workshop, &["add", "a"]);
        git(&workshop, &["commit", "-q", "-m", "first"]);
        collects_at(&workshop, host, is_announced);
    }
}

fn collects_at(workshop: &Workshop, host: &str, is_announced: bool) {
    let spec = |retention: &str| {
        workshop.write(
            "cairn.toml",
            &format!(
                "[stack]\nname = \"lab\"\nregistries = [\"{host}/g\"]\n\
                 [tags]\nmain = [\"latest\"]\nbranch = [\"{{branch}}\"]\n{retention}\
                 [image.one]\ncontext = \"a\"\n[image.two]\ncontext = \"a\"\nargs.KIND = \"two\"\n"
            ),
        );
    };
    let publish = |word: &str, more: &[&str]| {
        workshop.write("a/word", word);
        workshop.cairn(&[&["publish"], more].concat()).success();
    };
    let tags = |name: &str| {
        let tags = workshop.cairn(&["registry", "tags", &format!("{host}/g/{name}")]);
        let mut tags: Vec<String> = tags.success().out.lines().map(str::to_owned).collect();
        tags.sort();
        tags
    };
    let gc = |more: &[&str]| workshop.cairn(&[&["registry", "gc"], more].concat());
    spec("");
    gc(&[]).code(2).err_has("does not say what may be removed");
    for word in ["1", "3"] {
        publish(word, &[]);
    }
    publish("4", &["--tag", "topic"]);
    publish("5", &["--tag", "gone"]);
    // The same images as `latest`, which stays.
    publish("3", &["--tag", "twin"]);
    workshop.cairn(&["promote", "gone", "stable"]).success();
    // Somebody else's name for what is not needed otherwise.
    publish("6", &["--tag", "lost"]);
    let copied = format!("docker://{host}/g/one");
    if needs("skopeo", skopeo().arg("-v").output().is_ok()) {
        let ran = skopeo()
            .args([
                "copy",
                "-q",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
            ])
            .args([format!("{copied}:lost"), format!("{copied}:theirs")])
            .output()
            .expect("skopeo runs");
        assert!(ran.status.success(), "{ran:?}");
    }
    git(workshop, &["branch", "-f", "topic"]);
    if is_announced {
        spec("[retention]\ngenerations = 1\ndays = 0\n");
        let before = (tags("one"), tags("lab-generations"));
        // Announced, and nothing more.
        gc(&["--dry-run"]).success().err_has("to go in 7 days");
        assert_eq!(tags("lab-generations"), before.1);
        gc(&[])
            .success()
            .err_has("nothing is removed")
            .out_has("announced");
        gc(&[])
            .success()
            .err_has("announced before, the first goes on");
        assert_eq!(tags("one"), before.0);
        gc(&["--undo"])
            .success()
            .err_has("nothing is announced any more");
    }
    spec("[retention]\ngenerations = 1\ndays = 0\ndelay-days = 0\n");
    gc(&["--dry-run"])
        .success()
        .err_has("what is kept under another name");
    let removed = gc(&[]).success();
    assert!(
        removed.out.contains("/one:lost\n") != removed.err.contains("removes no tags"),
        "{host}: {removed:?}"
    );
    let left = tags("one");
    for stays in ["latest", "stable", "theirs", "topic"] {
        assert!(left.contains(&stays.to_owned()), "{stays}: {left:?}");
    }
    assert!(!tags("two").contains(&"lost".to_owned()));
    gc(&["--undo"]).success();
    let back = tags("two");
    assert!(back.contains(&"lost".to_owned()), "{back:?}");
    workshop.cairn(&["rollback", "latest"]).success();
    gc(&["--undo"])
        .success()
        .err_has("there is nothing to take back");
}
